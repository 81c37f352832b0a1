//! Seeded runs of a whole boundary in virtual time. A failure prints its seed; the same seed fails
//! the same way.

use kernel::record::{Cause, Record};
use sim::{Faults, World, invariant};
use types::mesh::{KeyState, NodeState};
use types::{Millis, NodeId};

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// Runs `act` for every seed; names the seed that fails.
fn for_seeds(seeds: std::ops::Range<u64>, act: impl Fn(u64) -> Result<(), invariant::Violation>) {
    for seed in seeds {
        if let Err(violation) = act(seed) {
            panic!("seed {seed}: {violation}");
        }
    }
}

/// KM-01 KM-04 KM-10: with nothing going wrong, every pair is keyed and rotates.
#[test]
fn a_quiet_mesh_keys_and_rotates_every_pair() {
    for_seeds(0..10, |seed| {
        let mut world = World::new(6, Millis::from_secs(5), Faults::NONE, seed)?;
        world.run(Millis::from_secs(4))?;
        world.heal(Millis::from_secs(20))?;
        let first: Vec<_> = world.nodes()[&node("n1")].in_use().map(|(key, _)| key).collect();
        world.run(Millis::from_secs(20))?;
        world.heal(Millis::from_secs(20))?;
        let later: Vec<_> = world.nodes()[&node("n1")].in_use().map(|(key, _)| key).collect();
        assert!(first.iter().all(|key| !later.contains(key)), "every key was rotated");
        Ok(())
    });
}

/// KM-01 KM-02 KM-06: sessions break, messages repeat and are late, shares arrive wrong, hub and
/// nodes crash, links fail, the clock jumps back: every promise holds at every step, and when it is
/// over the mesh heals by itself.
#[test]
fn whatever_goes_wrong_promises_hold_and_the_mesh_heals() {
    for_seeds(0..150, |seed| {
        let mut world = World::new(5, Millis::from_secs(3), Faults::MANY, seed)?;
        world.run(Millis::from_secs(30))?;
        world.set_faults(Faults::NONE);
        world.run(Millis::from_secs(60))?;
        for (id, standing) in world.hub().state().nodes() {
            assert_ne!(standing.state, NodeState::Offline, "seed {seed}: {id} came back");
        }
        world.heal(Millis::from_secs(20))
    });
}

/// SM-02 KM-13: a node falls in the middle of it all; it is cut off, the rest is re-keyed, all six
/// recovery steps are taken, and it does not come back.
#[test]
fn a_fallen_node_is_cut_off_and_the_rest_recovers() {
    for_seeds(0..80, |seed| {
        let mut world = World::new(5, Millis::from_secs(10), Faults::MANY, seed)?;
        world.run(Millis::from_secs(12))?;
        let fallen = node("n3");
        world.compromise(&fallen)?;
        world.run(Millis::from_secs(10))?;
        world.set_faults(Faults::NONE);
        world.run(Millis::from_secs(60))?;
        let state = world.hub().state();
        assert_eq!(state.nodes()[&fallen].state, NodeState::Isolated, "seed {seed}");
        let recovered = state.incidents().values().filter(|incident| incident.recovery.steps.len() == 6).count();
        assert!(recovered >= 1, "seed {seed}: no recovery is complete: {:?}", state.incidents());
        for (id, other) in world.nodes().iter().filter(|(id, _)| **id != fallen) {
            assert!(other.cut_off().contains(&fallen), "seed {seed}: {id} still talks to {fallen}");
        }
        world.heal(Millis::from_secs(20))
    });
}

/// SM-02: the hub is away from everyone; every pair changes to its reserve. Back again, in whatever
/// order and through whatever goes wrong, the log says so of every pair that did, and the mesh goes on.
#[test]
fn pairs_renew_themselves_while_the_hub_is_away() {
    for_seeds(0..40, |seed| {
        let mut world = World::new(4, Millis::from_secs(3_600), Faults::NONE, seed)?;
        world.run(Millis::from_secs(4))?;
        world.heal(Millis::from_secs(20))?;
        world.run(Millis::from_secs(2))?;
        let ids: Vec<NodeId> = world.nodes().keys().cloned().collect();
        ids.iter().for_each(|id| world.partition(id, true));
        ids.iter().try_for_each(|id| world.lose(id))?;
        assert_eq!(world.renew_pairs(), 6, "seed {seed}: every pair has a reserve");
        world.set_faults(Faults { garbled: 0, ..Faults::MANY });
        ids.iter().for_each(|id| world.partition(id, false));
        world.run(Millis::from_secs(10))?;
        world.set_faults(Faults::NONE);
        world.run(Millis::from_secs(30))?;
        let by_pairs = world
            .hub()
            .log()
            .iter()
            .flat_map(|(_, body)| &body.records)
            .filter(|record| matches!(record, Record::KeyMoved { to: KeyState::Active, cause: Cause::Pair, .. }));
        assert!(by_pairs.count() >= 6, "seed {seed}");
        world.heal(Millis::from_secs(20))
    });
}

/// SM-02 KM-08: a node behind a cut network misses everything; when it is back it has what it needs.
#[test]
fn a_partitioned_node_catches_up() {
    for_seeds(0..40, |seed| {
        let mut world = World::new(4, Millis::from_secs(3), Faults::NONE, seed)?;
        world.run(Millis::from_secs(5))?;
        world.partition(&node("n2"), true);
        world.run(Millis::from_secs(20))?;
        world.compromise(&node("n4"))?;
        world.run(Millis::from_secs(5))?;
        world.partition(&node("n2"), false);
        world.run(Millis::from_secs(30))?;
        assert!(world.nodes()[&node("n2")].cut_off().contains(&node("n4")), "seed {seed}");
        world.heal(Millis::from_secs(20))
    });
}

/// KM-08: forty nodes, 780 pairs, one falls.
#[test]
fn a_larger_mesh_keys_itself_and_survives_a_fall() {
    for_seeds(0..2, |seed| {
        let mut world = World::new(40, Millis::from_secs(60), Faults::NONE, seed)?;
        world.run(Millis::from_secs(10))?;
        world.heal(Millis::from_secs(20))?;
        world.compromise(&node("n7"))?;
        world.run(Millis::from_secs(20))?;
        world.heal(Millis::from_secs(20))
    });
}
