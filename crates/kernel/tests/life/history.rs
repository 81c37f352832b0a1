//! Random histories: whatever happens, in whatever order, every invariant holds after every step
//! and the log gives the state again, byte for byte.

use kernel::event::{Command, Event, KeyReceipt, KeyUsage, Settings};
use kernel::record::Record;
use kernel::{Body, State};
use proptest::collection::vec;
use proptest::prelude::*;
use types::mesh::{Delivery, KeyState, SignalKind, Subject};
use types::{KeyId, LinkId, Millis, NodeId, Timestamp};

use crate::world::{World, hash_of, node, spec};

const NODES: usize = 4;

/// One thing that happens around a boundary.
#[derive(Debug, Clone)]
enum Turn {
    Pass(u64),
    Back(u64),
    Tick,
    Up(usize),
    Down(usize),
    /// The event under way at this place arrives; it may arrive again.
    Arrive(usize, bool),
    /// The event under way at this place is lost.
    Lose(usize),
    ArriveAll,
    Deaf(usize, bool),
    Liar(usize, bool),
    Signal(usize, usize, SignalKind, u32),
    KeySignal(u64, u32),
    Report(usize, usize, u32, u32),
    Order(u8, usize),
    Stray(usize, u64, u8),
}

fn turn() -> impl Strategy<Value = Turn> {
    let n = 1..=NODES;
    let kind = (0..SignalKind::ALL.len()).prop_map(|at| SignalKind::ALL[at]);
    let sure = prop_oneof![Just(1_000_000), Just(990_000), Just(999_950), 0..1_000_000u32];
    prop_oneof![
        4 => (1u64..8_000).prop_map(Turn::Pass),
        1 => (1u64..60_000).prop_map(Turn::Back),
        6 => Just(Turn::Tick),
        3 => n.clone().prop_map(Turn::Up),
        1 => n.clone().prop_map(Turn::Down),
        12 => (any::<usize>(), any::<bool>()).prop_map(|(at, twice)| Turn::Arrive(at, twice)),
        2 => any::<usize>().prop_map(Turn::Lose),
        6 => Just(Turn::ArriveAll),
        1 => (n.clone(), any::<bool>()).prop_map(|(n, on)| Turn::Deaf(n, on)),
        1 => (n.clone(), any::<bool>()).prop_map(|(n, on)| Turn::Liar(n, on)),
        1 => (0..=NODES, n.clone(), kind, sure.clone()).prop_map(|(by, n, kind, ppm)| Turn::Signal(by, n, kind, ppm)),
        1 => (1u64..60, sure).prop_map(|(key, ppm)| Turn::KeySignal(key, ppm)),
        3 => (0..=NODES, n.clone(), 0..200_000u32, 0..5_000u32).prop_map(|(x, y, q, r)| Turn::Report(x, y, q, r)),
        2 => (any::<u8>(), n.clone()).prop_map(|(what, n)| Turn::Order(what, n)),
        2 => (n, 0u64..60, any::<u8>()).prop_map(|(n, key, what)| Turn::Stray(n, key, what)),
    ]
}

fn end(n: usize) -> NodeId {
    if n == 0 { NodeId::hub() } else { node(n) }
}

/// An event that nothing asked for.
fn stray(n: usize, key: u64, what: u8) -> Event {
    let (by, keys) = (node(n), vec![KeyId::new(key), KeyId::new(key / 2), KeyId::new(key)]);
    match what % 8 {
        0 => Event::Made { keys },
        1 => Event::MakeFailed { keys, reason: "stray".to_owned() },
        2 => Event::Delivered { node: by, delivery: Delivery::Kem, keys },
        3 => Event::DeliveryFailed { node: by, keys, reason: "stray".to_owned() },
        4 => Event::Activated { node: by, keys },
        5 => Event::Purged { node: by, keys },
        6 => {
            let receipt = |key: &KeyId| KeyReceipt { key: *key, commitment: hash_of(&key.to_string()), mixed: None };
            Event::Receipts { node: by, receipts: keys.iter().map(receipt).collect() }
        }
        _ => {
            let usage = |key: &KeyId| KeyUsage { key: *key, frames: 1, bytes: 9, failures: u64::from(what) };
            Event::Usage { node: by, keys: keys.iter().map(usage).collect() }
        }
    }
}

fn order(what: u8, n: usize) -> Command {
    match what % 5 {
        0 => Command::RotateKeys { key_type: None, emergency: false },
        1 => Command::RotateKeys { key_type: None, emergency: true },
        2 => Command::RestoreNode { node: node(n) },
        3 => Command::SetAssisted { on: what > 128 },
        _ => Command::AdmitNode { node: spec(NODES + usize::from(what > 128)), links: vec![] },
    }
}

