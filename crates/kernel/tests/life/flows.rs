//! Keys from want to destruction, in an honest mesh and in one that fails.

use kernel::effect::Effect;
use kernel::event::{Event, KeyUsage, Settings};
use kernel::record::{Cause, Record, Refusal};
use kernel::state::keys::Slot;
use types::mesh::{KeyState, KeyType, NodeState, Severity, SignalKind, Subject};
use types::{KeyId, Millis, NodeId};

use crate::world::{World, node, pair};

fn quick() -> Settings {
    Settings {
        refresh: Millis::from_secs(10),
        overlap: Millis::from_secs(1),
        retention: Millis::from_secs(20),
        ..Settings::default()
    }
}

fn refusals(world: &World) -> Vec<Refusal> {
    world.records().filter_map(|r| if let Record::Refused(why) = r { Some(why.clone()) } else { None }).collect()
}

/// KM-04, KM-12, KM-14: every pair holds one key in use and one staged; every other kind is there.
#[test]
fn a_connected_mesh_is_keyed_and_pre_staged() {
    let world = World::keyed(5, Settings::default());
    for x in 1..=5 {
        for y in x + 1..=5 {
            let (active, state) = world.in_use(&pair(x, y)).unwrap();
            assert_eq!(state, KeyState::Active);
            assert!(world.staged(&pair(x, y)).unwrap() > active);
            assert!(world.state.key(active).unwrap().in_use_by_all());
        }
        assert!(world.in_use(&Slot::identity(&node(x))).is_some());
        assert!(world.in_use(&Slot::session(&node(x))).is_some());
    }
    assert!(world.in_use(&Slot::master()).is_some());
    assert!(world.in_use(&Slot::audit()).is_some());
    let counts = world.state.key_counts();
    assert_eq!(counts.by_type[&KeyType::MeshSession], 20);
    assert_eq!(counts.by_state[&KeyState::Active], 10 + 5 + 5 + 2);
    assert_eq!(refusals(&world), []);
    world.assert_replays();
}

/// KM-06, KM-07, KM-10: rotation by age, with overlap, archive and destruction.
#[test]
fn keys_rotate_by_age_and_end_by_retention() {
    let mut world = World::keyed(3, quick());
    let (first, _) = world.in_use(&pair(1, 2)).unwrap();
    let second = world.staged(&pair(1, 2)).unwrap();
    world.pass(Millis::new(9_900), Millis::new(100));
    assert_eq!(world.in_use(&pair(1, 2)), Some((first, KeyState::Active)));
    world.pass(Millis::new(200), Millis::new(100));
    assert_eq!(world.in_use(&pair(1, 2)), Some((second, KeyState::Active)));
    assert_eq!(world.state.key(first).unwrap().state, Some(KeyState::Rotating), "valid through the overlap");
    world.pass(Millis::new(1_100), Millis::new(100));
    assert_eq!(world.state.key(first).unwrap().state, Some(KeyState::Retired));
    world.pass(Millis::from_secs(20), Millis::new(100));
    assert!(world.state.key(first).is_none());
    world.assert_replays();
}

/// SM-02: what a pair brought into use while the hub was away is recorded at the first word of either
/// end, and all goes on from there; a word about any other key changes nothing.
#[test]
fn a_pair_changes_to_its_reserve_without_the_hub() {
    let mut world = World::keyed(3, quick());
    let (first, _) = world.in_use(&pair(1, 2)).unwrap();
    let reserve = world.staged(&pair(1, 2)).unwrap();
    let (foreign, _) = world.in_use(&pair(2, 3)).unwrap();
    (1..=3).for_each(|n| world.down(n));
    world.pass(Millis::from_secs(30), Millis::from_secs(1));
    assert_eq!(world.in_use(&pair(1, 2)), Some((first, KeyState::Active)), "the hub reaches nobody");

    world.up(1);
    let said = |n: usize, keys: &[KeyId]| Event::Activated { node: node(n), keys: keys.to_vec() };
    let nothing = [KeyId::new(999), foreign, world.staged(&pair(2, 3)).unwrap()];
    assert_eq!(world.feed(said(1, &nothing)).records, []);
    let step = world.feed(said(1, &[reserve, first]));
    let moved = |key, from, to| Record::KeyMoved { key, from: Some(from), to, cause: Cause::Pair };
    let moves =
        [moved(first, KeyState::Active, KeyState::Rotating), moved(reserve, KeyState::Distributed, KeyState::Active)];
    assert!(moves.iter().all(|moved| step.records.contains(moved)), "{:?}", step.records);
    assert!(step.records.contains(&Record::KeysInUse { node: node(1), keys: vec![reserve] }), "{:?}", step.records);
    assert_eq!(world.feed(said(1, &[reserve])).records, []);

    (2..=3).for_each(|n| world.up(n));
    world.settle();
    assert!(world.state.key(reserve).unwrap().in_use_by_all());
    assert!(world.staged(&pair(1, 2)).unwrap() > reserve, "there is a reserve again");
    world.pass(Millis::new(1_200), Millis::new(100));
    assert_eq!(world.state.key(first).unwrap().state, Some(KeyState::Retired), "the overlap has an end");
    world.assert_replays();
}

