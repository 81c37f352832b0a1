//! The quantum channel between the two ends: loss, misalignment, and whoever listens.
//!
//! A photon frame is `2 ‖ u64 first slot ‖ u32 pulses ‖ var photons ‖ (var gap·4 + z·2 + bit)*`,
//! the gap being the number of empty slots since the photon before.

use crate::entropy::{Entropy, Rolls, Skip};
use crate::params::{FibreParams, MAX_FRAME_PULSES};
use crate::source::{FrameError, PulseFrame, Qubit};
use crate::wire::{Reader, WireError, put_var};

const KIND: u8 = 2;

/// An eavesdropper who measures a fraction of the pulses, each in a basis of her own random
/// choice, and sends on what she measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap {
    /// Fraction of the pulses intercepted, in [0, 1].
    pub fraction: f64,
}

/// A stretch of fibre.
pub struct Fibre<E> {
    rolls: Rolls<E>,
    skip: Skip,
    misalignment: Skip,
    /// Photons until the next misaligned one.
    straight: u64,
    tap: Option<Tap>,
    next: u64,
    carried: u64,
    intercepted: u64,
}

impl<E: Entropy> Fibre<E> {
    /// A fibre with the given loss and misalignment, not tapped.
    pub fn new(params: &FibreParams, entropy: E) -> Self {
        let mut fibre = Self {
            rolls: Rolls::new(entropy),
            skip: Skip::new(params.transmission()),
            misalignment: Skip::new(params.misalignment),
            straight: 0,
            tap: None,
            next: 0,
            carried: 0,
            intercepted: 0,
        };
        fibre.straight = fibre.rolls.gap(&fibre.misalignment);
        fibre
    }

    /// Taps the fibre from the next frame on, or takes the tap off.
    pub fn set_tap(&mut self, tap: Option<Tap>) {
        self.tap = tap;
    }

    /// The tap in place.
    pub fn tap(&self) -> Option<Tap> {
        self.tap
    }

    /// Photons that left the far end so far.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// How many of [`Self::carried`] the eavesdropper had measured.
    pub fn intercepted(&self) -> u64 {
        self.intercepted
    }

    /// Carries one pulse frame of the source and returns the photon frame that comes out at the
    /// far end. Frames must come in order; missing ones are lost light.
    pub fn carry(&mut self, frame: &[u8]) -> Result<Vec<u8>, FrameError> {
        let frame = PulseFrame::parse(frame)?;
        if frame.first < self.next {
            return Err(FrameError::Replayed { first: frame.first, next: self.next });
        }
        self.next = frame.first + u64::from(frame.pulses);
        let mut photons = Vec::new();
        let (mut slot, mut count) = (0_u64, 0_u64);
        loop {
            let gap = self.rolls.gap(&self.skip);
            slot = slot.saturating_add(gap);
            if slot >= u64::from(frame.pulses) {
                break;
            }
            let qubit = self.disturb(frame.qubit(slot as u32));
            put_var(&mut photons, gap << 2 | u64::from(qubit.z) << 1 | u64::from(qubit.bit));
            count += 1;
            slot += 1;
        }
        self.carried += count;
        let mut out = Vec::with_capacity(photons.len() + 18);
        out.push(KIND);
        out.extend_from_slice(&frame.first.to_le_bytes());
        out.extend_from_slice(&frame.pulses.to_le_bytes());
        put_var(&mut out, count);
        out.append(&mut photons);
        Ok(out)
    }

    fn disturb(&mut self, mut qubit: Qubit) -> Qubit {
        if let Some(Tap { fraction }) = self.tap
            && self.rolls.chance(fraction)
        {
            self.intercepted += 1;
            let roll = self.rolls.word();
            qubit = measure(qubit, roll & 1 == 1, roll & 2 == 2);
        }
        match self.straight.checked_sub(1) {
            Some(left) => self.straight = left,
            None => {
                qubit.bit = !qubit.bit;
                self.straight = self.rolls.gap(&self.misalignment);
            }
        }
        qubit
    }
}

/// Born's rule for the four BB84 states: in the basis of preparation the bit comes back, in the
/// conjugate one either bit with probability one half (`coin`). The photon is left in what was
/// measured.
pub(crate) fn measure(qubit: Qubit, z: bool, coin: bool) -> Qubit {
    Qubit { z, bit: if qubit.z == z { qubit.bit } else { coin } }
}

/// A parsed photon frame.
pub(crate) struct PhotonFrame {
    pub(crate) first: u64,
    pub(crate) pulses: u32,
    /// Slot within the frame, ascending, and state.
    pub(crate) photons: Vec<(u32, Qubit)>,
}

impl PhotonFrame {
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
        let count = reader.var(u64::from(pulses))? as usize;
        if count > reader.left() {
            return Err(WireError::Short);
        }
        let mut photons = Vec::with_capacity(count);
        let mut slot = 0_u64;
        for _ in 0..count {
            let code = reader.var(u64::from(pulses) * 4 + 3)?;
            slot += code >> 2;
            if slot >= u64::from(pulses) {
                return Err(WireError::Number);
            }
            photons.push((slot as u32, Qubit { z: code & 2 == 2, bit: code & 1 == 1 }));
            slot += 1;
        }
        reader.end()?;
        Ok(Self { first, pulses, photons })
    }
}
