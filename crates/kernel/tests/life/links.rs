//! Quantum links: eavesdroppers are noticed, honest links make no incidents (KM-09).

use kernel::event::Settings;
use kernel::record::Record;
use kernel::state::incident::IncidentState;
use kernel::state::keys::Slot;
use types::mesh::{Delivery, KeyState, SignalKind, Subject};
use types::{LinkId, Millis, NodeId};

use crate::world::{World, node};

fn link() -> LinkId {
    LinkId::new(node(1), node(2)).unwrap()
}

fn measure(world: &mut World, seconds: u64, qber_ppm: u32, secret_bps: u32) {
    for _ in 0..seconds {
        world.now = world.now + Millis::from_secs(1);
        world.report(node(1), node(2), qber_ppm, secret_bps);
    }
}

/// KM-09: an honest link makes no incident, from its first dark moments on.
#[test]
fn an_honest_link_makes_no_incident() {
    let mut world = World::keyed(2, Settings::default());
    measure(&mut world, 20, 0, 0);
    measure(&mut world, 600, 21_000, 4_000);
    assert_eq!(world.state.incidents().len(), 0);
    assert_eq!(world.state.link(&link()).unwrap().delivery(), Delivery::QkdKem);
    assert_eq!(world.in_use(&Slot::transport(&link())).unwrap().1, KeyState::Active, "KM-14");
    world.assert_replays();
}

/// KM-09: at 11 % the link gives no key, one incident names it, and it is over when the tap is.
#[test]
fn an_eavesdropper_is_one_incident_that_settles() {
    let mut world = World::keyed(2, Settings::default());
    measure(&mut world, 30, 21_000, 4_000);
    measure(&mut world, 60, 125_000, 0);
    assert_eq!(world.state.link(&link()).unwrap().delivery(), Delivery::Kem);
    assert_eq!(world.state.incidents().len(), 1);
    let incident = world.state.incidents().values().next().unwrap().clone();
    assert_eq!((incident.subject, incident.kind), (Subject::Link(link()), SignalKind::QberHigh));
    assert_eq!(incident.state, IncidentState::Open);
    let noted = world.records().filter(|r| matches!(r, Record::SignalNoted { .. })).count();
    assert_eq!(noted, 1);
    measure(&mut world, 5, 21_000, 4_000);
    assert_eq!(world.state.link(&link()).unwrap().delivery(), Delivery::QkdKem, "the bits are used at once");
    assert_eq!(world.state.open_incidents().count(), 1, "the incident waits for the link to hold");
    measure(&mut world, 15, 21_000, 4_000);
    assert_eq!(world.state.open_incidents().count(), 0);
    world.assert_replays();
}

/// KM-09: too slow for too long is an incident, a short breath is none; 10.99 % is below the line.
#[test]
fn slow_links_are_told_from_short_pauses() {
    let mut world = World::keyed(2, Settings::default());
    measure(&mut world, 200, 21_000, 4_000);
    measure(&mut world, 8, 21_000, 400);
    measure(&mut world, 5, 109_900, 4_000);
    assert_eq!(world.state.incidents().len(), 0);
    measure(&mut world, 20, 21_000, 400);
    let incident = world.state.incidents().values().next().unwrap();
    assert_eq!(incident.kind, SignalKind::RateLow);
}

/// SM-02: the pool shared with an isolated node is revoked and its reports are not heard.
#[test]
fn pools_of_an_isolated_node_are_revoked() {
    let mut world = World::keyed(3, Settings::default());
    measure(&mut world, 3, 21_000, 4_000);
    world.report(NodeId::hub(), node(1), 20_000, 4_000);
    world.compromise(1);
    world.settle();
    assert_eq!(world.in_use(&Slot::transport(&link())), None);
    assert!(!world.state.link(&link()).unwrap().usable);
    measure(&mut world, 3, 21_000, 4_000);
    assert_eq!(world.in_use(&Slot::transport(&link())), None);
    assert!(!world.state.link(&link()).unwrap().usable);
}
