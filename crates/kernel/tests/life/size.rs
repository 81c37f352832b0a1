//! Every entry fits the log, and a large mesh is worked off in bounded steps.

use kernel::event::Settings;
use kernel::record::{Record, RecoveryStep};
use types::Millis;
use types::limits::ENTRY_LEN;
use types::mesh::KeyState;

use crate::world::{World, node, pair};

/// KM-10, KM-12: 200 nodes: keyed, rotated, one compromised. The watch seals every entry.
#[test]
fn every_entry_of_a_large_mesh_fits() {
    let settings = Settings { refresh: Millis::from_secs(60), retention: Millis::from_secs(30), ..Settings::default() };
    let mut world = World::new(200, settings);
    world.watch.light = true;
    (1..=200).for_each(|n| world.up(n));
    world.settle();
    assert_eq!(world.in_use(&pair(7, 193)).unwrap().1, KeyState::Active);
    assert!(world.staged(&pair(7, 193)).is_some());
    world.pass(Millis::from_secs(62), Millis::from_secs(1));
    world.compromise(100);
    world.settle();
    assert!(world.state.keys_of(&node(100)).is_empty());
    let reported = world.records().any(|r| matches!(r, Record::Recovery { step: RecoveryStep::Report, .. }));
    assert!(reported);
    assert!(world.watch.longest_entry < ENTRY_LEN, "{}", world.watch.longest_entry);
    println!("longest entry: {} of {ENTRY_LEN} bytes", world.watch.longest_entry);
}
