//! Photons to key bits: the quantum channel, its post-processing, and the pool of pad bits.
//!
//! In scope: models of source, fibre and detectors; sifting, estimation, reconciliation,
//! verification, privacy amplification, authentication; the book-keeping of shared bits. Out of
//! scope: sockets, clocks, files, random numbers of its own. Every type takes what it needs as
//! arguments and gives messages as bytes, so the two ends can run in one test or on two machines.
//!
//! The chain, with its formulas and their sources, is drawn in `docs/qkd.md`.

pub mod cascade;
pub mod decoy;
pub mod entangled;
pub mod entropy;
pub mod finite;
pub mod ldpc;
pub mod params;
mod pipeline;
pub mod pool;
pub mod stats;
pub mod toeplitz;
pub mod wire;

mod additive;
mod auth;
mod bits;
mod block;
mod clmul;
mod detector;
mod fibre;
mod field;
mod gf16;
mod ledger;
mod light;
mod memory;
mod pairs;
mod reconcile;
mod simd;
mod source;

pub use auth::{HashKey, PAD_LEN_PER_BLOCK, TAG_LEN, TagKeys};
pub use bits::{Bits, SecretBits};
pub use block::{
    AbortReason, Alice, BlockAbort, BlockOutcome, BlockStats, Bob, Efficiencies, MAX_PADS_NAME, Offer, Purpose, Recall,
    Receiver, Step, alarm, judge,
};
pub use detector::{Detections, Detector, Settings};
pub use entropy::Entropy;
pub use fibre::{Attack, Carried, Fibre, Tap, UnknownAttack, train_pulses};
pub use ledger::EpsilonLedger;
pub use pairs::PairEnd;
pub use params::{BlockParams, DetectorParams, FibreParams, LinkParams, PairParams, Preset, UnknownPreset};
pub use pipeline::Pipeline;
pub use pool::{Cursor, PadRange, Pool, PoolError, Side};
pub use reconcile::Reconciliation;
pub use source::{FrameError, Source};
pub use types::mesh::Protocol;

#[cfg(test)]
mod seeded;
