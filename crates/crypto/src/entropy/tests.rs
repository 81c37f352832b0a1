use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::conditioner::Conditioner;
use super::filler::{ABSENT_AFTER, DUTY, Filler, Meter, RESEED_EVERY, Turn};
use super::health::Tripped;
use super::source::{Kind, OsSource, RawSource};
use super::stock::{CAPACITY, RESERVE};
use super::{BLOCK_DRAW, CREDIT, Entropy, EntropyError, SEED_DRAW, STARTUP};
use crate::secret::{KeyMaterial, Secret32};

const HEALTHY: u8 = 0;
const STUCK: u8 = 1;
const BIASED: u8 = 2;
const ABSENT: u8 = 3;

/// A clock that only the source and the test move.
#[derive(Default)]
struct Clock(AtomicU64);

impl Clock {
    fn pass(&self, span: Duration) {
        self.0.fetch_add(u64::try_from(span.as_nanos()).unwrap(), Ordering::Relaxed);
    }
}

impl Meter for Clock {
    fn now(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A physical source that works as RDSEED does: each try costs `price` and, in `of` tries, one finds a
/// word. It can be broken.
#[derive(Clone)]
struct Processor {
    clock: Arc<Clock>,
    price: Duration,
    of: usize,
    mode: Arc<AtomicU8>,
    tries: Arc<AtomicUsize>,
    drawn: Arc<AtomicUsize>,
}

impl Processor {
    /// Fails `of` - 1 of `of` tries.
    fn new(of: usize) -> Self {
        let (clock, mode) = (Arc::default(), Arc::default());
        let price = Duration::from_nanos(900);
        Self { clock, price, of, mode, tries: Arc::default(), drawn: Arc::default() }
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::Relaxed);
    }

    fn tries(&self) -> usize {
        self.tries.load(Ordering::Relaxed)
    }

    fn with(&self, others: Vec<Box<dyn RawSource>>) -> Result<(Entropy, Filler), EntropyError> {
        let mut sources = others;
        sources.push(Box::new(self.clone()));
        Entropy::paced(sources, Arc::<Clock>::clone(&self.clone().clock))
    }

    fn beside_the_system(&self) -> (Entropy, Filler) {
        self.with(vec![Box::new(OsSource)]).unwrap()
    }
}

impl RawSource for Processor {
    fn name(&self) -> &'static str {
        "processor"
    }

    fn kind(&self) -> Kind {
        Kind::Physical
    }

    fn poll(&mut self, out: &mut [u8]) -> usize {
        let mut filled = 0;
        for word in out.chunks_mut(8) {
            self.clock.pass(self.price);
            let tried = self.tries.fetch_add(1, Ordering::Relaxed);
            let mode = self.mode.load(Ordering::Relaxed);
            if mode == ABSENT || !tried.is_multiple_of(self.of) {
                break;
            }
            OsSource.poll(word);
            match mode {
                STUCK => word.fill(0xff),
                BIASED => word.iter_mut().step_by(4).for_each(|byte| *byte = 0x5a),
                _ => {}
            }
            filled += word.len();
        }
        self.drawn.fetch_add(filled, Ordering::Relaxed);
        filled
    }
}

fn unhealthy(test: Tripped) -> EntropyError {
    EntropyError::Unhealthy { source_name: "processor", test }
}

/// Turns the filler for `span` of virtual time, sleeping as it says; the time it spent on tries.
fn pass(filler: &mut Filler, clock: &Clock, span: Duration) -> Duration {
    let (start, mut spent) = (clock.now(), Duration::ZERO);
    while clock.now() - start < span {
        let before = clock.now();
        let turn = filler.turn();
        spent += clock.now() - before;
        match turn {
            Turn::Sleep(span) => clock.pass(span),
            Turn::Rest => clock.pass(Duration::from_millis(100)),
        }
    }
    spent
}

