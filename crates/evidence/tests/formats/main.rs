//! The formats of the log with real signatures: written, parsed, altered, and read by an
//! independent implementation.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bundle;
mod checkpoint;
mod keys;
mod peer;
mod pins;
mod proof;
