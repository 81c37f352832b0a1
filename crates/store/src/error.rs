use std::path::PathBuf;

use types::BoundaryId;

use crate::fault::Fault;
use crate::log::Head;
use crate::name::{CellName, VaultName};

/// Why a store was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// There is a file at the path; it was left alone.
    #[error("`{0}` exists already: open it, or choose another path")]
    Exists(PathBuf),
    /// The file or its directory could not be written.
    #[error("cannot make `{path}`: {cause}")]
    File {
        /// The file that was to be made.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The new file did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a store was not opened. The file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no file at the path.
    #[error("there is no store at `{0}`: create it first, or correct the path")]
    Missing(PathBuf),
    /// The file could not be looked at.
    #[error("cannot read `{path}`: {cause}")]
    File {
        /// The file that was to be opened.
        path: PathBuf,
        /// What the operating system said.
        cause: std::io::Error,
    },
    /// The end of the file is missing.
    #[error("the store ends after {found} of {wanted} bytes: restore it from a backup")]
    Truncated {
        /// Bytes the file should have, by its own header; 0 where even the header is cut.
        wanted: u64,
        /// Bytes the file has.
        found: u64,
    },
    /// The file has tables of another version.
    #[error("the store has format {found}, this version reads format {wanted}: use the version that wrote it")]
    Format {
        /// The version in the file.
        found: i32,
        /// The version this crate writes.
        wanted: i32,
    },
    /// The file belongs to another boundary.
    #[error("the store belongs to boundary `{found}`, not to `{wanted}`: correct the path or the boundary")]
    OtherBoundary {
        /// The boundary in the file.
        found: String,
        /// The boundary asked for.
        wanted: BoundaryId,
    },
    /// The master key is not the one the vault is sealed under.
    #[error("the master key does not open this store: bring the key it was sealed with")]
    WrongKey,
    /// Another process holds the store for itself.
    #[error("the store is held by another process: stop that process first")]
    Held,
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why an append did not happen. Nothing of the batch was kept, save after [`Fault::Io`], where
/// opening again shows whether all of it was.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// Another writer was first: drop the state, replay from `actual`, try again.
    #[error("the log moved on to entry {}: replay it and try again", actual.size)]
    Lost {
        /// The head as it is.
        actual: Head,
    },
    /// An entry is longer than the format allows.
    #[error("entry {position} of the batch has {len} bytes, more than {}: split it", types::limits::ENTRY_LEN)]
    EntryTooLong {
        /// Position in the batch, from 0.
        position: usize,
        /// Its length in bytes.
        len: usize,
    },
    /// More entries than one batch may have.
    #[error("the batch has {len} entries, more than {}: split it", types::limits::BATCH_ENTRIES)]
    TooManyEntries {
        /// Entries in the batch.
        len: usize,
    },
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why changes outside the log were not made. Nothing of them was kept.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WriteError {
    /// A secret could not be sealed.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why something could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The log has a gap: an entry between two others is missing.
    #[error("entry {index} is missing from the log: run a check, then restore from a backup")]
    Gap {
        /// Index of the missing entry.
        index: u64,
    },
    /// The bytes of a cell do not match the check kept beside them.
    #[error("the cell `{name}` is damaged: run a check, then restore from a backup")]
    Cell {
        /// The cell.
        name: CellName,
    },
    /// A record of the vault does not open: it, or what it is bound to, was altered.
    #[error("the vault record `{name}` is damaged: run a check, then restore from a backup")]
    Vault {
        /// The record.
        name: VaultName,
    },
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why the vault was not moved to a new master key. It is still wholly under the old one.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RewrapError {
    /// A record does not open under the old key.
    #[error("the vault record `{name}` is damaged: erase or restore it, then change the master key")]
    Vault {
        /// The record.
        name: String,
    },
    /// A cell does not match its tag under the old key.
    #[error("the cell `{name}` is damaged: restore it, then change the master key")]
    Cell {
        /// The cell.
        name: String,
    },
    /// The new key cannot seal.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The sealing of a secret failed before anything was written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SealError {
    /// The entropy source is not healthy (KM-03).
    #[error("no secret can be sealed without healthy entropy: {0}")]
    Entropy(#[from] crypto::EntropyError),
    /// The cipher refused.
    #[error(transparent)]
    Cipher(#[from] crypto::SealError),
}

/// What a check found wrong first, in the order of the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FsckError {
    /// An entry is missing, unreadable, or does not match its hashes.
    #[error("entry {index} is bad: {reason}")]
    Entry {
        /// Index of the first bad entry.
        index: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// The checkpoint is not the one of this log.
    #[error("the checkpoint is bad: {0}")]
    Checkpoint(String),
    /// A snapshot lies beyond the end of the log.
    #[error("the snapshot at {size} lies beyond the log's {log} entries")]
    Snapshot {
        /// Entries the snapshot claims to cover.
        size: u64,
        /// Entries the log has.
        log: u64,
    },
    /// A record of the vault does not open.
    #[error("the vault record `{0}` is bad")]
    Vault(String),
    /// A cell does not match its check.
    #[error("the cell `{0}` is bad")]
    Cell(String),
    /// The file's own structure is damaged, though every item could be read.
    #[error("the file is damaged: {0}")]
    Structure(String),
    /// The engine failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}
