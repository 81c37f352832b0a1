//! A hub and its nodes around the kernel: runs effects, answers with events, in virtual time.

use std::collections::{BTreeSet, VecDeque};

use kernel::effect::{Effect, KeyOrder};
use kernel::event::{Command, Event, Genesis, KeyReceipt, NodeSpec, OperatorSpec, Request, Settings, SignedRequest};
use kernel::record::Record;
use kernel::state::keys::Slot;
use kernel::{Body, State, Step, step};
use types::mesh::{Delivery, Function, KeyState, LinkReport, NodeState, SignalKind, Subject};
use types::{GrantId, Hash, KeyId, Label, LinkId, Millis, NodeId, Timestamp};

use crate::invariants::Watch;

pub(crate) const START: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A boundary in its surroundings. Every step is watched by every invariant.
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) log: Vec<(Timestamp, Body)>,
    pub(crate) now: Timestamp,
    pub(crate) queue: VecDeque<Event>,
    pub(crate) deaf: BTreeSet<NodeId>,
    pub(crate) liars: BTreeSet<NodeId>,
    pub(crate) watch: Watch,
}

pub(crate) fn node(n: usize) -> NodeId {
    format!("n{n}").parse().unwrap()
}

pub(crate) fn pair(x: usize, y: usize) -> Slot {
    Slot::pair(&node(x), &node(y)).unwrap()
}

pub(crate) fn hash_of(text: &str) -> Hash {
    Label::KEY_COMMITMENT.hash(&[text.as_bytes()])
}

pub(crate) fn spec(n: usize) -> NodeSpec {
    let function = Function::ALL[n % Function::ALL.len()];
    NodeSpec { id: node(n), function, identity: hash_of(&format!("identity {n}")) }
}

pub(crate) fn genesis(nodes: usize, settings: Settings) -> Genesis {
    let operator = |name: &str| OperatorSpec {
        id: name.parse().unwrap(),
        groups: vec!["duty".to_owned(), "operators".to_owned()],
        identity: name.as_bytes().to_vec(),
        // histories here run for years
        expires: Timestamp::from_millis(u64::MAX / 2),
    };
    Genesis {
        boundary: "site-a".parse().unwrap(),
        settings,
        policy: kernel::policy::DEFAULT_POLICY.to_owned(),
        operators: vec![operator("op1"), operator("op2"), operator("op3")],
        nodes: (1..=nodes).map(spec).collect(),
        links: links(nodes),
        salt: hash_of("salt"),
        audit_key: hash_of("audit key"),
    }
}

/// Every fibre between the hub and up to five nodes.
fn links(nodes: usize) -> Vec<LinkId> {
    let ends: Vec<NodeId> = std::iter::once(NodeId::hub()).chain((1..=nodes.min(5)).map(node)).collect();
    let pairs = ends.iter().enumerate().flat_map(|(at, x)| ends[at + 1..].iter().map(move |y| (x, y)));
    pairs.filter_map(|(x, y)| LinkId::new(x.clone(), y.clone())).collect()
}

impl World {
    /// A boundary with founding nodes that are not connected yet.
    pub(crate) fn new(nodes: usize, settings: Settings) -> Self {
        let mut world = Self {
            state: State::default(),
            log: Vec::new(),
            now: START,
            queue: VecDeque::new(),
            deaf: BTreeSet::new(),
            liars: BTreeSet::new(),
            watch: Watch::default(),
        };
        world.feed(Event::Create(Box::new(genesis(nodes, settings))));
        world
    }

    /// A boundary whose nodes are connected and keyed.
    pub(crate) fn keyed(nodes: usize, settings: Settings) -> Self {
        let mut world = Self::new(nodes, settings);
        (1..=nodes).for_each(|n| world.up(n));
        world.settle();
        world
    }

    /// One step: watched, logged, applied; its effects run as far as they can.
    pub(crate) fn feed(&mut self, event: Event) -> Step {
        let step = step(&self.state, &event, self.now);
        self.watch.step(&self.state, &event, &step);
        if !step.records.is_empty() {
            let body = Body { rules: kernel::RULES, event: event.clone(), records: step.records.clone() };
            self.watch.entry(&body, self.log.len() as u64, self.now);
            self.state.commit(&body, self.now);
            self.log.push((self.state.clock(), body));
        }
        self.watch.state(&self.state, &event, &step, self.now);
        for effect in &step.effects {
            self.run_effect(effect);
        }
        step
    }

    pub(crate) fn tick(&mut self) {
        while self.feed(Event::Tick).more {}
    }