/// KM-04, KM-06: the old key stays until the last node has the new one in use.
#[test]
fn the_overlap_waits_for_the_slowest_node() {
    let mut world = World::keyed(2, quick());
    let (first, _) = world.in_use(&pair(1, 2)).unwrap();
    world.pass(Millis::new(9_900), Millis::new(100));
    world.deaf.insert(node(2));
    world.pass(Millis::from_secs(5), Millis::new(100));
    assert_eq!(world.state.key(first).unwrap().state, Some(KeyState::Rotating));
    assert_eq!(world.state.key(first).unwrap().replaced_at, None);
    world.down(2);
    world.up(2);
    world.pass(Millis::new(1_200), Millis::new(100));
    assert_eq!(world.state.key(first).unwrap().state, Some(KeyState::Retired));
}

/// KM-14: the master key is made when its time comes, and everything is wrapped anew before it goes.
#[test]
fn the_master_key_is_replaced_after_a_day() {
    let mut world = World::keyed(1, Settings::default());
    let (first, _) = world.in_use(&Slot::master()).unwrap();
    world.now = world.now + Millis::from_hours(24);
    let step = world.feed(Event::Tick);
    assert!(
        step.effects
            .iter()
            .any(|e| matches!(e, Effect::Make(orders) if orders[0].key_type == KeyType::SovereignMaster))
    );
    world.settle();
    let (second, state) = world.in_use(&Slot::master()).unwrap();
    assert_eq!((second > first, state), (true, KeyState::Active));
    world.pass(Millis::from_secs(6), Millis::from_secs(1));
    assert_eq!(world.state.key(first).unwrap().state, Some(KeyState::Retired));
}

/// KM-02: a node that does not answer fails the distribution; new material is tried, ever less often.
#[test]
fn failed_distributions_are_retried_with_new_material_and_back_off() {
    let mut world = World::new(2, Settings::default());
    world.up(1);
    world.up(2);
    world.deaf.insert(node(2));
    world.pass(Millis::from_secs(300), Millis::new(250));
    let destroyed = world
        .records()
        .filter(|r| matches!(r, Record::KeyMoved { to: KeyState::Destroyed, cause: Cause::DistributionFailure, .. }))
        .count();
    assert!((5..30).contains(&destroyed), "{destroyed} failures in five minutes");
    assert_eq!(world.in_use(&pair(1, 2)), None);
    world.deaf.clear();
    world.pass(Millis::from_secs(70), Millis::new(250));
    assert_eq!(world.in_use(&pair(1, 2)).unwrap().1, KeyState::Active);
    world.assert_replays();
}

/// KM-02: what could not be made leaves nothing but the number that is never used again.
#[test]
fn a_generation_failure_leaves_no_key() {
    let mut world = World::new(2, Settings::default());
    world.up(1);
    world.up(2);
    world.tick();
    let Some(Event::Made { keys }) = world.queue.pop_front() else { panic!("no keys were ordered") };
    world.queue.clear();
    world.feed(Event::MakeFailed { keys: keys.clone(), reason: "entropy source failed its test".to_owned() });
    assert!(keys.iter().all(|key| world.state.key(*key).is_none()));
    let made = world.records().any(|r| matches!(r, Record::KeyMoved { key, .. } if keys.contains(key)));
    assert!(!made);
    world.pass(Millis::from_secs(2), Millis::new(250));
    assert!(world.in_use(&pair(1, 2)).unwrap().0 > keys[0]);
}

/// KM-04: participants with different keys never use them.
#[test]
fn unequal_keys_are_destroyed_not_used() {
    let mut world = World::new(2, Settings::default());
    world.liars.insert(node(2));
    world.up(1);
    world.up(2);
    world.pass(Millis::from_secs(5), Millis::new(250));
    assert_eq!(world.in_use(&pair(1, 2)), None);
    let noted = world.records().any(|r| matches!(r, Record::SignalNoted { kind: SignalKind::KeyMismatch, .. }));
    assert!(noted);
    world.liars.clear();
    world.pass(Millis::from_secs(70), Millis::new(250));
    assert!(world.in_use(&pair(1, 2)).is_some());
}

/// KM-02: a pair with an absent node waits for it and floods nobody's log.
#[test]
fn absent_nodes_cost_no_entries() {
    let mut world = World::keyed(3, quick());
    world.down(3);
    world.settle();
    world.pass(Millis::from_secs(60), Millis::from_secs(1));
    let about = |r: &Record| matches!(r, Record::KeyWanted { participants, .. } if participants.contains(&node(3)));
    let before = world.records().filter(|r| about(r)).count();
    world.pass(Millis::from_secs(600), Millis::from_secs(1));
    assert_eq!(world.records().filter(|r| about(r)).count(), before);
    world.up(3);
    world.settle();
    assert_eq!(world.in_use(&pair(2, 3)).unwrap().1, KeyState::Active);
    world.assert_replays();
}

