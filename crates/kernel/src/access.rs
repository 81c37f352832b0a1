//! The path of every operator's request, and what waits on people: nonces, held requests, grants.
//!
//! A request is fresh, new and of a known operator, or it is refused and spends nothing. Then policy
//! decides and the decision is recorded. What policy permits at once is carried out. Otherwise the
//! permit's obligations come first: approvals of other people (`Held`), then a grant (`Granted`) that
//! its operator presents with a second request for the very same command. Policy is asked again at
//! that moment, and the approvals are counted again: nothing is carried out on an old answer.
//!
//! Two requests are the same where their [`command_digest`] is.

mod approval;
mod burst;
mod nonces;
mod question;
mod request;
mod state;
mod summary;

pub(crate) use approval::{end_all_of, expire, hold_response};
pub use burst::{BURST, BURST_WINDOW};
pub use nonces::FRESHNESS;
pub use question::command_digest;
pub(crate) use request::handle;
pub use request::{MOST_OPEN, REASON_LEN};
pub use state::{Access, Grant, Held};
pub use summary::{of_command, of_held_response};
