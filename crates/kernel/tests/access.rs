//! Requests of operators through the whole kernel: freshness, grants, approvals, denials.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where something is wrong

use kernel::access::command_digest;
use kernel::event::{Command, Event, Genesis, NodeSpec, OperatorSpec, Request, Settings, SignedRequest};
use kernel::policy::DEFAULT_POLICY;
use kernel::record::{Record, Refusal};
use kernel::{Body, State, step};
use types::mesh::{Function, SignalKind, Subject};
use types::{BoundaryId, GrantId, Hash, Label, LinkId, Millis, NodeId, OperatorId, RequestId, Timestamp};

#[path = "access/approvals.rs"]
mod approvals;
#[path = "access/bursts.rs"]
mod bursts;
#[path = "access/engine.rs"]
mod engine;
#[path = "access/grants.rs"]
mod grants;
#[path = "access/histories.rs"]
mod histories;
#[path = "access/operators.rs"]
mod operators;
#[path = "access/replays.rs"]
mod replays;
#[path = "access/saes.rs"]
mod saes;
#[path = "access/starts.rs"]
mod starts;

/// A boundary with five people: `op1`, `op2` and `op5` on duty, `op3` an operator, `op4` an auditor.
struct World {
    state: State,
    now: Timestamp,
    drawn: u64,
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn person(id: &str, groups: &[&str]) -> OperatorSpec {
    OperatorSpec {
        id: name(id),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
        identity: id.into(),
        expires: Timestamp::from_millis(1_790_000_000_000) + Millis::from_days(90),
    }
}

fn node(id: &str, function: Function) -> NodeSpec {
    NodeSpec { id: name(id), function, identity: Label::IDENTITY.hash(&[id.as_bytes()]) }
}

fn boundary() -> BoundaryId {
    name("b1")
}

impl World {
    fn new() -> Self {
        Self::under(DEFAULT_POLICY)
    }

    fn under(policy: &str) -> Self {
        Self::of(policy, vec![node("n1", Function::Grid), node("n2", Function::Lng), node("n5", Function::Defense)])
    }

    fn of(policy: &str, nodes: Vec<NodeSpec>) -> Self {
        let genesis = Genesis {
            boundary: boundary(),
            settings: Settings::default(),
            policy: policy.to_owned(),
            operators: vec![
                person("op1", &["duty", "operators"]),
                person("op2", &["duty", "operators"]),
                person("op3", &["operators"]),
                person("op4", &["auditors"]),
                person("op5", &["duty"]),
            ],
            nodes,
            links: vec![LinkId::new(name("n1"), name("n2")).unwrap()],
            salt: Hash::ZERO,
            audit_key: Hash::ZERO,
        };
        let mut world = Self { state: State::default(), now: Timestamp::from_millis(1_790_000_000_000), drawn: 0 };
        let records = world.happen(Event::Create(Box::new(genesis)));
        assert!(matches!(records[..], [Record::BoundaryCreated { .. }]), "{records:?}");
        world
    }

    fn happen(&mut self, event: Event) -> Vec<Record> {
        let records = step(&self.state, &event, self.now).records;
        self.state.commit(&Body { rules: kernel::RULES, event, records: records.clone() }, self.now);
        records
    }

    fn wait(&mut self, span: Millis) {
        self.now = self.now + span;
    }

    fn tick(&mut self) -> Vec<Record> {
        self.happen(Event::Tick)
    }

    fn request(&mut self, operator: &str, command: Command, grant: Option<GrantId>) -> Request {
        self.drawn += 1;
        let nonce = Label::REQUEST.hash(&[&self.drawn.to_be_bytes()]);
        Request {
            boundary: boundary(),
            operator: name(operator),
            nonce,
            at: self.now,
            grant,
            command,
            reason: "a drill".to_owned(),
        }
    }

    fn send(&mut self, request: Request) -> Vec<Record> {
        self.happen(Event::Request(Box::new(SignedRequest { request, signature: vec![] })))
    }

    fn ask(&mut self, operator: &str, command: Command) -> Vec<Record> {
        let request = self.request(operator, command, None);
        self.send(request)
    }

    fn present(&mut self, operator: &str, command: Command, grant: GrantId) -> Vec<Record> {
        let request = self.request(operator, command, Some(grant));
        self.send(request)
    }

