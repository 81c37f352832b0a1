//! The smallest honest shell around the kernel: `step → append → commit → effects`.

use std::collections::BTreeMap;

use kernel::effect::{Effect, KeyOrder};
use kernel::event::{Event, KeyReceipt};
use kernel::{Body, State, step};
use types::mesh::{Delivery, KeyState, KeyType, NodeState};
use types::{Hash, KeyId, Label, NodeId, Timestamp};

use crate::network::{Share, ToNode};

/// The hub: what is durable (log, vault) and what a crash loses (state, effects not started).
pub struct Hub {
    state: State,
    log: Vec<(Timestamp, Body)>,
    vault: BTreeMap<KeyId, Hash>,
    salt: u64,
}

/// What the shell must do next.
#[derive(Debug, Default)]
pub(crate) struct Todo {
    pub(crate) messages: Vec<(NodeId, ToNode)>,
    pub(crate) events: Vec<Event>,
    pub(crate) cut: Vec<NodeId>,
}

impl Hub {
    pub(crate) fn new(salt: u64) -> Self {
        Self { state: State::default(), log: Vec::new(), vault: BTreeMap::new(), salt }
    }

    /// The state, a fold of the log.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The log so far.
    pub fn log(&self) -> &[(Timestamp, Body)] {
        &self.log
    }

    /// The state that the log alone gives.
    pub fn replayed(&self) -> State {
        let mut state = State::default();
        for (at, body) in &self.log {
            state.commit(body, *at);
        }
        state
    }

    /// Steps `event`; gives what is to be done, and whether to tick again at once.
    pub(crate) fn step(&mut self, event: Event, now: Timestamp) -> (Todo, bool) {
        let at = now.max(self.state.clock());
        let outcome = step(&self.state, &event, at);
        if outcome.records.is_empty() {
            return (Todo::default(), outcome.more);
        }
        let body = Body::decided(&self.state, event, outcome.records);
        self.state.commit(&body, at);
        self.log.push((at, body));
        let mut todo = Todo::default();
        for effect in outcome.effects {
            self.carry_out(effect, &mut todo);
        }
        (todo, outcome.more)
    }

    /// The size of the newest entry as it is stored.
    pub(crate) fn newest_entry_len(&self) -> usize {
        /// Index, predecessor, time and framing around a body.
        const HEADER: usize = 64;
        self.log.last().map_or(0, |(_, body)| types::cbor::to_vec(body).len() + HEADER)
    }

    fn carry_out(&mut self, effect: Effect, todo: &mut Todo) {
        match effect {
            Effect::Make(orders) => todo.events.push(self.make(&orders)),
            Effect::Deliver(orders) => self.deliver(&orders, todo),
            Effect::Activate(keys) => {
                for (key, nodes, replaces) in keys {
                    let of_nodes = nodes.into_iter().filter(|node| !node.is_hub());
                    todo.messages.extend(of_nodes.map(|node| (node, ToNode::Activate(vec![(key, replaces)]))));
                }
            }
            Effect::Retire(_)
            | Effect::Forwards(_)
            | Effect::Saes(_)
            | Effect::HandoutsKept { .. }
            | Effect::Standing(_)
            | Effect::CutOperator(_)
            | Effect::Watch(_)
            | Effect::Reauthenticate(_) => {}
            Effect::Destroy(keys) => self.forget(keys, ToNode::Forget, todo),
            Effect::Purge(keys) => self.forget(keys, ToNode::Purge, todo),
            Effect::Isolate { node, epoch } => {
                let others = self.state.roster().filter(|other| **other != node).cloned();
                let tell = |other| (other, ToNode::Isolate { node: node.clone(), epoch });
                todo.messages.extend(others.map(tell));
                todo.cut.push(node);
            }
            Effect::Readmit { node, epoch } => {
                let others = self.state.roster().filter(|other| **other != node).cloned();
                let tell = |other| (other, ToNode::Readmit { node: node.clone(), epoch });
                todo.messages.extend(others.map(tell));
            }
            Effect::Verify { keys, .. } => {
                todo.messages.extend(keys.into_iter().map(|(node, keys)| (node, ToNode::Verify(keys))));
            }
            Effect::Rewrap { key, .. } => {
                todo.events.push(Event::Activated { node: NodeId::hub(), keys: vec![key] });
            }
        }
    }

