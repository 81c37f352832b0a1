//! What Alice remembers of the light until the block that used it is settled.
//!
//! A kept code is `intensity·4 + setting·2 + bit`. Memory grows with what arrives: two to three
//! bytes for each slot named to a source, for each click of a receiver.

use std::collections::VecDeque;

use zeroize::Zeroizing;

use crate::light::Span;
use crate::source::PulseFrame;
use crate::wire::{Reader, put_var};

/// Nothing is kept of this slot, though its train is.
pub(crate) const UNKNOWN: u8 = 0xff;

enum Kept {
    Planes(PulseFrame),
    Sparse { span: Span, steps: Vec<u8>, codes: Zeroizing<Vec<u8>> },
}

impl Kept {
    fn span(&self) -> Span {
        match self {
            Self::Planes(frame) => frame.span(),
            Self::Sparse { span, .. } => *span,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Planes(frame) => frame.bytes(),
            Self::Sparse { steps, codes, .. } => steps.capacity() + codes.capacity(),
        }
    }
}

/// Kept trains, in order of their slots.
#[derive(Default)]
pub(crate) struct Memory(VecDeque<Kept>);

impl Memory {
    pub(crate) fn keep_planes(&mut self, frame: PulseFrame) {
        self.0.push_back(Kept::Planes(frame));
    }

    /// Keeps slots of the train, ascending, with their codes.
    pub(crate) fn keep(&mut self, span: Span, slots: impl Iterator<Item = u64>, mut codes: Zeroizing<Vec<u8>>) {
        let mut steps = Vec::with_capacity(2 * codes.len());
        let mut last = span.first;
        for slot in slots {
            put_var(&mut steps, slot - last);
            last = slot;
        }
        steps.shrink_to_fit();
        codes.shrink_to_fit();
        self.0.push_back(Kept::Sparse { span, steps, codes });
    }

    /// Keeps slots given as the bytes of the steps between them, one for each of `codes`.
    pub(crate) fn keep_steps(&mut self, span: Span, steps: Vec<u8>, codes: Vec<u8>) {
        self.0.push_back(Kept::Sparse { span, steps, codes: Zeroizing::new(codes) });
    }

    pub(crate) fn forget_before(&mut self, slot: u64) {
        while self.0.front().is_some_and(|kept| kept.span().end() <= slot) {
            self.0.pop_front();
        }
        if self.0.is_empty() {
            self.0.shrink_to_fit();
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Kept>() + self.0.iter().map(Kept::bytes).sum::<usize>()
    }

    /// First slot of what is kept.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.front().map(|kept| kept.span().first)
    }

    /// The slot after the last of what is kept.
    pub(crate) fn end(&self) -> Option<u64> {
        self.0.back().map(|kept| kept.span().end())
    }

    /// The codes of `slots`, which ascend; [`UNKNOWN`] where nothing is kept of a slot.
    pub(crate) fn recall(&self, slots: &[u64]) -> Vec<u8> {
        let mut out = Vec::with_capacity(slots.len());
        let mut left = slots;
        for kept in &self.0 {
            let span = kept.span();
            let before = left.partition_point(|&slot| slot < span.first);
            out.extend(std::iter::repeat_n(UNKNOWN, before));
            let (inside, rest) = left[before..].split_at(left[before..].partition_point(|&slot| slot < span.end()));
            left = rest;
            match kept {
                Kept::Planes(frame) => out.extend(inside.iter().map(|&slot| frame.code((slot - span.first) as u32))),
                Kept::Sparse { steps, codes, .. } => {
                    if let Some(table) = Table::of(span, steps, codes, inside.len()) {
                        out.extend(inside.iter().map(|&slot| table.find((slot - span.first) as usize)));
                        continue;
                    }
                    let mut walk = Walk { reader: Reader::new(steps), slot: 0, at: 0, codes };
                    out.extend(inside.iter().map(|&slot| walk.find(slot - span.first)));
                }
            }
        }
        out.extend(std::iter::repeat_n(UNKNOWN, left.len()));
        out
    }
}

/// The kept slots of one dense train as a set of bits.
struct Table<'a> {
    /// The bits of 64 slots, and how many there are before them.
    words: Vec<(u64, u32)>,
    codes: &'a [u8],
}

impl<'a> Table<'a> {
    /// `None` where it would be larger than what it saves, and where a slot was kept twice.
    fn of(span: Span, steps: &[u8], codes: &'a [u8], wanted: usize) -> Option<Self> {
        if span.pulses as usize / 64 > codes.len().min(wanted * 8) {
            return None;
        }
        let mut words = vec![(0_u64, 0_u32); span.pulses as usize / 64 + 1];
        let (mut reader, mut slot) = (Reader::new(steps), 0);
        for _ in codes {
            slot += reader.var(u64::from(span.pulses)).ok()? as usize;
            words.get_mut(slot / 64)?.0 |= 1 << (slot % 64);
        }
        let mut before = 0;
        for (bits, count) in &mut words {
            *count = before;
            before += bits.count_ones();
        }
        (before as usize == codes.len()).then_some(Self { words, codes })
    }

    #[inline]
    fn find(&self, slot: usize) -> u8 {
        let Some(&(bits, before)) = self.words.get(slot / 64) else { return UNKNOWN };
        let at = before + (bits & ((1 << (slot % 64)) - 1)).count_ones();
        let code = self.codes.get(at as usize).copied().unwrap_or(UNKNOWN);
        if bits >> (slot % 64) & 1 == 1 { code } else { UNKNOWN }
    }
}

/// Walks along the kept slots of one train.
struct Walk<'a> {
    reader: Reader<'a>,
    /// Slot of item `at - 1`.
    slot: u64,
    at: usize,
    codes: &'a [u8],
}

impl Walk<'_> {
    fn find(&mut self, wanted: u64) -> u8 {
        while self.at == 0 || self.slot < wanted {
            let Ok(step) = self.reader.var(u64::MAX) else { return UNKNOWN };
            self.slot += step;
            self.at += 1;
        }
        if self.slot == wanted { self.codes.get(self.at - 1).copied().unwrap_or(UNKNOWN) } else { UNKNOWN }
    }
}
