//! The outsider's verifier: decides from one exported file and pinned keys whether a boundary's
//! log was altered, and whether its operator followed its own policy.
//!
//! In scope: reading. Out of scope: secrets, network, anything that writes. Links only the pure
//! crates and the verifying half of `crypto`.

pub mod due;
pub mod exit;
pub mod failure;
pub mod founding;
pub mod freshness;
pub mod replay;
pub mod show;
pub mod verify;

mod keys;
mod moment;
mod rules;

pub use exit::Exit;
pub use failure::Failure;
pub use freshness::Warning;
pub use keys::check_signature;
pub use replay::{Replayed, replay};
pub use show::{Shown, show};
pub use verify::verify;
