//! A modelled node: it holds keys durably, proves them, uses the newest, and forgets on order.

use std::collections::{BTreeMap, BTreeSet};

use kernel::event::{Event, KeyReceipt};
use types::{Hash, KeyId, Label, NodeId};

use crate::network::ToNode;

/// What a node has on its disk. A crash loses nothing of it, and everything else.
#[derive(Debug, Clone)]
pub struct Node {
    id: NodeId,
    shares: BTreeMap<KeyId, Hash>,
    in_use: BTreeSet<KeyId>,
    cut_off: BTreeSet<NodeId>,
    epoch: u64,
}

impl Node {
    pub(crate) fn new(id: NodeId) -> Self {
        Self { id, shares: BTreeMap::new(), in_use: BTreeSet::new(), cut_off: BTreeSet::new(), epoch: 0 }
    }

    /// The keys it uses, with what it believes their content is.
    pub fn in_use(&self) -> impl Iterator<Item = (KeyId, Hash)> + '_ {
        self.in_use.iter().filter_map(|key| Some((*key, *self.shares.get(key)?)))
    }

    /// Nodes it does not talk to.
    pub fn cut_off(&self) -> &BTreeSet<NodeId> {
        &self.cut_off
    }

    /// Takes a message; gives what it answers. `garble` is a share that arrived wrong.
    pub(crate) fn take(&mut self, message: ToNode, garble: bool) -> Vec<Event> {
        let node = self.id.clone();
        match message {
            ToNode::Deliver(shares) => {
                for share in &shares {
                    let content = if garble { Label::ENTRY.hash(&[share.content.as_ref()]) } else { share.content };
                    self.shares.entry(share.key).or_insert(content);
                }
                self.prove(shares.iter().map(|share| share.key))
            }
            ToNode::Verify(keys) => self.prove(keys.into_iter()),
            ToNode::Activate(keys) => {
                let held: Vec<KeyId> =
                    keys.iter().map(|(key, _)| *key).filter(|key| self.shares.contains_key(key)).collect();
                for (key, replaces) in keys.iter().filter(|(key, _)| held.contains(key)) {
                    self.in_use.insert(*key);
                    if let Some(old) = replaces {
                        self.in_use.remove(old);
                    }
                }
                if held.is_empty() { Vec::new() } else { vec![Event::Activated { node, keys: held }] }
            }
            ToNode::Forget(keys) => {
                self.forget(&keys);
                Vec::new()
            }
            ToNode::Purge(keys) => {
                self.forget(&keys);
                vec![Event::Purged { node, keys }]
            }
            ToNode::Isolate { node: fallen, epoch } => {
                if epoch >= self.epoch {
                    self.epoch = epoch;
                    self.cut_off.insert(fallen.clone());
                }
                vec![Event::IsolationConfirmed { by: node, node: fallen, epoch: self.epoch }]
            }
            ToNode::Readmit { node: back, epoch } => {
                if epoch >= self.epoch {
                    self.epoch = epoch;
                    self.cut_off.remove(&back);
                }
                Vec::new()
            }
            ToNode::Roster(known) => {
                let gone: Vec<KeyId> = self.shares.keys().filter(|key| !known.contains(key)).copied().collect();
                self.forget(&gone);
                Vec::new()
            }
        }
    }

    /// Uses a key that it and its peer have proven to each other, in place of another.
    pub(crate) fn renew(&mut self, key: KeyId, replaces: Option<KeyId>) {
        self.in_use.insert(key);
        if let Some(old) = replaces {
            self.in_use.remove(&old);
        }
    }

    /// What it believes the content of a key is.
    pub(crate) fn content(&self, key: KeyId) -> Option<Hash> {
        self.shares.get(&key).copied()
    }

    /// What it says to a hub that is back.
    pub(crate) fn greeting(&self) -> Option<Event> {
        let keys: Vec<KeyId> = self.in_use.iter().copied().collect();
        (!keys.is_empty()).then(|| Event::Activated { node: self.id.clone(), keys })
    }

    fn forget(&mut self, keys: &[KeyId]) {
        for key in keys {
            self.shares.remove(key);
            self.in_use.remove(key);
        }
    }

    fn prove(&self, keys: impl Iterator<Item = KeyId>) -> Vec<Event> {
        let receipts: Vec<KeyReceipt> = keys
            .filter_map(|key| {
                let content = self.shares.get(&key)?;
                let commitment = Label::KEY_COMMITMENT.hash(&[&key.get().to_be_bytes(), content.as_ref()]);
                Some(KeyReceipt { key, commitment, mixed: None })
            })
            .collect();
        if receipts.is_empty() { Vec::new() } else { vec![Event::Receipts { node: self.id.clone(), receipts }] }
    }
}
