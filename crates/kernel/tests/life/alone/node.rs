//! One admitted node, `n1`, whose sessions are real and whose words are not.

use kernel::event::{Command, Event, KeyReceipt, KeyUsage};
use kernel::record::{Cause, Record, Response};
use types::mesh::{NodeState, SignalKind, Subject};
use types::{KeyId, LinkId, Millis, NodeId};

use super::{BLOCKED, Hand, Moment, Move, explore, golden, reviewed_away, table, voided};
use crate::world::{World, hash_of, node, pair};
use kernel::state::keys::Slot;

const CAN: &[&str] = &[
    "opens an incident about itself, its keys or its links",
    "opens an incident about a node of its function",
    "opens an incident about any other node",
    "has a node watched and prove anew who it is",
    "has a key of its own replaced",
    "leaves, and comes back",
];

const NEVER: &[&str] = &[
    "touches a key it is no participant of",
    "has any node cut off, itself included",
    "has a credential revoked",
    "has keys of the mesh rotated",
    "opens an incident about a person",
    "voids a response that waits",
    "reviews a response away",
    "brings a node back",
    BLOCKED,
];

struct Node;

/// A node of the same function as `n1`.
const PEER: usize = 6;

impl Hand for Node {
    fn suspect(&self) -> NodeId {
        node(1)
    }

    fn moves(&self, at: &Moment) -> Vec<Move> {
        let state = &at.state;
        let me = || node(1);
        let key = |slot: &Slot| state.current(slot).map(|(id, _)| id);
        let mut events = Vec::new();
        let mut say = |subject, kind| events.push(Event::Signal { source: me(), subject, kind });
        say(Subject::Node(me()), SignalKind::NodeCompromise);
        say(Subject::Node(node(PEER)), SignalKind::NodeCompromise);
        say(Subject::Node(node(PEER)), SignalKind::LateralMovement);
        say(Subject::Node(node(2)), SignalKind::NodeCompromise);
        say(Subject::Node(node(2)), SignalKind::AuthFailure);
        say(Subject::Node(NodeId::hub()), SignalKind::AuthFailure);
        say(Subject::Operator("op2".parse().unwrap()), SignalKind::UnauthorizedAccess);
        say(Subject::Link(LinkId::new(me(), node(2)).unwrap()), SignalKind::QberHigh);
        for (slot, kind) in [
            (pair(1, 2), SignalKind::KeyCompromise),
            (pair(2, 3), SignalKind::KeyCompromise),
            (Slot::identity(&me()), SignalKind::KeyCompromise),
            (Slot::master(), SignalKind::KeyCompromise),
        ] {
            if let Some(key) = key(&slot) {
                say(Subject::Key(key), kind);
            }
        }
        let foreign: Vec<KeyId> = [key(&pair(2, 3))].into_iter().flatten().collect();
        if let Some(own) = key(&pair(1, 2)) {
            let lie = KeyReceipt { key: own, commitment: hash_of("a lie"), mixed: None };
            let usage = |key| KeyUsage { key, frames: 1, bytes: 1, failures: 1_000 };
            let both: Vec<KeyId> = foreign.iter().copied().chain([own]).collect();
            events.extend([
                Event::Receipts { node: me(), receipts: vec![lie] },
                Event::Usage { node: me(), keys: both.iter().map(|key| usage(*key)).collect() },
                Event::DeliveryFailed { node: me(), keys: both.clone(), reason: String::new() },
                Event::Purged { node: me(), keys: both.clone() },
                Event::Activated { node: me(), keys: both },
            ]);
        }
        events.push(Event::IsolationConfirmed { by: me(), node: node(2), epoch: state.epoch() });
        events.push(Event::NodeDown { node: me() });
        events.push(Event::NodeUp { node: me(), session: hash_of("again") });
        let mut moves: Vec<Move> = events.into_iter().map(Move::Say).collect();
        moves.push(Move::Wait(Millis::from_secs(61)));
        moves
    }

