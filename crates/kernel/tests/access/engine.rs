//! Assisted mode: the engine classifies and recommends; people decide (SM-09).

use kernel::event::{Command, Event};
use kernel::policy::DEFAULT_POLICY;
use kernel::record::{Principal, Record, Refusal, Response};
use kernel::{Body, Step, response_digest, step};
use types::mesh::{Function, NodeState, Severity, SignalKind, Subject};
use types::{Hash, KeyId, Millis, RequestId, cbor};

use crate::{World, decision, detected, is_carried_out, name, node, refusal};

fn isolate() -> Response {
    Response::IsolateNode(name("n2"))
}

fn held_responses(records: &[Record]) -> Vec<(RequestId, Hash, Response)> {
    let held = records.iter().filter_map(|record| match record {
        Record::Held { by: Principal::Engine, request, digest, response: Some((incident, response)), .. } => {
            assert_eq!(*digest, response_digest(*incident, response));
            Some((*request, *digest, response.clone()))
        }
        _ => None,
    });
    held.collect()
}

fn assisted() -> (World, Vec<(RequestId, Hash, Response)>) {
    let mut world = World::new();
    world.set_assisted();
    let records = world.happen(detected("n2"));
    assert!(records.iter().any(|r| matches!(r, Record::IncidentOpened { severity: Severity::Critical, .. })));
    assert!(!is_carried_out(&records), "classified, recommended, not carried out: {records:?}");
    let held = held_responses(&records);
    (world, held)
}

fn state_of_n2(world: &World) -> NodeState {
    world.state.node(&name("n2")).unwrap().state
}

/// SM-09: held until approved; then carried out at once, on a fresh decision.
#[test]
fn a_response_is_held_until_a_person_approves() {
    let (mut world, held) = assisted();
    let responses: Vec<_> = held.iter().map(|(_, _, response)| response.clone()).collect();
    assert_eq!(responses, [isolate(), Response::RotateKeys]);
    assert_eq!(state_of_n2(&world), NodeState::Offline);
    let (request, digest, _) = held[0].clone();
    let records = world.approve("op1", (request, digest));
    assert!(records.contains(&Record::HeldDone { request }));
    assert!(records.iter().any(|r| matches!(r, Record::Responded { response: Response::IsolateNode(_), .. })));
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    assert_eq!(refusal(&world.approve("op2", (request, digest))), Some(Refusal::NoSuchRequest));
}

/// SM-04: to deny what the engine decided takes two people, like any override.
#[test]
fn a_denied_response_is_not_carried_out() {
    let (mut world, held) = assisted();
    let (request, digest, _) = held[0].clone();
    let deny = Command::Deny { request, digest };
    let asked = world.held("op2", deny.clone());
    assert!(world.state.access().held().contains_key(&request), "one person alone does not override");
    assert_eq!(decision(&world.approve("op2", asked)), Some((false, vec!["never-own-request".to_owned()])));
    world.approve("op1", asked);
    let grant = world.granted("op2", deny.clone());
    let records = world.present("op2", deny, grant);
    assert!(records.contains(&Record::HeldEnded { request, by: Some(name("op2")) }) && !is_carried_out(&records));
    assert_eq!(refusal(&world.approve("op1", (request, digest))), Some(Refusal::NoSuchRequest));
    assert_eq!(state_of_n2(&world), NodeState::Offline);
}

#[test]
fn a_held_response_is_approved_by_the_group_for_the_digest_in_time() {
    let (mut world, held) = assisted();
    let (request, digest, _) = held[0].clone();
    assert!(!is_carried_out(&world.approve("op3", (request, digest))), "not on duty");
    assert_eq!(refusal(&world.approve("op1", (request, held[1].1))), Some(Refusal::DigestMismatch));
    world.wait(Millis::from_hours(1));
    assert_eq!(refusal(&world.approve("op1", (request, digest))), Some(Refusal::NoSuchRequest));
    assert!(world.tick().contains(&Record::HeldEnded { request, by: None }));
    assert_eq!(state_of_n2(&world), NodeState::Offline);
}

