//! One boundary in virtual time: hub, nodes, network, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet};

use kernel::event::{Event, Genesis, NodeSpec, Settings};
use rand_chacha::ChaCha12Rng;
use rand_core::{RngCore, SeedableRng};
use types::mesh::{Function, LinkReport, NodeState, SignalKind, Subject};
use types::{Hash, Label, LinkId, Millis, NodeId, Timestamp};

use crate::hub::{Hub, Todo};
use crate::invariant::{self, Violation};
use crate::network::{Network, Packet};
use crate::node::Node;

/// How often each thing goes wrong: chances in a thousand.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// A message that breaks its session.
    pub broken_session: u32,
    /// A message that arrives twice.
    pub repeated: u32,
    /// A share that arrives wrong.
    pub garbled: u32,
    /// A tick at which the hub crashes.
    pub hub_crash: u32,
    /// A tick at which a node crashes.
    pub node_crash: u32,
    /// A tick at which a quantum link fails or recovers.
    pub link_flip: u32,
    /// A tick at which the clock jumps back.
    pub clock_back: u32,
    /// A tick at which pairs that do not reach the hub change to their reserves.
    pub renewal: u32,
    /// Longest delay of a message.
    pub delay: Millis,
}

impl Faults {
    /// Nothing goes wrong.
    pub const NONE: Self = Self {
        broken_session: 0,
        repeated: 0,
        garbled: 0,
        hub_crash: 0,
        node_crash: 0,
        link_flip: 0,
        clock_back: 0,
        renewal: 0,
        delay: Millis::new(5),
    };

    /// Everything goes wrong now and then.
    pub const MANY: Self = Self {
        broken_session: 20,
        repeated: 50,
        garbled: 10,
        hub_crash: 5,
        node_crash: 10,
        link_flip: 5,
        clock_back: 3,
        renewal: 20,
        delay: Millis::new(400),
    };
}

/// Between two ticks.
const TICK: Millis = Millis::new(50);
/// How long a node whose session broke waits before it dials again.
const REDIAL: Millis = Millis::new(200);

/// The whole of it.
pub struct World {
    hub: Hub,
    nodes: BTreeMap<NodeId, Node>,
    sessions: BTreeSet<NodeId>,
    redial: BTreeMap<NodeId, Timestamp>,
    partitioned: BTreeSet<NodeId>,
    network: Network,
    rng: ChaCha12Rng,
    faults: Faults,
    now: Timestamp,
    sessions_made: u64,
}

