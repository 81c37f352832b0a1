//! The boundary as a deterministic state machine.
//!
//! [`step()`] decides what an event leads to and returns records and effects;
//! [`State::commit`](state::State::commit) applies records and is the only mutator of a state, and
//! effects start only from durable records. Pure: no clock, no random numbers, no secrets. Keys are
//! named by number and committed to by salted hash.

pub mod access;
pub mod boundary;
mod break_glass;
pub mod channel;
mod commands;
mod distribution;
mod draft;
pub mod effect;
pub mod event;
mod hexbytes;
pub mod ingress;
pub mod key;
mod mesh;
pub mod operators;
pub mod policy;
pub mod record;
mod recovery;
mod respond;
mod rotation;
pub mod rules;
mod saes;
pub mod sentinel;
pub mod starts;
pub mod state;
mod step;
mod tick;
pub mod view;

pub use boundary::PAUSE;
use event::Event;
use minicbor::{Decode, Encode};
use record::Record;
use serde::{Deserialize, Serialize};

pub use draft::Draft;
pub use respond::{response_digest, signal_digest};
pub use rules::{RULES, step_by};
pub use state::{SnapshotError, State};
pub use step::{Step, step};

/// The body of a log entry: one event and everything the kernel decided on it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode, Serialize, Deserialize)]
pub struct Body {
    /// The version of the rules by which it was decided.
    #[n(0)]
    pub rules: u16,
    /// What happened.
    #[n(1)]
    pub event: Event,
    /// What was decided, in order.
    #[n(2)]
    pub records: Vec<Record>,
}

impl Body {
    /// What was decided on `event` in `state`, by the rules that hold there.
    pub fn decided(state: &State, event: Event, records: Vec<Record>) -> Self {
        Self { rules: state.rules(), event, records }
    }
}