/// U11: where 96 of 100 tries find nothing, the filler spends at most a twentieth of a core, and what
/// it brings is what that twentieth pays for.
#[test]
fn u11_a_slow_source_costs_a_twentieth_of_a_core() {
    let source = Processor::new(25);
    let (entropy, mut filler) = source.beside_the_system();
    let report = entropy.report();
    // 8 bytes each 25 tries of 0.9 us
    let rate = report.sources[1].bytes_per_second;
    assert!((340_000..370_000).contains(&rate), "{rate}");
    let paid = report.full_bytes_per_second();
    let span = Duration::from_secs(20);
    let (stock, tries, mut taken) = (report.stock, source.tries(), 0);
    let mut spent = Duration::ZERO;
    // demand keeps ahead of supply all the time
    for _ in 0..20 {
        spent += pass(&mut filler, &source.clock, span / 20);
        let before = entropy.report().given.full;
        entropy.fill(&mut vec![0; 1 << 16]).unwrap();
        taken += entropy.report().given.full - before;
    }
    assert!(spent * DUTY <= span + span / 10, "{spent:?} of {span:?}");
    let priced = source.price * u32::try_from(source.tries() - tries).unwrap();
    assert!(priced * DUTY <= span + span / 10, "{priced:?} of {span:?}");
    let brought = taken as f64 - stock as f64;
    let share = brought / (paid as f64 * span.as_secs_f64());
    assert!((0.75..1.1).contains(&share), "brought {share:.2} of what was promised");
}

/// U11: a fast source is not allowed more.
#[test]
fn u11_a_fast_source_fills_the_stock_and_rests() {
    let source = Processor::new(1);
    let (entropy, mut filler) = source.beside_the_system();
    let mut turns = 0;
    let turn = loop {
        let before = source.clock.now();
        match filler.turn() {
            Turn::Rest => break Turn::Rest,
            Turn::Sleep(span) => {
                let spent = source.clock.now() - before;
                assert!(span >= spent * (DUTY - 1) || entropy.report().stock == CAPACITY);
                source.clock.pass(span);
            }
        }
        turns += 1;
        assert!(turns < 10_000);
    };
    assert_eq!((turn, entropy.report().stock), (Turn::Rest, CAPACITY));
    let tries = source.tries();
    pass(&mut filler, &source.clock, Duration::from_secs(3_600));
    assert_eq!(source.tries(), tries, "at rest nothing is tried");
}

/// U11: whatever is asked, and whatever the source does, a consumer tries no physical source and
/// waits for none; what it gets is counted for what it is.
#[test]
fn u11_consumers_never_spin() {
    let source = Processor::new(25);
    let (entropy, mut filler) = source.beside_the_system();
    pass(&mut filler, &source.clock, Duration::from_secs(30));
    source.set(ABSENT);
    let (tries, time, stock) = (source.tries(), source.clock.now(), entropy.report().stock as u64);
    assert_eq!(stock, CAPACITY as u64);
    let mut many = vec![0; 1 << 20];
    entropy.fill_public(&mut many).unwrap();
    assert_eq!(entropy.report().given.full, 0);
    entropy.fill_bulk(&mut many).unwrap();
    assert_eq!(entropy.report().given.full, stock - RESERVE as u64);
    entropy.fill(&mut many).unwrap();
    let given = entropy.report().given;
    assert_eq!((given.full, given.computational, given.public), (stock, (2 << 20) - stock, 1 << 20));
    assert_eq!((source.tries(), source.clock.now()), (tries, time));
    let distinct: BTreeSet<_> = many.chunks(32).collect();
    assert_eq!(distinct.len(), many.len() / 32);
}

/// U11: what is used up is seeded anew each second, from every source, and asks for nothing at rest.
#[test]
fn u11_the_generator_is_seeded_anew_while_it_is_used() {
    let source = Processor::new(25);
    let (entropy, mut filler) = source.beside_the_system();
    pass(&mut filler, &source.clock, Duration::from_secs(60));
    let idle = source.drawn.load(Ordering::Relaxed);
    for _ in 0..10 {
        entropy.array::<16>().unwrap();
        pass(&mut filler, &source.clock, RESEED_EVERY + Duration::from_millis(200));
    }
    let drawn = source.drawn.load(Ordering::Relaxed) - idle;
    assert!((9 * SEED_DRAW..=11 * SEED_DRAW).contains(&drawn), "{drawn}");
}

