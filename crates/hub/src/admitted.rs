//! Who may have a session with the hub: the sequencer keeps it in step with the durable state.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use kernel::State;
use types::mesh::NodeState;
use types::{Hash, NodeId};

/// Nodes that may have a session, each with the fingerprint of the identity it was admitted with.
#[derive(Debug, Default)]
pub(crate) struct Admitted(RwLock<BTreeMap<NodeId, Hash>>);

impl Admitted {
    /// Takes over who is admitted and not isolated.
    pub(crate) fn refresh(&self, state: &State) {
        let admitted = state.nodes().iter().filter(|(_, node)| node.state != NodeState::Isolated);
        let admitted = admitted.map(|(id, node)| (id.clone(), node.spec.identity)).collect();
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = admitted;
    }

    pub(crate) fn remove(&self, node: &NodeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(node);
    }

    /// Whether `node` may have a session with the identity of this fingerprint.
    pub(crate) fn allows(&self, node: &NodeId, identity: Hash) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(node) == Some(&identity)
    }
}
