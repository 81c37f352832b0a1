//! What a bad classical channel does to a block.

use std::ops::Range;

use super::{keys_never_differ, small_of};
use crate::params::LinkParams;
use crate::seeded::{Bench, Fault, Seeded};
use crate::{Protocol, Reconciliation};

/// Runs with faults: how many gave key, how many were given up.
fn faulty_runs(protocol: Protocol, seeds: Range<u64>) -> (u32, u32) {
    let (mut done, mut given_up) = (0, 0);
    for seed in seeds {
        let mut bench = Bench::new(small_of(protocol), seed * 10);
        let mut rng = Seeded::new(seed);
        // a block by parity checks has few messages: more of them must go wrong
        let whole = if bench.params.block.reconciliation == Reconciliation::Ldpc { 24 } else { 250 };
        let (alice, bob) = bench.block(seed, |_| match rng.below(whole) {
            0 => Fault::Drop,
            1 => Fault::Corrupt(rng.word() as usize),
            2 => Fault::Truncate(rng.word() as usize),
            3..6 => Fault::Duplicate,
            6..9 => Fault::Replay,
            _ => Fault::None,
        });
        keys_never_differ(&alice, &bob);
        if alice.is_ok() { done += 1 } else { given_up += 1 }
    }
    (done, given_up)
}

/// SM-06b: lost, repeated, corrupted, cut and replayed messages, in every protocol: equal keys or a
/// clean abort.
#[test]
fn faults_end_in_equal_keys_or_a_clean_abort() {
    for (protocol, runs) in Protocol::ALL.iter().zip([200, 80, 80, 40]) {
        let (done, given_up) = faulty_runs(*protocol, 0..runs);
        println!("{protocol}: {done} keys, {given_up} aborts");
        assert!(done > runs as u32 / 10 && given_up > runs as u32 / 10, "{protocol}: {done} {given_up}");
    }
}

/// The same, 10,000 times.
#[test]
#[ignore = "takes minutes: cargo test -p qkd --lib -- --ignored"]
fn ten_thousand_faulty_runs_end_in_equal_keys_or_a_clean_abort() {
    for (protocol, runs) in Protocol::ALL.iter().zip([4_000, 2_000, 2_000, 2_000]) {
        let (done, given_up) = faulty_runs(*protocol, 1_000..1_000 + runs);
        println!("{protocol}: {done} keys, {given_up} aborts");
        assert!(done > runs as u32 / 10 && given_up > runs as u32 / 10);
    }
}

/// Every message in turn, with one flipped bit: no key at the end that was lied to.
#[test]
fn one_flipped_bit_in_any_message_never_gives_a_key_to_alice() {
    for (protocol, flips) in [(Protocol::Bb84, 3), (Protocol::DecoyBb84, 1), (Protocol::Bbm92, 1)] {
        flip_each(&small_of(protocol), flips);
    }
}

fn flip_each(params: &LinkParams, flips: u32) {
    let messages = {
        let mut count = 0;
        let (alice, _) = Bench::new(params.clone(), 3).block(1, |i| {
            count = i + 1;
            Fault::None
        });
        alice.unwrap();
        count
    };
    let mut rng = Seeded::new(9);
    for target in 0..messages {
        for _ in 0..flips {
            let bit = rng.word() as usize;
            let mut bench = Bench::new(params.clone(), 3);
            let (alice, bob) = bench.block(1, |i| if i == target { Fault::Corrupt(bit) } else { Fault::None });
            assert!(alice.is_err(), "message {target}, bit {bit}");
            // only the last message comes after Bob is done
            assert!(bob.is_err() || target == messages - 1);
        }
    }
}
