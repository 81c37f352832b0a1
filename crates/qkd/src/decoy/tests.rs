use super::{Asymptotic, Attack, Counts, DecoyBound, Intensities, Optics, Sample, bounded, lim_length, sample};
use crate::entropy::Rolls;
use crate::seeded::Seeded;
use crate::stats::binary_entropy;

fn close(value: f64, wanted: f64, digits: i32) -> bool {
    (value / wanted - 1.0).abs() < 0.5 * 10_f64.powi(1 - digits)
}

/// γ(a, b, c, d) of the paper's equation 5: the deviation of random sampling without replacement (Fung, Ma,
/// Chau 2010).
fn gamma(a: f64, b: f64, c: f64, d: f64) -> f64 {
    let odds = (1.0 - b) * b;
    let inner = (c + d) / (c * d * odds) * 441.0 / (a * a);
    ((c + d) * odds / (c * d * std::f64::consts::LN_2) * inner.log2()).sqrt()
}

/// The paper's length, equation 5 included.
fn published(intensities: &Intensities, counts: &Counts, leak: f64, eps_sec: f64, eps_cor: f64) -> DecoyBound {
    let phase = |errors: f64, k: f64, n: f64| errors / k + gamma(eps_sec, errors / k, k, n);
    bounded(intensities, counts, (leak, eps_sec, eps_cor), phase)
}

const REFERENCE: Counts = Counts {
    key: [943_650_000, 54_570_000, 1_780_000],
    test: [11_650_000, 673_700, 21_980],
    test_errors: [297_700, 17_560, 900],
    key_errors: 25_577_000,
};

#[test]
fn finite_key_gives_the_reference_vector() {
    let counts = REFERENCE;
    assert_eq!(counts.key_bits(), 1_000_000_000);
    let leak = 1.16 * 1e9 * binary_entropy(counts.key_qber());
    let bound = published(&Intensities::LIM, &counts, leak, 1e-9, 1e-15);
    assert_eq!(bound.vacuum as u64, 11_387_919);
    assert!(close(bound.single, 5.594_950_4e8, 8), "{bound:?}");
    assert!(close(bound.phase_error, 0.043_237_668, 8), "{bound:?}");
    assert!(close(bound.length, 2.279_504_2e8, 8), "{bound:?}");
}

/// The exact bound stands where equation 5 has γ. Of many errors it says the same to a part in a thousand.
#[test]
fn the_exact_bound_agrees_with_the_paper_where_errors_are_many() {
    let exact = lim_length(&Intensities::LIM, &REFERENCE, 0.0, 1e-9, 1e-15);
    let paper = published(&Intensities::LIM, &REFERENCE, 0.0, 1e-9, 1e-15);
    assert_eq!((exact.vacuum, exact.single), (paper.vacuum, paper.single));
    assert!((exact.phase_error / paper.phase_error - 1.0).abs() < 1e-2, "{exact:?} {paper:?}");
}

/// S12: with no error among the test bits the phase error is bounded by their number: never under what Clopper
/// and Pearson have at ε_sec for the single photons tested, and with fewer tested by more.
#[test]
fn s12_no_error_in_the_test_bits_still_bounds_the_phase_error() {
    let eps_sec = 1e-10;
    let mut last = 0.0;
    for scale in [100_u64, 30, 10, 3] {
        let counts = Counts {
            key: [3_000 * scale, 1_800 * scale, 60 * scale],
            test: [250 * scale, 150 * scale, 5 * scale],
            test_errors: [0; 3],
            key_errors: 0,
        };
        let set = Intensities { mean: [0.4, 0.1, 1e-4], probability: [0.3, 0.6, 0.1] };
        let bound = lim_length(&set, &counts, 0.0, eps_sec, 1e-15);
        let tested = lim_length(&set, &Counts { key: counts.test, ..counts }, 0.0, eps_sec, 1e-15).single;
        if bound.single == 0.0 || tested == 0.0 {
            assert_eq!((bound.length, bound.phase_error), (0.0, 0.5));
            continue;
        }
        // no error in k trials: 1 - ε^(1/k)
        let floor = 1.0 - eps_sec.powf(1.0 / tested);
        assert!(bound.phase_error > floor, "{tested}: {} {floor}", bound.phase_error);
        assert!(bound.phase_error > last, "fewer tested, more left open");
        last = bound.phase_error;
    }
    assert!(last > 0.0);
}

