//! The boundary as a deterministic state machine.
//!
//! [`step`](crate) decides what an event leads to and returns records and effects; applying
//! records is the only mutator of a state, and effects start only from durable records. Pure: no
//! clock, no random numbers, no secrets. Keys are named by number and committed to by salted hash.

pub mod effect;
pub mod event;
mod hexbytes;
pub mod policy;
pub mod record;

use event::Event;
use minicbor::{Decode, Encode};
use record::Record;
use serde::{Deserialize, Serialize};

/// The body of a log entry: one event and everything the kernel decided on it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Body {
    /// What happened.
    #[n(0)]
    pub event: Event,
    /// What was decided, in order.
    #[n(1)]
    pub records: Vec<Record>,
}
