//! Attackers on the fibre, each caught by the quantity that theory says, at confidence 1 - ε_sec =
//! 1 - 10^-10 of one block.

use super::honest;
use crate::block::{AbortReason, BlockStats, Efficiencies, Receiver, judge};
use crate::params::{LinkParams, Preset};
use crate::seeded::Bench;
use crate::{Attack, Protocol};

/// One block under attack: why it gave no key at both ends, and its figures.
fn attacked(protocol: Protocol, attack: Attack, fraction: f64) -> (AbortReason, BlockStats) {
    let preset = if protocol == Protocol::Bb84 { Preset::Short } else { Preset::Metro };
    let mut bench = Bench::new(LinkParams::of(protocol, preset), 21).attacked(attack, fraction);
    let (alice, bob) = bench.block(1, honest);
    let (alice, bob) = (alice.unwrap_err(), bob.unwrap_err());
    assert_eq!(alice.reason, bob.reason, "both ends know why");
    assert!(bench.fibre.intercepted() > 0);
    (alice.reason, *alice.stats)
}

/// SM-06b: interception of half the pulses adds a quarter of the half to the error rate.
#[test]
fn interception_shows_in_the_error_rate() {
    for protocol in [Protocol::Bb84, Protocol::DecoyBb84] {
        let (reason, stats) = attacked(protocol, Attack::InterceptResend, 0.5);
        assert!(matches!(reason, AbortReason::Qber { .. }), "{reason:?}");
        let wanted = 0.125 + 0.01 * (1.0 - 2.0 * 0.125);
        let sigma = (wanted * (1.0 - wanted) / stats.sampled as f64).sqrt();
        assert!((f64::from(stats.qber_ppm) / 1e6 - wanted).abs() < 5.0 * sigma, "{stats:?}");
    }
}

/// SM-06b: whoever measures pairs on the way leaves S at √2 of her part, and where she measures all
/// of them no violation is left.
#[test]
fn interception_takes_the_violation_from_pairs() {
    for (protocol, fraction) in [(Protocol::Bbm92, 1.0), (Protocol::E91, 0.7)] {
        let (reason, stats) = attacked(protocol, Attack::InterceptResend, fraction);
        assert!(matches!(reason, AbortReason::Bell { lower_milli } if lower_milli < 2_000), "{reason:?}");
        // pairs in one pulse mix with each other: S is a little below that of single ones
        let s = 8_f64.sqrt() * 0.98 * 0.98 * (1.0 - fraction / 2.0);
        assert!((0.90 * s..1.03 * s).contains(&(f64::from(stats.s_milli) / 1e3)), "{s}: {stats:?}");
    }
}

/// SM-06b: photon-number splitting changes no error rate; the decoys gain too little beside the signal,
/// and no single photons are left.
#[test]
fn splitting_shows_in_the_decoys() {
    let (reason, stats) = attacked(Protocol::DecoyBb84, Attack::SplitPhotons, 1.0);
    assert_eq!(reason, AbortReason::Decoy);
    assert!(stats.qber_ppm < 20_000 && stats.single_ppm == 0, "{stats:?}");
    let ratio = stats.counts.key[1] as f64 / stats.counts.key[0] as f64;
    // two photons of a mean μ come e^-μ μ²/2 often
    let set = LinkParams::of(Protocol::DecoyBb84, Preset::Metro).block.intensities;
    let several = |mean: f64| 1.0 - (-mean).exp() * (1.0 + mean);
    let wanted = set.probability[1] * several(set.mean[1]) / (set.probability[0] * several(set.mean[0]));
    assert!((ratio / wanted - 1.0).abs() < 0.1, "{ratio} {wanted}");
}

/// SM-06b: a blinded receiver shows no error and, of pairs, even a perfect S; its clicks do not halve
/// with its efficiency.
#[test]
fn blinding_shows_in_clicks_at_half_the_efficiency() {
    for protocol in Protocol::ALL {
        let (reason, stats) = attacked(*protocol, Attack::Blind, 1.0);
        assert!(matches!(reason, AbortReason::Blinded { .. }), "{reason:?}");
        let share = stats.halved as f64 / stats.detected as f64;
        let sigma = (0.125 * 0.875 / stats.detected as f64).sqrt();
        assert!((share - 0.125).abs() < 5.0 * sigma, "she does not know the slots: {share}");
        assert!(stats.qber_ppm < 40_000, "and makes no errors: {stats:?}");
        if protocol.is_entangled() {
            assert!(stats.s_lower_milli > 2_000, "a faked violation: {stats:?}");
        }
    }
}

