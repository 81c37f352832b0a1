//! Audits of a real boundary's log: real keys, real signatures, the real kernel.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod boundary;
mod cli;
mod history;
mod replay;
mod rules;
mod schema;
mod show;
mod verify;
