//! Alice's side of the quantum channel: a source that prepares single photons or weak pulses in one
//! of the four BB84 states, and remembers what it prepared until the block that used it is settled.
//!
//! The key basis is X and the test basis is Z, as in Tomamichel et al. 2012. Where most of a train
//! gets through, it is prepared pulse by pulse and sent as two planes, a set basis bit meaning Z;
//! otherwise each pulse is prepared when the fibre or the receiver names its slot (see
//! [`light`](crate::light)). Every choice is drawn from the caller's entropy alone.

use types::mesh::Protocol;

use crate::bits::Bits;
use crate::decoy::Intensities;
use crate::entropy::{Coins, Entropy, Rolls};
use crate::light::{Arrivals, Choices, Glow, Span, Train};
use crate::memory::{Memory, UNKNOWN};
use crate::params::{LinkParams, MAX_DENSE_PULSES, MAX_FRAME_PULSES};
use crate::wire::{Reader, WireError};

pub(crate) const PULSES: u8 = 1;

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

impl Qubit {
    pub(crate) fn code(self) -> u8 {
        u8::from(self.z) << 1 | u8::from(self.bit)
    }

    pub(crate) fn from_code(code: u8) -> Self {
        Self { z: code & 2 == 2, bit: code & 1 == 1 }
    }
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
        let Span { first, pulses } = Span::read(&mut reader, PULSES)?;
        if pulses > MAX_DENSE_PULSES {
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
        out.extend_from_slice(&self.span().start(PULSES));
        self.basis.write_bytes(&mut out);
        self.bit.write_bytes(&mut out);
        out
    }

    pub(crate) fn span(&self) -> Span {
        Span { first: self.first, pulses: self.pulses }
    }

    pub(crate) fn bytes(&self) -> usize {
        8 * (self.basis.words().len() + self.bit.words().len())
    }

    pub(crate) fn qubit(&self, index: u32) -> Qubit {
        Qubit { z: self.basis.get(index as usize), bit: self.bit.get(index as usize) }
    }

    pub(crate) fn code(&self, index: u32) -> u8 {
        self.qubit(index).code()
    }
}

/// Alice's photon source.
pub struct Source<E> {
    /// Of what becomes key.
    bits: Coins<E>,
    /// Of bases and intensities.
    choices: Rolls<E>,
    z_log2: u8,
    dense: bool,
    /// Of weak pulses.
    intensities: Option<Intensities>,
    /// Below the first of these, of 2^53, a pulse has the first intensity, below the second the second.
    bounds: [u64; 2],
    next: u64,
    retain: u64,
    memory: Memory,
}

impl<E: Entropy> Source<E> {
    /// A source whose next pulse is in slot `first_slot`. Each pulse is in the test basis with
    /// probability 2^-`z_log2`; what was prepared is kept for the last `retain` pulses. After a
    /// restart `first_slot` must lie above every slot of the run before. `bits` gives what is
    /// encoded, one bit a pulse; `choices` gives bases and intensities.
    pub fn new(params: &LinkParams, retain: u64, first_slot: u64, bits: E, choices: E) -> Self {
        let intensities = (params.block.protocol == Protocol::DecoyBb84).then_some(params.block.intensities);
        Self {
            bits: Coins::new(bits),
            choices: Rolls::new(choices),
            z_log2: params.z_log2,
            dense: params.is_dense(),
            intensities,
            bounds: intensities.map_or([0; 2], |set| {
                let bound = |p: f64| (p * 2_f64.powi(53)).round() as u64;
                [bound(set.probability[0]), bound(set.probability[0] + set.probability[1])]
            }),
            next: first_slot,
            retain,
            memory: Memory::default(),
        }
    }

    /// Fires the next `pulses` pulses (at most [`MAX_FRAME_PULSES`], or [`MAX_DENSE_PULSES`] where
    /// they are sent one by one) and returns the frame that goes into the fibre.
    pub fn emit(&mut self, pulses: u32) -> Vec<u8> {
        let pulses = pulses.min(if self.dense { MAX_DENSE_PULSES } else { MAX_FRAME_PULSES });
        let span = Span { first: self.next, pulses };
        self.next = span.end();
        self.memory.forget_before(self.next.saturating_sub(self.retain));
        if !self.dense {
            let glow = self.intensities.map_or(Glow::Single, |set| Glow::Weak(set.mean));
            return Train { span, glow }.encode();
        }
        let len = pulses as usize;
        let words = len.div_ceil(64);
        let basis = (0..words).map(|_| (0..self.z_log2).fold(u64::MAX, |acc, _| acc & self.choices.word())).collect();
        let bit = (0..words).map(|_| self.bits.word()).collect();
        let frame = PulseFrame {
            first: span.first,
            pulses,
            basis: Bits::from_words(basis, len),
            bit: Bits::from_words(bit, len),
        };
        let bytes = frame.encode();
        self.memory.keep_planes(frame);
        bytes
    }

    /// Prepares the pulses that the fibre names, once, and returns the frame that says how.
    pub fn light(&mut self, frame: &[u8]) -> Result<Vec<u8>, FrameError> {
        let (span, count, steps) = Arrivals::check(frame)?;
        let next = self.memory.end().unwrap_or(0);
        if span.first < next {
            return Err(FrameError::Replayed { first: span.first, next });
        }
        if span.end() > self.next {
            return Err(WireError::Number.into());
        }
        let mut codes = Vec::with_capacity(count);
        (0..count).for_each(|_| codes.push(self.prepare()));
        let frame = Choices::of(span, &codes);
        self.memory.keep_steps(span, steps.to_vec(), codes);
        Ok(frame)
    }

    /// Draws one pulse: basis, bit, intensity.
    fn prepare(&mut self) -> u8 {
        let roll = self.choices.word();
        let z = roll & ((1 << self.z_log2) - 1) == 0;
        let code = Qubit { z, bit: self.bits.toss() }.code();
        if self.intensities.is_none() {
            return code;
        }
        // the eleven lowest bits are left to the basis
        let unit = roll >> 11;
        let intensity = u8::from(unit >= self.bounds[0]) + u8::from(unit >= self.bounds[1]);
        intensity << 2 | code
    }

    /// Where choices come from.
    pub(crate) fn choices(&mut self) -> &mut E {
        self.choices.source()
    }

    /// The slot of the next pulse.
    pub fn next_slot(&self) -> u64 {
        self.next
    }

    /// Forgets pulses of frames that lie wholly before `slot`.
    pub fn forget_before(&mut self, slot: u64) {
        self.memory.forget_before(slot);
    }

    /// Forgets all pulses.
    pub fn clear(&mut self) {
        self.memory.clear();
    }

    /// Bytes held for pulses that may still be named.
    pub fn held_bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// What was prepared in each of `slots`, which must ascend, as kept codes; `None` where one was
    /// never fired or is no longer kept. A slot the fibre did not name is prepared now: the
    /// receiver clicked there without light.
    pub(crate) fn recall(&mut self, slots: &[u64]) -> Option<Vec<u8>> {
        let (first, last) = (*slots.first()?, *slots.last()?);
        if self.memory.first()? > first || last >= self.next {
            return None;
        }
        let mut codes = self.memory.recall(slots);
        if self.dense && codes.contains(&UNKNOWN) {
            return None;
        }
        for code in codes.iter_mut().filter(|code| **code == UNKNOWN) {
            *code = self.prepare();
        }
        Some(codes)
    }
}
