//! What reaches the receiver, pulse by pulse, honestly or with an attacker in the middle.
//!
//! A pulse of n photons clicks with probability Y_n (the yield) and is wrong with probability e_n.
//! Honest and attacked channels differ in nothing else, so clicks are drawn from yields alone and
//! cost grows with clicks, not with pulses.

use crate::decoy::{Counts, Intensities};
use crate::entropy::{Entropy, Rolls, Skip};

/// Photon numbers beyond this are not told apart.
const MAX_PHOTONS: usize = 16;

/// The optics of a decoy-state link.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Optics {
    /// Probability that a photon passes the fibre.
    pub transmission: f64,
    /// Probability that the receiver notices a photon.
    pub efficiency: f64,
    /// Background clicks per pulse.
    pub background: f64,
    /// Probability of a wrong bit from a detected photon.
    pub misalignment: f64,
    /// Probability that an end chooses the key basis.
    pub key_basis: f64,
}

/// An attacker on the channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Attack {
    /// Nobody.
    None,
    /// Measures a fraction of the pulses in random bases and sends on the result: seen in the
    /// error rate, a quarter of the fraction.
    Intercept {
        /// Fraction of pulses.
        fraction: f64,
    },
    /// Blocks single photons and keeps one photon of each larger pulse, passing the rest through a
    /// lossless channel at a rate that keeps the signal's gain: invisible in gain and error rate,
    /// seen in the decoys' yields.
    SplitPhotons,
    /// Blinds the receiver and makes it click at will when its basis is hers: no error, but the
    /// clicks no longer follow the receiver's own efficiency (Lim et al. 2015, arXiv 1408.6398).
    Blind,
    /// Lets through a fraction of the light: seen in the gain.
    Deny {
        /// Fraction let through.
        pass: f64,
    },
}

/// What a run over a channel showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    /// Pulses sent.
    pub pulses: u64,
    /// Sifted events.
    pub counts: Counts,
    /// Clicks in slots in which the receiver had its full efficiency.
    pub full: u64,
    /// Clicks in as many slots in which the receiver, at random, had half its efficiency.
    pub halved: u64,
}

impl Sample {
    /// Clicks per pulse.
    pub fn gain(&self) -> f64 {
        (self.full + self.halved) as f64 / (self.pulses as f64).max(1.0)
    }

    /// Whether the clicks ignore the receiver's efficiency, at confidence 1 - `eps`. Of honest
    /// clicks at most `honest` fall into slots of half efficiency (2/3 of full ones for little
    /// background, that is one third of all).
    pub fn blinded(&self, honest: f64, eps: f64) -> bool {
        let clicks = (self.full + self.halved) as f64;
        let margin = (eps.recip().ln() / (2.0 * clicks.max(1.0))).sqrt();
        self.halved as f64 / clicks.max(1.0) > honest + margin
    }
}

impl Optics {
    /// Largest fraction of honest clicks in slots of half efficiency: one third from light, half
    /// from background.
    pub fn honest_halved(&self, mean: f64) -> f64 {
        let light = |efficiency: f64| -(-mean * self.transmission * efficiency).exp_m1() + self.background;
        let (full, half) = (light(self.efficiency), light(self.efficiency / 2.0));
        half / (full + half)
    }

    /// Y_n and e_n at receiver efficiency `efficiency`.
    fn honest(&self, photons: usize, transmission: f64, efficiency: f64, misalignment: f64) -> (f64, f64) {
        let light = 1.0 - (1.0 - transmission * efficiency).powi(photons as i32);
        let click = 1.0 - (1.0 - self.background) * (1.0 - light);
        let wrong = misalignment * light + 0.5 * (click - light);
        (click, if click > 0.0 { wrong / click } else { 0.5 })
    }

