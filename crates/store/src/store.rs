use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crypto::{Entropy, MasterKey};
use rusqlite::Connection;
use types::BoundaryId;

use crate::error::{AppendError, CreateError, OpenError, RewrapError, WriteError};
use crate::fault::Fault;
use crate::log::{Batch, Changes, Entry, Head};
use crate::name::CellName;
use crate::reserve::Reserve;
use crate::schema;
use crate::vault::{Keyring, rows};
use crate::write;

/// Weight of commits, in bytes, after which the write-ahead log is folded into the file.
const FOLD_AFTER: usize = 4 * 1024 * 1024;
/// What one commit costs at least in the write-ahead log: a few pages.
const COMMIT_WEIGHT: usize = 12 * 1024;

/// One boundary's log, vault, cells and snapshots in one file. Synchronous; one thread at a time.
///
/// Several handles, also of several processes, may have the same file open; a writer that comes
/// second loses with [`AppendError::Lost`]. A service that must be the only one takes
/// [`Store::hold`] as well.
pub struct Store {
    pub(crate) conn: Connection,
    pub(crate) boundary: BoundaryId,
    pub(crate) keyring: Keyring,
    path: PathBuf,
    /// The fault after which nothing is written through this handle.
    stopped: Option<Fault>,
    /// Bytes written since the write-ahead log was folded into the file.
    unfolded: usize,
    /// Whether the write-ahead log may still hold what an erasure destroyed.
    scrub_due: bool,
    held: Option<File>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("boundary", &self.boundary).field("path", &self.path).finish_non_exhaustive()
    }
}

/// One item of a group: what is committed together with its neighbours, and judged alone.
pub(crate) enum Op {
    Append { expected: Head, batch: Batch },
    Apply(Changes),
}

impl Op {
    /// Roughly the bytes it adds to the file.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Append { batch, .. } => batch.weight(),
            Self::Apply(changes) => changes.weight(),
        }
    }
}

impl Store {
    /// Makes the file of `boundary` at `path`, mode 0600, with an empty log, and opens it.
    ///
    /// The file appears under its name only when it is complete and durable.
    pub fn create(
        path: &Path,
        boundary: &BoundaryId,
        master: MasterKey,
        entropy: Arc<Entropy>,
    ) -> Result<Self, CreateError> {
        let keyring = Keyring::new(master, boundary, entropy);
        crate::create::create(path, boundary, &keyring)?;
        Ok(Self::open_with(path, boundary, keyring)?)
    }

    /// Opens the file of `boundary` at `path`; what a crash left half done is undone first.
    pub fn open(
        path: &Path,
        boundary: &BoundaryId,
        master: MasterKey,
        entropy: Arc<Entropy>,
    ) -> Result<Self, OpenError> {
        Self::open_with(path, boundary, Keyring::new(master, boundary, entropy))
    }