/// S14: whoever blinds Alice's receiver and lets Bob's real photons pass knows every bit of hers, makes no
/// error and breaks no inequality. Both ends see that Alice's clicks do not halve with her efficiency.
#[test]
fn s14_a_blinded_alice_is_seen_at_both_ends() {
    for protocol in [Protocol::Bbm92, Protocol::E91] {
        let (reason, stats) = attacked(protocol, Attack::BlindAlice, 1.0);
        assert!(matches!(reason, AbortReason::Blinded { end: Receiver::Alice, .. }), "{reason:?}");
        let seen = stats.efficiencies;
        let share = |halved: u64| halved as f64 / seen.coincident as f64;
        let sigma = (0.125 * 0.875 / seen.coincident as f64).sqrt();
        assert!((share(seen.halved_a) - 0.125).abs() < 5.0 * sigma, "she does not know the slots: {stats:?}");
        assert!((share(seen.halved_b) - 1.0 / 15.0).abs() < 5.0 * sigma, "Bob's light is real: {stats:?}");
        assert!(stats.qber_ppm < 40_000 && stats.s_lower_milli > 2_000, "nothing else shows it: {stats:?}");
    }
}

/// S14: of pairs only what both ends saw counts. An attacker who hides the clicks of a blinded receiver among
/// honest ones that meet none at the other end hides nothing.
#[test]
fn s14_clicks_that_meet_none_hide_no_blinding() {
    let params = LinkParams::of(Protocol::Bbm92, Preset::Metro).block;
    let (detected, coincident) = (1 << 20, 100_000);
    let light = |clicks: u64| clicks / 15;
    let honest = BlockStats {
        detected,
        halved: light(detected),
        key_bits: 60_000,
        sampled: 8_000,
        errors: 200,
        chsh: [[4_250, 750], [750, 4_250], [4_250, 750], [4_250, 750]],
        efficiencies: Efficiencies {
            coincident,
            halved_a: light(coincident),
            halved_b: light(coincident),
            key_halved_a: light(60_000),
            key_halved_b: light(60_000),
        },
        ..BlockStats::default()
    };
    judge(&params, &mut honest.clone()).unwrap();
    for end in [Receiver::Alice, Receiver::Bob] {
        let mut stats = honest.clone();
        let seen = &mut stats.efficiencies;
        let (halved, key) = match end {
            Receiver::Alice => (&mut seen.halved_a, &mut seen.key_halved_a),
            Receiver::Bob => (&mut seen.halved_b, &mut seen.key_halved_b),
        };
        (*halved, *key) = (coincident / 8, 60_000 / 8);
        if end == Receiver::Bob {
            stats.halved += coincident / 8 - light(coincident);
        }
        let reason = judge(&params, &mut stats).unwrap_err();
        assert!(matches!(reason, AbortReason::Blinded { end: found, .. } if found == end), "{reason:?}");
    }
}

/// S14: a block too small to tell a blinded receiver from an honest one gives no key.
#[test]
fn s14_a_block_that_could_not_show_blinding_gives_no_key() {
    let params = LinkParams::of(Protocol::Bb84, Preset::Short).block;
    let mut stats = BlockStats { detected: 9_000, key_bits: 3_000, sampled: 600, errors: 6, ..BlockStats::default() };
    let reason = judge(&params, &mut stats).unwrap_err();
    assert!(matches!(reason, AbortReason::TooFew { found: 3_000, wanted } if wanted > 3_000), "{reason:?}");
}

/// SM-06b: denial by loss shows in the clicks per pulse, from which the loss of the fibre follows.
#[test]
fn denial_shows_in_the_rate() {
    for (protocol, preset) in
        [(Protocol::Bb84, Preset::Short), (Protocol::DecoyBb84, Preset::Metro), (Protocol::Bbm92, Preset::Metro)]
    {
        let mut params = LinkParams::of(protocol, preset);
        params.frame_pulses /= 10;
        let loss = |bench: &mut Bench| {
            (0..40).for_each(|_| bench.train());
            params.loss_from(bench.detector.waiting() as u64, 40 * u64::from(params.frame_pulses)).unwrap()
        };
        let plain = loss(&mut Bench::new(params.clone(), 5));
        assert!((plain - 2.0).abs() < 0.15, "{protocol}: {plain} dB");
        let denied = loss(&mut Bench::new(params.clone(), 5).attacked(Attack::Loss, 0.9));
        assert!((denied - 12.0).abs() < 0.5, "{protocol}: {denied} dB");
    }
}
