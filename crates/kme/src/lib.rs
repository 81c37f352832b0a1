//! A key management entity: key delivery by ETSI GS QKD 014 V1.1.1, as a server for applications and
//! encryptors, and as a client of other vendors' KMEs.
//!
//! In scope: the protocol, pools of keys for pairs of SAEs, one-time durable delivery, identities of
//! SAEs. Out of scope: where bits come from and how KMEs reach each other, which the node brings by
//! [`peer::Supply`] and [`peer::Peer`].
//!
//! Invariants:
//! 1. A key is answered only after its delivery is durable, once to the master and once to each slave.
//! 2. A key is given to a master only after the KMEs of all its slaves hold it durably.
//! 3. Bits that another KME did not confirm stay, and are offered again: an outage burns nothing.
//!    A start of either KME does: nothing from before it is given out, whatever the store says.
//! 4. One caller, however slow or greedy, does not hold up another.

mod bodies;
pub mod client;
pub mod config;
mod directory;
mod id;
mod journal;
mod kme;
mod names;
pub mod note;
pub mod peer;
pub mod sae;
mod secret;
mod served;
pub mod server;
mod shelf;
mod start;
pub mod wire;

pub use directory::{Directory, Identity, SAE_URI, Sae};
pub use id::{ID_LEN, KEY_LEN, KeyUuid, KmeId, ParseIdError, ParseUuidError, SHEET_UNITS, SaeId, SheetTag, UNIT};
pub use kme::{Kme, OpenError, Parts};
pub use secret::{KeyBytes, RawBits};
