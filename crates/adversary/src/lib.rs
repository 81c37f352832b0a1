//! Who attacks: actors that speak the product's own protocols, with real credentials, and say what they
//! like. For tests only.
//!
//! | actor | has | can |
//! |---|---|---|
//! | [`HostileNode`] | an admitted identity, its TLS key | open any session, say any message or any bytes |
//! | [`HostileOperator`] | an operator's key | sign any command with any time and nonce, send any HTTP |
//! | [`Application`] | a certificate of an SAE | call ETSI GS QKD 014 with anything |
//! | [`Outsider`] | an address | open TCP and TLS connections, whole or half |
//! | [`LyingHub`] | the hub's own keys | take nodes' sessions and operators' calls, and answer anything |
//!
//! A [`Deployment`] is what they attack: a hub and nodes as they ship, in a folder of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test stops with a panic: that is how it fails"
)]

mod application;
mod deployment;
pub mod flood;
mod honest;
mod hub;
mod network;
mod node;
mod operator;

pub use application::{Application, Given};
pub use deployment::{Answered, Deployment, GROUPS};
pub use honest::{Running, incidents, newest_active, nodes, read, replay, start, until, until_keyed};
pub use hub::{LyingHub, Told};
pub use network::Outsider;
pub use node::{Connected, HostileNode};
pub use operator::HostileOperator;
