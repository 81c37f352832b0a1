//! Whom this node talks to: the endpoint, who is admitted, and where they listen.

use std::collections::BTreeMap;
use std::sync::Arc;

use session::{Book, Channel, Endpoint, HandshakeError, Session};
use types::NodeId;

use crate::pairs::Pairs;

/// Who is admitted, as the endpoint asks for every session.
pub(crate) type Admitted = Arc<Book>;

/// Whether `node` may have a session now.
pub(crate) fn admits(admitted: &Admitted, node: &NodeId) -> bool {
    admitted.allows(node)
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
