//! Numbers from statistics: binary entropy, tail bounds, the incomplete beta function.

/// Binary entropy h(p) in bits; 0 outside (0, 1).
pub fn binary_entropy(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return 0.0;
    }
    -p * p.log2() - (1.0 - p) * (-p).ln_1p() / std::f64::consts::LN_2
}

/// Natural logarithm of the gamma function for `x` > 0: Stirling's series after shifting `x`
/// above 15 (Abramowitz and Stegun 6.1.40), relative error below 1e-14.
fn ln_gamma(mut x: f64) -> f64 {
    let mut shift = 0.0;
    while x < 15.0 {
        shift += x.ln();
        x += 1.0;
    }
    let i = x.recip();
    let s = i * i;
    let series = i * (1.0 / 12.0 - s * (1.0 / 360.0 - s * (1.0 / 1260.0 - s * (1.0 / 1680.0 - s / 1188.0))));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - shift
}

/// Regularised incomplete beta function I_x(a, b) by its continued fraction (Lentz's method).
fn beta_inc(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - beta_inc(b, a, 1.0 - x);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp() / a;
    let guard = |v: f64| if v.abs() < 1e-300 { 1e-300 } else { v };
    let (mut c, mut d) = (1.0, guard(1.0 - (a + b) * x / (a + 1.0)).recip());
    let mut h = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = guard(1.0 + term * d).recip();
            c = guard(1.0 + term / c);
            step = d * c;
            h *= step;
        }
        if (step - 1.0).abs() < 1e-15 {
            break;
        }
    }
    front * h
}

/// Upper end of the one-sided Clopper-Pearson interval: the largest error probability under which
/// `errors` or fewer in `trials` would still happen with probability `eps`.
pub fn clopper_pearson_upper(errors: u64, trials: u64, eps: f64) -> f64 {
    if errors >= trials {
        return 1.0;
    }
    // P(X <= e | n, p) = I_{1-p}(n - e, e + 1), falling in p
    let (a, b) = ((trials - errors) as f64, errors as f64 + 1.0);
    let (mut low, mut high) = (errors as f64 / trials as f64, 1.0);
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if beta_inc(a, b, 1.0 - middle) > eps { low = middle } else { high = middle }
    }
    high
}

/// Deviation μ of Tomamichel et al. 2012 (arXiv 1103.4130): except with probability ε², the error
/// rate of `n` bits is at most μ above that of `k` bits sampled from the `n + k`; here
/// μ² = (n + k)(k + 1) / (n k²) · ln(1/ε), from Serfling's inequality.
pub fn sampling_deviation(n: u64, k: u64, eps: f64) -> f64 {
    let (n, k) = (n as f64, k as f64);
    ((n + k) * (k + 1.0) / (n * k * k) * (1.0 / eps).ln()).sqrt()
}

/// A draw from the binomial distribution of `n` trials of probability `p`, by inversion of `roll`,
/// uniform in (0, 1], outward from the most likely value. For simulations of many blocks.
#[cfg(test)]
pub(crate) fn binomial_draw(n: u64, p: f64, roll: f64) -> u64 {
    if n == 0 || p <= 0.0 || p >= 1.0 {
        return if p >= 1.0 { n } else { 0 };
    }
    let (total, odds) = (n as f64, p / (1.0 - p));
    let mode = ((total + 1.0) * p).floor().min(total);
    let choose = ln_gamma(total + 1.0) - ln_gamma(mode + 1.0) - ln_gamma(total - mode + 1.0);
    let peak = (choose + mode * p.ln() + (total - mode) * (-p).ln_1p()).exp();
    let (mut low, mut high) = (mode, mode);
    let (mut below, mut above) = (peak, peak);
    let mut left = roll - peak;
    while left > 0.0 && (below > 0.0 || above > 0.0) {
        above *= (total - high) / (high + 1.0) * odds;
        high += 1.0;
        left -= above;
        if left <= 0.0 {
            return high as u64;
        }
        below *= low / ((total - low + 1.0) * odds);
        low -= 1.0;
        left -= below;
        if left <= 0.0 {
            return low as u64;
        }
    }
    mode as u64
}

#[cfg(test)]
mod tests {
    use super::{binary_entropy, clopper_pearson_upper};

    #[test]
    fn binary_entropy_gives_the_reference_rates() {
        let rate = |q: f64| 1.0 - 2.0 * binary_entropy(q);
        for (q, wanted) in
            [(0.01, 0.838_413_7), (0.03, 0.611_216_3), (0.05, 0.427_206_1), (0.08, 0.195_641_6), (0.1, 0.062_008_8)]
        {
            assert!((rate(q) - wanted).abs() < 5e-8, "{q}: {}", rate(q));
        }
        let zero = |f: f64| {
            let (mut low, mut high) = (0.05, 0.2);
            for _ in 0..60 {
                let q = 0.5 * (low + high);
                if 1.0 - (1.0 + f) * binary_entropy(q) > 0.0 { low = q } else { high = q }
            }
            low
        };
        assert!((zero(1.0) - 0.110_027_864_4).abs() < 5e-11);
        for (f, wanted) in [(1.05, 0.1060), (1.10, 0.1023), (1.16, 0.0981)] {
            assert!((zero(f) - wanted).abs() < 5e-5, "{f}: {}", zero(f));
        }
    }

    #[test]
    fn clopper_pearson_inverts_the_binomial_tail() {
        // no error in n trials: 1 - eps^(1/n)
        let bound = clopper_pearson_upper(0, 100, 0.05);
        assert!((bound - (1.0 - 0.05_f64.powf(0.01))).abs() < 1e-12);
        // against the summed tail
        let (n, e, eps) = (50_u64, 7_u64, 1e-3);
        let p = clopper_pearson_upper(e, n, eps);
        let mut term = (1.0 - p).powi(50);
        let mut tail = term;
        for i in 0..e {
            term *= (n - i) as f64 / (i + 1) as f64 * p / (1.0 - p);
            tail += term;
        }
        assert!((tail - eps).abs() < 1e-12, "{tail}");
        assert!(clopper_pearson_upper(5, 5, 0.1) >= 1.0);
    }
}
