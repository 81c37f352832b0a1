//! What one person, and what one node, can bring about alone: derived by running every sequence of up
//! to [`DEPTH`] commands or messages through the kernel with the shipped policy, and kept as two files
//! to read (SM-04, SM-07b, SM-08e, SM-09).
//!
//! A cell holds the fewest commands that bring the row about, from the situation of its column; `-` is
//! never. The second part of each table must be all `-`: no hand alone voids, blocks, reverses or
//! impersonates an autonomous response, or starts a lasting one.

mod node;
mod person;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use kernel::event::{Command, Event, Request, SignedRequest};
use kernel::record::{Principal, Record};
use kernel::state::incident::ResponseState;
use kernel::{Body, State, step};
use types::mesh::{NodeState, SignalKind, Subject};
use types::{Hash, Label, Millis, NodeId, OperatorId, Timestamp, cbor};

use crate::grid::golden;
use crate::world::World;

/// So many commands, or messages, make a sequence.
const DEPTH: usize = 4;

/// A boundary at a moment.
#[derive(Clone)]
struct Moment {
    state: State,
    now: Timestamp,
}

impl Moment {
    fn of(world: &World) -> Self {
        Self { state: world.state.clone(), now: world.now }
    }

    fn after(&self, span: Millis) -> Self {
        Self { state: self.state.clone(), now: self.now + span }
    }

    /// Steps an event, and the ticks it asks for; every record of them.
    fn happen(&mut self, event: Event) -> Vec<Record> {
        let mut told = step(&self.state, &event, self.now);
        let mut records = told.records.clone();
        self.state.commit(&Body { rules: kernel::RULES, event, records: told.records }, self.now);
        for _ in 0..8 {
            if !told.more {
                break;
            }
            told = step(&self.state, &Event::Tick, self.now);
            records.extend(told.records.clone());
            self.state.commit(&Body { rules: kernel::RULES, event: Event::Tick, records: told.records }, self.now);
        }
        records
    }

    /// What an operator asks for, on the grant it has for it where it has one.
    fn ask(&mut self, operator: &str, command: Command) -> Vec<Record> {
        let operator: OperatorId = operator.parse().unwrap();
        let boundary = self.state.id().unwrap().clone();
        let digest = kernel::access::command_digest(&boundary, &operator, &command);
        let grants = self.state.access().grants().iter();
        let grant =
            grants.filter(|(_, one)| one.operator == operator && one.digest == digest).map(|(id, _)| *id).next();
        let nonce = Label::REQUEST.hash(&[&self.now.as_millis().to_be_bytes(), operator.as_str().as_bytes()]);
        let request = Request { boundary, operator, nonce, at: self.now, grant, command, reason: "a drill".to_owned() };
        self.happen(Event::Request(Box::new(SignedRequest { request, signature: vec![] })))
    }

    /// What two people do.
    fn by_two(&mut self, first: &str, second: &str, command: &Command) {
        let mut tick = || self.now = self.now + Millis::new(1);
        tick();
        let asked = self.ask(first, command.clone());
        let held = asked.iter().find_map(|record| match record {
            Record::Held { request, digest, .. } => Some((*request, *digest)),
            _ => None,
        });
        let (request, digest) = held.unwrap();
        self.now = self.now + Millis::new(1);
        self.ask(second, Command::Approve { request, digest });
        for _ in 0..2 {
            self.now = self.now + Millis::new(1);
            self.ask(first, command.clone());
        }
    }

