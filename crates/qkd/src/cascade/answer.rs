use std::sync::Arc;

use crate::bits::Bits;
use crate::cascade::order::Order;
use crate::cascade::{Batch, PASSES, Schedule, Shuffles, read_batches};
use crate::wire::{Reader, WireError};

/// Alice's side: discloses the parities Bob asks for, and counts them.
pub(crate) struct Answerer {
    schedule: Schedule,
    shuffles: Arc<Shuffles>,
    /// Each frame in the order of each pass that was asked about.
    frames: Vec<[Option<Order>; PASSES]>,
    leaked: u64,
}

impl Answerer {
    pub(crate) fn new(schedule: Schedule, shuffles: Arc<Shuffles>, key: &Bits) -> Self {
        let frames = cut(&schedule, key)
            .map(|frame| {
                let mut passes = [const { None }; PASSES];
                passes[0] = Some(Order::new(frame));
                passes
            })
            .collect();
        Self { schedule, shuffles, frames, leaked: 0 }
    }

    /// Answers one message of questions with one bit a parity, in order.
    pub(crate) fn answer(&mut self, reader: &mut Reader<'_>) -> Result<Bits, WireError> {
        let schedule = self.schedule.clone();
        // a peer that asks for more than there is to know is given up before it knows more
        let most = schedule.bits as u64 * 2 + 1_024;
        let mut out = Bits::default();
        read_batches(reader, &schedule, |batch| {
            self.answer_batch(&batch, &mut out);
            if self.leaked + out.len() as u64 > most { Err(WireError::Number) } else { Ok(()) }
        })?;
        self.leaked += out.len() as u64;
        Ok(out)
    }

    fn answer_batch(&mut self, batch: &Batch<'_>, out: &mut Bits) {
        let (frame, pass, level) = (batch.frame, batch.pass, batch.level);
        let len = self.schedule.frame;
        if let Some(indices) = batch.indices {
            let order = self.ordered(frame, pass);
            for &index in indices {
                let start = (index as usize) << level;
                out.push(order.parity(start, start + (1 << (level - 1))));
            }
            return;
        }
        let opening = self.schedule.opening(pass);
        if opening == 1 && self.schedule.halves(pass) && pass > 0 {
            let words = self.frames[frame][0].as_ref().map(Order::words);
            out.push(words.is_some_and(|words| self.shuffles.half_parity(pass, words)));
            return;
        }
        let level = self.schedule.levels[pass];
        let order = self.ordered(frame, pass);
        (0..opening).for_each(|block| out.push(order.parity(block << level, ((block + 1) << level).min(len))));
    }

    /// Frames the string is cut into.
    pub(crate) fn frames(&self) -> u32 {
        self.frames.len() as u32
    }

    /// Parity bits disclosed so far.
    pub(crate) fn leaked(&self) -> u64 {
        self.leaked
    }

    fn ordered(&mut self, frame: usize, pass: usize) -> &Order {
        let passes = &mut self.frames[frame];
        if passes[pass].is_none() {
            let words = passes[0].as_ref().map(|bits| bits.words().collect());
            passes[pass] = words.map(|words| Order::new(self.shuffles.apply(pass, words)));
        }
        passes[pass].get_or_insert_with(|| Order::new(Vec::new()))
    }
}

/// The frames of `key`, the last one filled up with zeros.
pub(super) fn cut<'a>(schedule: &'a Schedule, key: &'a Bits) -> impl Iterator<Item = Vec<u64>> + 'a {
    (0..schedule.frames()).map(move |i| {
        let from = i * schedule.frame / 64;
        let words = key.words().get(from..).unwrap_or_default();
        let mut words = words[..words.len().min(schedule.frame / 64)].to_vec();
        words.resize(schedule.frame / 64, 0);
        words
    })
}