/// KM-03: a source that is broken from the start is never used.
#[test]
fn the_start_up_test_refuses_a_broken_source() {
    for (mode, test) in [(STUCK, Tripped::RepetitionCount), (BIASED, Tripped::AdaptiveProportion)] {
        let source = Processor::new(1);
        source.set(mode);
        assert_eq!(source.with(vec![Box::new(OsSource)]).err(), Some(unhealthy(test)));
    }
    let absent = Processor::new(1);
    absent.set(ABSENT);
    assert_eq!(absent.with(Vec::new()).err(), Some(EntropyError::Unavailable { source_name: "processor" }));
    assert_eq!(Entropy::new(Vec::new()).unwrap_err(), EntropyError::NoSource);
}

/// KM-03: a source that breaks later stops generation for good, though the other still works, though
/// there was stock, and though the broken one recovers. KM-02: no key is made.
#[test]
fn a_failure_in_use_is_latched() {
    let source = Processor::new(1);
    let (entropy, mut filler) = source.beside_the_system();
    let mut out = [7; 48];
    entropy.fill(&mut out).unwrap();

    source.set(STUCK);
    filler.turn();
    assert_eq!(entropy.fill(&mut out).unwrap_err(), unhealthy(Tripped::RepetitionCount));
    assert_eq!((out, entropy.report().stock), ([0; 48], 0));

    source.set(HEALTHY);
    pass(&mut filler, &source.clock, Duration::from_secs(60));
    assert_eq!(KeyMaterial::generate(&entropy).unwrap_err(), unhealthy(Tripped::RepetitionCount));
}

/// KM-03: the continuous proportion test sees a bias that starts between draws.
#[test]
fn a_bias_in_use_is_found_within_two_windows() {
    let source = Processor::new(1);
    let (entropy, mut filler) = source.beside_the_system();
    source.set(BIASED);
    let before = source.drawn.load(Ordering::Relaxed);
    while entropy.array::<32>().is_ok() {
        filler.turn();
        assert!(source.drawn.load(Ordering::Relaxed) - before < 16_384);
    }
    assert_eq!(entropy.array::<32>(), Err(unhealthy(Tripped::AdaptiveProportion)));
}

/// KM-03: a source that stays away is an error, but one that heals.
#[test]
fn an_absent_source_is_not_skipped() {
    let source = Processor::new(25);
    let (entropy, mut filler) = source.beside_the_system();
    source.set(ABSENT);
    pass(&mut filler, &source.clock, ABSENT_AFTER / 2);
    assert!(entropy.array::<32>().is_ok(), "a short silence is bridged");
    pass(&mut filler, &source.clock, ABSENT_AFTER);
    assert_eq!(entropy.array::<32>(), Err(EntropyError::Unavailable { source_name: "processor" }));
    source.set(HEALTHY);
    pass(&mut filler, &source.clock, Duration::from_secs(2));
    assert!(entropy.array::<32>().is_ok());
}

/// KM-03: at least 256 bits stand behind every key, and 64 more where full entropy is claimed (SP
/// 800-90B section 3.1.5.1.2).
#[test]
fn each_block_draws_enough_from_each_source() {
    let source = Processor::new(1);
    let (entropy, mut filler) = source.beside_the_system();
    let (stock, drawn) = (entropy.report().stock, source.drawn.load(Ordering::Relaxed));
    assert_eq!(drawn, STARTUP + SEED_DRAW + stock / 32 * BLOCK_DRAW);
    pass(&mut filler, &source.clock, Duration::from_secs(1));
    let (more, drawn) = (entropy.report().stock - stock, source.drawn.load(Ordering::Relaxed) - drawn);
    assert!(more > 0 && drawn >= more / 32 * BLOCK_DRAW);
    assert!(BLOCK_DRAW * CREDIT as usize >= types::limits::KEY_ENTROPY_BITS + 64);
    assert!(SEED_DRAW * CREDIT as usize >= 384 + 64);
}

/// A source that repeats itself exactly must not repeat the output: the state moves on.
#[test]
fn the_state_moves_even_where_a_source_does_not() {
    let mut conditioner = Conditioner::default();
    let blocks: BTreeSet<_> = (0..64).map(|_| *conditioner.condition::<32>(&[7; BLOCK_DRAW]).unwrap()).collect();
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
    let report = entropy.report().to_string();
    assert!(report.contains("SP 800-90C"), "{report}");
}