impl World {
    /// A boundary with `count` nodes, every pair of them with a quantum link, and the shipped policy.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn new(count: usize, refresh: Millis, faults: Faults, seed: u64) -> Result<Self, Violation> {
        let ids: Vec<NodeId> = (1..=count).filter_map(|n| format!("n{n}").parse().ok()).collect();
        let mut world = Self {
            hub: Hub::new(seed),
            nodes: ids.iter().map(|id| (id.clone(), Node::new(id.clone()))).collect(),
            sessions: BTreeSet::new(),
            redial: ids.iter().map(|id| (id.clone(), Timestamp::default())).collect(),
            partitioned: BTreeSet::new(),
            network: Network::default(),
            rng: ChaCha12Rng::seed_from_u64(seed),
            faults,
            now: Timestamp::from_millis(1_750_000_000_000),
            sessions_made: 0,
        };
        world.step(Event::Create(Box::new(genesis(&ids, refresh, seed))))?;
        if world.hub.state().boundary().is_none() {
            return Err(Violation::new("the boundary did not begin: an empty one keeps every promise"));
        }
        Ok(world)
    }

    /// The hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The nodes.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Cuts a node's network, or mends it.
    pub fn partition(&mut self, node: &NodeId, cut: bool) {
        if cut {
            self.partitioned.insert(node.clone());
        } else {
            self.partitioned.remove(node);
        }
    }

    /// Ends a node's session, as when its network is cut.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn lose(&mut self, node: &NodeId) -> Result<(), Violation> {
        self.break_session(node)
    }

    /// Reports a confirmed compromise of `node`.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn compromise(&mut self, node: &NodeId) -> Result<(), Violation> {
        self.step(Event::Detected {
            subject: Subject::Node(node.clone()),
            kind: SignalKind::NodeCompromise,
            confidence_ppm: 999_990,
        })
    }

    /// Lets `span` of virtual time pass, checking every invariant at every step.
    ///
    /// # Errors
    /// The first invariant that does not hold.
    pub fn run(&mut self, span: Millis) -> Result<(), Violation> {
        let end = self.now + span;
        let mut next_tick = self.now;
        while self.now < end {
            let arrival = self.network.next().unwrap_or(end);
            self.now = self.now.max(arrival.min(next_tick).min(end));
            while let Some(packet) = self.network.arrived(self.now) {
                self.arrive(packet)?;
            }
            if self.now >= next_tick {
                next_tick = self.now + TICK;
                self.go_wrong()?;
                self.dial()?;
                self.tick()?;
            }
        }
        invariant::replay_gives_the_same_state(&self.hub)
    }

    /// Runs until every sound pair is keyed, at most `span`. At any one moment a rotation may be
    /// under way between the two ends of a pair.
    ///
    /// # Errors
    /// An invariant that does not hold, or what is still missing when the time is up.
    pub fn heal(&mut self, span: Millis) -> Result<(), Violation> {
        let end = self.now + span;
        loop {
            self.run(Millis::new(100))?;
            match invariant::every_sound_pair_is_keyed(&self.hub, &self.nodes) {
                Err(missing) if self.now >= end => return Err(missing),
                Err(_) => {}
                Ok(()) => return Ok(()),
            }
        }
    }

    fn tick(&mut self) -> Result<(), Violation> {
        let back = if self.chance(self.faults.clock_back) { Millis::from_secs(5) } else { Millis::new(0) };
        let at = self.now - back;
        while self.step_at(Event::Tick, at)? {}
        Ok(())
    }

    fn go_wrong(&mut self) -> Result<(), Violation> {
        if self.chance(self.faults.hub_crash) {
            for node in std::mem::take(&mut self.sessions) {
                self.hang_up(&node);
            }
            let before = self.hub.state().hash();
            let todo = self.hub.crash();
            if self.hub.state().hash() != before {
                return Err(Violation::new("a crash changed the state that the log gives"));
            }
            self.handle(todo)?;
        }
        if self.chance(self.faults.node_crash)
            && let Some(node) = self.any_node()
        {
            self.break_session(&node)?;
        }
        if self.chance(self.faults.link_flip) {
            self.flip_a_link()?;
        }
        if self.chance(self.faults.renewal) {
            self.renew_pairs();
        }
        Ok(())
    }

    /// Every pair without the hub changes to its reserve (SM-02): the key both hold the same, and
    /// proved to each other. How many did.
    pub fn renew_pairs(&mut self) -> usize {
        let state = self.hub.state();
        let mut renewed = Vec::new();
        for (id, key) in state.keys().iter().filter(|(_, key)| key.is_staged()) {
            let Some(pair) = key.slot.ends() else { continue };
            let (Some(a), Some(b)) = (self.nodes.get(pair.a()), self.nodes.get(pair.b())) else { continue };
            let alone = !self.sessions.contains(pair.a()) && !self.sessions.contains(pair.b());
            let proven = a.content(*id).is_some() && a.content(*id) == b.content(*id);
            let cut_off = a.cut_off().contains(pair.b()) || b.cut_off().contains(pair.a());
            if alone && proven && !cut_off {
                renewed.push((*id, pair, state.current(&key.slot).map(|(id, _)| id)));
            }
        }
        for (id, pair, replaces) in &renewed {
            for end in [pair.a(), pair.b()] {
                self.nodes.entry(end.clone()).and_modify(|node| node.renew(*id, *replaces));
            }
        }
        renewed.len()
    }

    fn flip_a_link(&mut self) -> Result<(), Violation> {
        let links: Vec<LinkId> = self.hub.state().links().keys().cloned().collect();
        let at = self.below(links.len());
        let Some(link) = links.get(at) else { return Ok(()) };
        let usable = self.hub.state().link(link).is_none_or(|known| !known.usable);
        let reports = vec![report(link, usable)];
        self.step(Event::Links(reports))
    }

    /// Nodes whose wait is over and whose network works dial the hub.
    fn dial(&mut self) -> Result<(), Violation> {
        let due: Vec<NodeId> = self
            .redial
            .iter()
            .filter(|(node, at)| **at <= self.now && !self.partitioned.contains(*node))
            .map(|(node, _)| node.clone())
            .collect();
        for node in due {
            let isolated = self.hub.state().node(&node).is_none_or(|standing| standing.state == NodeState::Isolated);
            if isolated {
                continue;
            }
            self.redial.remove(&node);
            self.sessions.insert(node.clone());
            self.sessions_made += 1;
            let session = Label::SESSION_EXPORTER.hash(&[&self.sessions_made.to_be_bytes()]);
            self.step(Event::NodeUp { node: node.clone(), session })?;
            for message in self.hub.greet(&node) {
                self.send(Packet::ToNode(node.clone(), message))?;
            }
            if let Some(greeting) = self.nodes.get(&node).and_then(Node::greeting) {
                self.send(Packet::ToHub(node.clone(), greeting))?;
            }
            let links: Vec<LinkId> = self
                .hub
                .state()
                .links()
                .iter()
                .filter(|(link, _)| link.has(&node))
                .map(|(link, _)| link.clone())
                .collect();
            let reports = links.iter().filter(|link| self.both_ends_up(link)).map(|link| report(link, true)).collect();
            self.step(Event::Links(reports))?;
        }
        Ok(())
    }

    fn both_ends_up(&self, link: &LinkId) -> bool {
        [link.a(), link.b()].into_iter().all(|end| end.is_hub() || self.sessions.contains(end))
    }

    fn arrive(&mut self, packet: Packet) -> Result<(), Violation> {
        match packet {
            Packet::ToHub(_, event) => self.step(event),
            Packet::ToNode(id, message) => {
                let garble = self.chance(self.faults.garbled);
                let answers = self.nodes.get_mut(&id).map(|node| node.take(message, garble)).unwrap_or_default();
                for answer in answers {
                    self.send(Packet::ToHub(id.clone(), answer))?;
                }
                invariant::no_node_uses_what_was_never_confirmed(&self.hub, &self.nodes)
            }
        }
    }

    fn send(&mut self, packet: Packet) -> Result<(), Violation> {
        let node = match &packet {
            Packet::ToNode(node, _) | Packet::ToHub(node, _) => node.clone(),
        };
        if !self.sessions.contains(&node) {
            return Ok(());
        }
        if self.partitioned.contains(&node) || self.chance(self.faults.broken_session) {
            return self.break_session(&node);
        }
        let copies = if self.chance(self.faults.repeated) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = Millis::new(self.rng.next_u64() % (self.faults.delay.get() + 1));
            self.network.send(self.now, delay, packet.clone());
        }
        Ok(())
    }

    fn break_session(&mut self, node: &NodeId) -> Result<(), Violation> {
        if !self.sessions.remove(node) {
            return Ok(());
        }
        self.hang_up(node);
        self.step(Event::NodeDown { node: node.clone() })
    }

    fn hang_up(&mut self, node: &NodeId) {
        self.network.cut(node);
        self.redial.insert(node.clone(), self.now + REDIAL);
    }

    fn step(&mut self, event: Event) -> Result<(), Violation> {
        self.step_at(event, self.now).map(|_| ())
    }

    fn step_at(&mut self, event: Event, at: Timestamp) -> Result<bool, Violation> {
        let (todo, more) = self.hub.step(event, at);
        invariant::check(&self.hub)?;
        self.handle(todo)?;
        Ok(more)
    }

    fn handle(&mut self, todo: Todo) -> Result<(), Violation> {
        for (node, message) in todo.messages {
            self.send(Packet::ToNode(node, message))?;
        }
        for node in todo.cut {
            self.break_session(&node)?;
        }
        for event in todo.events {
            self.step(event)?;
        }
        Ok(())
    }

    fn chance(&mut self, thousandths: u32) -> bool {
        thousandths > 0 && self.rng.next_u32() % 1_000 < thousandths
    }

    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.rng.next_u64() % bound as u64) as usize }
    }

    fn any_node(&mut self) -> Option<NodeId> {
        let at = self.below(self.nodes.len());
        self.nodes.keys().nth(at).cloned()
    }
}

