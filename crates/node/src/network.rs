//! Whom this node talks to: the endpoint, who is admitted, and where they listen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use minicbor::{Decode, Encode};
use session::{Channel, Endpoint, HandshakeError, Session};
use types::NodeId;

use crate::pairs::Pairs;

/// Who may be talked to. Kept durably, so that a restart without the hub goes on as before and
/// never forgets a revocation.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Membership {
    /// The revocation epoch; it never falls.
    #[n(0)]
    pub(crate) epoch: u64,
    /// Admitted nodes that are not isolated.
    #[n(1)]
    pub(crate) peers: Vec<NodeId>,
}

/// What a message about membership changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Taken in.
    Taken,
    /// From an epoch that has passed: a replay, or a hub that was put back.
    Stale,
}

impl Membership {
    fn move_to(&mut self, epoch: u64, change: impl FnOnce(&mut BTreeSet<NodeId>)) -> Change {
        if epoch < self.epoch {
            return Change::Stale;
        }
        self.epoch = epoch;
        let mut peers: BTreeSet<_> = std::mem::take(&mut self.peers).into_iter().collect();
        change(&mut peers);
        self.peers = peers.into_iter().collect();
        Change::Taken
    }

    /// Takes the hub's whole list.
    pub(crate) fn roster(&mut self, peers: &[NodeId], epoch: u64) -> Change {
        self.move_to(epoch, |now| *now = peers.iter().cloned().collect())
    }

    /// Cuts `node` off.
    pub(crate) fn isolate(&mut self, node: &NodeId, epoch: u64) -> Change {
        self.move_to(epoch, |now| {
            now.remove(node);
        })
    }

    /// Lets `node` in again.
    pub(crate) fn readmit(&mut self, node: &NodeId, epoch: u64) -> Change {
        self.move_to(epoch, |now| {
            now.insert(node.clone());
        })
    }

    /// Whether `node` may be talked to.
    pub(crate) fn allows(&self, node: &NodeId) -> bool {
        node.is_hub() || self.peers.contains(node)
    }
}

/// Who is admitted, as the endpoint asks for every session.
pub(crate) type Admitted = Arc<RwLock<Membership>>;

/// Whether `node` may have a session now.
pub(crate) fn admits(admitted: &Admitted, node: &NodeId) -> bool {
    admitted.read().unwrap_or_else(PoisonError::into_inner).allows(node)
}

/// The node's way to others.
pub(crate) struct Network {
    pub(crate) endpoint: Endpoint,
    pub(crate) admitted: Admitted,
    pub(crate) pairs: Pairs,
    pub(crate) hub: String,
    addresses: BTreeMap<NodeId, String>,
}

/// There is no session with a node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("the trust file gives no address for `{0}`: add `address` to its entry")]
    NoAddress(NodeId),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl Network {
    pub(crate) fn new(endpoint: Endpoint, admitted: Admitted, hub: String) -> Self {
        let trusted = endpoint.trust().iter();
        let addresses = trusted.filter_map(|entry| Some((entry.name.clone(), entry.address.clone()?))).collect();
        Self { endpoint, admitted, pairs: Pairs::default(), hub, addresses }
    }

    pub(crate) async fn dial(&self, peer: &NodeId, channel: Channel) -> Result<Session, DialError> {
        let address = if peer.is_hub() { Some(&self.hub) } else { self.addresses.get(peer) };
        let address = address.ok_or_else(|| DialError::NoAddress(peer.clone()))?;
        Ok(self.endpoint.dial(peer, address, channel).await?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Change, Membership};

    proptest! {
        /// SM-02: over any order of messages, replayed ones included, the epoch never falls, and a
        /// node that was cut off is let in again only by a message of that epoch or a later one.
        #[test]
        fn an_old_message_undoes_nothing(messages in prop::collection::vec((0..3_u8, 0..3_usize, 0..20_u64), 0..40)) {
            let nodes: Vec<types::NodeId> = ["n1", "n2", "n3"].iter().map(|name| name.parse().unwrap()).collect();
            let mut membership = Membership::default();
            let mut cut = [None; 3];
            for (kind, node, epoch) in messages {
                let before = membership.clone();
                let change = match kind {
                    0 => membership.roster(&nodes, epoch),
                    1 => membership.isolate(&nodes[node], epoch),
                    _ => membership.readmit(&nodes[node], epoch),
                };
                prop_assert_eq!(change == Change::Stale, epoch < before.epoch);
                prop_assert!(membership.epoch >= before.epoch);
                match (change, kind) {
                    (Change::Stale, _) => prop_assert_eq!(&membership, &before),
                    (Change::Taken, 1) => cut[node] = Some(epoch),
                    (Change::Taken, 0) => cut = [None; 3],
                    (Change::Taken, _) => cut[node] = None,
                }
                for (at, node) in nodes.iter().enumerate() {
                    prop_assert!(cut[at].is_none() || !membership.allows(node));
                }
            }
            prop_assert!(membership.allows(&types::NodeId::hub()));
        }
    }
}
