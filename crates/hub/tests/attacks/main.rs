//! Attacks on the hub, mounted over its own listeners with real credentials.

mod crowds;
mod full_disk;
mod invented;
mod oversized;
mod replayed;
mod twice;
mod view;
