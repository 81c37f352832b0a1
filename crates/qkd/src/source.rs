//! Alice's side of the quantum channel: a source that prepares single photons in one of the four
//! BB84 states, and remembers what it prepared until the block that used it is settled.
//!
//! The key basis is X and the test basis is Z, as in Tomamichel et al. 2012. A pulse frame is
//! `1 ‖ u64 first slot ‖ u32 pulses ‖ basis plane ‖ bit plane`, a set basis bit meaning Z.

use std::collections::VecDeque;

use crate::bits::Bits;
use crate::entropy::{Entropy, Rolls};
use crate::params::MAX_FRAME_PULSES;
use crate::wire::{Reader, WireError};

const KIND: u8 = 1;

/// Why a frame of the quantum channel is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not the byte form of a frame.
    #[error("not a frame of the quantum channel: {0}")]
    Wire(#[from] WireError),
    /// The frame repeats slots that were already carried.
    #[error("the frame starts at slot {first}, but slot {next} is next: drop the frame")]
    Replayed {
        /// First slot of the frame.
        first: u64,
        /// First slot that was still to come.
        next: u64,
    },
}

/// What one pulse was prepared, or measured, as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Qubit {
    /// Whether the basis is Z, the test basis.
    pub(crate) z: bool,
    /// The bit encoded in that basis.
    pub(crate) bit: bool,
}

/// A parsed pulse frame.
pub(crate) struct PulseFrame {
    pub(crate) first: u64,
    pub(crate) pulses: u32,
    pub(crate) basis: Bits,
    pub(crate) bit: Bits,
}

impl PulseFrame {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != KIND {
            return Err(WireError::Kind);
        }
        let first = reader.u64()?;
        let pulses = reader.u32()?;
        if pulses > MAX_FRAME_PULSES || first.checked_add(u64::from(pulses)).is_none_or(|end| end >> 61 != 0) {
            return Err(WireError::Number);
        }
        let mut plane = || {
            let bytes = reader.take((pulses as usize).div_ceil(8))?;
            Bits::from_bytes(bytes, pulses as usize).ok_or(WireError::Number)
        };
        let (basis, bit) = (plane()?, plane()?);
        reader.end()?;
        Ok(Self { first, pulses, basis, bit })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(13 + self.pulses as usize / 4 + 2);
        out.push(KIND);
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.pulses.to_le_bytes());
        self.basis.write_bytes(&mut out);
        self.bit.write_bytes(&mut out);
        out
    }

    pub(crate) fn qubit(&self, index: u32) -> Qubit {
        Qubit { z: self.basis.get(index as usize), bit: self.bit.get(index as usize) }
    }

    fn end(&self) -> u64 {
        self.first + u64::from(self.pulses)
    }
}

/// Alice's photon source.
pub struct Source<E> {
    rolls: Rolls<E>,
    z_log2: u8,
    next: u64,
    retain: u64,
    frames: VecDeque<PulseFrame>,
}

impl<E: Entropy> Source<E> {
    /// A source whose next pulse is in slot `first_slot`. Each pulse is in the test basis with
    /// probability 2^-`z_log2`; what was prepared is kept for the last `retain` pulses. After a
    /// restart `first_slot` must lie above every slot of the run before.
    pub fn new(z_log2: u8, retain: u64, first_slot: u64, entropy: E) -> Self {
        Self { rolls: Rolls::new(entropy), z_log2, next: first_slot, retain, frames: VecDeque::new() }
    }

    /// Prepares the next `pulses` pulses (at most [`MAX_FRAME_PULSES`]) and returns the frame that
    /// goes into the fibre.
    pub fn emit(&mut self, pulses: u32) -> Vec<u8> {
        let pulses = pulses.min(MAX_FRAME_PULSES);
        let len = pulses as usize;
        let words = len.div_ceil(64);
        let basis = (0..words).map(|_| (0..self.z_log2).fold(u64::MAX, |acc, _| acc & self.rolls.word())).collect();
        let bit = (0..words).map(|_| self.rolls.word()).collect();
        let frame = PulseFrame {
            first: self.next,
            pulses,
            basis: Bits::from_words(basis, len),
            bit: Bits::from_words(bit, len),
        };
        let bytes = frame.encode();
        self.next = frame.end();
        self.frames.push_back(frame);
        self.forget_before(self.next.saturating_sub(self.retain));
        bytes
    }

    /// The slot of the next pulse.
    pub fn next_slot(&self) -> u64 {
        self.next
    }

    /// Forgets pulses of frames that lie wholly before `slot`.
    pub fn forget_before(&mut self, slot: u64) {
        while self.frames.front().is_some_and(|frame| frame.end() <= slot) {
            self.frames.pop_front();
        }
    }

    /// What was prepared in each of `slots`, which must ascend; `None` where one was never emitted
    /// or is no longer kept.
    pub(crate) fn prepared(&self, slots: &[u64]) -> Option<Vec<Qubit>> {
        let mut frames = self.frames.iter();
        let mut frame = frames.next()?;
        slots
            .iter()
            .map(|&slot| {
                while slot >= frame.end() {
                    frame = frames.next()?;
                }
                let index = slot.checked_sub(frame.first)?;
                Some(frame.qubit(index as u32))
            })
            .collect()
    }
}
