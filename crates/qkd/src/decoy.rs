//! Decoy-state BB84 with weak coherent pulses of three intensities: how many secret bits.
//!
//! Key basis X, test basis Z. The finite-key analysis is Lim, Curty, Walenta, Xu, Zbinden 2014
//! (arXiv 1311.7129); the asymptotic one, with infinitely many decoys, Ma, Qi, Zhao, Lo 2005
//! (arXiv quant-ph/0503005) with the parameters of the experiment of Gobby, Yuan, Shields 2004.

mod yields;

pub use yields::{Attack, Optics, Sample, sample};

use crate::stats::{binary_entropy, unsampled_errors_upper};

/// The three intensities, strongest first, and how often each is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Intensities {
    /// Mean photon numbers μ1 > μ2 + μ3, μ2 > μ3 >= 0.
    pub mean: [f64; 3],
    /// Probabilities, adding up to one.
    pub probability: [f64; 3],
}

impl Intensities {
    /// The set of the reference vector.
    pub const LIM: Self = Self { mean: [0.5, 0.1, 2e-4], probability: [0.7, 0.2, 0.1] };

    /// A set that gives key from blocks of some 10^5 clicks.
    pub const SHORT_BLOCKS: Self = Self { mean: [0.4, 0.15, 2e-4], probability: [0.3, 0.4, 0.3] };

    /// A set that gives more key than the others from blocks of 10^6 clicks over a short link.
    pub const LARGE_BLOCKS: Self = Self { mean: [0.3, 0.15, 2e-4], probability: [0.2, 0.4, 0.4] };

    /// Whether these are intensities the analysis holds for.
    pub fn are_valid(&self) -> bool {
        let [a, b, c] = self.mean;
        let sum: f64 = self.probability.iter().sum();
        c >= 0.0
            && b > c
            && a > b + c
            && a <= 8.0
            && self.probability.iter().all(|&p| p > 0.0)
            && (sum - 1.0).abs() < 1e-9
    }

    /// Clicks per pulse behind total transmission `eta`, without background.
    pub fn gain(&self, eta: f64) -> f64 {
        self.mean.iter().zip(self.probability).map(|(&mean, p)| -p * (-mean * eta).exp_m1()).sum()
    }

    /// τ_n: probability that a pulse holds `n` photons.
    fn photons(&self, n: i32) -> f64 {
        let factorial: f64 = (1..=n).map(f64::from).product();
        self.mean.iter().zip(self.probability).map(|(&k, p)| p * (-k).exp() * k.powi(n) / factorial).sum()
    }
}

/// Sifted events by intensity, in the order of [`Intensities`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Clicks with both ends in the key basis.
    pub key: [u64; 3],
    /// Clicks with both ends in the test basis.
    pub test: [u64; 3],
    /// Errors among [`Self::test`].
    pub test_errors: [u64; 3],
    /// Errors in the key basis, as reconciliation counts them.
    pub key_errors: u64,
}

impl Counts {
    /// Bits of the raw key.
    pub fn key_bits(&self) -> u64 {
        self.key.iter().sum()
    }

    /// Error rate of the raw key.
    pub fn key_qber(&self) -> f64 {
        self.key_errors as f64 / (self.key_bits() as f64).max(1.0)
    }

    /// Error rate of the test basis, all intensities together.
    pub fn test_qber(&self) -> f64 {
        self.test_errors.iter().sum::<u64>() as f64 / (self.test.iter().sum::<u64>() as f64).max(1.0)
    }
}

/// What a block of decoy-state BB84 is worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DecoyBound {
    /// Lower bound s_X0 of key-basis events from empty pulses.
    pub vacuum: f64,
    /// Lower bound s_X1 of key-basis events from single photons.
    pub single: f64,
    /// Upper bound φ_X of the phase error rate of those.
    pub phase_error: f64,
    /// Secret bits ℓ, zero where there are none.
    pub length: f64,
}

/// Lim et al. 2014, equations 1 to 4, with ε_sec split in 21 parts; `leak` counts every bit disclosed by
/// reconciliation.
///
/// Equation 5 takes the deviation of the phase error from the sampled rate's own variance (Fung, Ma, Chau
/// 2010), which is nothing where no error is seen; the exact bound of sampling without replacement stands
/// in its place, at the same probability (ε_sec/21)².
pub fn lim_length(intensities: &Intensities, counts: &Counts, leak: f64, eps_sec: f64, eps_cor: f64) -> DecoyBound {
    let part = eps_sec / 21.0;
    let phase = |errors: f64, sampled: f64, left: f64| {
        // fewer events of either kind, and more errors, only raise the bound
        let (n, k) = (left.floor().max(1.0), sampled.floor());
        unsampled_errors_upper(n as u64, k as u64, errors.ceil() as u64, part * part) as f64 / n
    };
    bounded(intensities, counts, (leak, eps_sec, eps_cor), phase)
}

