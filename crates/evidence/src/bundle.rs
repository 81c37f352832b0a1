//! The audit bundle: a whole log in one file, for an outsider (`docs/format/bundle.md`).
//!
//! There is no checksum: a checksum can be remade by whoever alters the file. Every byte is either
//! compared with the pins, or covered by a hash that the log's signed checkpoints fix.

use std::fmt;
use std::io::{self, Write};

use serde::Serialize;
use types::limits::ENTRY_LEN;
use types::{BoundaryId, Timestamp};

use crate::chain;
use crate::checkpoint::CheckpointError;
use crate::note::{KeyName, NOTE_LEN, SignedNote};

mod audit;
mod sections;

pub use audit::{Audit, Item};
pub use sections::{Section, Sections};

/// The first 16 bytes of a bundle. A later version differs from it in at least
/// [`MAGIC_DISTANCE`] bytes, so that a damaged bundle is not mistaken for a later one.
pub const MAGIC: [u8; 16] = *b"QECNET-BUNDLE-1\n";

/// From how many differing bytes on a file is not a bundle at all, rather than a damaged one.
pub const MAGIC_DISTANCE: usize = 4;

const ENTRY: u8 = b'E';
const CHECKPOINT: u8 = b'C';
const FINAL: u8 = b'F';

/// What a bundle says of itself. The pins decide whether it is true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Header {
    /// The boundary whose log it is.
    pub boundary: BoundaryId,
    /// The origin of the log.
    pub origin: KeyName,
    /// Number of entries.
    pub size: u64,
}

/// A part of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// Everything before the first section.
    Header,
    /// An entry, by its index.
    Entry(u64),
    /// A checkpoint, by the number of entries before it in the file.
    Checkpoint(u64),
    /// What stands after the final checkpoint.
    End,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the header"),
            Self::Entry(index) => write!(f, "entry {index}"),
            Self::Checkpoint(size) => write!(f, "the checkpoint after {size} entries"),
            Self::End => f.write_str("the end of the file"),
        }
    }
}

/// Why a bundle does not hold.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file cannot be read.
    #[error("cannot read the bundle: {0}")]
    Read(#[from] io::Error),
    /// The file is something else, or of a later version.
    #[error("not an audit bundle that this version reads: give the file that `audit export` wrote")]
    NotABundle,
    /// Not as it was written; `part` is the first that is not.
    #[error("tampered: {part}: {problem}")]
    Tampered {
        /// The first bad part.
        part: Part,
        /// What is wrong with it.
        #[source]
        problem: Problem,
    },
    /// As far as it goes nothing is wrong, but it ends too early.
    #[error("incomplete: {0}")]
    Incomplete(#[from] Incomplete),
}

/// What is missing at the end of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Incomplete {
    /// The file ends before its final checkpoint.
    #[error("the file ends after {entries} whole entries and before its final checkpoint: export it again")]
    CutShort {
        /// Whole entries in the file.
        entries: u64,
    },
    /// The log is shorter than one that was seen before.
    #[error("the log has {entries} entries, but had {seen} when its pinned root was seen: it was cut, or rolled back")]
    RolledBack {
        /// Entries in the file.
        entries: u64,
        /// Entries that were seen.
        seen: u64,
    },
}

/// What is wrong with a part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// An entry.
    #[error(transparent)]
    Entry(#[from] chain::Problem),
    /// A checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The header is not well formed.
    #[error("not well formed")]
    BadHeader,
    /// The header names another log than the pins.
    #[error("it names boundary `{boundary}` and log `{origin}`, which are not the pinned ones")]
    OtherLog {
        /// Boundary in the header.
        boundary: BoundaryId,
        /// Origin in the header.
        origin: KeyName,
    },
    /// The header's number of entries is not that of the log.
    #[error("it promises {promised} entries, the signed log has {signed}")]
    WrongCount {
        /// In the header.
        promised: u64,
        /// In the final checkpoint.
        signed: u64,
    },
    /// A section's type or length was altered.
    #[error("the type or length in front of it was altered")]
    BadFrame,
    /// A checkpoint over more entries than stand before it.
    #[error("missing: a signed checkpoint covers {signed} entries")]
    Missing {
        /// Entries the checkpoint covers.
        signed: u64,
    },
    /// A checkpoint over fewer entries than stand before it.
    #[error("it covers {signed} entries and stands in another place")]
    Misplaced {
        /// Entries the checkpoint covers.
        signed: u64,
    },
    /// The log begins with another entry than the pinned one.
    #[error("it is not the founding entry that is pinned: this is the log of another deployment")]
    OtherGenesis,
    /// The log does not pass through a root that was seen before.
    #[error("it, or an entry before it, is not what it was when the pinned root was seen")]
    NotAsSeen,
    /// Bytes after the end.
    #[error("there are bytes after the final checkpoint")]
    Trailing,
}

impl From<chain::ChainError> for BundleError {
    fn from(error: chain::ChainError) -> Self {
        Self::Tampered { part: Part::Entry(error.index), problem: error.problem.into() }
    }
}

/// What a bundle was found to prove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Which log.
    pub header: Header,
    /// Root over all entries.
    pub root: types::Hash,
    /// Time of the last entry.
    pub last_entry_at: Timestamp,
    /// Time in the final checkpoint, in whole seconds.
    pub signed_at: Timestamp,
    /// Checkpoints that were checked, the final one among them.
    pub checkpoints: u64,
}

/// Writes a bundle: the entries in order, checkpoints where they belong, the final one last.
#[derive(Debug)]
pub struct BundleWriter<W> {
    out: W,
}

impl<W: Write> BundleWriter<W> {
    /// Starts a bundle of `header.size` entries.
    pub fn new(mut out: W, header: &Header) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        for name in [header.boundary.as_str(), header.origin.as_str()] {
            out.write_all(&[u8::try_from(name.len()).map_err(|_| io::ErrorKind::InvalidInput)?])?;
            out.write_all(name.as_bytes())?;
        }
        out.write_all(&header.size.to_be_bytes())?;
        Ok(Self { out })
    }

    /// Writes the next entry.
    pub fn entry(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.section(ENTRY, bytes)
    }

    /// Writes a signed checkpoint over exactly the entries written so far.
    pub fn checkpoint(&mut self, note: &SignedNote) -> io::Result<()> {
        self.section(CHECKPOINT, note.to_string().as_bytes())
    }

    /// Writes the signed checkpoint over all entries, and ends the bundle.
    pub fn finish(mut self, note: &SignedNote) -> io::Result<W> {
        self.section(FINAL, note.to_string().as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn section(&mut self, tag: u8, payload: &[u8]) -> io::Result<()> {
        let limit = if tag == ENTRY { ENTRY_LEN } else { NOTE_LEN };
        if payload.len() > limit {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.out.write_all(&[tag])?;
        self.out.write_all(&(payload.len() as u32).to_be_bytes())?;
        self.out.write_all(payload)
    }
}
