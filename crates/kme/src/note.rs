//! Evidence of deliveries: who got how many keys of what size over which path, never a key.

use types::Hash;
use types::mesh::Exchange;

use crate::id::SaeId;
use crate::peer::KeyPath;

/// Which delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryKind {
    /// To the master (enc_keys).
    Master,
    /// To a slave (dec_keys).
    Slave,
}

/// One delivery. It is durable when it is noted, and the answer goes out after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryNote {
    /// To the master or to a slave.
    pub kind: DeliveryKind,
    /// The master.
    pub master: SaeId,
    /// All slaves entitled, or the one that fetched.
    pub slaves: Vec<SaeId>,
    /// [`KeyUuid::evidence`](crate::KeyUuid::evidence) of each key.
    pub keys: Vec<Hash>,
    /// Size of each key, in bits; where they differ, of the largest.
    pub size: u32,
    /// The weakest path of the keys.
    pub path: KeyPath,
    /// How the connection agreed on its keys that they were given over.
    pub exchange: Exchange,
}

/// Who keeps the notes.
pub trait Evidence: Send + Sync + 'static {
    /// Takes a note. Called before the keys leave, on the way of the request: hand it on and return.
    fn delivered(&self, note: DeliveryNote);
}

/// Keeps no notes: for tests and tools.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvidence;

impl Evidence for NoEvidence {
    fn delivered(&self, _: DeliveryNote) {}
}