    fn rows(&self, before: &Moment, made: &Move, records: &[Record]) -> Vec<&'static str> {
        let mut rows: Vec<&'static str> = records.iter().filter_map(|record| row(before, made, record)).collect();
        if voided(before, records) {
            rows.push("voids a response that waits");
        }
        if reviewed_away(before, records) {
            rows.push("reviews a response away");
        }
        rows
    }
}

fn row(before: &Moment, made: &Move, record: &Record) -> Option<&'static str> {
    let me = node(1);
    Some(match record {
        Record::IncidentOpened { subject: Subject::Node(about), .. } if *about == me => {
            "opens an incident about itself, its keys or its links"
        }
        Record::IncidentOpened { subject: Subject::Node(about), .. } if *about == node(PEER) => {
            "opens an incident about a node of its function"
        }
        Record::IncidentOpened { subject: Subject::Node(_), .. } => "opens an incident about any other node",
        Record::IncidentOpened { subject: Subject::Operator(_), .. } => "opens an incident about a person",
        Record::IncidentOpened { subject: Subject::Key(_) | Subject::Link(_), .. } => {
            "opens an incident about itself, its keys or its links"
        }
        Record::Responded { response: Response::Watch(_) | Response::Reauthenticate(_), .. } => {
            "has a node watched and prove anew who it is"
        }
        Record::NodeMoved { to: NodeState::Isolated, .. } => "has any node cut off, itself included",
        Record::NodeMoved { node, .. } if *node == me => "leaves, and comes back",
        Record::NodeMoved { .. } => "brings a node back",
        Record::OperatorRevoked { .. } => "has a credential revoked",
        Record::RotationOrdered { .. } => "has keys of the mesh rotated",
        // what is due in time, and what an honest acknowledgement completes, is not this node's doing
        Record::KeyMoved { key, cause, .. } if !matches!(made, Move::Wait(_)) => {
            let known = before.state.key(*key)?;
            if !known.slot.has(&me) && *cause != Cause::Schedule {
                "touches a key it is no participant of"
            } else {
                "has a key of its own replaced"
            }
        }
        _ => return None,
    })
}

fn at_rest() -> Moment {
    Moment::of(&World::keyed(PEER, kernel::event::Settings::default()))
}

fn accused(assisted: bool) -> Moment {
    let mut at = at_rest();
    if assisted {
        at.by_two("op2", "op3", &Command::SetAssisted { on: true });
    }
    at.now = at.now + Millis::from_secs(1);
    let (subject, kind) = (Subject::Node(node(1)), SignalKind::NodeCompromise);
    // sure where the answer waits for people; where it does not, a suspicion that is not confirmed
    at.happen(Event::Detected { subject, kind, confidence_ppm: if assisted { 1_000_000 } else { 950_000 } });
    at
}

fn another_is_out() -> Moment {
    let mut at = at_rest();
    at.now = at.now + Millis::from_secs(1);
    let (subject, kind) = (Subject::Node(node(2)), SignalKind::NodeCompromise);
    at.happen(Event::Detected { subject, kind, confidence_ppm: 1_000_000 });
    at
}

/// SM-02, SM-07b, SM-08e; S5, S9: whatever one node says, in whatever order.
#[test]
fn s9_what_one_node_can_bring_about_alone_is_the_reviewed_table() {
    let situations = [
        ("at rest", at_rest()),
        ("it is suspected", accused(false)),
        ("assisted: its own isolation waits", accused(true)),
        ("another node was cut off", another_is_out()),
    ];
    let columns: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> =
            situations.into_iter().map(|(name, at)| (name, scope.spawn(move || explore(&Node, at)))).collect();
        runs.into_iter().map(|(name, run)| (name, run.join().unwrap())).collect()
    });
    let title = "What one admitted node can bring about alone, by up to four messages and waiting.\n\
                 A cell is the fewest messages that do.";
    golden("alone-node.txt", &table(title, CAN, NEVER, &columns));
}
