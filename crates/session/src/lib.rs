//! Sessions between participants: TLS 1.3 with ML-KEM-1024 and pinned certificates, both ends bound
//! to the channel by hybrid signatures, and every message inside an envelope with keys of its own.
//!
//! Three layers, each with keys from its own source: TLS (SecP384r1MLKEM1024), the identities
//! (Ed25519 + ML-DSA-65 over the TLS exporter), and the envelopes (X25519 + ML-KEM-768, agreed
//! inside TLS). A session counts as up only after both ends have acknowledged it under the envelope
//! keys.
//!
//! In scope: connections and what they prove. Out of scope: what the messages mean.

pub mod book;
pub mod certificate;
pub mod endpoint;
pub mod envelope;
pub mod group;
pub mod listener;
pub mod mesh;
pub mod operator;
pub mod roster;
pub mod trust;

mod error;
mod handshake;
mod link;
mod raw;
mod verify;
mod wire;

pub use book::{Book, Kept, Taken, WallClock};
pub use certificate::{Certificate, SpkiPin, TlsKey};
pub use endpoint::{Endpoint, EndpointConfig};
pub use envelope::{EnvelopeCounts, EnvelopeError};
pub use error::HandshakeError;
pub use link::{RecvError, SendError, Session, SessionInfo, SessionReceiver, SessionSender};
pub use listener::{Arrival, Limits, Listener};
pub use raw::RawStream;
pub use roster::{Mark, Roster, SignedRoster};
pub use trust::{TrustEntry, TrustError, TrustStore};
pub use wire::{Channel, Refusal};
