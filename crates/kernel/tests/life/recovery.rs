//! Compromise: isolation, revocation, re-keying, verification, report (KM-13, SM-02, SM-08).

use kernel::effect::Effect;
use kernel::event::{Event, Settings};
use kernel::record::{Record, RecoveryStep, Refusal, Response};
use kernel::state::incident::IncidentState;
use kernel::state::keys::Slot;
use types::mesh::{KeyState, NodeState, Severity, SignalKind, Subject};
use types::{Hash, Millis};

use crate::world::{World, node, pair};

fn steps(world: &World) -> Vec<(usize, RecoveryStep)> {
    let entries = world.log.iter().enumerate();
    entries
        .flat_map(|(at, (_, body))| body.records.iter().map(move |record| (at, record)))
        .filter_map(|(at, record)| if let Record::Recovery { step, .. } = record { Some((at, *step)) } else { None })
        .collect()
}

/// KM-12, KM-13, SM-02, SM-08: the six steps, the first four in the entry of the decision.
#[test]
fn a_compromised_node_is_cut_off_and_the_rest_is_keyed_anew() {
    let mut world = World::keyed(5, Settings::default());
    let old: Vec<_> = [(1, 2), (1, 4), (4, 5)].map(|(x, y)| world.in_use(&pair(x, y)).unwrap().0).to_vec();
    let staged: Vec<_> = [(1, 2), (1, 4), (4, 5)].map(|(x, y)| world.staged(&pair(x, y)).unwrap()).to_vec();
    let decision = world.compromise(3);
    let entry = world.log.len() - 1;
    assert!(matches!(decision.effects[0], Effect::Isolate { .. }), "cutting off goes first");
    for n in [1, 2, 4, 5] {
        assert_eq!(world.in_use(&pair(3, n)), None);
    }
    // the others go on with what was pre-staged, and what runs under the old key may finish
    for (at, (x, y)) in [(1, 2), (1, 4), (4, 5)].into_iter().enumerate() {
        assert_eq!(world.in_use(&pair(x, y)), Some((staged[at], KeyState::Active)));
        assert_eq!(world.state.key(old[at]).unwrap().state, Some(KeyState::Rotating));
    }
    world.settle();
    use RecoveryStep::{Detect, Isolate, ReKey, Report, Revoke, Verify};
    let told = steps(&world);
    assert_eq!(told[..4], [(entry, Detect), (entry, Isolate), (entry, Revoke), (entry, ReKey)]);
    assert_eq!(told[4..].iter().map(|(_, step)| *step).collect::<Vec<_>>(), [Verify, Report]);
    assert!(told[4].0 > entry);
    let incident = world.state.incidents().values().next().unwrap();
    assert_eq!((incident.state, incident.severity), (IncidentState::Settled, Severity::Critical));
    assert!(world.state.keys_of(&node(3)).is_empty());
    assert_eq!(world.in_use(&Slot::identity(&node(3))), None);
    world.assert_replays();
}

/// SM-04, SM-08b: an isolated node does not come back by itself, and what it says counts for nothing.
#[test]
fn an_isolated_node_stays_out() {
    let mut world = World::keyed(4, Settings::default());
    world.compromise(2);
    world.settle();
    world.feed(Event::NodeUp { node: node(2), session: Hash::ZERO });
    let last = world.log.last().unwrap();
    assert_eq!(last.1.records, [Record::Refused(Refusal::NoSuchNode)]);
    let accuses = Event::Signal { source: node(2), subject: Subject::Node(node(1)), kind: SignalKind::NodeCompromise };
    world.feed(accuses);
    assert_eq!(world.state.node(&node(1)).unwrap().state, NodeState::Online);
    world.pass(Millis::from_secs(900), Millis::from_secs(5));
    assert!(world.state.keys_of(&node(2)).is_empty());
    assert_eq!(world.state.node(&node(2)).unwrap().state, NodeState::Isolated);
}

