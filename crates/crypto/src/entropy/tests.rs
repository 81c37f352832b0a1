use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use super::health::Tripped;
use super::source::{OsSource, RawSource, Unavailable};
use super::{DRAW, Entropy, EntropyError, STARTUP};
use crate::secret::{KeyMaterial, Secret32};

const HEALTHY: u8 = 0;
const STUCK: u8 = 1;
const BIASED: u8 = 2;
const ABSENT: u8 = 3;

/// The operating system's bytes until told to break.
#[derive(Clone, Default)]
struct Breakable {
    mode: Arc<AtomicU8>,
    drawn: Arc<AtomicUsize>,
}

impl RawSource for Breakable {
    fn name(&self) -> &'static str {
        "breakable"
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), Unavailable> {
        OsSource.read(out)?;
        self.drawn.fetch_add(out.len(), Ordering::Relaxed);
        match self.mode.load(Ordering::Relaxed) {
            STUCK => out.fill(0xff),
            BIASED => out.iter_mut().step_by(4).for_each(|byte| *byte = 0x5a),
            ABSENT => return Err(Unavailable),
            _ => {}
        }
        Ok(())
    }
}

fn beside_a_healthy_one(mode: u8) -> (Breakable, Result<Entropy, EntropyError>) {
    let source = Breakable::default();
    source.mode.store(mode, Ordering::Relaxed);
    let entropy = Entropy::new(vec![Box::new(OsSource), Box::new(source.clone())]);
    (source, entropy)
}

fn unhealthy(test: Tripped) -> EntropyError {
    EntropyError::Unhealthy { source_name: "breakable", test }
}

/// KM-03: a source that is broken from the start is never used.
#[test]
fn the_start_up_test_refuses_a_broken_source() {
    assert_eq!(beside_a_healthy_one(STUCK).1.unwrap_err(), unhealthy(Tripped::RepetitionCount));
    assert_eq!(beside_a_healthy_one(BIASED).1.unwrap_err(), unhealthy(Tripped::AdaptiveProportion));
    assert_eq!(Entropy::new(Vec::new()).unwrap_err(), EntropyError::NoSource);
}

/// KM-03: a source that breaks later stops generation for good, though the other still works and
/// though the broken one recovers. KM-02: no key is made.
#[test]
fn a_failure_in_use_is_latched() {
    let (source, entropy) = beside_a_healthy_one(HEALTHY);
    let entropy = entropy.unwrap();
    let mut out = [7; 48];
    entropy.fill(&mut out).unwrap();

    source.mode.store(STUCK, Ordering::Relaxed);
    assert_eq!(entropy.fill(&mut out).unwrap_err(), unhealthy(Tripped::RepetitionCount));
    assert_eq!(out, [0; 48]);

    source.mode.store(HEALTHY, Ordering::Relaxed);
    assert_eq!(KeyMaterial::generate(&entropy).unwrap_err(), unhealthy(Tripped::RepetitionCount));
}

/// KM-03: the continuous proportion test sees a bias that starts between draws.
#[test]
fn a_bias_in_use_is_found_within_two_windows() {
    let (source, entropy) = beside_a_healthy_one(HEALTHY);
    let entropy = entropy.unwrap();
    source.mode.store(BIASED, Ordering::Relaxed);
    let draws = 2 * 512 / DRAW;
    let failed = (0..draws).find_map(|_| entropy.array::<32>().err());
    assert_eq!(failed, Some(unhealthy(Tripped::AdaptiveProportion)));
}

/// KM-03: an absent source is an error, but one that heals.
#[test]
fn an_absent_source_is_not_skipped() {
    let (source, entropy) = beside_a_healthy_one(HEALTHY);
    let entropy = entropy.unwrap();
    source.mode.store(ABSENT, Ordering::Relaxed);
    assert_eq!(entropy.array::<32>(), Err(EntropyError::Unavailable { source_name: "breakable" }));
    source.mode.store(HEALTHY, Ordering::Relaxed);
    assert!(entropy.array::<32>().is_ok());
}

/// KM-03: at least 256 bits stand behind every key.
#[test]
fn each_block_draws_enough_from_each_source() {
    let (source, entropy) = beside_a_healthy_one(HEALTHY);
    let entropy = entropy.unwrap();
    assert_eq!(source.drawn.load(Ordering::Relaxed), STARTUP);
    entropy.array::<65>().unwrap();
    let drawn = source.drawn.load(Ordering::Relaxed) - STARTUP;
    assert_eq!(drawn, 3 * DRAW);
    assert!(DRAW * super::CREDIT as usize >= types::limits::KEY_ENTROPY_BITS);
}

/// A source that repeats itself exactly must not repeat the output: the state moves on.
#[test]
fn the_state_moves_even_where_a_source_does_not() {
    struct Counter;
    impl RawSource for Counter {
        fn name(&self) -> &'static str {
            "counter"
        }
        fn read(&mut self, out: &mut [u8]) -> Result<(), Unavailable> {
            out.iter_mut().zip(0_u8..=255).for_each(|(byte, value)| *byte = value);
            out.iter_mut().skip(256).zip((0_u8..=255).cycle()).for_each(|(byte, value)| *byte = value);
            Ok(())
        }
    }
    let entropy = Entropy::new(vec![Box::new(Counter)]).unwrap();
    let blocks: BTreeSet<_> = (0..64).map(|_| entropy.array::<32>().unwrap()).collect();
    assert_eq!(blocks.len(), 64);
}

/// KM-03
#[test]
fn the_system_has_a_healthy_source() {
    let entropy = Entropy::system().unwrap();
    assert_eq!(entropy.source_names()[0], "os");
    let mut many = vec![0; 1 << 16];
    entropy.fill(&mut many).unwrap();
    let distinct: BTreeSet<_> = many.chunks(32).collect();
    assert_eq!(distinct.len(), many.len() / 32);
}
