//! How many secret bits a block holds.

use crate::stats::{binary_entropy, unsampled_errors_upper};

/// Upper bound of the phase error rate of `n` key bits, from `errors` among `k` bits of the other basis:
/// the exact bound of sampling without replacement, which fails with probability (ε_sec/4)² at most.
///
/// It stands where Tomamichel et al. 2012 have Q + μ with μ² = (n + k)(k + 1)/(n k²) · ln(4/ε_sec), by
/// Serfling's inequality for the same tail: a bound at probability ε'² costs ε' of smoothing.
pub fn phase_error_upper(n: u64, k: u64, errors: u64, eps_sec: f64) -> f64 {
    if n == 0 || k == 0 {
        return 0.5;
    }
    let most = unsampled_errors_upper(n, k, errors, (eps_sec / 4.0) * (eps_sec / 4.0));
    (most as f64 / n as f64).min(0.5)
}

/// Secret length of BB84 with single photons, or of BBM92: Tomamichel, Lim, Gisin, Renner 2012
/// (arXiv 1103.4130), with the preparation quality q = 1 of mutually unbiased bases.
///
/// ℓ = n(1 - h(φ)) - leak - log2(2 / (ε_sec² ε_cor)), where `n` bits make the key, φ bounds their phase
/// errors by [`phase_error_upper`], and `leak` bits were disclosed. Two ε_sec/4 of smoothing and ε_sec/2
/// of amplification are what adds up to ε_sec.
pub fn tomamichel_length(n: u64, k: u64, errors: u64, leak: f64, eps_sec: f64, eps_cor: f64) -> f64 {
    if n == 0 || k == 0 {
        return 0.0;
    }
    let phase = phase_error_upper(n, k, errors, eps_sec);
    let cost = 1.0 - 2.0 * eps_sec.log2() - eps_cor.log2();
    (n as f64 * (1.0 - binary_entropy(phase)) - leak - cost).max(0.0)
}

/// Secret length that a violation of Bell's inequality allows: ℓ = n(1 - χ(S)) - leak - log2(2/ε²),
/// with Eve's information χ(S) = h((1 + √(S²/4 - 1))/2) on each bit from collective attacks (Acín et
/// al. 2007, arXiv quant-ph/0702152) at the lower bound `s` of S.
pub fn bell_length(n: u64, s: f64, leak: f64, eps_sec: f64) -> f64 {
    if s <= 2.0 {
        return 0.0;
    }
    let root = (s * s / 4.0 - 1.0).clamp(0.0, 1.0).sqrt();
    let known = binary_entropy(0.5 * (1.0 + root));
    (n as f64 * (1.0 - known) - leak - (1.0 - 2.0 * eps_sec.log2())).max(0.0)
}