#[test]
fn asymptotic_rate_gives_the_reference_values() {
    let near = Asymptotic::GYS.at(50.0);
    assert!(close(near.rate, 2.225_952e-4, 6), "{near:?}");
    assert!(close(near.gain, 1.924_950e-3, 7) && close(near.qber, 0.033_412, 5), "{near:?}");
    assert!(close(Asymptotic::GYS.at(100.0).rate, 1.718_436e-5, 6), "{:?}", Asymptotic::GYS.at(100.0));
    let (mut low, mut high) = (100.0, 200.0);
    for _ in 0..60 {
        let km = 0.5 * (low + high);
        if Asymptotic::GYS.at(km).rate > 0.0 { low = km } else { high = km }
    }
    assert!((low - 142.01).abs() < 0.005, "{low}");
}

const SENT: Intensities = Intensities { mean: [0.5, 0.1, 2e-4], probability: [0.5, 0.3, 0.2] };

const OPTICS: Optics =
    Optics { transmission: 0.1, efficiency: 0.2, background: 1e-6, misalignment: 0.01, key_basis: 0.5 };

fn run(attack: Attack) -> (Sample, DecoyBound) {
    let sample = sample(&SENT, &OPTICS, attack, 1_000_000_000, &mut Rolls::new(Seeded::new(4)));
    let leak = 1.16 * sample.counts.key_bits() as f64 * binary_entropy(sample.counts.key_qber());
    (sample, lim_length(&SENT, &sample.counts, leak, 1e-9, 1e-15))
}

/// An honest channel carries key and alarms nobody.
#[test]
fn the_honest_channel_carries_key() {
    let (sample, bound) = run(Attack::None);
    assert!(bound.length > 5e4, "{bound:?}");
    assert!((0.009..0.012).contains(&sample.counts.test_qber()));
    assert!(!sample.blinded(OPTICS.honest_halved(0.5), 1e-6));
}

/// Intercept-resend shows in the error rate, and takes the key away.
#[test]
fn intercept_resend_is_caught_by_the_error_rate() {
    let (sample, bound) = run(Attack::Intercept { fraction: 1.0 });
    assert!((sample.counts.test_qber() - 0.255).abs() < 0.01, "{}", sample.counts.test_qber());
    assert_eq!(bound.length, 0.0);
}

/// Photon-number splitting keeps gain and error rate, and is caught by the decoys alone.
#[test]
fn photon_number_splitting_is_caught_by_the_decoys() {
    let (honest, honest_bound) = run(Attack::None);
    let (sample, bound) = run(Attack::SplitPhotons);
    let signal = |s: &Sample| s.counts.key[0] as f64;
    assert!(signal(&sample) / signal(&honest) > 0.9, "the signal's gain looks honest");
    assert!(sample.counts.test_qber() < 0.02, "so does the error rate");
    assert!(bound.single < 0.05 * honest_bound.single, "{bound:?}");
    assert_eq!(bound.length, 0.0);
}

/// A blinded receiver shows no error; its clicks ignore its efficiency.
#[test]
fn blinding_is_caught_by_the_efficiency_test() {
    let (sample, _) = run(Attack::Blind);
    assert!(sample.counts.test_qber() < 0.02);
    assert!(sample.blinded(OPTICS.honest_halved(0.5), 1e-9));
}

/// Denial by loss shows in the gain; what is left is computed, not assumed.
#[test]
fn denial_by_loss_is_caught_by_the_gain() {
    let (honest, honest_bound) = run(Attack::None);
    let (sample, bound) = run(Attack::Deny { pass: 0.001 });
    assert!(sample.gain() < 0.01 * honest.gain());
    assert!(bound.length < 0.001 * honest_bound.length);
}
