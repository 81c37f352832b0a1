//! One person in both groups, `op1`, among two others.

use kernel::event::{Command, Event};
use kernel::record::{Cause, Principal, Record, Response};
use types::mesh::{ForwardSpec, KeyState, NodeState, SignalKind, Subject};
use types::{Millis, NodeId};

use super::{BLOCKED, Hand, Moment, Move, explore, golden, reviewed_away, table, voided};
use crate::world::{World, node, pair, spec};

const CAN: &[&str] = &[
    "rotates keys, with overlap",
    "has one pair's key replaced, with overlap",
    "opens an incident",
    "has a node watched and prove anew who it is",
    "cuts a node off for a quarter of an hour, and it is told",
    "cuts a credential off for a quarter of an hour, and it is told",
    "lets its own quarantine lapse",
    "turns assisted mode off",
    "asks for what takes a second person",
    "denies what another person asked for",
    "approves what the engine asks for",
    "confirms what another person says, or cut off",
    "reviews what is decided",
    "adds a forward",
    "admits a node, on a grant",
];

const NEVER: &[&str] = &[
    "cuts a node off for good",
    "revokes a credential",
    "revokes keys of the mesh",
    "turns assisted mode on",
    "brings a node back before its time",
    "voids a response that waits",
    "reviews a response away",
    BLOCKED,
];

struct Person;

impl Hand for Person {
    fn suspect(&self) -> NodeId {
        node(2)
    }

    fn moves(&self, at: &Moment) -> Vec<Move> {
        let state = &at.state;
        let signal = |subject, kind| Command::Signal { subject, kind };
        let glass = |subject| Command::BreakGlass { subject };
        let op2 = || Subject::Operator("op2".parse().unwrap());
        let forward = ForwardSpec {
            node: node(1),
            listen: "127.0.0.1:7000".to_owned(),
            to: node(3),
            connect: "127.0.0.1:8000".to_owned(),
        };
        let mut commands = vec![
            Command::RotateKeys { key_type: None, emergency: false },
            Command::RotateKeys { key_type: None, emergency: true },
            signal(Subject::Node(node(2)), SignalKind::NodeCompromise),
            signal(op2(), SignalKind::UnauthorizedAccess),
            Command::SetAssisted { on: true },
            Command::SetAssisted { on: false },
            Command::IsolateNode { node: node(2) },
            Command::RestoreNode { node: node(2) },
            glass(Subject::Node(node(2))),
            glass(op2()),
            Command::AddForward { spec: forward },
            Command::AdmitNode { node: spec(9), links: vec![] },
        ];
        if let Some((key, _)) = state.current(&pair(1, 3)) {
            commands.push(signal(Subject::Key(key), SignalKind::KeyCompromise));
        }
        for (request, held) in state.access().held() {
            let (request, digest) = (*request, held.digest);
            commands.extend([Command::Approve { request, digest }, Command::Deny { request, digest }]);
        }
        commands
            .extend(state.incidents().keys().map(|id| Command::ReviewIncident { incident: *id, note: String::new() }));
        let quarantines = state.quarantines().active().values();
        commands.extend(quarantines.map(|one| Command::ConfirmBreakGlass { incident: one.incident }));
        let mut moves: Vec<Move> = commands.into_iter().map(Move::Ask).collect();
        moves.push(Move::Wait(Millis::from_secs(16 * 60)));
        moves
    }

    fn rows(&self, before: &Moment, made: &Move, records: &[Record]) -> Vec<&'static str> {
        let mut rows: Vec<&'static str> = records.iter().filter_map(|record| row(before, record)).collect();
        let ended = records.iter().any(|record| matches!(record, Record::QuarantineEnded { .. }));
        let broke = records.iter().any(|record| matches!(record, Record::Quarantined { .. }));
        // the engine's own decision and one approval, or two people: not this one alone
        let engine_asked = match made {
            Move::Ask(Command::Approve { request, .. }) => {
                before.state.access().held().get(request).is_some_and(|held| held.response.is_some())
            }
            _ => false,
        };
        let op1 = "op1".parse().unwrap();
        let another = |one: &kernel::state::incident::Incident| one.signalled_by.iter().any(|by| *by != op1);
        let confirms = match made {
            Move::Ask(Command::ConfirmBreakGlass { .. } | Command::Signal { .. } | Command::BreakGlass { .. }) => {
                before.state.incidents().values().any(another)
            }
            _ => false,
        };
        let lasting = records.iter().any(|record| match record {
            Record::NodeMoved { to: NodeState::Isolated, .. } => !broke,
            _ => false,
        });
        let revokes = records.iter().any(|record| matches!(record, Record::OperatorRevoked { .. }));
        let purges = records.iter().any(|record| match record {
            Record::RotationOrdered { cause: Cause::Emergency, .. } => true,
            // of a pair that is not cut off: those of a node under quarantine go with it
            Record::KeyMoved { key, to: KeyState::Revoked, .. } => {
                before.state.key(*key).is_some_and(|key| !key.slot.has(&node(2)) && !key.slot.has(&node(1)))
            }
            _ => false,
        });
        let carried_out = lasting || revokes || purges;
        match (engine_asked && carried_out, confirms && carried_out) {
            (true, _) => rows.push("approves what the engine asks for"),
            (_, true) => rows.push("confirms what another person says, or cut off"),
            _ => {
                let found = [
                    (lasting, "cuts a node off for good"),
                    (revokes, "revokes a credential"),
                    (purges, "revokes keys of the mesh"),
                ];
                rows.extend(found.into_iter().filter(|(found, _)| *found).map(|(_, row)| row));
            }
        }
        let back = records.iter().any(|record| matches!(record, Record::NodeMoved { to: NodeState::Offline, .. }));
        let waited = matches!(made, Move::Wait(_));
        match (ended && waited, back) {
            (true, _) => rows.push("lets its own quarantine lapse"),
            (false, true) => rows.push("brings a node back before its time"),
            _ => {}
        }
        if voided(before, records) {
            rows.push("voids a response that waits");
        }
        if reviewed_away(before, records) {
            rows.push("reviews a response away");
        }
        rows
    }
}

