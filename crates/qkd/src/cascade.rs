//! Error reconciliation by Cascade (Brassard and Salvail 1993), in the form Martinez-Mateo et al.
//! 2014 (arXiv 1407.3257) found best ("option 8" block sizes).
//!
//! The string is cut into frames of at most 2^14 bits. In each pass a frame is shuffled, cut into
//! blocks of a power of two, and the parities of the blocks are compared. Every block with a
//! different parity holds an odd number of errors, one of which is found by binary search. All
//! parities ever disclosed, of blocks and of the halves met in searches, are kept and used again:
//! a corrected bit turns over every known parity above it in every pass.
//!
//! Bob asks, Alice answers. All questions of all frames that do not depend on each other travel
//! together, so the number of round trips does not grow with the number of frames. Every answer
//! bit counts as one leaked bit; the last block of a pass is never asked for, since the parity of
//! the whole frame is known after the first pass.

mod answer;
mod ask;
mod search;
mod shuffle;
mod tree;

pub(crate) use answer::Answerer;
pub(crate) use ask::Asker;
pub use shuffle::Shuffles;
pub(crate) use shuffle::split_mix;

use std::sync::Arc;

use crate::bits::Bits;
use crate::wire::{Reader, WireError, put_var};

/// Longest frame in bits.
pub(crate) const FRAME_BITS: usize = 1 << 14;

/// Passes, the first over the unshuffled frame.
pub(crate) const PASSES: usize = 14;

/// Log2 of the block size in each pass, and how the string is cut into frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    bits: usize,
    frame: usize,
    levels: [u8; PASSES],
    pace: Pace,
}

/// What reconciliation is sparing with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Leaked bits: searches run in one pass at a time, so that none pays for an error that
    /// another one is about to find.
    Frugal,
    /// Round trips: searches run in all passes at once, and the later passes open together.
    Quick,
}

impl Schedule {
    /// The schedule for a string of `bits` bits with an expected error rate of `qber`.
    ///
    /// With α = log2(1/qber) - 1/2 the frugal block sizes are 2^⌈α⌉, 2^⌈(α + 12)/2⌉, 2^12 and then
    /// half the frame. The quick first two are 2^⌈α - 1⌉ and 2^⌈α + 1⌉, so that less is left to later passes.
    pub fn new(bits: usize, qber: f64, pace: Pace) -> Self {
        let alpha = qber.clamp(1e-4, 0.25).log2().abs() - 0.5;
        let (first, second) = match pace {
            Pace::Frugal => (alpha.ceil(), ((alpha + 12.0) / 2.0).ceil()),
            Pace::Quick => ((alpha - 1.0).ceil(), (alpha + 1.0).ceil()),
        };
        Self::with_levels(bits, first.max(1.0) as u8, second.max(1.0) as u8, pace)
    }

    fn with_levels(bits: usize, first: u8, second: u8, pace: Pace) -> Self {
        let frames = bits.div_ceil(FRAME_BITS).max(1);
        let frame = bits.div_ceil(frames).max(1).next_multiple_of(64);
        let half = shuffle::half_level(frame) as u8;
        let mut levels = [half; PASSES];
        levels[0] = first.min(half);
        levels[1] = second.min(half);
        levels[2] = half.min(12);
        Self { bits, frame, levels, pace }
    }

    /// Bits in the whole string.
    pub fn bits(&self) -> usize {
        self.bits
    }

    /// Bits in a frame; the last one may be filled up with zeros.
    pub fn frame_bits(&self) -> usize {
        self.frame
    }

    pub(crate) fn frames(&self) -> usize {
        self.bits.div_ceil(self.frame.max(1))
    }

    /// Blocks of a pass.
    fn blocks(&self, pass: usize) -> usize {
        if pass > 0 && self.halves(pass) { 2 } else { self.frame.div_ceil(1 << self.levels[pass]) }
    }

