//! The source of photon pairs in the middle of the fibre, and the pairs under way.
//!
//! A pair has no outcomes before it is measured. The end that measures first gets a random bit, and
//! leaves the other half polarised along what it found (with probability V, the visibility; else
//! unpolarised), so the second end agrees with probability (1 + V cos 2(a - b))/2 whoever is first.

use std::f32::consts::PI;

use super::{Attack, Carried, Fibre};
use crate::bits::Bits;
use crate::detector::Settings;
use crate::entropy::{Entropy, Skip};
use crate::light::{Arrivals, Bunch, Bunches, Choices, NOTICED, Outcomes, Span};
use crate::source::FrameError;
use crate::wire::WireError;

/// Trains with pairs that an end has not measured yet.
const WAITING: usize = 16;

/// The angles of the settings: key, test, and two for CHSH.
const ANGLES: [f32; 4] = [0.0, PI / 4.0, PI / 8.0, 3.0 * PI / 8.0];

/// Where the two halves of a pair are polarised; `None` where they are not.
#[derive(Clone, Copy)]
enum State {
    Entangled,
    Apart { a: Option<f32>, b: Option<f32> },
}

struct Pair {
    slot: u32,
    state: State,
    /// Whether the halves arrive.
    at_a: bool,
    at_b: bool,
}

/// The pairs of one train.
pub(super) struct PairTrain {
    span: Span,
    pairs: Vec<Pair>,
    a_done: bool,
    b_done: bool,
}

impl<E: Entropy> Fibre<E> {
    /// Makes the pairs of one train and tells both ends of what arrives.
    pub(super) fn pump(&mut self, span: Span) -> Carried {
        let half = self.transmission().sqrt();
        let pump = Skip::new(self.pairs.mean / (1.0 + self.pairs.mean));
        let blind = self.fraction(Attack::Blind);
        let is_blinding = self.rolls.chance(blind);
        let mut train = PairTrain { span, pairs: Vec::new(), a_done: false, b_done: is_blinding };
        let mut fakes = Vec::new();
        let mut slot = self.rolls.gap(&pump);
        while slot < u64::from(span.pulses) && train.pairs.len() < crate::params::MAX_ARRIVALS {
            let (at_a, at_b) = (self.rolls.chance(half), self.rolls.chance(half));
            let mut pair = Pair { slot: slot as u32, state: State::Entangled, at_a, at_b };
            if at_b && is_blinding {
                fakes.extend(self.fake_half(&mut pair));
            } else if at_b {
                self.intercept(&mut pair);
            }
            if at_a || at_b {
                train.pairs.push(pair);
            }
            // a gap of 0 is another pair in the same pulse: down-conversion into one mode is thermal
            slot = slot.saturating_add(self.rolls.gap(&pump));
        }
        let slots = |of: fn(&Pair) -> bool| train.pairs.iter().filter(|pair| of(pair)).map(|pair| pair.slot).collect();
        let to_a = Arrivals { span, slots: slots(|pair| pair.at_a) }.encode();
        let to_b = if is_blinding {
            fakes.dedup_by_key(|bunch: &mut Bunch| bunch.slot);
            Bunches { span, bunches: fakes }.encode()
        } else {
            Arrivals { span, slots: slots(|pair| pair.at_b) }.encode()
        };
        self.carried += train.pairs.iter().filter(|pair| pair.at_b).count() as u64;
        if self.paired.len() >= WAITING {
            self.paired.pop_front();
        }
        self.paired.push_back(train);
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

    /// Measures a half in a setting of Bob's and fakes a click of his that agrees.
    fn fake_half(&mut self, pair: &mut Pair) -> Option<Bunch> {
        self.intercepted += 1;
        let roll = self.rolls.word();
        let setting = Settings::Four.choose(roll);
        let (_, bit) = self.collapse(pair, ANGLES[usize::from(setting)], false);
        // (5/8)² + 3/8² of her settings are his
        let click = self.rolls.chance(self.receiver / 0.4375);
        click.then_some(Bunch { slot: pair.slot, photons: 0, setting, bit })
    }

    /// Answers an end that says which arrivals it notices, in which settings. `None` where the train
    /// is no longer kept.
    pub(super) fn measure_half(&mut self, choices: &Choices, is_a: bool) -> Result<Option<Vec<u8>>, FrameError> {
        let Some(at) = self.paired.iter().position(|train| train.span == choices.span) else { return Ok(None) };
        let arrives = |pair: &Pair| if is_a { pair.at_a } else { pair.at_b };
        let train = &self.paired[at];
        let done = if is_a { train.a_done } else { train.b_done };
        if done || train.pairs.iter().filter(|pair| arrives(pair)).count() != choices.codes.len() {
            return Err(WireError::Number.into());
        }
        let mut pairs = std::mem::take(&mut self.paired[at].pairs);
        let mut bits = Bits::default();
        for (pair, &code) in pairs.iter_mut().filter(|pair| arrives(pair)).zip(&choices.codes) {
            if code & NOTICED != 0 {
                bits.push(self.collapse(pair, ANGLES[usize::from(code & 3)], is_a).1);
            }
        }
        let train = &mut self.paired[at];
        train.pairs = pairs;
        *(if is_a { &mut train.a_done } else { &mut train.b_done }) = true;
        if train.a_done && train.b_done {
            self.paired.remove(at);
        }
        Ok(Some(Outcomes { span: choices.span, bits }.encode()))
    }

    /// Measures one half of `pair` at `angle`, by Born's rule; the angle and the bit.
    fn collapse(&mut self, pair: &mut Pair, angle: f32, is_a: bool) -> (f32, bool) {
        let roll = self.rolls.word();
        match pair.state {
            State::Entangled => {
                let bit = roll >> 63 == 1;
                let visibility = self.pairs.visibility * (1.0 - 2.0 * self.params.misalignment);
                let other = self.rolls.chance(visibility).then_some(polarised(angle, bit));
                pair.state = if is_a { State::Apart { a: None, b: other } } else { State::Apart { a: other, b: None } };
                (angle, bit)
            }
            State::Apart { a, b } => {
                let along = if is_a { a } else { b };
                let turned = along.map_or(0.5, |along| f64::from((angle - along).sin().powi(2)));
                (angle, self.rolls.chance(turned))
            }
        }
    }
}

fn polarised(angle: f32, bit: bool) -> f32 {
    if bit { angle + PI / 2.0 } else { angle }
}
