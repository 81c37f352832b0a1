//! The kernel as a whole: a boundary with honest and dishonest surroundings.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)] // a test ends where something is wrong

mod alone;
mod break_glass;
mod classes;
mod flows;
mod grid;
mod history;
mod invariants;
mod links;
mod orders;
mod recovery;
mod size;
mod world;
