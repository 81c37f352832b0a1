//! The source of photon pairs in the middle of the fibre, and the pairs under way.
//!
//! A pair has no outcomes before it is measured. The end that measures first gets a random bit, and
//! leaves the other half polarised along what it found (with probability V, the visibility; else
//! unpolarised), so the second end agrees with probability (1 + V cos 2(a - b))/2 whoever is first.

use std::f64::consts::FRAC_1_SQRT_2;

use super::{Attack, Carried, Fibre};
use crate::bits::Bits;
use crate::entropy::{Entropy, Skip};
use crate::light::{Arrivals, Bunch, Bunches, Choices, NOTICED, Outcomes, Span};
use crate::params::MAX_ARRIVALS;
use crate::source::FrameError;
use crate::wire::WireError;

/// Trains with pairs that an end has not measured yet.
const WAITING: usize = 16;

/// The angles of the settings, in units of π/8: key, test, and two for CHSH.
const ANGLES: [u8; 4] = [0, 2, 1, 3];

/// sin² of multiples of π/8 below π.
const SIN_SQUARED: [f64; 8] = {
    let (small, large) = ((1.0 - FRAC_1_SQRT_2) / 2.0, (1.0 + FRAC_1_SQRT_2) / 2.0);
    [0.0, small, 0.5, large, 1.0, large, 0.5, small]
};

/// Where the two halves of a pair are polarised; `None` where they are not.
#[derive(Clone, Copy)]
enum State {
    Entangled,
    Apart { a: Option<u8>, b: Option<u8> },
}

struct Pair {
    slot: u32,
    state: State,
}

/// The pairs of one train.
pub(super) struct PairTrain {
    span: Span,
    pairs: Vec<Pair>,
    /// Those whose halves A and B were told of and have not measured.
    at_a: Option<Vec<u32>>,
    at_b: Option<Vec<u32>>,
}

impl<E: Entropy> Fibre<E> {
    /// Makes the pairs of one train and tells both ends of what arrives.
    pub(super) fn pump(&mut self, span: Span) -> Carried {
        let (bob, alice) = (self.fraction(Attack::Blind), self.fraction(Attack::BlindAlice));
        let (blinds_bob, blinds_alice) = (self.rolls.chance(bob), self.rolls.chance(alice));
        let is_blinding = blinds_bob || blinds_alice;
        let noticed = if is_blinding { 1.0 } else { self.notice };
        let half = self.transmission().sqrt() * noticed;
        // pairs of which neither half is noticed are never made: of a thermal number of pairs a part
        // drawn at random is thermal too
        let any = 1.0 - (1.0 - half) * (1.0 - half);
        let mean = self.pairs.mean * any;
        let pump = Skip::new(mean / (1.0 + mean));
        let is_tapped = self.tap.is_some();
        let room = ((f64::from(span.pulses) * mean * 1.2) as usize).min(MAX_ARRIVALS);
        let (mut pairs, mut at_a, mut at_b) =
            (Vec::with_capacity(room), Vec::with_capacity(room), Vec::with_capacity(room));
        let mut fakes = Vec::new();
        let mut slot = self.rolls.gap(&pump);
        while slot < u64::from(span.pulses) && pairs.len() < MAX_ARRIVALS {
            let roll = self.rolls.coarse() * any;
            let mut pair = Pair { slot: slot as u32, state: State::Entangled };
            let number = pairs.len() as u32;
            if roll <= half {
                at_a.push(number);
                if blinds_alice {
                    fakes.extend(self.fake_half(&mut pair, true));
                }
            }
            if roll <= half * half || roll > half {
                at_b.push(number);
                if blinds_bob {
                    fakes.extend(self.fake_half(&mut pair, false));
                } else if is_tapped && !blinds_alice {
                    self.intercept(&mut pair);
                }
            }
            pairs.push(pair);
            // a gap of 0 is another pair in the same pulse: down-conversion into one mode is thermal
            slot = slot.saturating_add(self.rolls.gap(&pump));
        }
        fakes.dedup_by_key(|bunch: &mut Bunch| bunch.slot);
        let bright = Bunches { span, thinned: false, bunches: fakes };
        let arrivals = |at: &[u32]| {
            let slots = at.iter().map(|&number| pairs[number as usize].slot).collect();
            Arrivals { span, thinned: !is_blinding, slots }.encode()
        };
        let to_a = if blinds_alice { bright.encode() } else { arrivals(&at_a) };
        let to_b = if blinds_bob { bright.encode() } else { arrivals(&at_b) };
        self.carried += at_b.len() as u64;
        if self.paired.len() >= WAITING {
            self.paired.pop_front();
        }
        self.paired.push_back(PairTrain {
            span,
            pairs,
            at_a: (!blinds_alice).then_some(at_a),
            at_b: (!blinds_bob).then_some(at_b),
        });
        Carried { to_a: Some(to_a), to_b: Some(to_b) }
    }