    fn make(&mut self, orders: &[KeyOrder]) -> Event {
        let keys: Vec<KeyId> = orders.iter().map(|order| order.key).collect();
        for key in &keys {
            self.salt += 1;
            let content = Label::KEY_SALT.hash(&[&key.get().to_be_bytes(), &self.salt.to_be_bytes()]);
            self.vault.insert(*key, content);
        }
        Event::Made { keys }
    }

    fn deliver(&self, orders: &[KeyOrder], todo: &mut Todo) {
        let mut by_node: BTreeMap<NodeId, Vec<Share>> = BTreeMap::new();
        for order in orders {
            let Some(content) = self.vault.get(&order.key) else { continue };
            for node in &order.participants {
                by_node.entry(node.clone()).or_default().push(Share { key: order.key, content: *content });
            }
        }
        for (node, shares) in by_node {
            let keys = shares.iter().map(|share| share.key).collect();
            todo.events.push(Event::Delivered { node: node.clone(), delivery: Delivery::QkdKem, keys });
            if node.is_hub() {
                let receipt = |share: &Share| KeyReceipt { key: share.key, commitment: share.content, mixed: None };
                let receipts = shares.iter().map(receipt).collect();
                todo.events.push(Event::Receipts { node, receipts });
            } else {
                todo.messages.push((node, ToNode::Deliver(shares)));
            }
        }
    }

    fn forget(&mut self, keys: Vec<(KeyId, Vec<NodeId>)>, say: fn(Vec<KeyId>) -> ToNode, todo: &mut Todo) {
        for (key, nodes) in keys {
            self.vault.remove(&key);
            for node in nodes {
                if node.is_hub() {
                    todo.events.push(Event::Purged { node, keys: vec![key] });
                } else {
                    todo.messages.push((node, say(vec![key])));
                }
            }
        }
    }

    /// A crash: state and unstarted effects are gone; the log gives the state back, and what the
    /// state shows as ordered and not done is done again.
    pub(crate) fn crash(&mut self) -> Todo {
        self.state = self.replayed();
        let mut todo = Todo::default();
        let online = self.state.nodes().iter().filter(|(_, node)| node.state == NodeState::Online);
        todo.events.extend(online.map(|(node, _)| Event::NodeDown { node: node.clone() }));
        let unmade: Vec<KeyOrder> = self.orders(|key| key.state.is_none());
        if !unmade.is_empty() {
            todo.events.push(self.make(&unmade));
        }
        let own = self.orders(|key| {
            key.slot.key_type() == KeyType::SovereignMaster
                && matches!(key.state, Some(KeyState::Generated | KeyState::Distributed))
        });
        self.deliver(&own, &mut todo);
        todo
    }

    fn orders(&self, which: impl Fn(&kernel::state::keys::Key) -> bool) -> Vec<KeyOrder> {
        let made_here = |key: &kernel::state::keys::Key| {
            matches!(key.slot.key_type(), KeyType::MeshSession | KeyType::SovereignMaster)
        };
        let found = self.state.keys().iter().filter(|(_, key)| made_here(key) && which(key));
        found
            .map(|(id, key)| KeyOrder {
                key: *id,
                key_type: key.slot.key_type(),
                participants: key.slot.participants().to_vec(),
                mix: false,
            })
            .collect()
    }

    /// What a node that comes back has missed.
    pub(crate) fn greet(&self, node: &NodeId) -> Vec<ToNode> {
        let mine = || self.state.keys().iter().filter_map(|(id, key)| Some((*id, key, key.holder(node)?)));
        let known = mine().filter(|(_, key, _)| key.state != Some(KeyState::Revoked)).map(|(id, ..)| id).collect();
        let revoked = mine().filter(|(_, key, holder)| key.state == Some(KeyState::Revoked) && !holder.purged);
        let unused = mine().filter(|(_, key, holder)| key.is_live() && !holder.in_use);
        let mut say = vec![ToNode::Roster(known)];
        let (revoked, unused): (Vec<_>, Vec<_>) =
            (revoked.map(|(id, ..)| id).collect(), unused.map(|(id, key, _)| (id, key.replaces)).collect());
        if !revoked.is_empty() {
            say.push(ToNode::Purge(revoked));
        }
        if !unused.is_empty() {
            say.push(ToNode::Activate(unused));
        }
        let epoch = self.state.epoch();
        for (other, standing) in self.state.nodes() {
            say.push(if standing.state == NodeState::Isolated {
                ToNode::Isolate { node: other.clone(), epoch }
            } else {
                ToNode::Readmit { node: other.clone(), epoch }
            });
        }
        say
    }
}
