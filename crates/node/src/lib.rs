//! The node agent: its keys, its sessions with the hub and with other nodes, its quantum links, and
//! the TCP streams it forwards.
//!
//! In scope: doing what the hub's records say, at once and durably, and telling what came of it. Out
//! of scope: deciding anything about keys or membership.
//!
//! Invariants:
//! 1. Whom a node trusts comes from its local file; no message changes it (SM-03).
//! 2. A receipt leaves only after the key is sealed in the vault; a pad bit is used only after the
//!    cursor beyond it is durable (KM-01, KM-04).
//! 3. The revocation epoch never falls, restarts included (SM-02).
//! 4. A forwarded byte is delivered once and in order, or its connection is reset.

pub mod config;
pub mod files;
pub mod keyring;

mod agent;
mod counter;
mod destination;
mod forward;
mod hub;
mod network;
mod pairs;
mod peer;
mod prekeys;
mod run;
mod standing;
mod stream;
mod vault;

pub use config::{ConfigError, NodeConfig, Timing};
pub use counter::{CounterError, KmeSection, SaeSection};
pub use destination::{Destination, ParseDestinationError};
pub use files::{Created, FilesError};
pub use keyring::{KeyRing, KeyRow};
pub use run::{Node, NodeError, run};