    /// Feeds every event under way, and what is due, until nothing happens any more at this moment.
    pub(crate) fn settle(&mut self) {
        loop {
            while let Some(event) = self.queue.pop_front() {
                if self.feed(event).more {
                    self.tick();
                }
            }
            self.tick();
            if self.queue.is_empty() {
                return;
            }
        }
    }

    /// Lets time pass in steps of `every`, everything settled after each.
    pub(crate) fn pass(&mut self, span: Millis, every: Millis) {
        let end = self.now + span;
        while self.now < end {
            self.now = (self.now + every).min(end);
            self.settle();
        }
    }

    pub(crate) fn up(&mut self, n: usize) {
        self.deaf.remove(&node(n));
        let session = hash_of(&format!("session {n} {}", self.log.len()));
        self.feed(Event::NodeUp { node: node(n), session });
    }

    pub(crate) fn down(&mut self, n: usize) {
        self.deaf.insert(node(n));
        self.feed(Event::NodeDown { node: node(n) });
    }

    pub(crate) fn signal(&mut self, subject: Subject, kind: SignalKind, confidence_ppm: u32) -> Step {
        self.feed(Event::Detected { subject, kind, confidence_ppm })
    }

    pub(crate) fn compromise(&mut self, n: usize) -> Step {
        self.signal(Subject::Node(node(n)), SignalKind::NodeCompromise, 1_000_000)
    }

    /// Two operators bring an isolated node back, and it connects.
    pub(crate) fn restore(&mut self, n: usize) {
        let command = Command::RestoreNode { node: node(n) };
        self.send("op1", &command, None);
        assert_eq!(self.state.node(&node(n)).unwrap().state, NodeState::Isolated, "one person does not suffice");
        self.now = self.now + Millis::from_secs(1);
        let held = self.state.access().held().iter().next().map(|(id, held)| (*id, held.digest)).unwrap();
        self.send("op2", &Command::Approve { request: held.0, digest: held.1 }, None);
        let step = self.command(&command);
        assert!(step.effects.iter().any(|effect| matches!(effect, Effect::Readmit { .. })));
        self.up(n);
    }

    /// One signed request of an operator.
    pub(crate) fn send(&mut self, operator: &str, command: &Command, grant: Option<GrantId>) -> Step {
        let request = Request {
            boundary: self.state.id().unwrap().clone(),
            operator: operator.parse().unwrap(),
            nonce: hash_of(&format!("nonce {} {}", self.log.len(), self.now.as_millis())),
            at: self.now.max(self.state.clock()),
            grant,
            command: command.clone(),
            reason: "a drill".to_owned(),
        };
        self.feed(Event::Request(Box::new(SignedRequest { request, signature: vec![] })))
    }

    /// What `op1` asks for, with the approval of `op2` and on a grant where these are needed.
    pub(crate) fn command(&mut self, command: &Command) -> Step {
        let mut step = self.send("op1", command, None);
        let held = step.records.iter().find_map(|record| match record {
            Record::Held { request, digest, .. } => Some((*request, *digest)),
            _ => None,
        });
        if let Some((request, digest)) = held {
            self.send("op2", &Command::Approve { request, digest }, None);
            step = self.send("op1", command, None);
        }
        let granted = step.records.iter().find_map(|record| match record {
            Record::Granted { grant, .. } => Some(*grant),
            _ => None,
        });
        if granted.is_some() { self.send("op1", command, granted) } else { step }
    }

    fn answers(&self, node: &NodeId) -> bool {
        let online = self.state.node(node).is_some_and(|one| one.state == NodeState::Online);
        (node.is_hub() || online) && !self.deaf.contains(node)
    }

    pub(crate) fn receipt(&self, node: &NodeId, key: KeyId) -> KeyReceipt {
        let lie = if self.liars.contains(node) { node.as_str() } else { "" };
        KeyReceipt { key, commitment: hash_of(&format!("{key}{lie}")), mixed: None }
    }

