//! Error reconciliation by low-density parity checks, for links on which a round trip is dear: one
//! message of Alice's corrects most blocks, and each further one halves some checks of a block that
//! was not corrected.
//!
//! The whole string of a block is one frame of a quasi-cyclic code (Fossorier 2004): columns and
//! rows of circulants of the same size, with the columns' degrees irregular (Richardson,
//! Shokrollahi, Urbanke 2001; Elkouss et al. 2009, arXiv 0901.2140) and placed as in progressive
//! edge growth (Hu, Eleftheriou, Arnold 2005). The number of rows follows from the error rate, so
//! the rate adapts without puncturing. Where decoding fails, Alice tells the parities of one half of
//! the checks of a few rows; the other half follows. That is what blind reconciliation
//! (Martinez-Mateo, Elkouss, Martin 2012, arXiv 1205.5729) does with punctured bits of degree 2,
//! without drawing any. Every bit told counts as one leaked bit.

mod answer;
mod ask;
mod decode;
mod graph;

pub(crate) use answer::Answerer;
pub(crate) use ask::{Asker, NotCorrected};

use crate::bits::Bits;
use crate::stats::binary_entropy;
use crate::wire::{Reader, WireError, put_var};

/// Rows the code of a block aims at; more where the columns would not reach the fewest.
const ROWS: f64 = 32.0;

/// Fewest and most columns of a long string.
const COLUMNS: (f64, f64) = (96.0, 1_024.0);

/// Smallest circulant.
const SMALLEST: usize = 8;

/// Fewest rows.
const FEWEST: usize = 4;

/// Told bits over the Shannon limit, of a long string, in the first answer: found by simulation such
/// that it is enough for most strings of 2^16 bits. A decoding that fails takes longer than one that does not,
/// and the bits told after it make up for those told less before.
fn first(qber: f64) -> f64 {
    match qber {
        q if q < 0.015 => 1.20,
        q if q < 0.035 => 1.13,
        _ => 1.09,
    }
}

/// The code of one block: what both ends must know to build the same graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    bits: usize,
    /// Rows and columns of a circulant.
    size: usize,
    /// Rows of circulants.
    rows: usize,
    /// The expected error rate in parts per million.
    qber_ppm: u32,
}

impl Plan {
    /// The code for a string of `bits` bits with an expected error rate of `qber`.
    pub(crate) fn new(bits: usize, qber: f64) -> Self {
        let qber = qber.clamp(1e-4, 0.25);
        let share = binary_entropy(qber) * (first(qber) + 2.0 / (bits.max(1) as f64).sqrt());
        let size = (bits as f64 / (ROWS / share).clamp(COLUMNS.0, COLUMNS.1)).ceil().max(SMALLEST as f64);
        let rows = (bits as f64 * share / size).round().max(FEWEST as f64);
        Self { bits, size: size as usize, rows: rows as usize, qber_ppm: (qber * 1e6) as u32 }
    }

    /// Bits of the string.
    pub(crate) fn bits(&self) -> usize {
        self.bits
    }

    /// Columns of circulants, the last of which may reach past the string.
    fn columns(&self) -> usize {
        self.bits.div_ceil(self.size)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        for number in [self.bits, self.size, self.rows, self.qber_ppm as usize] {
            put_var(out, number as u64);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>, max_bits: usize) -> Result<Self, WireError> {
        let bits = reader.var(max_bits as u64)? as usize;
        let size = reader.var(max_bits.max(SMALLEST) as u64)? as usize;
        let rows = reader.var(2 * COLUMNS.1 as u64)? as usize;
        let qber_ppm = reader.var(250_000)? as u32;
        let sound = size >= SMALLEST && rows >= FEWEST && qber_ppm >= 100 && bits.div_ceil(size) <= COLUMNS.1 as usize;
        if sound { Ok(Self { bits, size, rows, qber_ppm }) } else { Err(WireError::Number) }
    }

    /// Rows of parities that Alice may tell: all of them, and half of each.
    fn most(&self) -> usize {
        2 * self.rows
    }

    /// Rows told with answer `round`, from 0: each time as many more as all times before, and a few.
    fn told(&self, round: usize) -> usize {
        let step = self.rows.div_ceil(32);
        (self.rows + step * ((1 << round.min(12)) - 1)).min(self.most())
    }
}

/// A string as one byte a bit, filled up with zeros to a whole number of circulants.
fn spread(plan: &Plan, key: &Bits) -> zeroize::Zeroizing<Vec<u8>> {
    let mut out = vec![0; plan.columns() * plan.size];
    out.iter_mut().zip(0..key.len()).for_each(|(byte, i)| *byte = u8::from(key.get(i)));
    zeroize::Zeroizing::new(out)
}

/// What one reconciliation took.
#[derive(Debug)]
pub struct Corrected {
    /// Bob's string after it; `None` where decoding failed to the end.
    pub key: Option<Bits>,
    /// Parity bits disclosed.
    pub leaked: u64,
    /// Round trips; decoding failed in all but the last.
    pub rounds: u32,
}

/// Runs both sides against each other through the byte forms of their messages, for an expected
/// error rate of `qber`. For tests and measurements, where one process holds both strings.
pub fn reconcile(alice: &Bits, bob: &Bits, qber: f64) -> Corrected {
    let plan = Plan::new(alice.len(), qber);
    let mut answerer = Answerer::new(plan.clone(), alice);
    let mut asker = Asker::new(plan, bob);
    let mut corrected = false;
    loop {
        let mut question = Vec::new();
        if !asker.ask(&mut question) {
            break;
        }
        let Ok(parities) = answerer.answer(&mut Reader::new(&question)) else { break };
        match asker.answered(&parities) {
            Ok(done) => corrected = done,
            Err(NotCorrected) => break,
        }
    }
    let (leaked, rounds) = (asker.leaked(), asker.rounds());
    Corrected { key: corrected.then(|| asker.finish()), leaked, rounds }
}

#[cfg(test)]
mod tests;