    /// Whether there are two blocks in a pass: those have half a frame each, whatever its length.
    fn halves(&self, pass: usize) -> bool {
        shuffle::half_level(self.frame) == u32::from(self.levels[pass])
    }

    /// Block parities disclosed when a pass opens.
    fn opening(&self, pass: usize) -> usize {
        self.blocks(pass) - usize::from(pass > 0)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_var(out, self.bits as u64);
        out.extend_from_slice(&[self.levels[0], self.levels[1], u8::from(self.pace == Pace::Quick)]);
    }

    pub(crate) fn read(reader: &mut Reader<'_>, max_bits: usize) -> Result<Self, WireError> {
        let bits = reader.var(max_bits as u64)? as usize;
        let [first, second, pace] = reader.array()?;
        let pace = match pace {
            0 => Pace::Frugal,
            1 => Pace::Quick,
            _ => return Err(WireError::Number),
        };
        let schedule = Self::with_levels(bits, first, second, pace);
        let kept = schedule.levels[0] == first && schedule.levels[1] == second;
        if kept { Ok(schedule) } else { Err(WireError::Number) }
    }
}

/// Questions about one pass of one frame.
struct Batch<'a> {
    frame: usize,
    pass: usize,
    /// The nodes whose left halves' parities are wanted, as little-endian addresses; none for the
    /// parities of all blocks of the pass.
    nodes: &'a [[u8; 2]],
}

/// A batch: `var (frame·16 + pass) ‖ var count ‖ u16 address ‖ …`; a count of zero opens the pass.
fn write_batch(frame: usize, pass: usize, nodes: &[u16], out: &mut Vec<u8>) {
    put_var(out, (frame * 16 + pass) as u64);
    put_var(out, nodes.len() as u64);
    out.extend(nodes.iter().flat_map(|address| address.to_le_bytes()));
}

/// Reads batches to the end of the message.
fn read_batches(
    reader: &mut Reader<'_>,
    schedule: &Schedule,
    mut take: impl FnMut(Batch<'_>) -> Result<(), WireError>,
) -> Result<(), WireError> {
    if reader.left() == 0 {
        return Err(WireError::Short);
    }
    while reader.left() > 0 {
        let place = reader.var(schedule.frames() as u64 * 16)? as usize;
        let (frame, pass) = (place / 16, place % 16);
        if frame >= schedule.frames() || pass >= PASSES {
            return Err(WireError::Number);
        }
        let count = reader.var(schedule.frame as u64)? as usize;
        let (nodes, _) = reader.take(2 * count)?.as_chunks();
        take(Batch { frame, pass, nodes })?;
    }
    Ok(())
}

/// What one reconciliation took.
#[derive(Debug)]
pub struct Reconciled {
    /// Bob's string after it, equal to Alice's unless errors remain.
    pub key: Bits,
    /// Bits corrected.
    pub corrected: u64,
    /// Parity bits disclosed.
    pub leaked: u64,
    /// Round trips.
    pub rounds: u32,
}

/// Runs both sides against each other through the byte forms of their messages; `shuffles` must be
/// those of the schedule's frame length. For tests and measurements, where one process holds both
/// strings.
pub fn reconcile(alice: &Bits, bob: &Bits, qber: f64, pace: Pace, shuffles: &Arc<Shuffles>) -> Reconciled {
    let schedule = Schedule::new(alice.len(), qber, pace);
    let mut answerer = Answerer::new(schedule.clone(), shuffles.clone(), alice);
    let mut asker = Asker::new(schedule, shuffles.clone(), bob);
    let mut questions = Vec::new();
    while asker.ask(&mut questions) {
        let Ok(parities) = answerer.answer(&mut Reader::new(&questions)) else { break };
        if !asker.answered(&parities) {
            break;
        }
        questions.clear();
    }
    let (corrected, leaked, rounds) = (asker.corrected(), asker.leaked(), asker.rounds());
    Reconciled { key: asker.finish(), corrected, leaked, rounds }
}

#[cfg(test)]
mod tests;