/// Equations 1 to 4; `phase` bounds the phase error rate from errors among the sampled single photons, their
/// number, and the number of those in the key.
fn bounded(
    intensities: &Intensities,
    counts: &Counts,
    (leak, eps_sec, eps_cor): (f64, f64, f64),
    phase: impl Fn(f64, f64, f64) -> f64,
) -> DecoyBound {
    let none = DecoyBound { vacuum: 0.0, single: 0.0, phase_error: 0.5, length: 0.0 };
    let log = (21.0 / eps_sec).ln();
    let bounds = |n: &[u64; 3]| scaled(intensities, n, log);
    let (key_low, key_high) = bounds(&counts.key);
    let (test_low, test_high) = bounds(&counts.test);
    let (error_low, error_high) = bounds(&counts.test_errors);
    let vacuum = vacuum_events(intensities, &key_low, &key_high);
    let single = single_events(intensities, &key_low, &key_high, vacuum);
    let test_vacuum = vacuum_events(intensities, &test_low, &test_high);
    let test_single = single_events(intensities, &test_low, &test_high, test_vacuum);
    if single <= 0.0 || test_single <= 0.0 {
        return none;
    }
    let [_, mu2, mu3] = intensities.mean;
    let errors = (intensities.photons(1) * (error_high[1] - error_low[2]) / (mu2 - mu3)).max(0.0);
    if errors / test_single >= 0.5 {
        return none;
    }
    let phase_error = phase(errors, test_single, single).min(0.5);
    let cost = 6.0 * (21.0 / eps_sec).log2() + (2.0 / eps_cor).log2();
    let length = vacuum + single * (1.0 - binary_entropy(phase_error)) - leak - cost;
    DecoyBound { vacuum, single, phase_error, length: length.max(0.0) }
}

/// n^-_k and n^+_k: counts with Hoeffding's margin, scaled by e^k / p_k.
fn scaled(intensities: &Intensities, n: &[u64; 3], log: f64) -> ([f64; 3], [f64; 3]) {
    let total: u64 = n.iter().sum();
    let margin = (total as f64 / 2.0 * log).sqrt();
    let scale = |i: usize, value: f64| intensities.mean[i].exp() / intensities.probability[i] * value;
    let low = std::array::from_fn(|i| scale(i, n[i] as f64 - margin));
    let high = std::array::from_fn(|i| scale(i, n[i] as f64 + margin));
    (low, high)
}

fn vacuum_events(intensities: &Intensities, low: &[f64; 3], high: &[f64; 3]) -> f64 {
    let [_, mu2, mu3] = intensities.mean;
    (intensities.photons(0) * (mu2 * low[2] - mu3 * high[1]) / (mu2 - mu3)).max(0.0)
}

fn single_events(intensities: &Intensities, low: &[f64; 3], high: &[f64; 3], vacuum: f64) -> f64 {
    let [mu1, mu2, mu3] = intensities.mean;
    let squares = mu2 * mu2 - mu3 * mu3;
    let multi = squares / (mu1 * mu1) * (high[0] - vacuum / intensities.photons(0));
    (intensities.photons(1) * mu1 * (low[1] - high[2] - multi) / (mu1 * (mu2 - mu3) - squares)).max(0.0)
}

/// The asymptotic rate with infinitely many decoy intensities.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Asymptotic {
    /// Attenuation of the fibre in dB/km.
    pub db_per_km: f64,
    /// Efficiency η_B of the whole receiver.
    pub receiver: f64,
    /// Background Y0: clicks per pulse without light.
    pub background: f64,
    /// Misalignment e_d.
    pub misalignment: f64,
    /// Efficiency f of error correction.
    pub correction: f64,
    /// Mean photon number μ of the signal.
    pub mean: f64,
}

/// Rate and observables at one distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AsymptoticPoint {
    /// Secret bits per pulse R.
    pub rate: f64,
    /// Clicks per signal pulse Q_μ.
    pub gain: f64,
    /// Error rate E_μ.
    pub qber: f64,
}

impl Asymptotic {
    /// Gobby, Yuan, Shields 2004, as used by Ma et al. 2005.
    pub const GYS: Self = Self {
        db_per_km: 0.21,
        receiver: 0.045,
        background: 1.7e-6,
        misalignment: 0.033,
        correction: 1.22,
        mean: 0.48,
    };

    /// R = ½{-Q_μ f h(E_μ) + Q_1 (1 - h(e_1))} over `km` of fibre.
    pub fn at(&self, km: f64) -> AsymptoticPoint {
        let eta = self.receiver * 10_f64.powf(-self.db_per_km * km / 10.0);
        let bright = -(-eta * self.mean).exp_m1();
        let gain = self.background + bright;
        let qber = (0.5 * self.background + self.misalignment * bright) / gain;
        let yield1 = self.background + eta;
        let error1 = (0.5 * self.background + self.misalignment * eta) / yield1;
        let gain1 = yield1 * self.mean * (-self.mean).exp();
        let rate = 0.5 * (gain1 * (1.0 - binary_entropy(error1)) - gain * self.correction * binary_entropy(qber));
        AsymptoticPoint { rate, gain, qber }
    }
}

#[cfg(test)]
mod tests;
