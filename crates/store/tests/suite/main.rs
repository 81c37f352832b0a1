//! The store seen from outside.

mod fixture;
mod front;
mod kill;
mod log;
mod model;
mod refusal;
mod vault;
