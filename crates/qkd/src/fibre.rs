//! The quantum channel between the two ends: loss, misalignment, and whoever listens.

use std::collections::VecDeque;
use std::str::FromStr;

use crate::entropy::{Entropy, Rolls, Skip};
use crate::light::{self, Bunch, Bunches, CHOICES, Choices, Glow, Span, TRAIN, Train};
use crate::params::{FibreParams, LinkParams, MEAN_EFFICIENCY, PairParams};
use crate::source::{FrameError, PULSES, PulseFrame, Qubit};
use crate::wire::{Reader, WireError, put_var};

mod late;
mod pairs;

use late::Late;
use pairs::PairTrain;

const PHOTONS: u8 = 2;

/// What an eavesdropper does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Attack {
    /// Measures in a basis of her own random choice and sends on what she measured. Seen in the
    /// error rate, a quarter of the fraction; of pairs, in S.
    #[default]
    InterceptResend,
    /// Blocks single photons and keeps one photon of each larger pulse, which she passes on without
    /// loss. Seen in the decoys' gains; there is nothing to split in single photons.
    SplitPhotons,
    /// Measures, and makes Bob's blinded receiver click where it chooses her setting. Seen in clicks
    /// that do not halve with the receiver's efficiency.
    Blind,
    /// Measures Alice's halves of pairs, makes her blinded receiver click where it chooses that setting,
    /// and lets Bob's halves pass. Seen in Alice's clicks, which do not halve with her receiver's efficiency.
    BlindAlice,
    /// Lets nothing pass. Seen in the rate.
    Loss,
}

/// The text names no attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attack is one of: intercept-resend, pns, blind, blind-alice, loss")]
pub struct UnknownAttack;

impl Attack {
    /// Every attack.
    pub const ALL: [Self; 5] = [Self::InterceptResend, Self::SplitPhotons, Self::Blind, Self::BlindAlice, Self::Loss];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InterceptResend => "intercept-resend",
            Self::SplitPhotons => "pns",
            Self::Blind => "blind",
            Self::BlindAlice => "blind-alice",
            Self::Loss => "loss",
        }
    }
}

impl std::fmt::Display for Attack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Attack {
    type Err = UnknownAttack;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|attack| attack.as_str() == text).ok_or(UnknownAttack)
    }
}

/// An eavesdropper who attacks a fraction of the pulses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap {
    /// What she does to them.
    pub attack: Attack,
    /// Fraction of the pulses, in [0, 1].
    pub fraction: f64,
}

/// How many pulses a frame of Alice's fires; `None` where it fires none.
pub fn train_pulses(frame: &[u8]) -> Option<u32> {
    let kind = frame.first().filter(|kind| [PULSES, TRAIN].contains(kind))?;
    Span::read(&mut Reader::new(frame), *kind).ok().map(|span| span.pulses)
}

/// What comes out of the fibre.
#[derive(Debug, Default)]
pub struct Carried {
    /// A frame for the end that prepares.
    pub to_a: Option<Vec<u8>>,
    /// A frame for the end that measures.
    pub to_b: Option<Vec<u8>>,
}

/// A stretch of fibre.
pub struct Fibre<E> {
    rolls: Rolls<E>,
    params: FibreParams,
    pairs: PairParams,
    /// What the eavesdropper knows of the receiver's efficiency.
    receiver: f64,
    /// The receiver's full efficiency.
    notice: f64,
    skip: Skip,
    misalignment: Skip,
    /// Photons until the next misaligned one.
    straight: u64,
    tap: Option<Tap>,
    next: u64,
    late: VecDeque<Late>,
    paired: VecDeque<PairTrain>,
    carried: u64,
    intercepted: u64,
}