    /// What decides on authority, without what only names or counts: two moments with the same digest have the
    /// same future as far as these tables go.
    fn digest(&self) -> Hash {
        let state = &self.state;
        let access = state.access();
        let nodes: Vec<_> = state.nodes().iter().map(|(id, node)| (id.clone(), node.state, node.epoch)).collect();
        let revoked: Vec<_> = state.operators().iter().map(|(id, one)| (id.clone(), one.revoked)).collect();
        let held: Vec<_> = access.held().iter().map(|(id, held)| (*id, held.clone())).collect();
        let grants: Vec<_> = access.grants().iter().map(|(id, grant)| (*id, grant.clone())).collect();
        let incidents: Vec<_> = state.incidents().iter().map(|(id, one)| (*id, one.clone())).collect();
        let clock = state.clock().max(self.now);
        let parts = [
            cbor::to_vec(&(state.assisted(), clock)),
            cbor::to_vec(&nodes),
            cbor::to_vec(&revoked),
            cbor::to_vec(&held),
            cbor::to_vec(&grants),
            cbor::to_vec(&incidents),
            cbor::to_vec(state.quarantines()),
        ];
        Label::STATE.hash(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
    }

    fn is_cut_off_for_good(&self, node: &NodeId) -> bool {
        let quarantined = self.state.quarantines().active().contains_key(&Subject::Node(node.clone()));
        self.state.node(node).unwrap().state == NodeState::Isolated && !quarantined
    }

    /// Whether the engine still answers when its own detector is sure of `node`, and whether the answer lasts.
    fn still_answers(&self, node: &NodeId) -> bool {
        let mut after = self.after(Millis::from_secs(11));
        if !after.is_cut_off_for_good(node) {
            let (subject, kind) = (Subject::Node(node.clone()), SignalKind::NodeCompromise);
            after.happen(Event::Detected { subject, kind, confidence_ppm: 1_000_000 });
            // in assisted mode the answer waits for one of the others, whoever of them is asked
            for operator in ["op2", "op3"] {
                let waits: Vec<_> = after.state.access().held().iter().map(|(id, held)| (*id, held.clone())).collect();
                for (request, held) in waits.into_iter().filter(|(_, held)| held.response.is_some()) {
                    after.now = after.now + Millis::new(1);
                    after.ask(operator, Command::Approve { request, digest: held.digest });
                }
            }
        }
        let mut later = after.after(Millis::from_secs(16 * 60));
        later.happen(Event::Tick);
        after.is_cut_off_for_good(node) && later.is_cut_off_for_good(node)
    }
}

/// The fewest commands that bring each row about.
type Column = BTreeMap<&'static str, usize>;

/// One step of the one who acts alone.
trait Hand {
    /// Everything it can do at a moment.
    fn moves(&self, at: &Moment) -> Vec<Move>;
    /// The rows that a step brought about.
    fn rows(&self, before: &Moment, made: &Move, records: &[Record]) -> Vec<&'static str>;
    /// The node that the engine must still be able to cut off.
    fn suspect(&self) -> NodeId;
}

#[derive(Debug, Clone)]
enum Move {
    Ask(Command),
    Say(Event),
    Wait(Millis),
}

fn explore(hand: &impl Hand, start: Moment) -> Column {
    let mut column = Column::new();
    let mut seen = BTreeSet::from([start.digest()]);
    let mut layer = vec![start];
    for depth in 1..=DEPTH {
        let mut next = Vec::new();
        for before in &layer {
            for made in hand.moves(before) {
                let mut after = before.after(Millis::from_secs(1));
                let records = match &made {
                    Move::Ask(command) => after.ask("op1", command.clone()),
                    Move::Say(event) => after.happen(event.clone()),
                    Move::Wait(span) => {
                        after.now = after.now + *span;
                        after.happen(Event::Tick)
                    }
                };
                for row in hand.rows(before, &made, &records) {
                    column.entry(row).or_insert(depth);
                }
                if seen.insert(after.digest()) {
                    if !after.still_answers(&hand.suspect()) {
                        column.entry(BLOCKED).or_insert(depth);
                    }
                    next.push(after);
                }
            }
        }
        layer = next;
    }
    column
}

const BLOCKED: &str = "keeps the engine from answering a sure detector";

/// Held responses that a step ended without carrying them out or asking anew.
fn voided(before: &Moment, records: &[Record]) -> bool {
    records.iter().any(|record| {
        let (Record::HeldEnded { request, .. } | Record::HeldDone { request }) = record else { return false };
        let Some(held) = before.state.access().held().get(request) else { return false };
        let Some((incident, response)) = &held.response else { return false };
        let answered = records.iter().any(|record| match record {
            Record::Responded { incident: id, response: done } => id == incident && done == response,
            Record::Held { by: Principal::Engine, digest, .. } => *digest == held.digest,
            _ => false,
        });
        !answered
    })
}

/// Incidents that a step reviewed although a response of theirs waits.
fn reviewed_away(before: &Moment, records: &[Record]) -> bool {
    records.iter().any(|record| {
        let Record::IncidentReviewed { incident, .. } = record else { return false };
        let known = before.state.incident(*incident);
        known.is_some_and(|one| one.responses.values().any(|state| *state == ResponseState::Held))
    })
}

fn table(title: &str, can: &[&'static str], never: &[&'static str], columns: &[(&str, Column)]) -> String {
    let mut text = format!("{title}\n\n");
    for (at, (name, _)) in columns.iter().enumerate() {
        writeln!(text, "  {}  {name}", (b'A' + at as u8) as char).unwrap();
    }
    for (part, rows) in [("can", can), ("never: a number here fails the test", never)] {
        writeln!(
            text,
            "\n{part:64} {}",
            (0..columns.len()).map(|at| format!("  {}", (b'A' + at as u8) as char)).collect::<String>()
        )
        .unwrap();
        for row in rows {
            let cells =
                columns.iter().map(|(_, column)| column.get(row).map_or("  -".to_owned(), |n| format!("{n:3}")));
            writeln!(text, "  {row:62} {}", cells.collect::<String>()).unwrap();
        }
    }
    let known: BTreeSet<_> = can.iter().chain(never).collect();
    let found = columns.iter().flat_map(|(_, column)| column.keys());
    assert!(found.into_iter().all(|row| known.contains(row)), "a row is missing from the table");
    for row in never {
        for (name, column) in columns {
            assert!(!column.contains_key(row), "one hand alone {row}: {name}\n{text}");
        }
    }
    text
}
