mod alarms;
mod attacks;
mod faults;

use super::AbortReason;
use crate::Protocol;
use crate::params::{LinkParams, Preset};
use crate::seeded::{Bench, End, Fault};

/// Every protocol over every fibre that it is made for.
const CARRYING: [(Protocol, Preset); 11] = [
    (Protocol::Bb84, Preset::Short),
    (Protocol::Bb84, Preset::Gys),
    (Protocol::Bb84, Preset::Metro),
    (Protocol::Bb84, Preset::Lossy),
    (Protocol::DecoyBb84, Preset::Short),
    (Protocol::DecoyBb84, Preset::Gys),
    (Protocol::DecoyBb84, Preset::Metro),
    (Protocol::DecoyBb84, Preset::Lossy),
    (Protocol::Bbm92, Preset::Metro),
    (Protocol::E91, Preset::Metro),
    (Protocol::Bbm92, Preset::Short),
];

fn honest(_: usize) -> Fault {
    Fault::None
}

/// A link whose blocks are small, and so is what they promise.
fn small() -> LinkParams {
    small_of(Protocol::Bb84)
}

fn small_of(protocol: Protocol) -> LinkParams {
    let mut params = LinkParams::of(protocol, if protocol == Protocol::Bb84 { Preset::Short } else { Preset::Metro });
    params.block.min_test_bits = 100;
    (params.frame_pulses, params.block.clicks, params.block.eps_sec) = match protocol {
        Protocol::Bb84 => (5_000, 6_000, 1e-6),
        Protocol::DecoyBb84 => (100_000, 40_000, 1e-3),
        Protocol::Bbm92 | Protocol::E91 => (100_000, 24_000, 1e-3),
    };
    params
}

fn keys_never_differ(alice: &End, bob: &End) {
    if let (Ok(a), Ok(b)) = (alice, bob) {
        assert_eq!(*a.key.expose_bytes(), *b.key.expose_bytes());
        assert_eq!(a.stats.secret_bits, b.stats.secret_bits);
    }
    // Bob finishes first: Alice never has a block that Bob has not
    assert!(alice.is_err() || bob.is_ok());
}

/// KM-09: the default link yields well over 1 kbit/s below 11 % QBER.
#[test]
fn the_default_link_yields_equal_keys_at_the_stated_rate() {
    let mut bench = Bench::new(LinkParams::default(), 1);
    let (alice, bob) = bench.block(1, honest);
    let (alice, bob) = (alice.unwrap(), bob.unwrap());
    assert_eq!(*alice.key.expose_bytes(), *bob.key.expose_bytes());
    assert_eq!(alice.stats, bob.stats);
    let stats = alice.stats;
    let seconds = stats.pulses as f64 / f64::from(bench.params.pulse_rate_hz);
    println!("{stats:?}\n{} bit/s", stats.secret_bits as f64 / seconds);
    assert!(stats.secret_bits as f64 / seconds > 10_000.0);
    assert!((5_000..15_000).contains(&stats.qber_ppm));
    assert!(stats.qber_upper_ppm > stats.qber_ppm && stats.key_bits > stats.secret_bits);
    assert!(seconds < 2.0);
}

/// KM-09: intercept-resend of every qubit gives a QBER of 25 %, of half of them 12.5 % on top of
/// the fibre's own; both end the block at both ends.
#[test]
fn a_tap_is_seen_as_physics_says() {
    for (fraction, wanted) in [(1.0, 0.25), (0.5, 0.125)] {
        let mut params = LinkParams::default();
        params.fibre.misalignment = 0.0;
        params.detector.dark_count = 0.0;
        let mut bench = Bench::new(params, 5).tapped(fraction);
        let (alice, bob) = bench.block(1, honest);
        let (alice, bob) = (alice.unwrap_err(), bob.unwrap_err());
        assert!(matches!(alice.reason, AbortReason::Qber { .. }), "{alice:?}");
        assert!(matches!(bob.reason, AbortReason::Qber { .. }), "{bob:?}");
        let qber = f64::from(alice.stats.qber_ppm) / 1e6;
        let sigma = (wanted * (1.0 - wanted) / alice.stats.sampled as f64).sqrt();
        assert!((qber - wanted).abs() < 5.0 * sigma, "{fraction}: {qber}");
        assert_eq!(alice.stats.qber_ppm, bob.stats.qber_ppm);
    }
}

#[test]
fn a_dark_channel_and_a_short_block_give_no_key() {
    let mut params = small();
    params.fibre.length_km = 400.0;
    params.detector.dark_count = 1e-2;
    params.block.clicks = 500;
    params.block.min_test_bits = 5;
    let (alice, bob) = Bench::new(params, 1).block(1, honest);
    assert!(matches!(alice.unwrap_err().reason, AbortReason::Qber { .. }));
    assert!(bob.is_err());
    let mut params = small();
    params.block.clicks = 200;
    let (alice, bob) = Bench::new(params, 1).block(1, honest);
    assert!(matches!(alice.unwrap_err().reason, AbortReason::TooFew { .. }));
    assert!(matches!(bob.unwrap_err().reason, AbortReason::TooFew { .. }));
    let mut params = small();
    params.block.clicks = 14_000;
    params.block.eps_sec = 1e-20;
    params.fibre.misalignment = 0.08;
    let (alice, bob) = Bench::new(params, 1).block(1, honest);
    assert_eq!(alice.unwrap_err().reason, AbortReason::NoSecret);
    assert!(bob.is_err());
}

/// KM-09: a block that is only to look at the channel ends with the same verdict as one that makes key, at both
/// ends and after one message of each; and under attack with the same alarm.
#[test]
fn a_look_at_the_channel_ends_with_the_verdict() {
    for protocol in Protocol::ALL {
        let params = LinkParams::of(*protocol, Preset::Metro);
        let mut bench = Bench::new(params.clone(), 3).watching();
        let mut messages = 0;
        let (alice, bob) = bench.block(1, |at| {
            messages = at + 1;
            Fault::None
        });
        let (alice, bob) = (alice.unwrap_err(), bob.unwrap_err());
        assert_eq!((&alice.reason, &bob.reason, messages), (&AbortReason::Watched, &AbortReason::Watched, 2));
        assert_eq!(alice.stats, bob.stats);
        assert!(alice.stats.qber_ppm > 0 && alice.stats.secret_bits == 0);
        assert_eq!(protocol.is_entangled(), alice.stats.s_lower_milli > 2_000);
        let mut tapped = Bench::new(params, 3).watching().tapped(0.9);
        let (alice, bob) = tapped.block(1, honest);
        let (alice, bob) = (alice.unwrap_err().reason, bob.unwrap_err().reason);
        assert!(super::alarm(&alice).is_some() && alice == bob, "{alice:?} {bob:?}");
    }
}

/// Every preset carries key, after-pulses and dead time included.
#[test]
fn the_presets_carry_key() {
    for (protocol, preset) in CARRYING {
        let mut bench = Bench::new(LinkParams::of(protocol, preset), 11);
        let (alice, bob) = bench.block(1, honest);
        keys_never_differ(&alice, &bob);
        let stats = alice.unwrap().stats;
        let mut ledger = crate::EpsilonLedger::default();
        ledger.enter(&stats);
        assert!(stats.secret_bits > 1_000 && ledger.spent() < 3e-10, "{stats:?}");
        let seconds = stats.pulses as f64 / f64::from(bench.params.pulse_rate_hz);
        println!("{protocol} {preset}: {} bit/s {stats:?}", stats.secret_bits as f64 / seconds);
    }
}