/// KM-13: VERIFY waits for every remaining node, and for its proof.
#[test]
fn the_report_waits_for_the_slowest_node() {
    let mut world = World::keyed(4, Settings::default());
    world.deaf.insert(node(4));
    world.compromise(2);
    world.pass(Millis::from_secs(5), Millis::new(250));
    assert!(!steps(&world).iter().any(|(_, step)| *step == RecoveryStep::Verify));
    world.down(4);
    world.up(4);
    world.pass(Millis::from_secs(5), Millis::new(250));
    assert!(steps(&world).iter().any(|(_, step)| *step == RecoveryStep::Report));
    // every key shared with the compromised node is gone from the node that was away, too
    assert!(world.state.keys_of(&node(2)).is_empty());
}

/// KM-13: the proof is of the key, not of the good will.
#[test]
fn a_node_that_proves_another_key_does_not_pass() {
    let mut world = World::keyed(4, Settings::default());
    world.liars.insert(node(4));
    world.compromise(2);
    world.settle();
    assert!(!steps(&world).iter().any(|(_, step)| *step == RecoveryStep::Report));
    let mismatch = world.records().any(|r| matches!(r, Record::SignalNoted { kind: SignalKind::KeyMismatch, .. }));
    assert!(mismatch);
}

/// KM-07, KM-12: a compromised key is revoked at once, its pair goes on with the staged one.
#[test]
fn a_compromised_key_is_replaced_from_what_is_staged() {
    let mut world = World::keyed(3, Settings::default());
    let (key, _) = world.in_use(&pair(1, 2)).unwrap();
    let staged = world.staged(&pair(1, 2)).unwrap();
    world.signal(Subject::Key(key), SignalKind::KeyCompromise, 1_000_000);
    assert_eq!(world.state.key(key).unwrap().state, Some(KeyState::Revoked));
    assert_eq!(world.in_use(&pair(1, 2)), Some((staged, KeyState::Active)));
    world.settle();
    assert!(world.state.key(key).is_none(), "destroyed once purged everywhere");
    let told: Vec<_> = steps(&world).into_iter().map(|(_, step)| step).collect();
    assert_eq!(told.len(), 6, "{told:?}");
    world.assert_replays();
}

/// KM-01: an archived key that may be known goes before its time; one on its way never arrives.
#[test]
fn compromise_reaches_keys_in_every_state() {
    let settings = Settings { refresh: Millis::from_secs(5), overlap: Millis::from_secs(1), ..Settings::default() };
    let mut world = World::keyed(3, settings);
    world.pass(Millis::from_secs(60), Millis::from_secs(1));
    let shared = world.state.keys_of(&node(2)).len();
    assert!(shared > 10, "an archive has grown: {shared}");
    world.compromise(2);
    world.settle();
    assert!(world.state.keys_of(&node(2)).is_empty());
    world.assert_replays();
}

/// SM-10: two strong, different sources confirm what one alone does not.
#[test]
fn strong_signals_of_different_sources_are_correlated() {
    let mut world = World::keyed(13, Settings::default());
    // of one function, so policy lets them speak of each other
    let accuse = |source| Event::Signal { source, subject: Subject::Node(node(3)), kind: SignalKind::LateralMovement };
    world.feed(accuse(node(8)));
    world.now = world.now + Millis::from_secs(15);
    world.feed(accuse(node(8)));
    assert_eq!(world.state.node(&node(3)).unwrap().state, NodeState::Online, "one source, however often");
    world.feed(accuse(node(13)));
    assert_eq!(world.state.node(&node(3)).unwrap().state, NodeState::Isolated);
    let raised = world.records().any(|r| matches!(r, Record::IncidentRaised { severity: Severity::Critical, .. }));
    assert!(raised);
}

/// SM-02: one node in an adversary's hands cannot have the others cut off.
#[test]
fn a_single_witness_does_not_isolate() {
    let mut world = World::keyed(7, Settings::default());
    // of the same function, so policy lets it speak
    let accuse = |source| Event::Signal { source, subject: Subject::Node(node(1)), kind: SignalKind::NodeCompromise };
    world.feed(accuse(node(6)));
    assert_eq!(world.state.node(&node(1)).unwrap().state, NodeState::Online);
    assert_eq!(world.state.open_incidents().next().unwrap().1.severity, Severity::High);
    world.feed(accuse(node(1)));
    assert_eq!(world.state.node(&node(1)).unwrap().state, NodeState::Isolated, "its own word is a second source");
}

