//! Deterministic simulation of a boundary: the real kernel, modelled nodes, and a network that
//! breaks, delays and repeats, all driven by one seed in virtual time.
//!
//! The kernel under test is the shipped one. The hub here is its smallest honest shell: it steps,
//! appends, commits and starts effects in that order, and after a crash it has its log and vault
//! and nothing else. Every run with the same seed is the same run, so a failure names its seed.

mod hub;
pub mod invariant;
mod network;
mod node;
mod world;

pub use hub::Hub;
pub use node::Node;
pub use world::{Faults, World};
