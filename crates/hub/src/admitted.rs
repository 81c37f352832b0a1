//! Who may have a session with the hub: the sequencer keeps it in step with the durable state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use kernel::State;
use types::mesh::NodeState;
use types::{Hash, LinkId, NodeId};

/// Membership as it is durable.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    /// The revocation epoch.
    pub(crate) epoch: u64,
    /// Admitted nodes that are not cut off.
    pub(crate) members: Vec<NodeId>,
    /// Nodes that are cut off.
    pub(crate) isolated: Vec<NodeId>,
}

/// Nodes that may have a session, each with the fingerprint of the identity it was admitted with, and links.
#[derive(Debug, Default)]
pub(crate) struct Admitted(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    nodes: BTreeMap<NodeId, Hash>,
    links: BTreeSet<LinkId>,
    membership: Membership,
}

impl Admitted {
    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over who is admitted and not isolated.
    pub(crate) fn refresh(&self, state: &State) {
        let of = |cut: bool| state.nodes().iter().filter(move |(_, node)| (node.state == NodeState::Isolated) == cut);
        let nodes: BTreeMap<_, _> = of(false).map(|(id, node)| (id.clone(), node.spec.identity)).collect();
        let members = nodes.keys().cloned().collect();
        let isolated = of(true).map(|(id, _)| id.clone()).collect();
        let membership = Membership { epoch: state.epoch(), members, isolated };
        let links = state.links().keys().cloned().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Known { nodes, links, membership };
    }

    pub(crate) fn remove(&self, node: &NodeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).nodes.remove(node);
    }

    /// Whether `node` may have a session with the identity of this fingerprint.
    pub(crate) fn allows(&self, node: &NodeId, identity: Hash) -> bool {
        self.read().nodes.get(node) == Some(&identity)
    }

    /// Whether there is such a quantum link.
    pub(crate) fn has_link(&self, link: &LinkId) -> bool {
        self.read().links.contains(link)
    }

    /// Membership as it is durable now.
    pub(crate) fn membership(&self) -> Membership {
        self.read().membership.clone()
    }
}
