use super::{Pairs, s_of_qber};
use crate::entropy::Rolls;
use crate::finite::bell_length;
use crate::seeded::Seeded;
use crate::stats::binary_entropy;

#[test]
fn s_follows_the_error_rate() {
    assert!((s_of_qber(0.0) - 2.828_427).abs() < 5e-7);
    assert!((s_of_qber(0.11) - 2.206_173).abs() < 5e-7);
    assert!((s_of_qber(0.146_447) - 2.0).abs() < 5e-6);
    assert!((s_of_qber(0.25) - 2_f64.sqrt()).abs() < 1e-12);
}

/// SM-06b: what a violation leaves to Eve: nothing at 2√2, everything at 2, and of isotropic noise
/// the rate ends at Q = 7.1 % (Acín et al. 2007).
#[test]
fn the_violation_bounds_the_key() {
    let rate = |s: f64, q: f64| bell_length(1_000_000_000, s, 1e9 * binary_entropy(q), 1e-10) / 1e9;
    assert!((rate(8_f64.sqrt(), 0.0) - 1.0).abs() < 1e-6);
    assert!(rate(2.0, 0.0) <= 0.0 && rate(2.001, 0.0) > 0.0);
    let (mut low, mut high) = (0.01, 0.14);
    for _ in 0..50 {
        let q = 0.5 * (low + high);
        if rate(s_of_qber(q), q) > 0.0 { low = q } else { high = q }
    }
    assert!((low - 0.0714).abs() < 2e-4, "{low}");
}

fn measure(visibility: f64, intercepted: f64, seed: u64) -> super::Tally {
    Pairs { visibility, intercepted }.measure(400_000, &mut Rolls::new(Seeded::new(seed)))
}

/// SM-06b: an honest channel is verified by entanglement and carries key.
#[test]
fn an_honest_pair_violates_chsh_and_gives_key() {
    let tally = measure(0.97, 0.0, 1);
    let chsh = tally.chsh(1e-9);
    assert!((chsh.s - s_of_qber(0.015)).abs() < 0.03, "{chsh:?}");
    assert!(chsh.verified());
    let leak = 1.1 * tally.key as f64 * binary_entropy(0.015);
    assert!(tally.length(leak, 1e-9, 1e-15) > 0.2 * tally.key as f64);
}

/// SM-06b: whoever measures the pairs on the way breaks the entanglement: S falls to √2, and
/// below 2 from about 58 % of the pairs on; there is no key.
#[test]
fn interception_takes_the_violation_away() {
    let all = measure(1.0, 1.0, 2);
    assert!((all.chsh(1e-9).s - 2_f64.sqrt()).abs() < 0.03, "{:?}", all.chsh(1e-9));
    assert!((all.test_errors as f64 / all.test as f64 - 0.25).abs() < 0.01);
    for intercepted in [0.6, 0.8, 1.0] {
        let tally = measure(1.0, intercepted, 3);
        assert!(!tally.chsh(1e-9).verified());
        assert_eq!(tally.length(0.0, 1e-9, 1e-15), 0.0);
    }
}

/// The bound holds: a channel exactly at the local limit is verified less often than ε says.
#[test]
fn the_local_limit_is_not_verified_by_chance() {
    let mut tally_false = 0;
    for seed in 0..200 {
        let pairs = Pairs { visibility: 1.0 / 2_f64.sqrt(), intercepted: 0.0 };
        let tally = pairs.measure(2_000, &mut Rolls::new(Seeded::new(seed)));
        tally_false += u32::from(tally.chsh(0.01).verified());
    }
    assert!(tally_false <= 6, "{tally_false} of 200 at ε = 0.01");
}
