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

/// Share of ε kept back for the rounding of a tail: a sum of logarithms of up to 2^40 is wrong by less.
const ROUNDING: f64 = 1e-3;

/// Most errors among `n` bits that were not sampled, given `errors` among `k` that were drawn at random
/// from all `n + k` without replacement: except with probability `eps`, whatever the errors.
///
/// Exact, since it inverts the hypergeometric tail: with M the most errors in all under which `errors` or
/// fewer in the sample still happen with a probability above `eps`, M - `errors` of them are left (Chvátal
/// 1979; the confidence limit of Buonaccorsi 1987). Serfling's inequality bounds the same tail from above
/// and tends to nothing less; a formula with the observed rate's variance in it does, where no error is seen.
pub fn unsampled_errors_upper(n: u64, k: u64, errors: u64, eps: f64) -> u64 {
    if errors >= k {
        return n;
    }
    let eps = eps * (1.0 - ROUNDING);
    // the tail falls with the errors there are; it is 1 at the lower end and 0 at the upper one
    let (mut low, mut high) = (errors, n + errors + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if hypergeometric_tail(n, k, middle, errors) > eps { low = middle } else { high = middle }
    }
    low - errors
}

/// Probability of `seen` or fewer errors in a sample of `k` of `n + k` bits with `bad` errors in all; 1 where
/// that is about what is expected, which only widens a bound.
fn hypergeometric_tail(n: u64, k: u64, bad: u64, seen: u64) -> f64 {
    let least = bad.saturating_sub(n);
    if seen < least {
        return 0.0;
    }
    let start = seen.min(bad).min(k);
    let (n, k, bad) = (n as f64, k as f64, bad as f64);
    if start as f64 * (n + k) >= k * bad {
        // terms above the likeliest one may be too small to begin a sum with
        return 1.0;
    }
    let choose = |n: f64, k: f64| ln_gamma(n + 1.0) - ln_gamma(k + 1.0) - ln_gamma(n - k + 1.0);
    let mut x = start as f64;
    let good = n + k - bad;
    let mut term = (choose(bad, x) + choose(good, k - x) - choose(n + k, k)).exp();
    let mut sum = term;
    for _ in least..start {
        term *= x * (good - k + x) / ((bad - x + 1.0) * (k - x + 1.0));
        x -= 1.0;
        sum += term;
        if term < sum * 1e-17 {
            break;
        }
    }
    sum
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
    use proptest::prelude::*;

    use super::{binary_entropy, clopper_pearson_upper, unsampled_errors_upper};

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

    /// ln of the binomial coefficient, term by term: the tests' own, slow and plain.
    fn ln_choose(n: u64, k: u64) -> f64 {
        (0..k).map(|i| ((n - i) as f64 / (i + 1) as f64).ln()).sum()
    }

    /// Clopper and Pearson by bisection over the summed binomial tail.
    fn clopper_pearson_by_sums(errors: u64, trials: u64, eps: f64) -> f64 {
        let choose: Vec<f64> = (0..=errors).map(|x| ln_choose(trials, x)).collect();
        let tail = |p: f64| -> f64 {
            let term = |(x, choose): (usize, &f64)| {
                (choose + x as f64 * p.ln() + (trials - x as u64) as f64 * (1.0 - p).ln()).exp()
            };
            choose.iter().enumerate().map(term).sum()
        };
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if tail(middle) > eps { low = middle } else { high = middle }
        }
        low
    }

    /// The deviation of Serfling's inequality for the same tail.
    fn serfling(n: u64, k: u64, eps: f64) -> f64 {
        let (n, k) = (n as f64, k as f64);
        ((n + k) * (k + 1.0) / (2.0 * n * k * k) * (1.0 / eps).ln()).sqrt()
    }

    fn rate(n: u64, k: u64, errors: u64, eps: f64) -> f64 {
        unsampled_errors_upper(n, k, errors, eps) as f64 / n as f64
    }

    /// S12: 1,000 bits tested without an error leave 2.3 % open at 10^-10, and at the probability that a
    /// block of ε_sec = 10^-10 allows, more than twice that.
    #[test]
    fn s12_a_thousand_test_bits_without_an_error_leave_two_percent_open() {
        let bound = rate(100_000, 1_000, 0, 1e-10);
        assert!((0.022_76..0.023_2).contains(&bound), "{bound}");
        let of_a_block = crate::finite::phase_error_upper(100_000, 1_000, 0, 1e-10);
        assert!((0.047..0.05).contains(&of_a_block), "{of_a_block}");
        let length = |errors| crate::finite::tomamichel_length(100_000, 1_000, errors, 0.0, 1e-10, 1e-15);
        assert!(length(0) < 1e5 * (1.0 - binary_entropy(0.023)), "{}", length(0));
        assert!(length(1) < length(0));
    }

    /// S12: the bound fails no more often than it says: every number of errors in a small string, with
    /// whole-number arithmetic.
    #[test]
    fn s12_the_bound_holds_whatever_the_errors() {
        let choose = |n: u64, k: u64| -> u128 {
            if k > n { 0 } else { (0..k).fold(1, |c, i| c * u128::from(n - i) / u128::from(i + 1)) }
        };
        for (n, k) in [(30, 20), (20, 30), (55, 5), (1, 40), (40, 1)] {
            for eps in [0.3, 0.05, 1e-3, 1e-6] {
                let bounds: Vec<u64> = (0..=k).map(|seen| unsampled_errors_upper(n, k, seen, eps)).collect();
                for bad in 0..=n + k {
                    let missed = |seen: &u64| bad - seen > bounds[*seen as usize];
                    let failing = (bad.saturating_sub(n)..=bad.min(k)).filter(missed);
                    let ways: u128 = failing.map(|seen| choose(bad, seen) * choose(n + k - bad, k - seen)).sum();
                    let chance = ways as f64 / choose(n + k, k) as f64;
                    assert!(chance <= eps, "n {n} k {k} eps {eps}, {bad} errors: {chance}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// S12: never under Clopper and Pearson at the same confidence, never above Serfling, rising with
        /// the errors and falling with the sample.
        #[test]
        fn s12_the_bound_is_never_under_clopper_pearson(
            n in 200_u64..200_000,
            k in 50_u64..8_000,
            share in 0_u64..200,
            digits in 2_i32..24,
        ) {
            let errors = k * share / 1_000;
            let eps = 10_f64.powi(-digits);
            let bound = rate(n, k, errors, eps);
            let binomial = clopper_pearson_by_sums(errors, k, eps);
            prop_assert!((binomial - clopper_pearson_upper(errors, k, eps)).abs() < 1e-6);
            prop_assert!(bound >= binomial, "{bound} {binomial}");
            let above = errors as f64 / k as f64 + serfling(n, k, eps) + 1.0 / n as f64;
            prop_assert!(bound <= above, "{bound} {above}");
            prop_assert!(rate(n, k, errors + 1, eps) >= bound);
            prop_assert!(rate(n, k + 1, errors, eps) <= bound);
            prop_assert!(rate(n, k, errors, eps / 10.0) >= bound);
        }
    }
}
