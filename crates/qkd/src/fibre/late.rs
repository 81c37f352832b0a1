//! Pulses that are prepared late: weak ones, and single photons few of which get through.
//!
//! Whether a slot is announced must not depend on what the pulse in it will be. So a slot is
//! announced as often as the strongest pulse would get through, and a weaker one is then dropped as
//! much more often as it is weaker.

use super::{Attack, Fibre, Tap};
use crate::entropy::{Entropy, Skip};
use crate::light::{Arrivals, Bunch, Bunches, Glow, MAX_BUNCH, Span};
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
}

impl Late {
    /// How often a pulse of intensity `k` gets through honestly, and how often out of the hands of
    /// an eavesdropper who splits photons off.
    fn passing(&self, k: usize) -> (f64, f64) {
        let Glow::Weak(means) = self.glow else { return (self.transmission, 0.0) };
        let split = self.tap.filter(|tap| tap.attack == Attack::SplitPhotons).map_or(0.0, |tap| tap.fraction);
        let mean = means[k.min(2)];
        let several = |mean: f64| 1.0 - (-mean).exp() * (1.0 + mean);
        // she passes on as many of the strongest pulses as would have arrived
        let wanted = -(-means[0] * self.transmission).exp_m1();
        let pass = (wanted / several(means[0]).max(f64::MIN_POSITIVE)).min(1.0);
        ((1.0 - split) * -(-mean * self.transmission).exp_m1(), split * pass * several(mean))
    }
}

impl<E: Entropy> Fibre<E> {
    /// Names the slots of a train in which something may get through.
    pub(super) fn announce(&mut self, span: Span, glow: Glow) -> Vec<u8> {
        let transmission = self.transmission();
        let mut late = Late { span, glow, slots: Vec::new(), announced: 1.0, tap: self.tap, transmission };
        let (honest, split) = late.passing(0);
        late.announced = honest + split;
        let skip = Skip::new(late.announced);
        let mut slot = self.rolls.gap(&skip);
        while slot < u64::from(span.pulses) && late.slots.len() < crate::params::MAX_ARRIVALS {
            late.slots.push(slot as u32);
            slot = slot.saturating_add(1).saturating_add(self.rolls.gap(&skip));
        }
        let arrivals = Arrivals { span, slots: late.slots };
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
        let mut bunches = Vec::new();
        for (&slot, &code) in late.slots.iter().zip(codes) {
            let k = usize::from(code >> 2);
            let (honest, split) = passing[k];
            let roll = self.rolls.unit() * late.announced;
            let mean = if let Glow::Weak(means) = late.glow { means[k] } else { 0.0 };
            let photons = if roll <= honest {
                self.photons(mean * late.transmission, 1)
            } else if roll <= honest + split {
                self.intercepted += 1;
                self.photons(mean, 2) - 1
            } else {
                continue;
            };
            let qubit = Qubit::from_code(code & 3);
            if self.fraction(Attack::Blind) > 0.0 {
                bunches.extend(self.fake(slot, qubit, photons));
            } else {
                let qubit = self.disturb(qubit);
                bunches.push(Bunch { slot, photons, setting: u8::from(qubit.z), bit: qubit.bit });
            }
        }
        self.carried += bunches.len() as u64;
        Ok(Bunches { span: late.span, bunches }.encode())
    }

    /// A Poisson number of photons of mean `mean`, given that it is at least `least`.
    fn photons(&mut self, mean: f64, least: u8) -> u8 {
        let mut weight = (1..=least).fold(1.0, |w, n| w * mean / f64::from(n));
        // the tail from `least` on, in units of e^-mean
        let below: f64 = (0..least).map(|n| (1..=n).fold(1.0, |w, i| w * mean / f64::from(i))).sum();
        let mut roll = self.rolls.unit() * (mean.exp() - below);
        let mut n = least;
        while roll > weight && n < MAX_BUNCH {
            roll -= weight;
            n += 1;
            weight *= mean / f64::from(n);
        }
        n
    }
}
