//! The evidence log as bytes: entries, the chain, the Merkle tree, checkpoints, proofs and the
//! exported bundle, each with a writer, one strict parser and a verifier.
//!
//! In scope: everything an outsider needs to decide whether a log was altered. Out of scope: what
//! an entry means (a type parameter here), asymmetric cryptography (callers bring it through
//! [`note::NoteSigner`] and [`note::NoteVerifier`]) and storage. This crate is pure: no clock, no
//! random numbers, no sockets, no files.
//!
//! The byte formats are drawn in `docs/format/`.

pub mod bundle;
pub mod canonical;
pub mod chain;
pub mod checkpoint;
pub mod entry;
pub mod merkle;
pub mod note;
pub mod pins;
pub mod proof;
pub mod tile;

mod base64;

pub use chain::{Chain, ChainError};
pub use checkpoint::{Checkpoint, CheckpointPolicy, SignedCheckpoint};
pub use entry::{Entry, Head, Opaque, Sealed};
pub use merkle::{ConsistencyProof, Frontier, InclusionProof, Tree};
pub use note::{Algorithm, KeyName, NoteSigner, NoteVerifier, SignedNote, VerifierKey};
pub use pins::{Founder, Pins};
pub use proof::TlogProof;
