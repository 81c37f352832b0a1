//! Steps per second of a mesh of 200 nodes: receipts, ticks, and reading a snapshot.
//!
//! `cargo bench --profile dev -p kernel --bench steps [NODES]`

#![allow(clippy::unwrap_used, clippy::print_stdout)] // printing is what a bench is for

use std::collections::BTreeSet;
use std::time::Instant;

use kernel::effect::Effect;
use kernel::event::{Event, Genesis, KeyReceipt, NodeSpec, Settings};
use kernel::{Body, State, step};
use types::mesh::{Delivery, Function};
use types::{Hash, KeyId, Label, Millis, NodeId, Timestamp};

/// A boundary and what is on its way to it.
struct Mesh {
    state: State,
    now: Timestamp,
    queue: Vec<Event>,
    steps: usize,
    records: usize,
}

impl Mesh {
    fn new(nodes: usize) -> Self {
        let spec = |n: usize| NodeSpec {
            id: format!("n{n}").parse().unwrap(),
            function: Function::ALL[n % Function::ALL.len()],
            identity: Hash::ZERO,
        };
        let genesis = Genesis {
            boundary: "bench".parse().unwrap(),
            settings: Settings::default(),
            policy: kernel::policy::DEFAULT_POLICY.to_owned(),
            operators: vec![],
            nodes: (1..=nodes).map(spec).collect(),
            links: vec![],
            salt: Hash::ZERO,
            audit_key: Hash::ZERO,
        };
        let now = Timestamp::from_millis(1_700_000_000_000);
        let mut mesh = Self { state: State::default(), now, queue: vec![], steps: 0, records: 0 };
        mesh.feed(Event::Create(Box::new(genesis)));
        for n in 1..=nodes {
            mesh.feed(Event::NodeUp { node: format!("n{n}").parse().unwrap(), session: Hash::ZERO });
        }
        mesh
    }

    fn feed(&mut self, event: Event) -> bool {
        let step = step(&self.state, &event, self.now);
        let body = Body { rules: kernel::RULES, event, records: step.records };
        self.state.commit(&body, self.now);
        self.steps += 1;
        self.records += body.records.len();
        for effect in step.effects {
            self.run(effect);
        }
        step.more
    }

    fn tick(&mut self) {
        while self.feed(Event::Tick) {}
    }

    fn run(&mut self, effect: Effect) {
        match effect {
            Effect::Make(orders) => {
                self.queue.push(Event::Made { keys: orders.iter().map(|order| order.key).collect() });
            }
            Effect::Deliver(orders) => {
                let keys: Vec<_> = orders.into_iter().map(|order| (order.key, order.participants)).collect();
                for (node, keys) in by_node(&keys) {
                    let proof = |key: &KeyId| KeyReceipt {
                        key: *key,
                        commitment: Label::KEY_COMMITMENT.hash(&[&key.get().to_be_bytes()]),
                        mixed: None,
                    };
                    let receipts = keys.iter().map(proof).collect();
                    self.queue.push(Event::Delivered { node: node.clone(), delivery: Delivery::Kem, keys });
                    self.queue.push(Event::Receipts { node, receipts });
                }
            }
            Effect::Activate(keys) => {
                let keys: Vec<_> = keys.into_iter().map(|(key, nodes, _)| (key, nodes)).collect();
                for (node, keys) in by_node(&keys) {
                    self.queue.push(Event::Activated { node, keys });
                }
            }
            _ => {}
        }
    }

    /// Feeds what is on its way; returns how many receipts were in it.
    fn drain(&mut self, seconds: &mut f64) -> usize {
        let mut receipts = 0;
        for event in std::mem::take(&mut self.queue) {
            let started = Instant::now();
            if let Event::Receipts { receipts: some, .. } = &event {
                receipts += some.len();
                self.feed(event);
                *seconds += started.elapsed().as_secs_f64();
            } else {
                self.feed(event);
            }
        }
        receipts
    }
}

fn by_node(keys: &[(KeyId, Vec<NodeId>)]) -> Vec<(NodeId, Vec<KeyId>)> {
    let nodes: BTreeSet<&NodeId> = keys.iter().flat_map(|(_, nodes)| nodes).collect();
    let of = |node: &NodeId| keys.iter().filter(|(_, nodes)| nodes.contains(node)).map(|(key, _)| *key).collect();
    nodes.into_iter().map(|node| (node.clone(), of(node))).collect()
}

fn rate(what: &str, count: usize, seconds: f64) {
    println!("{what:44} {count:>9} in {:>8.1} ms {:>12.0}/s", seconds * 1e3, count as f64 / seconds);
}

fn main() {
    let nodes = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(200);
    let mut mesh = Mesh::new(nodes);
    let started = Instant::now();
    mesh.tick();
    rate("keys ordered by ticks", nodes * (nodes - 1) / 2, started.elapsed().as_secs_f64());
    let (mut receipts, mut seconds) = (0, 0.0);
    while !mesh.queue.is_empty() {
        receipts += mesh.drain(&mut seconds);
        mesh.tick();
    }
    rate("receipts, until keyed and pre-staged", receipts, seconds);
    println!("{} keys in {} slots", mesh.state.keys().len(), mesh.state.slots().len());

    let (count, started) = (100_000, Instant::now());
    for _ in 0..count {
        std::hint::black_box(step(&mesh.state, &Event::Tick, mesh.now));
    }
    rate("ticks with nothing due", count, started.elapsed().as_secs_f64());

    mesh.now = mesh.now + Millis::from_secs(301);
    let (before, started) = (mesh.steps, Instant::now());
    mesh.tick();
    let seconds = started.elapsed().as_secs_f64();
    rate("pairs rotated by ticks", nodes * (nodes - 1) / 2, seconds);
    rate("  in so many steps", mesh.steps - before, seconds);

    let started = Instant::now();
    let bytes = mesh.state.encode();
    let encoded = started.elapsed().as_secs_f64();
    rate("snapshot bytes written", bytes.len(), encoded);
    let started = Instant::now();
    let same = State::decode(&bytes).is_ok_and(|state| state == mesh.state);
    rate("snapshot bytes read and indexed", bytes.len(), started.elapsed().as_secs_f64());
    assert!(same, "a snapshot restores the state");
}
