use rusqlite::ErrorCode;

/// Why the engine below the store could not do its work, whatever was asked of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No room for the write. Nothing of it was kept; the same write may be tried again.
    #[error("the disk is full: free some space and try again; nothing was lost")]
    DiskFull,
    /// The file's structure is damaged.
    #[error("the store is damaged ({0}): stop, keep a copy of the file and restore it from a backup")]
    Corrupt(String),
    /// The file is not a store at all.
    #[error("the file is not a store: check the path")]
    NotAStore,
    /// The device failed. Whether the last write was kept is known only after opening again.
    #[error("the disk failed ({0}): check the device, then open the store again")]
    Io(String),
    /// A write failed before with [`Fault::Io`] or [`Fault::Corrupt`], so this handle writes no more.
    #[error("writing stopped after an earlier fault ({0}): open the store again")]
    Stopped(Box<Fault>),
    /// Another process held the file for the whole waiting time.
    #[error("the store is in use by another process: stop it, or wait and try again")]
    Busy,
    /// The file or its directory may not be read or written by this user.
    #[error("no access to the store: check the owner and mode of the file and its directory")]
    Access,
    /// Another handle changed the master key, so this one must seal nothing more.
    #[error("the master key was changed by another process: open the store again with the new key")]
    OtherKey,
    /// The store was closed.
    #[error("the store is closed: open it again")]
    Closed,
    /// Anything else the engine reports.
    #[error("the storage engine refused: {0}")]
    Engine(String),
}

impl Fault {
    /// Whether the handle must not write again: the state on disk is in doubt.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, Self::Io(_) | Self::Corrupt(_) | Self::NotAStore)
    }
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::DiskFull,
            Some(ErrorCode::DatabaseCorrupt) => Self::Corrupt(error.to_string()),
            Some(ErrorCode::NotADatabase) => Self::NotAStore,
            Some(ErrorCode::SystemIoFailure) => Self::Io(error.to_string()),
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly | ErrorCode::CannotOpen) => Self::Access,
            Some(_) => Self::Engine(error.to_string()),
            // Not from the engine: a column held another type than the schema gives it.
            None => Self::Corrupt(error.to_string()),
        }
    }
}
