//! The sovereign hub of a boundary: authenticates, steps, commits, runs effects, serves the API and
//! the console.
//!
//! In scope: everything between sockets and the kernel. Out of scope: decisions (crate `kernel`),
//! what a record proves (crate `evidence`), how bytes become durable (crate `store`).
//!
//! Invariants:
//! 1. Nothing is answered and no effect starts before its entry is durable and signed
//!    ([`sequencer`]).
//! 2. No peer and no caller makes another wait: every queue is bounded, and whoever overruns one is
//!    dropped.
//! 3. Whom the hub trusts is read from local files when it starts; no message changes it.

mod admitted;
mod clock;
pub mod config;
mod console;
mod effects;
pub mod files;
pub mod genesis;
mod http;
mod log_tree;
mod mesh;
mod notice;
mod outstanding;
mod run;
pub mod sequencer;
mod view;

pub use clock::{TimeSource, system_time};
pub use config::{ConfigError, HubConfig};
pub use run::{Hub, StartError, run};
