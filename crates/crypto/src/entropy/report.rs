//! What a machine's entropy is, in the words of SP 800-90C.

use std::fmt;

use super::filler::DUTY;
use super::source::Kind;
use super::{BLOCK_DRAW, CAPACITY};

/// One source, as its start-up test found it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceReport {
    /// Its name.
    pub name: &'static str,
    /// What stands behind it.
    pub kind: Kind,
    /// Raw bytes a second, where a whole core does nothing but try.
    pub bytes_per_second: u64,
}

/// Bytes given out since the start, by what stands behind them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Given {
    /// Full entropy.
    pub full: u64,
    /// Asked for as full entropy and given as 256 bits computational, since the stock was used up.
    pub computational: u64,
    /// Public values, for which nobody asks more than computational.
    pub public: u64,
}

impl Given {
    pub(super) fn count(&mut self, full: usize, rest: usize, keep: usize) {
        self.full += full as u64;
        if keep >= CAPACITY {
            self.public += rest as u64;
        } else {
            self.computational += rest as u64;
        }
    }
}

/// What was measured, and what holds here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Every source.
    pub sources: Vec<SourceReport>,
    /// What was given out.
    pub given: Given,
    /// Full-entropy bytes kept now.
    pub stock: usize,
}

impl Report {
    /// Bytes of full entropy a second that the filler's share of a core pays for; 0 where no
    /// physical source is there.
    pub fn full_bytes_per_second(&self) -> u64 {
        let physical = self.sources.iter().filter(|source| source.kind == Kind::Physical);
        // each source pays for every block out of the same share of time
        let cost: Option<f64> = physical
            .map(|source| BLOCK_DRAW as f64 / source.bytes_per_second.max(1) as f64)
            .reduce(|sum, cost| sum + cost);
        cost.map_or(0, |seconds| (32.0 / seconds / f64::from(DUTY)) as u64)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, source) in self.sources.iter().enumerate() {
            let kind = match source.kind {
                Kind::Physical => "physical source",
                Kind::Generator => "generator",
            };
            let rate = source.bytes_per_second / 1_000;
            write!(f, "{}{} ({kind}, {rate} kB/s)", if at == 0 { "" } else { ", " }, source.name)?;
        }
        match self.full_bytes_per_second() {
            0 => f.write_str("; no full entropy: 256 bits computational, as an RBG2(NP) of SP 800-90C"),
            rate => write!(
                f,
                "; full entropy as an RBG3(XOR) of SP 800-90C for keys, {rate} B/s at 5 % of a core and {} kB ahead; \
                 beyond that 256 bits computational, as an RBG2(P)",
                CAPACITY / 1_024
            ),
        }
    }
}
