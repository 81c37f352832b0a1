//! One quantum link: the simulated fibre, the two ends that make secret bits over it, and the pool
//! from which deliveries and mixes take pad bits.
//!
//! In scope: moving light and post-processing messages, the durable use of pad bits, whether a link
//! may be used, and the frame in which the hub sends keys under a pad. Out of scope: physics and
//! post-processing themselves (`qkd`), sessions (`session`), what keys mean (`kernel`).
//!
//! Invariants:
//! 1. A pad bit leaves [`Link`] only after the cursor beyond it is durable, and only once.
//! 2. Bits of a discarded block never reach the pool, and a link over the line gives none.
//! 3. A severed link holds no bits and gives none.

pub mod carry;
pub mod config;
pub mod delivery;
pub mod fibre;

mod draw;
mod driver;
mod frame;
mod health;
mod pad;

pub use config::{LinkSection, ParamsSection, VendorSection};
pub use driver::{Engine, Link, LinkSpec, StartError, VendorError};
pub use pad::{Pad, PadBits, PadError};
pub use qkd::{Attack, Preset, Protocol};
