//! Pulses that are prepared late: weak ones, and single photons few of which get through.
//!
//! Whether a slot is announced must not depend on what the pulse in it will be. So a slot is
//! announced as often as the strongest pulse would get through, and a weaker one is then dropped as
//! much more often as it is weaker.

use super::{Attack, Fibre, Tap};
use crate::entropy::{Entropy, Skip};
use crate::light::{Arrivals, Bunch, Bunches, Glow, Span};
use crate::source::{FrameError, Qubit};
use crate::wire::WireError;

/// Trains announced to the source and not answered.
const WAITING: usize = 16;

/// A train whose slots are announced and whose pulses are not prepared yet.
pub(super) struct Late {
    pub(super) span: Span,
    glow: Glow,
    slots: Vec<u32>,
    /// How often a slot was announced.
    announced: f64,
    tap: Option<Tap>,
    transmission: f64,
    /// Part of what arrives that the receiver is told of.
    noticed: f64,
}

/// How often a pulse of one intensity gets through, as bounds for one roll: up to `three` three
/// photons or more get through, up to `two` two, up to `one` one; from there up to `split_two` the
/// eavesdropper who splits photons off passes on two or more, up to `split_one` one.
#[derive(Clone, Copy)]
struct Passing {
    three: f64,
    two: f64,
    one: f64,
    split_two: f64,
    split_one: f64,
}

/// Probability of at least `least` photons, at most 3, in a pulse of mean `mean`.
fn at_least(least: u8, mean: f64) -> f64 {
    match least {
        0 => 1.0,
        1 => -(-mean).exp_m1(),
        2 => 1.0 - (-mean).exp() * (1.0 + mean),
        _ => 1.0 - (-mean).exp() * (1.0 + mean + mean * mean / 2.0),
    }
}

impl Late {
    fn passing(&self, k: usize) -> Passing {
        let Glow::Weak(means) = self.glow else {
            let one = self.transmission * self.noticed;
            return Passing { three: 0.0, two: 0.0, one, split_two: one, split_one: one };
        };
        let split = self.tap.filter(|tap| tap.attack == Attack::SplitPhotons).map_or(0.0, |tap| tap.fraction);
        let mean = means[k.min(2)];
        // she passes on as many of the strongest pulses as would have arrived
        let wanted = at_least(1, means[0] * self.transmission);
        let pass = (wanted / at_least(2, means[0]).max(f64::MIN_POSITIVE)).min(1.0);
        let honest = |least| (1.0 - split) * at_least(least, mean * self.transmission * self.noticed);
        // one photon is hers: of two one is left to be noticed, of three two
        let (two, three) = (at_least(2, mean) - at_least(3, mean), at_least(3, mean));
        let (seen, missed) = (self.noticed, 1.0 - self.noticed);
        let both = split * pass * three * seen * seen;
        let any = split * pass * (two * seen + three * (1.0 - missed * missed));
        let one = honest(1);
        Passing { three: honest(3), two: honest(2), one, split_two: one + both, split_one: one + any }
    }
}

impl<E: Entropy> Fibre<E> {
    /// Names the slots of a train in which something may get through.
    pub(super) fn announce(&mut self, span: Span, glow: Glow) -> Vec<u8> {
        let transmission = self.transmission();
        let mut late = Late {
            span,
            glow,
            slots: Vec::new(),
            announced: 1.0,
            tap: self.tap,
            transmission,
            noticed: self.noticed(),
        };
        late.announced = late.passing(0).split_one;
        let skip = Skip::new(late.announced);
        let mut slot = self.rolls.gap(&skip);
        while slot < u64::from(span.pulses) && late.slots.len() < crate::params::MAX_ARRIVALS {
            late.slots.push(slot as u32);
            slot = slot.saturating_add(1).saturating_add(self.rolls.gap(&skip));
        }
        let arrivals = Arrivals { span, thinned: false, slots: late.slots };
        let frame = arrivals.encode();
        late.slots = arrivals.slots;
        if self.late.len() >= WAITING {
            self.late.pop_front();
        }
        self.late.push_back(late);
        frame
    }

    /// Lets the pulses of a train through, now that they are prepared.
    pub(super) fn release(&mut self, late: &Late, codes: &[u8]) -> Result<Vec<u8>, FrameError> {
        if codes.len() != late.slots.len() || codes.iter().any(|code| code >> 2 > 2) {
            return Err(WireError::Number.into());
        }
        let passing = [late.passing(0), late.passing(1), late.passing(2)];
        let nothing = Bunch { slot: 0, photons: 0, setting: 0, bit: false };
        let mut bunches = vec![nothing; late.slots.len()];
        let mut through = 0;
        // which pulses get through is a matter of chance: nothing here is for a processor to guess
        for (&slot, &code) in late.slots.iter().zip(codes) {
            let Passing { three, two, one, split_two, split_one } = passing[usize::from(code >> 2)];
            let roll = self.rolls.coarse() * late.announced;
            let passed = roll <= split_one;
            let split = passed & (roll > one);
            let more =
                if split { u8::from(roll <= split_two) } else { u8::from(roll <= two) + u8::from(roll <= three) };
            let Qubit { z, bit } = Qubit::from_code(code & 3);
            bunches[through] = Bunch { slot, photons: 1 + more, setting: u8::from(z), bit };
            through += usize::from(passed);
            self.intercepted += u64::from(split);
        }
        bunches.truncate(through);
        let blinded = late.tap.is_some_and(|tap| tap.attack == Attack::Blind && tap.fraction > 0.0);
        if blinded {
            let faked = bunches.into_iter().filter_map(|bunch| self.fake(bunch.slot, bunch.qubit(), bunch.photons));
            bunches = faked.collect();
        } else {
            for bunch in &mut bunches {
                let qubit = self.disturb(bunch.qubit());
                (bunch.setting, bunch.bit) = (u8::from(qubit.z), qubit.bit);
            }
        }
        self.carried += bunches.len() as u64;
        Ok(Bunches { span: late.span, thinned: !blinded, bunches }.encode())
    }
}