fn genesis(ids: &[NodeId], refresh: Millis, seed: u64) -> Genesis {
    let salt = Label::KEY_SALT.hash(&[&seed.to_be_bytes()]);
    let spec = |(id, function): (&NodeId, &Function)| NodeSpec {
        id: id.clone(),
        function: *function,
        identity: Label::IDENTITY.hash(&[id.as_str().as_bytes()]),
    };
    let ends: Vec<NodeId> = std::iter::once(NodeId::hub()).chain(ids.iter().cloned()).collect();
    let links = ends
        .iter()
        .enumerate()
        .flat_map(|(at, a)| ends[at + 1..].iter().filter_map(|b| LinkId::new(a.clone(), b.clone())))
        .collect();
    let settings = Settings {
        refresh,
        overlap: Millis::new(refresh.get() / 4),
        retention: refresh,
        distribution_timeout: Millis::from_secs(2),
        ..Settings::default()
    };
    Genesis {
        boundary: BOUNDARY.parse().unwrap_or_else(|_| unreachable!("the name is well-formed")),
        settings,
        policy: kernel::policy::DEFAULT_POLICY.to_owned(),
        operators: Vec::new(),
        nodes: ids.iter().zip(Function::ALL.iter().cycle()).map(spec).collect(),
        links,
        salt,
        audit_key: Hash::ZERO,
    }
}

const BOUNDARY: &str = "sim";

fn report(link: &LinkId, usable: bool) -> LinkReport {
    LinkReport {
        link: link.clone(),
        qber_ppm: if usable { 12_000 } else { 130_000 },
        qber_upper_ppm: if usable { 20_000 } else { 140_000 },
        secret_bps: if usable { 10_000 } else { 0 },
        sifted_bps: 40_000,
        pool_bits: if usable { 100_000 } else { 0 },
        blocks: 1,
        discarded: u64::from(!usable),
        usable,
        figures: types::mesh::LinkFigures::default(),
    }
}
