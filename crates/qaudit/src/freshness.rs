//! What a bundle that holds does not prove: that the log did not go on after it.

use evidence::bundle::Summary;
use evidence::checkpoint::CheckpointError;
use evidence::pins::Seen;
use evidence::{Pins, SignedCheckpoint};
use serde::Serialize;

use crate::check_signature;

/// What an auditor must know beside a result that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// Nothing but the bundle itself says how long the log is.
    #[error(
        "no checkpoint newer than entry {seen} is given: whether the log went on after this file was made cannot be \
         told; get one from the hub's /checkpoint, or from someone else who saw it, and give it with --checkpoint"
    )]
    NoLaterCheckpoint {
        /// Entries of the newest checkpoint in the pins.
        seen: u64,
    },
    /// The bundle shows nothing that was not seen before.
    #[error(
        "the file ends at entry {entries}, which was seen before: it says nothing of what happened since; export anew"
    )]
    NothingNewer {
        /// Entries in the bundle.
        entries: u64,
    },
}

/// Opens a checkpoint that was got elsewhere than from the bundle.
///
/// # Errors
/// [`CheckpointError`] where it is not one of the pinned log.
pub fn open(note: &[u8], pins: &Pins) -> Result<SignedCheckpoint, CheckpointError> {
    pins.policy().open(note, &check_signature)
}

/// The root that a checkpoint shows.
pub fn seen(checkpoint: &SignedCheckpoint) -> Seen {
    let checkpoint = checkpoint.checkpoint();
    Seen { size: checkpoint.size, root: checkpoint.root }
}

/// What to warn of, for a bundle that holds under `pins`, where `given` was got elsewhere.
pub fn warnings(pins: &Pins, given: Option<&SignedCheckpoint>, summary: &Summary) -> Vec<Warning> {
    let last = pins.seen().last().map_or(0, |seen| seen.size);
    let mut warnings = Vec::new();
    if given.is_none_or(|given| given.checkpoint().size <= last) {
        warnings.push(Warning::NoLaterCheckpoint { seen: last });
    }
    if summary.header.size <= last {
        warnings.push(Warning::NothingNewer { entries: summary.header.size });
    }
    warnings
}

/// The pins after a bundle was found to hold: with its last root as the one seen.
pub fn updated(pins: &Pins, summary: &Summary) -> Pins {
    let last = pins.seen().last().map_or(0, |seen| seen.size);
    if summary.header.size <= last {
        return pins.clone();
    }
    pins.clone().seen_last(Seen { size: summary.header.size, root: summary.root })
}