/// SM-10: repeats of one signal are one incident and no flood of entries.
#[test]
fn repeats_are_absorbed() {
    let mut world = World::keyed(2, Settings::default());
    let entries = world.log.len();
    for _ in 0..500 {
        world.signal(Subject::Node(node(1)), SignalKind::Replay, 950_000);
        world.now = world.now + Millis::new(10);
    }
    assert_eq!(world.state.open_incidents().count(), 1);
    assert!(world.log.len() - entries <= 2);
}

/// SM-08d: an operator's credential is revoked at once.
#[test]
fn an_operator_is_cut_off() {
    let mut world = World::keyed(1, Settings::default());
    let operator: types::OperatorId = "op2".parse().unwrap();
    let step = world.signal(Subject::Operator(operator.clone()), SignalKind::UnauthorizedAccess, 999_950);
    assert_eq!(step.effects, [Effect::CutOperator(operator.clone())]);
    assert!(world.state.operator(&operator).unwrap().revoked);
}

/// SM-08c: lateral movement takes the node's forwards out of the segment, then the node.
#[test]
fn lateral_movement_reroutes_and_isolates() {
    let mut world = World::keyed(3, Settings::default());
    let step = world.signal(Subject::Node(node(2)), SignalKind::LateralMovement, 1_000_000);
    let done: Vec<_> = step
        .records
        .iter()
        .filter_map(|r| if let Record::Responded { response, .. } = r { Some(response.clone()) } else { None })
        .collect();
    assert_eq!(done, [Response::Reroute(node(2)), Response::IsolateNode(node(2)), Response::RotateKeys]);
}

/// KM-13: a second compromise during the recovery of the first; both are reported.
#[test]
fn two_compromises_at_once_are_both_recovered() {
    let mut world = World::keyed(6, Settings::default());
    world.compromise(2);
    world.compromise(5);
    world.pass(Millis::from_secs(3), Millis::new(250));
    assert!(world.state.incidents().values().all(|incident| incident.state == IncidentState::Settled));
    assert_eq!(world.in_use(&pair(1, 6)).unwrap().1, KeyState::Active);
    world.assert_replays();
}

/// SM-02, SM-08b: a node that operators restored is cut off again, also while the first incident is
/// still open.
#[test]
fn a_restored_node_that_falls_again_is_cut_off_again() {
    let mut world = World::keyed(4, Settings::default());
    world.deaf.insert(node(4));
    world.compromise(2);
    world.restore(2);
    assert_eq!(world.state.open_incidents().count(), 1, "one node has not confirmed yet");
    assert_eq!(world.state.node(&node(2)).unwrap().state, NodeState::Online);
    world.now = world.now + Millis::from_secs(11);
    world.compromise(2);
    assert_eq!(world.state.node(&node(2)).unwrap().state, NodeState::Isolated);
    assert_eq!(world.state.open_incidents().count(), 2);
    world.assert_replays();
}

/// SM-07c, SM-10: what is more likely than not wrong with a node has it watched, and prove anew who
/// it is; its links and keys only have it watched; what is unlikely does neither.
#[test]
fn strange_behaviour_is_watched_and_asked_for_a_new_proof() {
    let mut world = World::keyed(3, Settings::default());
    let low = world.signal(Subject::Node(node(1)), SignalKind::Replay, 400_000);
    assert_eq!(low.effects, []);
    let medium = world.signal(Subject::Node(node(1)), SignalKind::AuthFailure, 600_000);
    assert_eq!(medium.effects, [Effect::Watch(vec![node(1)]), Effect::Reauthenticate(node(1))]);
    let link = types::LinkId::new(node(2), node(3)).unwrap();
    let medium = world.signal(Subject::Link(link), SignalKind::AuthFailure, 600_000);
    assert_eq!(medium.effects, [Effect::Watch(vec![node(2)]), Effect::Watch(vec![node(3)])]);
    world.assert_replays();
}