fn row(before: &Moment, record: &Record) -> Option<&'static str> {
    Some(match record {
        Record::RotationOrdered { cause: Cause::Trigger, .. } => "rotates keys, with overlap",
        Record::Responded { response: Response::RotateKeys, incident } => {
            let about_key = |one: &kernel::state::incident::Incident| matches!(one.subject, Subject::Key(_));
            // an incident that this step opened is about the key that was signalled
            let pairs = before.state.incident(*incident).is_none_or(about_key);
            return pairs.then_some("has one pair's key replaced, with overlap");
        }
        Record::IncidentOpened { .. } => "opens an incident",
        Record::Responded { response: Response::Watch(_) | Response::Reauthenticate(_), .. } => {
            "has a node watched and prove anew who it is"
        }
        Record::Quarantined { subject: Subject::Node(_), .. } => {
            "cuts a node off for a quarter of an hour, and it is told"
        }
        Record::Quarantined { .. } => "cuts a credential off for a quarter of an hour, and it is told",
        Record::AssistedSet { on: false } => "turns assisted mode off",
        Record::AssistedSet { on: true } => "turns assisted mode on",
        Record::Held { by: Principal::Operator(_), .. } => "asks for what takes a second person",
        Record::HeldEnded { request, by: Some(_) } => {
            let held = before.state.access().held().get(request)?;
            let others = matches!(&held.by, Principal::Operator(asker) if asker.as_str() != "op1");
            return others.then_some("denies what another person asked for");
        }
        Record::IncidentReviewed { .. } => "reviews what is decided",
        Record::ForwardAdded { .. } => "adds a forward",
        Record::NodeAdmitted { .. } => "admits a node, on a grant",
        _ => return None,
    })
}

fn at_rest() -> Moment {
    Moment::of(&World::keyed(3, kernel::event::Settings::default()))
}

fn assisted() -> Moment {
    let mut at = at_rest();
    at.by_two("op2", "op3", &Command::SetAssisted { on: true });
    assert!(at.state.assisted());
    at
}

fn detected(mut at: Moment, subject: Subject, kind: SignalKind) -> Moment {
    at.now = at.now + Millis::from_secs(1);
    at.happen(Event::Detected { subject, kind, confidence_ppm: 1_000_000 });
    at
}

fn on_the_word_of(mut at: Moment, operators: [&str; 2]) -> Moment {
    for operator in operators {
        at.now = at.now + Millis::from_secs(1);
        let subject = Subject::Node(node(2));
        at.ask(operator, Command::Signal { subject, kind: SignalKind::NodeCompromise });
    }
    at
}

fn held_by_another() -> Moment {
    let mut at = at_rest();
    at.now = at.now + Millis::from_secs(1);
    at.ask("op2", Command::IsolateNode { node: node(2) });
    at
}

fn said_by_another() -> Moment {
    let mut at = at_rest();
    at.now = at.now + Millis::from_secs(1);
    at.ask("op2", Command::Signal { subject: Subject::Node(node(2)), kind: SignalKind::NodeCompromise });
    at
}

fn glass_broken_by_another() -> Moment {
    let mut at = at_rest();
    at.now = at.now + Millis::from_secs(1);
    at.ask("op2", Command::BreakGlass { subject: Subject::Node(node(2)) });
    assert!(!at.state.quarantines().active().is_empty());
    at
}

/// SM-04, SM-08e, SM-09, QT-09; S4, S5: whatever one person asks for, in whatever order.
#[test]
fn s4_what_one_person_can_bring_about_alone_is_the_reviewed_table() {
    let of_node = |at| detected(at, Subject::Node(node(2)), SignalKind::NodeCompromise);
    let op1 = || Subject::Operator("op1".parse().unwrap());
    let situations = [
        ("at rest", at_rest()),
        ("assisted mode is on", assisted()),
        ("assisted: a detector's response waits", of_node(assisted())),
        ("assisted: a response waits on this person's own word", on_the_word_of(assisted(), ["op1", "op3"])),
        (
            "assisted: the revocation of this very person waits",
            detected(assisted(), op1(), SignalKind::UnauthorizedAccess),
        ),
        ("a node is cut off", of_node(at_rest())),
        ("another person asked to isolate a node", held_by_another()),
        ("another person broke the glass over a node", glass_broken_by_another()),
        ("another person says that a node is compromised", said_by_another()),
    ];
    let columns: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            situations.into_iter().map(|(name, at)| (name, scope.spawn(move || explore(&Person, at)))).collect();
        runs.into_iter().map(|(name, run)| (name, run.join().unwrap())).collect()
    });
    let title = "What one person can bring about alone: `operators` and `duty`, up to four commands and waiting.\n\
                 A cell is the fewest commands that do.";
    golden("alone-person.txt", &table(title, CAN, NEVER, &columns));
}
