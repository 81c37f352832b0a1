//! What a crash or a failing device can leave on the disk, and what the store makes of it.

#![allow(clippy::unwrap_used, clippy::panic)] // a test may stop where it stands

#[path = "../suite/fixture.rs"]
#[allow(dead_code)] // shared with the other tests, which use all of it
mod fixture;

mod fault;
mod image;
mod vfs;
