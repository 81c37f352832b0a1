//! The store seen from outside.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test may stop where it stands

mod fixture;
mod front;
mod kill;
mod log;
mod model;
mod refusal;
mod vault;
