use std::sync::Arc;

use zeroize::Zeroizing;

use crate::bits::Bits;
use crate::cascade::{Batch, PASSES, Schedule, Shuffles, read_batches};
use crate::reconcile::most_parities;
use crate::wire::{Reader, WireError};

/// Alice's side: discloses the parities Bob asks for, and counts them.
pub(crate) struct Answerer {
    schedule: Schedule,
    shuffles: Arc<Shuffles>,
    frames: Vec<Frame>,
    leaked: u64,
}

struct Frame {
    words: Zeroizing<Vec<u64>>,
    /// The sums of each pass that was asked about; see [`crate::cascade::tree::Shape`].
    passes: [Option<Zeroizing<Vec<u64>>>; PASSES],
}

impl Answerer {
    pub(crate) fn new(schedule: Schedule, shuffles: Arc<Shuffles>, key: &Bits) -> Self {
        let frames = cut(&schedule, key).map(|words| Frame { words, passes: [const { None }; PASSES] }).collect();
        Self { schedule, shuffles, frames, leaked: 0 }
    }

    /// Answers one message of questions with one bit a parity, in order.
    pub(crate) fn answer(&mut self, reader: &mut Reader<'_>) -> Result<Bits, WireError> {
        // a peer that asks for more than there is to know is given up before it knows more
        let most = most_parities(self.schedule.bits as u64);
        let mut out = Bits::with_capacity(reader.left() * 4 + 64);
        let Self { schedule, shuffles, frames, leaked } = self;
        read_batches(reader, schedule, |batch| {
            frames[batch.frame].answer(&batch, schedule, shuffles, &mut out)?;
            if *leaked + out.len() as u64 > most { Err(WireError::Number) } else { Ok(()) }
        })?;
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
}

impl Frame {
    fn answer(
        &mut self,
        batch: &Batch<'_>,
        schedule: &Schedule,
        shuffles: &Shuffles,
        out: &mut Bits,
    ) -> Result<(), WireError> {
        let pass = batch.pass;
        if batch.nodes.is_empty() && pass > 0 && schedule.halves(pass) {
            out.append(u64::from(shuffles.half_parity(pass, &self.words)), 1);
            return Ok(());
        }
        let shape = shuffles.shape(schedule, pass);
        let words = &self.words;
        let sums = self.passes[pass].get_or_insert_with(|| Zeroizing::new(shape.sums(&shuffles.apply(pass, words))));
        if batch.nodes.is_empty() {
            out.extend(&shape.blocks(sums, schedule.opening(pass)));
            return Ok(());
        }
        for nodes in batch.nodes.chunks(64) {
            out.append(shape.left_halves(sums, nodes).ok_or(WireError::Number)?, nodes.len());
        }
        Ok(())
    }
}

/// The frames of `key`, the last one filled up with zeros.
pub(super) fn cut<'a>(schedule: &'a Schedule, key: &'a Bits) -> impl Iterator<Item = Zeroizing<Vec<u64>>> + 'a {
    let count = schedule.frame / 64;
    (0..schedule.frames()).map(move |i| {
        let words = key.words().get(i * count..).unwrap_or_default();
        let words = &words[..words.len().min(count)];
        let mut frame = Zeroizing::new(Vec::with_capacity(count));
        frame.extend_from_slice(words);
        frame.resize(count, 0);
        frame
    })
}
