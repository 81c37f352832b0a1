//! Who may have a session with the hub, and which quantum links there are: the sequencer keeps it in step with the durable state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};

use kernel::State;
use types::mesh::NodeState;
use types::{Hash, LinkId, NodeId};

/// Nodes that may have a session, each with the fingerprint of the identity it was admitted with, and links.
#[derive(Debug, Default)]
pub(crate) struct Admitted(RwLock<Roster>);

#[derive(Debug, Default)]
struct Roster {
    nodes: BTreeMap<NodeId, Hash>,
    links: BTreeSet<LinkId>,
}

impl Admitted {
    /// Takes over who is admitted and not isolated.
    pub(crate) fn refresh(&self, state: &State) {
        let admitted = state.nodes().iter().filter(|(_, node)| node.state != NodeState::Isolated);
        let nodes = admitted.map(|(id, node)| (id.clone(), node.spec.identity)).collect();
        let links = state.links().keys().cloned().collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Roster { nodes, links };
    }

    pub(crate) fn remove(&self, node: &NodeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).nodes.remove(node);
    }

    /// Whether `node` may have a session with the identity of this fingerprint.
    pub(crate) fn allows(&self, node: &NodeId, identity: Hash) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).nodes.get(node) == Some(&identity)
    }

    /// Whether there is such a quantum link.
    pub(crate) fn has_link(&self, link: &LinkId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).links.contains(link)
    }
}