    /// Measures a half on its way to Bob, at 0 or 45 degrees, and sends on what was found.
    fn intercept(&mut self, pair: &mut Pair) {
        let fraction = self.fraction(Attack::InterceptResend);
        if self.rolls.chance(fraction) {
            self.intercepted += 1;
            let setting = u8::from(self.rolls.word() & 1 == 1);
            let (angle, bit) = self.collapse(pair, ANGLES[usize::from(setting)], false);
            if let State::Apart { b, .. } = &mut pair.state {
                *b = Some(polarised(angle, bit));
            }
        }
    }

    /// Measures a half in one of its receiver's settings and fakes a click that agrees. Each setting, two of
    /// Alice's and four of Bob's, is as likely, so that they come as often among faked clicks as they are
    /// chosen.
    fn fake_half(&mut self, pair: &mut Pair, is_a: bool) -> Option<Bunch> {
        self.intercepted += 1;
        let setting = (self.rolls.word() >> if is_a { 63 } else { 62 }) as u8;
        let (_, bit) = self.collapse(pair, ANGLES[usize::from(setting)], is_a);
        // her setting is the receiver's half or a quarter of the time
        let click = self.rolls.chance(if is_a { 2.0 } else { 4.0 } * self.receiver);
        click.then_some(Bunch { slot: pair.slot, photons: 0, setting, bit })
    }

    /// Answers an end that says which arrivals it notices, in which settings. `None` where the train
    /// is no longer kept.
    pub(super) fn measure_half(&mut self, choices: &Choices, is_a: bool) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(at) = self.paired.iter().position(|train| train.span == choices.span) else { return Ok(None) };
        let train = &mut self.paired[at];
        let arrived = if is_a { &mut train.at_a } else { &mut train.at_b };
        let arrived = arrived.take_if(|numbers| numbers.len() == choices.codes.len()).ok_or(WireError::Number)?;
        let mut pairs = std::mem::take(&mut train.pairs);
        let mut bits = Bits::with_capacity(arrived.len());
        for (&number, &code) in arrived.iter().zip(&choices.codes) {
            if code & NOTICED != 0 {
                let (_, bit) = self.collapse(&mut pairs[number as usize], ANGLES[usize::from(code & 3)], is_a);
                bits.push(bit);
            }
        }
        let train = &mut self.paired[at];
        train.pairs = pairs;
        if train.at_a.is_none() && train.at_b.is_none() {
            self.paired.remove(at);
        }
        Ok(Some(Outcomes { span: choices.span, bits }.encode()))
    }

    /// Measures one half of `pair` at `angle`, by Born's rule; the angle and the bit.
    fn collapse(&mut self, pair: &mut Pair, angle: u8, is_a: bool) -> (u8, bool) {
        match pair.state {
            State::Entangled => {
                let roll = self.rolls.word();
                let bit = roll >> 63 == 1;
                let visibility = self.pairs.visibility * (1.0 - 2.0 * self.params.misalignment);
                // 53 bits beside the one of the outcome
                let unit = (roll & ((1 << 53) - 1)) as f64 * 2_f64.powi(-53);
                let other = (unit < visibility).then_some(polarised(angle, bit));
                pair.state = if is_a { State::Apart { a: None, b: other } } else { State::Apart { a: other, b: None } };
                (angle, bit)
            }
            State::Apart { a, b } => {
                let along = if is_a { a } else { b };
                let turned = along.map_or(0.5, |along| SIN_SQUARED[usize::from((angle + 8 - along) % 8)]);
                // a roll is above 0 and at most 1, so certainty stays certain
                (angle, self.rolls.coarse() <= turned)
            }
        }
    }
}

/// Where a half is polarised that was found in a setting, in units of π/8 below π.
fn polarised(angle: u8, bit: bool) -> u8 {
    if bit { angle + 4 } else { angle }
}