/// The engine recommends once: the same signal again does not hold a second request.
#[test]
fn a_held_response_is_held_once() {
    let (mut world, held) = assisted();
    world.wait(Millis::from_secs(11));
    let records = world.happen(detected("n2"));
    assert_eq!(held_responses(&records), []);
    assert_eq!(world.state.access().held().len(), held.len());
}

/// SM-08e: without a permit the engine does nothing and says so.
#[test]
fn a_response_policy_does_not_allow_is_withheld() {
    let mut world =
        World::under("@id(\"signals\") permit (principal is Operator, action == Action::\"signal\", resource);");
    let records = world.happen(detected("n2"));
    assert!(!is_carried_out(&records));
    assert!(records.iter().any(|r| matches!(r, Record::ResponseWithheld { response: Response::IsolateNode(_), .. })));
}

/// Steps one tick; says how long its body is, and whether another follows at once.
fn tick(world: &mut World) -> (usize, bool) {
    let Step { records, more, .. } = step(&world.state, &Event::Tick, world.now);
    let body = Body { rules: kernel::RULES, event: Event::Tick, records };
    world.state.commit(&body, world.now);
    (cbor::to_vec(&body).len(), more)
}

/// Sixteen nodes in assisted mode, of which one operator says everything that one can say.
fn crowded() -> World {
    let names: Vec<String> = (1..=16).map(|at| format!("n{at}")).collect();
    let mut world = World::of(DEFAULT_POLICY, names.iter().map(|id| node(id, Function::Grid)).collect());
    for (at, id) in names.iter().enumerate() {
        world.happen(Event::NodeUp { node: name(id), session: Hash::new([at as u8; 32]) });
    }
    while tick(&mut world).1 {}
    world.set_assisted();
    let keys: Vec<KeyId> = world.state.keys().keys().copied().collect();
    for key in keys {
        for kind in SignalKind::ALL {
            world.ask("op1", Command::Signal { subject: Subject::Key(key), kind: *kind });
        }
    }
    world
}

/// S4: one operator who fills the state with suspicions that nobody decided keeps the engine from no confirmed
/// compromise, and two people from no isolation.
#[test]
fn s4_a_crowd_of_suspicions_leaves_room_for_what_is_confirmed() {
    let mut world = crowded();
    let refused =
        world.ask("op1", Command::Signal { subject: Subject::Node(name("n9")), kind: SignalKind::NodeCompromise });
    assert!(
        !refused.iter().any(|record| matches!(record, Record::IncidentOpened { .. })),
        "the state is full: {refused:?}"
    );
    let records = world.happen(detected("n2"));
    assert!(records.iter().any(|one| matches!(one, Record::IncidentOpened { severity: Severity::Critical, .. })));
    assert_eq!(held_responses(&records)[0].2, isolate(), "the engine asks");
    let order = Command::IsolateNode { node: name("n3") };
    let held = world.held("op1", order.clone());
    world.approve("op2", held);
    let grant = world.granted("op1", order.clone());
    world.present("op1", order, grant);
    assert_eq!(world.state.node(&name("n3")).unwrap().state, NodeState::Isolated);
}

/// S1, S4: as many responses as one operator can have held are overdue at once. They are asked for anew over several
/// ticks, each of which fits an entry: one that did not would stop everything that is due after it.
#[test]
fn s4_many_overdue_responses_are_asked_for_in_entries_that_fit() {
    let mut world = crowded();
    let held = world.state.access().held().len();
    assert!(held > 256, "{held} of {} keys", world.state.keys().len());
    world.wait(Millis::from_hours(2));
    let mut ticks = 0;
    loop {
        let (len, more) = tick(&mut world);
        assert!(len < 60_000, "tick {ticks} takes {len} bytes");
        ticks += 1;
        if !more {
            break;
        }
    }
    assert!(ticks > 1);
    let waiting = world.state.access().held();
    assert!(waiting.len() == held && waiting.values().all(|one| one.expires > world.now), "each is asked for anew");
}