    fn run_effect(&mut self, effect: &Effect) {
        match effect {
            Effect::Make(orders) => {
                let keys = orders.iter().map(|order| order.key).collect();
                self.queue.push_back(Event::Made { keys });
            }
            Effect::Deliver(orders) => self.deliver(orders),
            Effect::Activate(keys) => {
                let keys: Vec<_> = keys.iter().map(|(key, nodes, _)| (*key, nodes.clone())).collect();
                self.for_each_node(&keys, |node, keys| Event::Activated { node, keys });
            }
            Effect::Rewrap { key, .. } => {
                self.queue.push_back(Event::Activated { node: NodeId::hub(), keys: vec![*key] });
            }
            Effect::Purge(keys) => self.for_each_node(keys, |node, keys| Event::Purged { node, keys }),
            Effect::Isolate { node, epoch } => {
                let others = self.state.nodes().keys().filter(|by| *by != node && self.answers(by));
                let confirmed =
                    others.map(|by| Event::IsolationConfirmed { by: by.clone(), node: node.clone(), epoch: *epoch });
                let confirmed: Vec<Event> = confirmed.collect();
                self.queue.extend(confirmed);
            }
            Effect::Verify { keys, .. } => {
                for (node, keys) in keys {
                    if self.answers(node) {
                        let receipts = keys.iter().map(|key| self.receipt(node, *key)).collect();
                        self.queue.push_back(Event::Receipts { node: node.clone(), receipts });
                    }
                }
            }
            Effect::Retire(_) | Effect::Destroy(_) | Effect::Readmit { .. } => {}
            Effect::Forwards(_) | Effect::CutOperator(_) | Effect::Saes(_) | Effect::HandoutsKept { .. } => {}
            Effect::Watch(_) | Effect::Reauthenticate(_) | Effect::Standing(_) => {}
        }
    }

    fn for_each_node(&mut self, keys: &[(KeyId, Vec<NodeId>)], event: impl Fn(NodeId, Vec<KeyId>) -> Event) {
        let nodes: BTreeSet<&NodeId> = keys.iter().flat_map(|(_, nodes)| nodes).collect();
        for node in nodes {
            if self.answers(node) {
                let of_node = keys.iter().filter(|(_, nodes)| nodes.contains(node)).map(|(key, _)| *key).collect();
                self.queue.push_back(event(node.clone(), of_node));
            }
        }
    }

    fn deliver(&mut self, orders: &[KeyOrder]) {
        let keys: Vec<_> = orders.iter().map(|order| (order.key, order.participants.clone())).collect();
        let nodes: BTreeSet<NodeId> = keys.iter().flat_map(|(_, nodes)| nodes.clone()).collect();
        for node in nodes {
            let of_node: Vec<KeyId> =
                keys.iter().filter(|(_, nodes)| nodes.contains(&node)).map(|(key, _)| *key).collect();
            if !self.answers(&node) {
                let reason = "not connected".to_owned();
                self.queue.push_back(Event::DeliveryFailed { node, keys: of_node, reason });
                continue;
            }
            let receipts = of_node.iter().map(|key| self.receipt(&node, *key)).collect();
            self.queue.push_back(Event::Delivered { node: node.clone(), delivery: Delivery::QkdKem, keys: of_node });
            self.queue.push_back(Event::Receipts { node, receipts });
        }
    }

    /// The state of the key in use by a pair.
    pub(crate) fn in_use(&self, slot: &Slot) -> Option<(KeyId, KeyState)> {
        let (id, key) = self.state.current(slot)?;
        Some((id, key.state?))
    }

    pub(crate) fn staged(&self, slot: &Slot) -> Option<KeyId> {
        self.state.upcoming(slot).filter(|(_, key)| key.is_staged()).map(|(id, _)| id)
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.log.iter().flat_map(|(_, body)| &body.records)
    }

    pub(crate) fn report(&mut self, x: NodeId, y: NodeId, qber_ppm: u32, secret_bps: u32) -> Step {
        let usable = qber_ppm < 110_000 && secret_bps >= 1_000;
        let report = LinkReport {
            link: LinkId::new(x, y).unwrap(),
            qber_ppm,
            qber_upper_ppm: qber_ppm + 5_000,
            secret_bps,
            sifted_bps: 20_000,
            pool_bits: if usable { 100_000 } else { 0 },
            blocks: 7,
            discarded: 0,
            usable,
            figures: types::mesh::LinkFigures::default(),
        };
        self.feed(Event::Links(vec![report]))
    }

    /// The log read back from its bytes gives this state, byte for byte, and every step again.
    pub(crate) fn assert_replays(&self) {
        let mut replayed = State::default();
        for (at, body) in &self.log {
            let bytes = types::cbor::to_vec(body);
            let read: Body = types::cbor::from_slice(&bytes).unwrap();
            let again = step(&replayed, &read.event, *at);
            assert_eq!(again.records, read.records, "the step of {:?} is not repeatable", read.event);
            replayed.commit(&read, *at);
        }
        assert_eq!(replayed.encode(), self.state.encode());
        assert_eq!(replayed.hash(), self.state.hash());
        let restored = State::decode(&self.state.encode()).unwrap();
        assert!(restored == self.state, "a snapshot restores the state with all its indexes");
    }
}