impl<E: Entropy> Fibre<E> {
    /// The fibre of a link, not tapped.
    pub fn new(link: &LinkParams, entropy: E) -> Self {
        let mut fibre = Self {
            rolls: Rolls::new(entropy),
            params: link.fibre.clone(),
            pairs: link.pairs,
            receiver: (link.detector.efficiency * MEAN_EFFICIENCY).min(1.0),
            notice: link.detector.efficiency,
            skip: Skip::new(link.fibre.transmission() * link.detector.efficiency),
            misalignment: Skip::new(link.fibre.misalignment),
            straight: 0,
            tap: None,
            next: 0,
            late: VecDeque::new(),
            paired: VecDeque::new(),
            carried: 0,
            intercepted: 0,
        };
        fibre.straight = fibre.rolls.gap(&fibre.misalignment);
        fibre
    }

    /// Taps the fibre from the next frame on, or takes the tap off.
    pub fn set_tap(&mut self, tap: Option<Tap>) {
        self.tap = tap;
        self.skip = Skip::new(self.transmission() * self.noticed());
    }

    /// The tap in place.
    pub fn tap(&self) -> Option<Tap> {
        self.tap
    }

    /// The part of what arrives that need be told: all of it while an eavesdropper blinds the
    /// receiver, since her pulses make up for what it would not have noticed.
    fn noticed(&self) -> f64 {
        if self.fraction(Attack::Blind) > 0.0 { 1.0 } else { self.notice }
    }

    /// Photons the far end was told of so far: those its detectors notice at full efficiency.
    pub fn carried(&self) -> u64 {
        self.carried
    }

    /// How many of [`Self::carried`] the eavesdropper had touched.
    pub fn intercepted(&self) -> u64 {
        self.intercepted
    }

    /// Part of the light that gets through.
    fn transmission(&self) -> f64 {
        self.params.transmission() * (1.0 - self.fraction(Attack::Loss))
    }

    /// The fraction of the pulses that suffer `attack`.
    fn fraction(&self, attack: Attack) -> f64 {
        self.tap.filter(|tap| tap.attack == attack).map_or(0.0, |tap| tap.fraction)
    }

    /// Takes one frame of Alice's end. Trains must come in order; missing ones are lost light.
    pub fn from_a(&mut self, frame: &[u8]) -> Result<Carried, FrameError> {
        match frame.first() {
            Some(&TRAIN) => {
                let train = Train::parse(frame)?;
                self.advance(train.span)?;
                Ok(match train.glow {
                    Glow::Pairs => self.pump(train.span),
                    glow => Carried { to_a: Some(self.announce(train.span, glow)), to_b: None },
                })
            }
            Some(&CHOICES) => {
                let choices = Choices::parse(frame)?;
                if let Some(at) = self.late.iter().position(|late| late.span == choices.span) {
                    // what was announced before and not answered is lost
                    self.late.drain(..at);
                    let late = self.late.pop_front().ok_or(WireError::Number)?;
                    return Ok(Carried { to_a: None, to_b: Some(self.release(&late, &choices.codes)?) });
                }
                Ok(Carried { to_a: self.measure_half(&choices, true)?, to_b: None })
            }
            _ => Ok(Carried { to_a: None, to_b: Some(self.carry(frame)?) }),
        }
    }

    /// Takes one frame of Bob's end: he measures his halves of pairs.
    pub fn from_b(&mut self, frame: &[u8]) -> Result<Carried, FrameError> {
        let choices = Choices::parse(frame)?;
        Ok(Carried { to_a: None, to_b: self.measure_half(&choices, false)? })
    }

    fn advance(&mut self, span: Span) -> Result<(), FrameError> {
        if span.first < self.next {
            return Err(FrameError::Replayed { first: span.first, next: self.next });
        }
        self.next = span.end();
        Ok(())
    }

