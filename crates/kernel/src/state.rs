//! A boundary's state: the fold of its log.
//!
//! [`State::commit`] and [`State::apply`] are the only mutators. The canonical encoding names a
//! state by its hash; what can be computed from the rest (the index of due times, the parsed
//! policy) is not encoded and is rebuilt when a snapshot is read.

mod apply;
mod apply_incident;
mod apply_key;
mod apply_operator;
pub(crate) mod due;
pub mod incident;
pub mod keys;
pub mod mesh;
pub mod quarantine;
mod read;
pub mod saes;
pub(crate) mod table;

use std::collections::BTreeMap;
use std::sync::Arc;

use minicbor::{Decode, Encode};
use types::cbor::{self, DecodeError};
use types::mesh::{ForwardSpec, KeyType, Subject};
use types::{ForwardId, Hash, IncidentId, KeyId, Label, LinkId, NodeId, OperatorId, RequestId, SaeId, Timestamp};

use crate::access::Access;
use crate::policy::PolicySet;
use crate::record::Response;
use crate::starts::HubStart;
pub(crate) use apply_incident::window;
pub(crate) use apply_key::in_scope;
pub(crate) use apply_operator::identity_hash;
use due::DueIndex;
use incident::{Incident, Noted};
use keys::{Key, Slot, Succession};
use mesh::{Boundary, Link, Node, Operator};
use quarantine::{Quarantines, Voices};
use saes::{Kme, Sae};

/// The state of a boundary. The default is the state before its first entry.
#[derive(Debug, Clone, Default, PartialEq, Encode, Decode)]
pub struct State {
    #[n(0)]
    clock: Timestamp,
    #[n(1)]
    boundary: Option<Boundary>,
    #[n(2)]
    assisted: bool,
    #[n(3)]
    epoch: u64,
    #[n(4)]
    #[cbor(with = "table")]
    operators: BTreeMap<OperatorId, Operator>,
    #[n(5)]
    #[cbor(with = "table")]
    nodes: BTreeMap<NodeId, Node>,
    #[n(6)]
    #[cbor(with = "table")]
    links: BTreeMap<LinkId, Link>,
    #[n(7)]
    #[cbor(with = "table")]
    keys: BTreeMap<KeyId, Key>,
    #[n(8)]
    #[cbor(with = "table")]
    slots: BTreeMap<Slot, Succession>,
    #[n(9)]
    #[cbor(with = "table")]
    destroyed: BTreeMap<KeyType, u64>,
    #[n(10)]
    #[cbor(with = "table")]
    incidents: BTreeMap<IncidentId, Incident>,
    #[n(11)]
    #[cbor(with = "table")]
    noted: BTreeMap<Subject, Vec<Noted>>,
    #[n(12)]
    #[cbor(with = "table")]
    held_responses: BTreeMap<RequestId, HeldResponse>,
    #[n(13)]
    #[cbor(with = "table")]
    forwards: BTreeMap<ForwardId, ForwardSpec>,
    #[n(14)]
    next: Numbers,
    #[n(15)]
    access: Access,
    #[n(16)]
    #[cbor(with = "table")]
    saes: BTreeMap<SaeId, Sae>,
    #[n(17)]
    #[cbor(with = "table")]
    kmes: BTreeMap<NodeId, Kme>,
    #[n(18)]
    #[cbor(with = "table")]
    accounted: BTreeMap<NodeId, u64>,
    #[n(20)]
    quarantines: Quarantines,
    #[n(21)]
    voices: Voices,
    #[n(75)]
    hub_start: HubStart,
    #[n(76)]
    #[cbor(with = "table")]
    node_starts: BTreeMap<NodeId, Hash>,
    #[n(25)]
    #[cbor(with = "table")]
    identities: BTreeMap<Hash, OperatorId>,
    #[n(31)]
    rules: u16,
    #[cbor(skip)]
    policies: Option<Arc<PolicySet>>,
    #[cbor(skip)]
    due: DueIndex,
}

/// The response a held request is about.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct HeldResponse {
    #[n(0)]
    incident: IncidentId,
    #[n(1)]
    response: Response,
}

/// The numbers to give out next; all of them count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Numbers {
    /// Of the next key.
    #[n(0)]
    pub key: u64,
    /// Of the next incident.
    #[n(1)]
    pub incident: u64,
    /// Of the next forward.
    #[n(2)]
    pub forward: u64,
    /// Of the next held request.
    #[n(3)]
    pub request: u64,
    /// Of the next grant.
    #[n(4)]
    pub grant: u64,
}

impl Default for Numbers {
    fn default() -> Self {
        Self { key: 1, incident: 1, forward: 1, request: 1, grant: 1 }
    }
}

/// Why bytes are not a snapshot of a state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not the canonical encoding of a state.
    #[error("the snapshot is damaged: {0}; replay the log instead")]
    Encoding(#[from] DecodeError),
    /// The policies in it do not validate.
    #[error("the policies of the snapshot do not validate: replay the log with the version that wrote it")]
    Policy,
    /// A reference in it leads nowhere.
    #[error("the snapshot contradicts itself: replay the log instead")]
    Inconsistent,
}

impl State {
    /// The version of the rules by which the next step is taken: before the first entry the newest, then the
    /// one that the boundary has come to.
    pub fn rules(&self) -> u16 {
        if self.boundary.is_some() { self.rules } else { crate::RULES }
    }

    /// The canonical encoding.
    pub fn encode(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// `Label::STATE` over the canonical encoding.
    pub fn hash(&self) -> Hash {
        Label::STATE.hash(&[&self.encode()])
    }

    /// Reads a snapshot: the canonical encoding of a state and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, SnapshotError> {
        let mut state: Self = cbor::from_slice(bytes)?;
        if let Some(boundary) = &state.boundary {
            let policies = PolicySet::parse(&boundary.policy).map_err(|_| SnapshotError::Policy)?;
            state.policies = Some(Arc::new(policies));
        }
        state.rebuild()?;
        Ok(state)
    }

    /// Derives what is not encoded.
    fn rebuild(&mut self) -> Result<(), SnapshotError> {
        for (id, key) in &mut self.keys {
            let (slot, succession) = match self.slots.range_mut(key.slot.clone()..).next() {
                Some((slot, succession)) if *slot == key.slot => (slot, succession),
                _ => return Err(SnapshotError::Inconsistent),
            };
            key.slot = slot.clone();
            succession.keys.insert(*id);
        }
        let dangling =
            |id: &Option<KeyId>, succession: &Succession| id.is_some_and(|id| !succession.keys.contains(&id));
        if self.slots.values().any(|s| dangling(&s.current, s) || dangling(&s.next, s)) {
            return Err(SnapshotError::Inconsistent);
        }
        let short = |key: &Key| key.holders.len() != key.slot.participants().len();
        if self.keys.values().any(short) {
            return Err(SnapshotError::Inconsistent);
        }
        let slots: Vec<Slot> = self.slots.keys().cloned().collect();
        for slot in slots {
            self.reindex(&slot);
        }
        Ok(())
    }
}
