//! What operators order of keys and nodes, in a mesh that lives.

use kernel::effect::Effect;
use kernel::event::{Command, Settings};
use kernel::record::{Cause, Record, Response};
use kernel::state::keys::Slot;
use types::mesh::{ForwardSpec, KeyState, KeyType, NodeState, SignalKind, Subject};
use types::{ForwardId, Millis};

use crate::world::{World, node, pair, spec};

fn rotate(emergency: bool) -> Command {
    Command::RotateKeys { key_type: None, emergency }
}

/// KM-11: a triggered rotation replaces every key from what is staged, with overlap.
#[test]
fn a_triggered_rotation_replaces_with_overlap() {
    let mut world = World::keyed(4, Settings::default());
    let (old, new) = (world.in_use(&pair(1, 2)).unwrap().0, world.staged(&pair(1, 2)).unwrap());
    let (master, _) = world.in_use(&Slot::master()).unwrap();
    world.command(&rotate(false));
    assert_eq!(world.in_use(&pair(1, 2)), Some((new, KeyState::Active)));
    assert_eq!(world.state.key(old).unwrap().state, Some(KeyState::Rotating));
    world.settle();
    assert!(world.in_use(&Slot::master()).unwrap().0 > master);
    assert!(world.staged(&pair(1, 2)).is_some(), "KM-12: the next is staged already");
    world.assert_replays();
}

/// KM-12: an emergency rotation revokes first and re-keys from what is staged, in one entry.
#[test]
fn an_emergency_rotation_revokes_first() {
    let mut world = World::keyed(4, Settings::default());
    let (old, new) = (world.in_use(&pair(1, 2)).unwrap().0, world.staged(&pair(1, 2)).unwrap());
    let (master, _) = world.in_use(&Slot::master()).unwrap();
    let step = world.command(&Command::RotateKeys { key_type: None, emergency: true });
    assert!(matches!(&step.effects[0], Effect::Purge(keys) if keys.len() == 6), "{:?}", step.effects);
    assert_eq!(world.state.key(old).unwrap().state, Some(KeyState::Revoked));
    assert_eq!(world.in_use(&pair(1, 2)), Some((new, KeyState::Active)));
    let kept = world.state.key(master).unwrap().state;
    assert_eq!(kept, Some(KeyState::Rotating), "what the master key wraps is wrapped anew before it goes");
    world.settle();
    assert!(world.state.key(old).is_none(), "destroyed once purged everywhere");
    world.assert_replays();
}

/// KM-12: with many keys overlapping and nodes away, every live key is revoked all the same.
#[test]
fn an_emergency_reaches_what_overlaps_and_who_is_away() {
    let settings = Settings { refresh: Millis::new(200), overlap: Millis::from_secs(60), ..Settings::default() };
    let mut world = World::keyed(3, settings);
    world.pass(Millis::from_secs(30), Millis::new(200));
    world.down(3);
    let live: Vec<_> = world.state.keys().iter().filter(|(_, key)| key.is_live()).map(|(id, _)| *id).collect();
    let sessions =
        |world: &World, id| world.state.key(id).filter(|k| k.slot.key_type() == KeyType::MeshSession).is_some();
    let live: Vec<_> = live.into_iter().filter(|id| sessions(&world, *id)).collect();
    assert!(live.len() > 300, "{}", live.len());
    world.command(&Command::RotateKeys { key_type: Some(KeyType::MeshSession), emergency: true });
    world.tick();
    for id in live {
        assert!(world.state.key(id).is_none_or(|key| key.state == Some(KeyState::Revoked)), "{id}");
    }
    world.up(3);
    world.settle();
    assert_eq!(world.in_use(&pair(2, 3)).unwrap().1, KeyState::Active);
    world.assert_replays();
}

/// KM-14: kinds that are made elsewhere are not rotated here.
#[test]
fn other_kinds_are_not_rotated_by_order() {
    let mut world = World::keyed(1, Settings::default());
    for key_type in [KeyType::NodeIdentity, KeyType::AuditSigning, KeyType::QkdTransport, KeyType::EphemeralSession] {
        let step = world.command(&Command::RotateKeys { key_type: Some(key_type), emergency: false });
        assert!(step.records.iter().any(|record| matches!(record, Record::Refused(_))), "{key_type}");
    }
}

/// SM-04: an isolated node comes back by two people, with new keys and none of the old.
#[test]
fn a_restored_node_gets_new_keys() {
    let mut world = World::keyed(3, Settings::default());
    let before = world.state.keys_of(&node(2));
    world.compromise(2);
    world.settle();
    world.restore(2);
    world.settle();
    for slot in [pair(1, 2), pair(2, 3), Slot::identity(&node(2))] {
        let (key, state) = world.in_use(&slot).unwrap();
        assert_eq!(state, KeyState::Active);
        assert!(!before.contains(&key));
    }
    world.assert_replays();
}

/// A node that joins is keyed with everyone.
#[test]
fn an_admitted_node_joins_the_mesh() {
    let mut world = World::keyed(2, Settings::default());
    world.command(&Command::AdmitNode { node: spec(3), links: vec![] });
    world.up(3);
    world.settle();
    assert_eq!(world.in_use(&pair(1, 3)).unwrap().1, KeyState::Active);
    assert_eq!(world.in_use(&pair(2, 3)).unwrap().1, KeyState::Active);
    assert!(world.in_use(&Slot::identity(&node(3))).is_some());
    let again = world.command(&Command::AdmitNode { node: spec(3), links: vec![] });
    assert!(again.records.iter().any(|record| matches!(record, Record::Refused(_))));
}

/// SM-08c: the forwards of a node that an adversary moves through leave the segment.
#[test]
fn lateral_movement_removes_forwards() {
    let mut world = World::keyed(4, Settings::default());
    let spec = |from, to| ForwardSpec {
        node: node(from),
        listen: format!("127.0.0.1:70{from}{to}"),
        to: node(to),
        connect: "127.0.0.1:80".to_owned(),
    };
    world.command(&Command::AddForward { spec: spec(1, 2) });
    world.command(&Command::AddForward { spec: spec(1, 3) });
    assert_eq!(world.state.forwards().len(), 2);
    let mut moves = |confidence| world.signal(Subject::Node(node(2)), SignalKind::LateralMovement, confidence);
    let strong = moves(950_000);
    let withheld = |record: &Record| matches!(record, Record::ResponseWithheld { response: Response::Reroute(_), .. });
    assert!(strong.records.iter().any(withheld), "SM-08e: the shipped policy wants it confirmed");
    let confirmed = moves(1_000_000);
    assert!(confirmed.effects.iter().any(|effect| matches!(effect, Effect::Forwards(_))), "{confirmed:?}");
    assert_eq!(world.state.forwards().keys().copied().collect::<Vec<_>>(), [ForwardId::new(2)]);
    assert_eq!(world.state.node(&node(2)).unwrap().state, NodeState::Isolated);
}

/// SM-08a: the causes of transitions tell who wanted them.
#[test]
fn causes_are_told_apart() {
    let mut world = World::keyed(2, Settings::default());
    let moved = |world: &World, wanted: Cause| {
        let active =
            |r: &&Record| matches!(r, Record::KeyMoved { to: KeyState::Active, cause, .. } if *cause == wanted);
        world.records().filter(active).count()
    };
    assert_eq!((moved(&world, Cause::Trigger), moved(&world, Cause::Emergency)), (0, 0));
    world.command(&rotate(false));
    world.settle();
    assert!(moved(&world, Cause::Trigger) > 0);
    world.command(&rotate(true));
    world.settle();
    assert!(moved(&world, Cause::Emergency) > 0);
}
