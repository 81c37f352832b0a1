//! What is kept of a key beside its bytes, so that a restart resumes with the same keys.

use minicbor::{Decode, Encode};
use types::mesh::{Delivery, KeyState, KeyType};
use types::{Hash, KeyId, NodeId};

use super::KeyMeta;

/// One key in the node's list of keys, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KeyRow {
    /// The key.
    #[n(0)]
    pub key: KeyId,
    /// Its kind.
    #[n(1)]
    pub key_type: KeyType,
    /// Everyone who holds it.
    #[n(2)]
    pub participants: Vec<NodeId>,
    /// Salt of its commitment.
    #[n(3)]
    pub salt: Hash,
    /// DISTRIBUTED, ACTIVE, ROTATING or RETIRED.
    #[n(4)]
    pub state: KeyState,
    /// Whether the participants mixed in a part of their own.
    #[n(5)]
    pub mix: bool,
    /// What protected that part.
    #[n(6)]
    pub mixed: Option<Delivery>,
}

impl KeyRow {
    pub(super) fn new(meta: &KeyMeta, state: KeyState, mixed: Option<Delivery>) -> Self {
        let KeyMeta { key, key_type, participants, salt, mix } = meta.clone();
        Self { key, key_type, participants, salt, state, mix, mixed }
    }

    pub(super) fn split(self) -> (KeyMeta, KeyState, Option<Delivery>) {
        let Self { key, key_type, participants, salt, state, mix, mixed } = self;
        (KeyMeta { key, key_type, participants, salt, mix }, state, mixed)
    }
}
