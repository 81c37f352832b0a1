//! What the hub does after a step is durable: never before, and only for records in that step.

use types::mesh::KeyType;
use types::{IncidentId, KeyId, NodeId, OperatorId};

/// A key the hub shall make its share of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyOrder {
    /// Its number.
    pub key: KeyId,
    /// Its kind.
    pub key_type: KeyType,
    /// Who shall hold it.
    pub participants: Vec<NodeId>,
    /// Whether the participants mix in a part of their own (a pair with a quantum link between).
    pub mix: bool,
}

/// Something to do in the world. Results come back as events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Make shares, seal them, answer `Made` or `MakeFailed`.
    Make(Vec<KeyOrder>),
    /// Send made keys to every participant, one frame a node; answer `Delivered` or `DeliveryFailed` for each.
    Deliver(Vec<KeyOrder>),
    /// Tell participants to use keys, each with the key it replaces.
    Activate(Vec<(KeyId, Vec<NodeId>, Option<KeyId>)>),
    /// Tell participants to archive keys.
    Retire(Vec<(KeyId, Vec<NodeId>)>),
    /// Tell participants to erase keys at the end of their life, and erase the hub's share.
    Destroy(Vec<(KeyId, Vec<NodeId>)>),
    /// Tell participants, urgently, to erase revoked keys, and erase the hub's share; they answer `Purged`.
    Purge(Vec<(KeyId, Vec<NodeId>)>),
    /// Cut a node off at the hub and tell every other node, urgently; they answer `IsolationConfirmed`.
    Isolate {
        /// The node.
        node: NodeId,
        /// The revocation epoch from now on.
        epoch: u64,
    },
    /// Let a node connect again and tell every other node.
    Readmit {
        /// The node.
        node: NodeId,
        /// The revocation epoch from now on.
        epoch: u64,
    },
    /// Have nodes report at the shortest interval for a while.
    Watch(Vec<NodeId>),
    /// End a node's sessions with the hub: to come back it proves its identity again.
    Reauthenticate(NodeId),
    /// Send these nodes the list of forwards they take part in.
    Forwards(Vec<NodeId>),
    /// Tell these nodes which SAEs there are.
    Saes(Vec<NodeId>),
    /// Tell a node that its account of keys given to SAEs is kept.
    HandoutsKept {
        /// The node.
        node: NodeId,
        /// Number of the account.
        number: u64,
    },
    /// Tell a node how far the log is: it may give keys to applications again.
    Standing(NodeId),
    /// Ask nodes to prove again what they hold; they answer `Receipts`.
    Verify {
        /// For which incident.
        incident: IncidentId,
        /// What each node must prove.
        keys: Vec<(NodeId, Vec<KeyId>)>,
    },
    /// Replace the master key that wraps the vault: seal every record key under the new one.
    Rewrap {
        /// The new master.
        key: KeyId,
        /// The one it replaces.
        replaces: Option<KeyId>,
    },
    /// End every console session and connection of an operator.
    CutOperator(OperatorId),
}