    /// Asks for what is granted without approvals.
    fn granted(&mut self, operator: &str, command: Command) -> GrantId {
        let records = self.ask(operator, command);
        grant_in(&records).unwrap_or_else(|| panic!("no grant in {records:?}"))
    }

    fn held(&mut self, operator: &str, command: Command) -> (RequestId, Hash) {
        let records = self.ask(operator, command);
        held_in(&records).unwrap_or_else(|| panic!("nothing held in {records:?}"))
    }

    fn approve(&mut self, operator: &str, (request, digest): (RequestId, Hash)) -> Vec<Record> {
        self.ask(operator, Command::Approve { request, digest })
    }

    fn deny(&mut self, operator: &str, (request, digest): (RequestId, Hash)) -> Vec<Record> {
        self.ask(operator, Command::Deny { request, digest })
    }

    /// A confirmed compromise of `n2`, so that it is isolated: two people say so.
    fn isolate_n2(&mut self) {
        self.ask("op3", compromised("n2"));
        let records = self.ask("op1", compromised("n2"));
        assert!(records.iter().any(|record| matches!(record, Record::NodeMoved { .. })), "{records:?}");
    }

    fn set_assisted(&mut self) {
        let held = self.held("op1", Command::SetAssisted { on: true });
        self.approve("op2", held);
        let grant = self.granted("op1", Command::SetAssisted { on: true });
        let records = self.present("op1", Command::SetAssisted { on: true }, grant);
        assert!(records.contains(&Record::AssistedSet { on: true }));
    }

    /// Takes an operator's credential away: two people say so.
    fn revoke(&mut self, operator: &str) -> Vec<Record> {
        let command =
            Command::Signal { subject: Subject::Operator(name(operator)), kind: SignalKind::UnauthorizedAccess };
        let mut records = Vec::new();
        let second = if operator == "op2" { "op1" } else { "op2" };
        for by in ["op5", second] {
            let grant = self.granted(by, command.clone());
            records = self.present(by, command.clone(), grant);
        }
        assert!(records.contains(&Record::OperatorRevoked { operator: name(operator) }), "{records:?}");
        records
    }
}

fn compromised(node: &str) -> Command {
    Command::Signal { subject: Subject::Node(name(node)), kind: SignalKind::NodeCompromise }
}

/// What a detector of the hub is sure of.
fn detected(node: &str) -> Event {
    Event::Detected { subject: Subject::Node(name(node)), kind: SignalKind::NodeCompromise, confidence_ppm: 1_000_000 }
}

fn restore(node: &str) -> Command {
    Command::RestoreNode { node: name::<NodeId>(node) }
}

fn assist() -> Command {
    Command::SetAssisted { on: true }
}

fn digest_of(operator: &str, command: &Command) -> Hash {
    command_digest(&boundary(), &name::<OperatorId>(operator), command)
}

fn grant_in(records: &[Record]) -> Option<GrantId> {
    records.iter().find_map(|record| match record {
        Record::Granted { grant, .. } => Some(*grant),
        _ => None,
    })
}

fn held_in(records: &[Record]) -> Option<(RequestId, Hash)> {
    records.iter().find_map(|record| match record {
        Record::Held { request, digest, .. } => Some((*request, *digest)),
        _ => None,
    })
}

fn refusal(records: &[Record]) -> Option<Refusal> {
    records.iter().find_map(|record| match record {
        Record::Refused(refusal) => Some(refusal.clone()),
        _ => None,
    })
}

/// The answer of policy in an entry: whether it permits, and which policies say so.
fn decision(records: &[Record]) -> Option<(bool, Vec<String>)> {
    records.iter().find_map(|record| match record {
        Record::Decided(decision) => Some((decision.permit, decision.reasons.clone())),
        _ => None,
    })
}

fn is_carried_out(records: &[Record]) -> bool {
    records.iter().any(|record| {
        matches!(
            record,
            Record::AssistedSet { .. }
                | Record::NodeAdmitted { .. }
                | Record::NodeMoved { .. }
                | Record::RotationOrdered { .. }
                | Record::ForwardAdded { .. }
                | Record::Responded { .. }
                | Record::OperatorRevoked { .. }
                | Record::Served { .. }
        )
    })
}