    fn open_with(path: &Path, boundary: &BoundaryId, keyring: Keyring) -> Result<Self, OpenError> {
        crate::create::check_file(path)?;
        let conn = schema::connect(path)?;
        let (application, format) = schema::stamp(&conn)?;
        if application != schema::APPLICATION_ID {
            return Err(Fault::NotAStore.into());
        }
        if format != schema::FORMAT {
            return Err(OpenError::Format { found: format, wanted: schema::FORMAT });
        }
        let (found, key_check): (String, Vec<u8>) = conn
            .query_row("SELECT boundary, key_check FROM about", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(Fault::from)?;
        if found != boundary.as_str() {
            return Err(OpenError::OtherBoundary { found, wanted: boundary.clone() });
        }
        if !keyring.matches(&key_check) {
            return Err(OpenError::WrongKey);
        }
        let mut store = Self {
            conn,
            boundary: boundary.clone(),
            keyring,
            path: path.to_owned(),
            stopped: None,
            unfolded: 0,
            // A crash may have come between an erasure and the scrubbing after it.
            scrub_due: true,
            held: None,
        };
        store.head()?;
        store.tend();
        Ok(store)
    }

    /// Claims the store for this process until the handle is dropped. Needed where two processes
    /// would do harm without an append of theirs colliding: a node's pad cursors are cells.
    pub fn hold(&mut self) -> Result<(), OpenError> {
        let path = crate::create::beside(&self.path, ".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|cause| OpenError::File { path: path.clone(), cause })?;
        match lock.try_lock() {
            Ok(()) => {
                self.held = Some(lock);
                Ok(())
            }
            Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::Held),
            Err(std::fs::TryLockError::Error(cause)) => Err(OpenError::File { path, cause }),
        }
    }

    /// Keeps room on the disk, in a file beside the store, for what must be written even on a full disk; makes
    /// it whole again where a part was released.
    ///
    /// # Errors
    /// [`Fault::DiskFull`] where there is no such room now, and others.
    pub fn keep_reserve(&mut self) -> Result<(), Fault> {
        self.reserve().keep()
    }

    /// Gives a part of that room to whoever writes next. Whether there was any left.
    ///
    /// # Errors
    /// [`Fault`] where the file cannot be cut.
    pub fn release_reserve(&mut self) -> Result<bool, Fault> {
        self.reserve().release()
    }

    fn reserve(&self) -> Reserve {
        Reserve::new(crate::create::beside(&self.path, ".reserve"))
    }

    /// The boundary whose file this is.
    pub fn boundary(&self) -> &BoundaryId {
        &self.boundary
    }

    /// Appends `batch` if the log still ends at `expected`, durably and wholly, and returns the new head.
    pub fn append(&mut self, expected: Head, batch: Batch) -> Result<Head, AppendError> {
        match self.commit(&[Op::Append { expected, batch }]) {
            Ok(mut done) => {
                self.tend();
                done.pop().unwrap_or(Err(AppendError::Fault(Fault::Closed)))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes `changes` durable, all or none.
    pub fn apply(&mut self, changes: Changes) -> Result<(), WriteError> {
        self.commit(&[Op::Apply(changes)]).map_err(WriteError::from_append)?;
        self.tend();
        Ok(())
    }

    /// Sets `cells` durably, all or none.
    pub fn put_cells(&mut self, cells: Vec<(CellName, Vec<u8>)>) -> Result<(), WriteError> {
        self.apply(Changes::cells(cells))
    }

    /// Keeps `bytes` as the state after the first `size` entries, and drops all but the last two snapshots.
    pub fn put_snapshot(&mut self, size: u64, bytes: &[u8]) -> Result<(), WriteError> {
        self.writable()?;
        let done = write::snapshot(&mut self.conn, size, bytes);
        if let Err(fault) = &done {
            self.stop_on(fault);
        }
        self.unfolded += bytes.len() + COMMIT_WEIGHT;
        self.tend();
        Ok(done?)
    }

    /// Puts every record of the vault under `new`, in one transaction. After a crash the file is
    /// wholly under the old key or wholly under the new one; opening tells which.
    pub fn rewrap(&mut self, new: MasterKey) -> Result<(), RewrapError> {
        self.writable()?;
        let new = self.keyring.with_master(new);
        let done = rows::rewrap(&mut self.conn, &self.keyring, &new);
        if let Err(RewrapError::Fault(fault)) = &done {
            self.stop_on(fault);
        }
        done?;
        self.keyring = new;
        self.scrub_due = true;
        self.tend();
        Ok(())
    }

    /// Commits `ops` in order in one transaction. The outer error means that nothing was kept.
    pub(crate) fn commit(&mut self, ops: &[Op]) -> Result<Vec<Result<Head, AppendError>>, AppendError> {
        self.writable()?;
        match write::group(&mut self.conn, &self.keyring, ops) {
            Ok(done) => {
                let kept = ops.iter().zip(&done.results).filter(|(_, result)| result.is_ok());
                self.unfolded += COMMIT_WEIGHT + kept.map(|(op, _)| op.weight()).sum::<usize>();
                self.scrub_due |= done.destroyed;
                Ok(done.results)
            }
            Err(error) => {
                if let AppendError::Fault(fault) = &error {
                    self.stop_on(fault);
                }
                Err(error)
            }
        }
    }

    /// Whether the write-ahead log may still hold what an erasure destroyed.
    pub(crate) fn scrub_due(&self) -> bool {
        self.scrub_due
    }

    /// Scrubs what was erased and folds the write-ahead log, where either is due.
    ///
    /// Returns whether nothing is left to scrub: false only while another process reads the file.
    pub fn tend(&mut self) -> bool {
        if self.stopped.is_some() || !(self.scrub_due || self.unfolded >= FOLD_AFTER) {
            return !self.scrub_due;
        }
        let mode = if self.scrub_due { "TRUNCATE" } else { "PASSIVE" };
        let folded: Result<bool, Fault> = self
            .conn
            .query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get::<_, i64>(0))
            .map(|busy| busy == 0)
            .map_err(Fault::from);
        match folded {
            Ok(true) => {
                self.unfolded = 0;
                self.scrub_due = false;
            }
            // A reader is in the way. What was committed stays safe in the write-ahead log; later commits try again.
            Ok(false) | Err(Fault::Busy) => {}
            Err(fault) => {
                tracing::error!(boundary = %self.boundary, %fault, "the write-ahead log cannot be folded into the store");
                self.stop_on(&fault);
            }
        }
        !self.scrub_due
    }

    /// The fault after which this handle writes no more, if there was one.
    pub fn stopped(&self) -> Option<&Fault> {
        self.stopped.as_ref()
    }

    fn writable(&self) -> Result<(), Fault> {
        match &self.stopped {
            Some(fault) => Err(Fault::Stopped(Box::new(fault.clone()))),
            None => Ok(()),
        }
    }

    fn stop_on(&mut self, fault: &Fault) {
        if fault.is_fatal() && self.stopped.is_none() {
            self.stopped = Some(fault.clone());
        }
    }

    /// Folds the write-ahead log into the file and closes it.
    pub fn close(self) -> Result<(), Fault> {
        self.conn.close().map_err(|(_, error)| Fault::from(error))
    }
}

/// Entries from a caller that has their bytes and hashes in hand.
impl FromIterator<Entry> for Batch {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self { entries: entries.into_iter().collect(), ..Self::default() }
    }
}