/// KM-05, KM-11: counters add up; many frames that do not verify rotate the pair's key.
#[test]
fn usage_is_counted_and_suspicion_rotates() {
    let mut world = World::keyed(2, Settings::default());
    let (first, _) = world.in_use(&pair(1, 2)).unwrap();
    let usage = |failures| KeyUsage { key: first, frames: 100, bytes: 6_400, failures };
    world.feed(Event::Usage { node: node(1), keys: vec![usage(0)] });
    world.feed(Event::Usage { node: node(2), keys: vec![usage(1)] });
    let counted = world.state.key(first).unwrap().usage;
    assert_eq!((counted.frames, counted.bytes, counted.failures), (200, 12_800, 1));
    assert_eq!(world.in_use(&pair(1, 2)).unwrap().0, first);
    world.feed(Event::Usage { node: node(2), keys: vec![usage(9)] });
    world.settle();
    assert!(world.in_use(&pair(1, 2)).unwrap().0 > first, "KM-11: triggered by an anomaly");
    assert_eq!(world.state.key(first).unwrap().state, Some(KeyState::Rotating), "with overlap");
    let (_, incident) = world.state.open_incidents().next().unwrap();
    assert_eq!((&incident.subject, incident.severity), (&Subject::Key(first), Severity::High));
}

/// KM-14: a session's key lives as long as the session.
#[test]
fn a_session_has_its_own_key() {
    let mut world = World::keyed(1, Settings::default());
    let (first, _) = world.in_use(&Slot::session(&node(1))).unwrap();
    world.up(1);
    let (second, _) = world.in_use(&Slot::session(&node(1))).unwrap();
    assert!(second > first && world.state.key(first).is_none());
    world.down(1);
    assert_eq!(world.in_use(&Slot::session(&node(1))), None);
    assert_eq!(world.state.node(&node(1)).unwrap().state, NodeState::Offline);
}

/// KM-14: an identity or the log's key cannot be made by the kernel; at its age it is not dropped.
#[test]
fn an_old_identity_stays_in_use_until_it_is_renewed() {
    let mut world = World::keyed(1, Settings::default());
    world.now = world.now + Millis::from_days(91);
    world.settle();
    assert_eq!(world.in_use(&Slot::identity(&node(1))).unwrap().1, KeyState::Rotating);
    world.pass(Millis::from_days(1), Millis::from_hours(1));
    assert_eq!(world.in_use(&Slot::identity(&node(1))).unwrap().1, KeyState::Rotating);
}

/// QT-01: what comes from nowhere is refused or ignored, and bounds are bounds.
#[test]
fn nonsense_is_refused() {
    let mut world = World::keyed(2, Settings::default());
    world.feed(Event::NodeUp { node: node(9), session: types::Hash::ZERO });
    world.feed(Event::NodeDown { node: node(9) });
    world.feed(Event::Made { keys: vec![types::KeyId::new(4_711)] });
    world.feed(Event::Purged { node: node(1), keys: (0..300).map(types::KeyId::new).collect() });
    let master = world.in_use(&Slot::master()).unwrap().0;
    let foreign = world.receipt(&node(1), master);
    world.feed(Event::Receipts { node: node(1), receipts: vec![foreign] });
    let create = world.log[0].1.event.clone();
    world.feed(create);
    use Refusal::{NoSuchKey, NoSuchNode, OutOfBounds, WrongBoundary};
    assert_eq!(refusals(&world), [NoSuchNode, NoSuchNode, NoSuchKey, OutOfBounds, NoSuchKey, WrongBoundary]);
    let unborn = kernel::step(&kernel::State::default(), &Event::Tick, world.now);
    assert_eq!(unborn.records, [Record::Refused(WrongBoundary)]);
}

/// A clock that jumps back turns no time back, and what its reader signals is noted once.
#[test]
fn a_clock_that_jumps_back_turns_no_time_back() {
    let mut world = World::keyed(1, Settings::default());
    world.pass(Millis::from_secs(60), Millis::from_secs(1));
    let before = world.state.clock();
    world.now = world.now - Millis::from_secs(30);
    let hub = Subject::Node(NodeId::hub());
    for _ in 0..2 {
        world.signal(hub.clone(), SignalKind::ClockRegressed, 1_000_000);
        world.up(1);
    }
    assert!(world.state.clock() >= before);
    let noted = world.records().filter(|r| matches!(r, Record::SignalNoted { kind: SignalKind::ClockRegressed, .. }));
    assert_eq!(noted.count(), 1);
    assert!(world.state.open_incidents().any(|(_, one)| one.subject == hub));
    world.assert_replays();
}
