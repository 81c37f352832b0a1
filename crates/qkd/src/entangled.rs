//! Entanglement-based QKD: BBM92 for the key, E91's CHSH test for the channel.
//!
//! A source between the ends sends each half of a pair. Alice measures at 0 or 45 degrees; Bob at
//! 0 or 45 for the key and its test, or at 22.5 or 67.5 for CHSH. Two measurements at angles a, b
//! on a pair of visibility V agree with probability (1 + V cos 2(a - b)) / 2.

use std::f64::consts::PI;

use crate::entropy::{Entropy, Rolls};
use crate::finite::tomamichel_length;

/// The largest S of any local model.
pub const LOCAL_S: f64 = 2.0;

/// S = 2√2 (1 - 2Q) of a pair whose key would have error rate Q.
pub fn s_of_qber(qber: f64) -> f64 {
    8_f64.sqrt() * (1.0 - 2.0 * qber)
}

/// What the ends counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Both at 0 degrees: bits of the key.
    pub key: u64,
    /// Those that differ.
    pub key_errors: u64,
    /// Both at 45 degrees: the test of the phase.
    pub test: u64,
    /// Those that differ.
    pub test_errors: u64,
    /// Bob at 22.5 or 67.5 degrees: `[agree, differ]` for (Alice, Bob) = (0, 22.5), (0, 67.5),
    /// (45, 22.5), (45, 67.5).
    pub chsh: [[u64; 2]; 4],
}

/// An estimate of S with its confidence bound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chsh {
    /// S = E(0, 22.5) - E(0, 67.5) + E(45, 22.5) + E(45, 67.5).
    pub s: f64,
    /// S is above this, except with the probability asked for.
    pub lower: f64,
}

impl Chsh {
    /// Whether no local model explains the counts: only then does the channel carry key (SM-06b).
    pub fn verified(&self) -> bool {
        self.lower > LOCAL_S
    }
}

impl Tally {
    /// S and its lower bound at confidence 1 - `eps`: Hoeffding's inequality for the four
    /// independent means of N_i outcomes ±1, margin √(2 ln(1/ε) Σ 1/N_i).
    pub fn chsh(&self, eps: f64) -> Chsh {
        let total = |[agree, differ]: [u64; 2]| (agree + differ) as f64;
        if self.chsh.iter().any(|&pair| total(pair) == 0.0) {
            return Chsh { s: 0.0, lower: 0.0 };
        }
        let e = self.chsh.map(|pair| (pair[0] as f64 - pair[1] as f64) / total(pair));
        let s = e[0] - e[1] + e[2] + e[3];
        let spread: f64 = self.chsh.iter().map(|&pair| total(pair).recip()).sum();
        Chsh { s, lower: s - (2.0 * eps.recip().ln() * spread).sqrt() }
    }

    /// Secret bits of BBM92 (Tomamichel et al. 2012), none where CHSH is not verified at ε_sec.
    pub fn length(&self, leak: f64, eps_sec: f64, eps_cor: f64) -> f64 {
        if self.test == 0 || !self.chsh(eps_sec).verified() {
            return 0.0;
        }
        tomamichel_length(self.key, self.test, self.test_errors, leak, eps_sec, eps_cor)
    }

    /// Adds the counts of a later stretch.
    pub fn add(&mut self, more: &Self) {
        self.key += more.key;
        self.key_errors += more.key_errors;
        self.test += more.test;
        self.test_errors += more.test_errors;
        for (sum, pair) in self.chsh.iter_mut().zip(more.chsh) {
            sum[0] += pair[0];
            sum[1] += pair[1];
        }
    }
}

/// A source of photon pairs and the two receivers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pairs {
    /// Visibility V of the pairs as they arrive: the error rate is (1 - V) / 2.
    pub visibility: f64,
    /// Fraction of pairs whose half for Bob is measured and resent on the way, at 0 or 45 degrees.
    pub intercepted: f64,
}

impl Pairs {
    /// Measures `pairs` pairs that were detected at both ends. Bob's setting is 0 degrees half of
    /// the time, the three others share the rest; Alice's is either with equal chance.
    pub fn measure<E: Entropy>(&self, pairs: u64, rolls: &mut Rolls<E>) -> Tally {
        let mut tally = Tally::default();
        for _ in 0..pairs {
            let roll = rolls.word();
            let alice = usize::from(roll & 1 == 1);
            let bob = if roll & 2 == 0 { 0 } else { 1 + ((roll >> 2) % 3) as usize };
            let (a, b) = ([0.0, PI / 4.0][alice], [0.0, PI / 4.0, PI / 8.0, 3.0 * PI / 8.0][bob]);
            let agreement = self.agreement(a, b, rolls.word());
            let agree = rolls.chance(agreement);
            let differ = u64::from(!agree);
            match (alice, bob) {
                (0, 0) => (tally.key, tally.key_errors) = (tally.key + 1, tally.key_errors + differ),
                (1, 1) => (tally.test, tally.test_errors) = (tally.test + 1, tally.test_errors + differ),
                (_, 2 | 3) => tally.chsh[alice * 2 + bob - 2][usize::from(!agree)] += 1,
                _ => {}
            }
        }
        tally
    }

    /// Probability that the outcomes agree. A measurement on the way at angle e leaves a product of
    /// two photons polarised along e, so the correlation is cos 2(a - e) · cos 2(b - e).
    fn agreement(&self, a: f64, b: f64, roll: u64) -> f64 {
        let tapped = ((roll >> 11) as f64) < self.intercepted * 9_007_199_254_740_992.0;
        let correlation = if tapped {
            let e = if roll & 1 == 1 { PI / 4.0 } else { 0.0 };
            (2.0 * (a - e)).cos() * (2.0 * (b - e)).cos()
        } else {
            (2.0 * (a - b)).cos()
        };
        0.5 * (1.0 + self.visibility * correlation)
    }
}

#[cfg(test)]
mod tests;