    fn attacked(&self, attack: Attack, intensities: &Intensities, photons: usize, efficiency: f64) -> (f64, f64) {
        let e = self.misalignment;
        match attack {
            Attack::None => self.honest(photons, self.transmission, efficiency, e),
            Attack::Deny { pass } => self.honest(photons, self.transmission * pass, efficiency, e),
            Attack::Intercept { fraction } => {
                // half the intercepted pulses were measured in the wrong basis and give random bits
                let mixed = (1.0 - fraction / 2.0) * e + fraction / 4.0;
                self.honest(photons, self.transmission, efficiency, mixed)
            }
            Attack::SplitPhotons if photons < 2 => (self.background, 0.5),
            Attack::SplitPhotons => {
                let (click, wrong) = self.honest(photons - 1, 1.0, efficiency, e);
                let pass = self.split_pass(intensities);
                let kept = click * pass + self.background * (1.0 - pass);
                (kept, (wrong * click * pass + 0.5 * self.background * (1.0 - pass)) / kept.max(1e-300))
            }
            Attack::Blind if photons == 0 => (self.background, 0.5),
            Attack::Blind => {
                // the bases agree half the time; the rate is what the ends expect of single photons
                (self.transmission * self.efficiency, e)
            }
        }
    }

    /// How many of the larger pulses she passes on, so that the strongest intensity keeps its gain.
    fn split_pass(&self, intensities: &Intensities) -> f64 {
        let mean = intensities.mean[0];
        let wanted = -(-mean * self.transmission * self.efficiency).exp_m1();
        let most: f64 =
            (2..MAX_PHOTONS).map(|n| poisson(mean, n) * (1.0 - (1.0 - self.efficiency).powi(n as i32 - 1))).sum();
        (wanted / most).min(1.0)
    }
}

fn poisson(mean: f64, n: usize) -> f64 {
    (1..=n).fold((-mean).exp(), |p, i| p * mean / i as f64)
}

/// One way a click can come about.
struct Cause {
    weight: f64,
    intensity: usize,
    halved: bool,
    wrong: f64,
}

/// Sends `pulses` pulses and counts what the ends see. Half the slots, at random, have half the
/// receiver's efficiency.
pub fn sample<E: Entropy>(
    intensities: &Intensities,
    optics: &Optics,
    attack: Attack,
    pulses: u64,
    rolls: &mut Rolls<E>,
) -> Sample {
    let mut causes = Vec::new();
    for halved in [false, true] {
        let efficiency = if halved { optics.efficiency / 2.0 } else { optics.efficiency };
        for intensity in 0..3 {
            for photons in 0..MAX_PHOTONS {
                let (click, wrong) = optics.attacked(attack, intensities, photons, efficiency);
                let sent = intensities.probability[intensity] * poisson(intensities.mean[intensity], photons);
                causes.push(Cause { weight: 0.5 * sent * click, intensity, halved, wrong });
            }
        }
    }
    causes.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    let total: f64 = causes.iter().map(|cause| cause.weight).sum();
    let skip = Skip::new(total);
    let mut out = Sample { pulses, ..Sample::default() };
    let mut slot = rolls.gap(&skip);
    while slot < pulses {
        let mut roll = rolls.unit() * total;
        let found = causes.iter().find(|cause| {
            roll -= cause.weight;
            roll <= 0.0
        });
        if let Some(cause) = found.or(causes.first()) {
            record(&mut out, cause, optics.key_basis, rolls);
        }
        slot = slot.saturating_add(1).saturating_add(rolls.gap(&skip));
    }
    out
}

fn record<E: Entropy>(out: &mut Sample, cause: &Cause, key_basis: f64, rolls: &mut Rolls<E>) {
    *(if cause.halved { &mut out.halved } else { &mut out.full }) += 1;
    let (alice, bob) = (rolls.chance(key_basis), rolls.chance(key_basis));
    let wrong = u64::from(rolls.chance(cause.wrong));
    let counts = &mut out.counts;
    if alice && bob {
        counts.key[cause.intensity] += 1;
        counts.key_errors += wrong;
    } else if !alice && !bob {
        counts.test[cause.intensity] += 1;
        counts.test_errors[cause.intensity] += wrong;
    }
}
