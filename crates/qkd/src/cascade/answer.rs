use std::sync::Arc;

use crate::bits::Bits;
use crate::cascade::{PASSES, Query, Schedule, Shuffles, read_queries};
use crate::wire::{Reader, WireError};

/// Alice's side: discloses the parities Bob asks for, and counts them.
pub(crate) struct Answerer {
    schedule: Schedule,
    shuffles: Arc<Shuffles>,
    /// Each frame in the order of each pass that was asked about.
    frames: Vec<[Option<Bits>; PASSES]>,
    leaked: u64,
}

impl Answerer {
    pub(crate) fn new(schedule: Schedule, shuffles: Arc<Shuffles>, key: &Bits) -> Self {
        let frames = cut(&schedule, key)
            .map(|frame| {
                let mut passes = [const { None }; PASSES];
                passes[0] = Some(frame);
                passes
            })
            .collect();
        Self { schedule, shuffles, frames, leaked: 0 }
    }

    /// Answers one batch of questions with one bit a parity, in order.
    pub(crate) fn answer(&mut self, reader: &mut Reader<'_>) -> Result<Bits, WireError> {
        let queries = read_queries(reader, &self.schedule)?;
        let len = self.schedule.frame;
        let mut out = Bits::default();
        for query in queries {
            match query {
                Query::Open { frame, pass } => {
                    let level = self.schedule.levels[pass];
                    let opening = self.schedule.opening(pass);
                    if opening == 1 && self.schedule.halves(pass) && pass > 0 {
                        let bits = self.frames[frame][0].as_ref();
                        out.push(bits.is_some_and(|bits| self.shuffles.half_parity(pass, bits)));
                        continue;
                    }
                    let bits = self.ordered(frame, pass);
                    for block in 0..opening {
                        out.push(bits.parity(block << level, ((block + 1) << level).min(len)));
                    }
                }
                Query::Left { frame, pass, node } => {
                    let (start, end) = node.child(false).range(len);
                    out.push(self.ordered(frame, pass).parity(start, end));
                }
            }
            // A peer that asks for more than there is to know is given up before it knows more.
            if self.leaked + out.len() as u64 > self.schedule.bits as u64 * 2 + 1_024 {
                return Err(WireError::Number);
            }
        }
        self.leaked += out.len() as u64;
        Ok(out)
    }

    /// Frames the string is cut into.
    pub(crate) fn frames(&self) -> u32 {
        self.frames.len() as u32
    }

    /// Parity bits disclosed so far.
    pub(crate) fn leaked(&self) -> u64 {
        self.leaked
    }

    fn ordered(&mut self, frame: usize, pass: usize) -> &Bits {
        let passes = &mut self.frames[frame];
        if passes[pass].is_none() {
            passes[pass] = passes[0].as_ref().map(|bits| self.shuffles.apply(pass, bits));
        }
        passes[pass].get_or_insert_with(Bits::default)
    }
}

/// The frames of `key`, the last one filled up with zeros.
pub(super) fn cut<'a>(schedule: &'a Schedule, key: &'a Bits) -> impl Iterator<Item = Bits> + 'a {
    (0..schedule.frames()).map(move |i| {
        let start = i * schedule.frame;
        let part = key.slice(start, schedule.frame.min(key.len() - start));
        Bits::from_words(part.words().to_vec(), schedule.frame)
    })
}