    /// Carries one dense train of the source and returns the frame that comes out at the far end.
    fn carry(&mut self, frame: &[u8]) -> Result<Vec<u8>, FrameError> {
        let frame = PulseFrame::parse(frame)?;
        self.advance(frame.span())?;
        if self.fraction(Attack::Blind) > 0.0 {
            let mut bunches = Vec::new();
            let mut slot = self.rolls.gap(&self.skip);
            while slot < u64::from(frame.pulses) {
                let qubit = frame.qubit(slot as u32);
                bunches.extend(self.fake(slot as u32, qubit, 1));
                slot = slot.saturating_add(1).saturating_add(self.rolls.gap(&self.skip));
            }
            self.carried += bunches.len() as u64;
            return Ok(Bunches { span: frame.span(), thinned: false, bunches }.encode());
        }
        let mut photons = Vec::new();
        let (mut slot, mut count) = (0_u64, 0_u64);
        loop {
            let gap = self.rolls.gap(&self.skip);
            slot = slot.saturating_add(gap);
            if slot >= u64::from(frame.pulses) {
                break;
            }
            let qubit = self.disturb(frame.qubit(slot as u32));
            put_var(&mut photons, gap << 2 | u64::from(qubit.code()));
            count += 1;
            slot += 1;
        }
        self.carried += count;
        let mut out = Vec::with_capacity(photons.len() + 18);
        out.extend_from_slice(&frame.span().start_light(PHOTONS, true));
        put_var(&mut out, count);
        out.append(&mut photons);
        Ok(out)
    }

    /// What leaves the fibre where it is under a blinding attack: the pulse itself, or one of the
    /// eavesdropper's, as often as the receiver would have clicked.
    fn fake(&mut self, slot: u32, qubit: Qubit, photons: u8) -> Option<Bunch> {
        let fraction = self.fraction(Attack::Blind);
        if !self.rolls.chance(fraction) {
            let qubit = self.disturb(qubit);
            return Some(Bunch { slot, photons, setting: u8::from(qubit.z), bit: qubit.bit });
        }
        self.intercepted += 1;
        let roll = self.rolls.word();
        // her basis is his half of the time
        if !self.rolls.chance(2.0 * self.receiver) {
            return None;
        }
        let seen = measure(self.align(qubit), roll & 1 == 1, roll & 2 == 2);
        Some(Bunch { slot, photons: 0, setting: u8::from(seen.z), bit: seen.bit })
    }

    fn disturb(&mut self, mut qubit: Qubit) -> Qubit {
        if let Some(Tap { attack: Attack::InterceptResend, fraction }) = self.tap
            && self.rolls.chance(fraction)
        {
            self.intercepted += 1;
            let roll = self.rolls.word();
            qubit = measure(qubit, roll & 1 == 1, roll & 2 == 2);
        }
        self.align(qubit)
    }

    /// Turns the rare photon that leaves in the orthogonal state.
    fn align(&mut self, mut qubit: Qubit) -> Qubit {
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
pub(crate) struct PhotonFrame<T> {
    pub(crate) span: Span,
    pub(crate) thinned: bool,
    /// Slot within the frame, ascending, and what the caller makes of the state.
    pub(crate) photons: Vec<(u32, T)>,
}

impl<T> PhotonFrame<T> {
    pub(crate) fn parse(bytes: &[u8], of: impl Fn(Qubit) -> T) -> Result<Self, WireError> {
        let mut reader = Reader::new(bytes);
        let (span, thinned) = Span::read_light(&mut reader, PHOTONS)?;
        let pulses = span.pulses;
        let count = light::count(&mut reader, 1)?;
        let mut photons = Vec::with_capacity(count);
        let mut slot = 0_u64;
        for _ in 0..count {
            let code = reader.var(u64::from(pulses) * 4 + 3)?;
            slot += code >> 2;
            if slot >= u64::from(pulses) {
                return Err(WireError::Number);
            }
            photons.push((slot as u32, of(Qubit::from_code(code as u8 & 3))));
            slot += 1;
        }
        reader.end()?;
        Ok(Self { span, thinned, photons })
    }
}

#[cfg(test)]
mod tests;