fn play(world: &mut World, turn: Turn) {
    match turn {
        Turn::Pass(ms) => world.now = world.now + Millis::new(ms),
        Turn::Back(ms) => world.now = world.now - Millis::new(ms),
        Turn::Tick => world.tick(),
        Turn::Up(n) => world.up(n),
        Turn::Down(n) => world.down(n),
        Turn::Arrive(at, twice) if !world.queue.is_empty() => {
            let event = world.queue.remove(at % world.queue.len()).unwrap();
            if twice {
                world.queue.push_back(event.clone());
            }
            world.feed(event);
        }
        Turn::Lose(at) if !world.queue.is_empty() => {
            world.queue.remove(at % world.queue.len());
        }
        Turn::Arrive(..) | Turn::Lose(_) => {}
        Turn::ArriveAll => world.settle(),
        Turn::Deaf(n, true) => drop(world.deaf.insert(node(n))),
        Turn::Deaf(n, false) => drop(world.deaf.remove(&node(n))),
        Turn::Liar(n, true) => drop(world.liars.insert(node(n))),
        Turn::Liar(n, false) => drop(world.liars.remove(&node(n))),
        Turn::Signal(by, n, kind, confidence_ppm) => {
            let subject = Subject::Node(node(n));
            match by {
                0 => world.feed(Event::Detected { subject, kind, confidence_ppm }),
                by => world.feed(Event::Signal { source: node(by), subject, kind }),
            };
        }
        Turn::KeySignal(key, confidence_ppm) => {
            world.signal(Subject::Key(KeyId::new(key)), SignalKind::KeyCompromise, confidence_ppm);
        }
        Turn::Report(x, y, qber, rate) => {
            if LinkId::new(end(x), end(y)).is_some() {
                world.report(end(x), end(y), qber, rate);
            }
        }
        Turn::Order(what, n) => drop(world.command(&order(what, n))),
        Turn::Stray(n, key, what) => drop(world.feed(stray(n, key, what))),
    }
}

fn settings() -> impl Strategy<Value = Settings> {
    (500u64..20_000, 0u64..6_000, 0u64..20_000, 500u64..6_000).prop_map(|(refresh, overlap, retention, wait)| {
        Settings {
            refresh: Millis::new(refresh),
            overlap: Millis::new(overlap),
            retention: Millis::new(retention),
            distribution_timeout: Millis::new(wait),
            master_life: Millis::from_secs(30),
            ..Settings::default()
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, failure_persistence: None, ..ProptestConfig::default() })]

    /// KM-01, KM-02, KM-04, KM-07, KM-12, SM-02: see the invariants by name.
    #[test]
    fn every_history_keeps_the_invariants_and_replays(settings in settings(), turns in vec(turn(), 1..250)) {
        let mut world = World::new(NODES, settings);
        (1..=NODES).for_each(|n| world.up(n));
        for turn in turns {
            play(&mut world, turn);
        }
        world.assert_replays();
    }

    /// KM-02, KM-12: whatever happened, once everyone behaves every remaining pair is keyed and staged.
    #[test]
    fn every_history_heals(turns in vec(turn(), 1..150)) {
        let mut world = World::new(NODES, Settings { overlap: Millis::new(500), ..Settings::default() });
        for turn in turns {
            play(&mut world, turn);
        }
        world.deaf.clear();
        world.liars.clear();
        world.now = world.now.max(world.state.clock());
        let remaining: Vec<usize> = (1..=NODES).filter(|n| world.state.roster().any(|one| *one == node(*n))).collect();
        for n in &remaining {
            world.up(*n);
        }
        world.pass(Millis::from_secs(150), Millis::from_secs(1));
        for (at, x) in remaining.iter().enumerate() {
            for y in &remaining[at + 1..] {
                let slot = crate::world::pair(*x, *y);
                prop_assert!(matches!(world.in_use(&slot), Some((_, KeyState::Active))), "{:?}", slot);
                prop_assert!(world.staged(&slot).is_some(), "{:?}", slot);
            }
        }
        world.assert_replays();
    }

    /// `apply` is total: records out of any order and context change what they can and no more.
    #[test]
    fn apply_is_total(turns in vec(turn(), 1..80), picks in vec(any::<usize>(), 1..200)) {
        let mut world = World::new(NODES, Settings::default());
        (1..=NODES).for_each(|n| world.up(n));
        for turn in turns {
            play(&mut world, turn);
        }
        let records: Vec<Record> = world.records().cloned().collect();
        let mut state = State::default();
        for pick in picks {
            state.advance(Timestamp::from_millis(pick as u64));
            state.apply(&records[pick % records.len()]);
        }
        prop_assert!(State::decode(&state.encode()).unwrap() == state);
    }

    /// A snapshot has one form; every other byte string is refused or is another state.
    #[test]
    fn a_damaged_snapshot_is_never_the_same_state(at in any::<usize>(), bit in 0u8..8) {
        let world = World::keyed(2, Settings::default());
        let mut bytes = world.state.encode();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(other) = State::decode(&bytes) {
            prop_assert_ne!(other.hash(), world.state.hash());
        }
        bytes[at] ^= 1 << bit;
        bytes.push(0);
        prop_assert!(State::decode(&bytes).is_err());
    }
}

/// A body is what `Body` says and nothing else.
#[test]
fn bodies_have_one_encoding() {
    let body = Body { rules: kernel::RULES, event: Event::Tick, records: vec![] };
    let mut bytes = types::cbor::to_vec(&body);
    assert_eq!(types::cbor::from_slice::<Body>(&bytes), Ok(body));
    bytes.push(0);
    assert!(types::cbor::from_slice::<Body>(&bytes).is_err());
}
