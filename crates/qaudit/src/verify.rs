//! Whether a bundle is as the log's keys signed it.

use std::io::Read;

use evidence::bundle::{Audit, Item, Summary};
use evidence::{Opaque, Pins};

use crate::failure::Failure;
use crate::{check_signature, founding, moment};

/// Checks a whole bundle against pins: every byte of it.
pub fn verify(input: impl Read, pins: &Pins) -> Result<Summary, Failure> {
    let mut audit = Audit::open(input, pins, check_signature)?;
    while let Some(item) = audit.next_item::<Opaque>()? {
        if let Item::Entry { entry, .. } = item
            && entry.index == 0
        {
            founding::check(entry.body.as_bytes(), pins)?;
        }
    }
    // `next_item` ends only after a final checkpoint.
    Ok(audit.summary().ok_or(evidence::bundle::BundleError::NotABundle)?)
}

/// What holds, for people.
pub fn describe(summary: &Summary) -> String {
    format!(
        "holds: {} entries of boundary `{}`, the last at {}\nroot {}, signed {}; {} checkpoints",
        summary.header.size,
        summary.header.boundary,
        moment::text(summary.last_entry_at),
        summary.root,
        moment::text(summary.signed_at),
        summary.checkpoints,
    )
}
