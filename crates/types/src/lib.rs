//! The vocabulary every other crate speaks: identifiers, time, limits, hash domains and the one
//! canonical encoding.
//!
//! In scope: plain values and their byte forms. Out of scope: anything that acts. This crate is
//! pure: no clock, no random numbers, no sockets, no files.

pub mod cbor;
pub mod id;
pub mod label;
pub mod limits;
pub mod mesh;
pub mod sae;
pub mod span;
pub mod time;

mod hash;

pub use hash::{Hash, ParseHashError};
pub use id::{BoundaryId, ForwardId, GrantId, IncidentId, KeyId, LinkId, NodeId, OperatorId, RequestId};
pub use label::Label;
pub use sae::{KmeId, SaeId};
pub use time::{Millis, Timestamp};
