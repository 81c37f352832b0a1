use evidence::entry::entry_hash;
use evidence::merkle::leaf_hash;
use evidence::{Checkpoint, Frontier, Opaque, SignedNote};
use types::{Hash, Timestamp};

use crate::error::{FsckError, ReadError};
use crate::fault::Fault;
use crate::log::Entry;
use crate::read::StoredCheckpoint;
use crate::store::Store;
use crate::vault::rows;

/// What a check that found nothing wrong looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FsckReport {
    /// Entries of the log.
    pub entries: u64,
    /// Hash of the last entry.
    pub tip: Hash,
    /// Root of the Merkle tree over all entries.
    pub root: Hash,
    /// Entries the last checkpoint covers; its root was computed anew. Its signatures are for the caller to check.
    pub checkpoint_size: Option<u64>,
    /// Records of the vault, all of which open.
    pub secrets: u64,
    /// Cells, all of which match their tags.
    pub cells: u64,
}

impl Store {
    /// Reads everything, computes every hash anew, opens every sealed record, and names what is wrong
    /// first: the log in order, then its checkpoint, snapshots, vault, cells, and the file's structure.
    pub fn fsck(&self) -> Result<FsckReport, FsckError> {
        let (tree, tip, checkpoint_size) = self.check_log()?;
        self.check_snapshots(tree.size())?;
        let secrets = self.check_vault()?;
        let cells = self.check_cells()?;
        self.check_structure()?;
        Ok(FsckReport { entries: tree.size(), tip, root: tree.root(), checkpoint_size, secrets, cells })
    }

    fn check_log(&self) -> Result<(Frontier, Hash, Option<u64>), FsckError> {
        let checkpoint = self.checkpoint()?.map(parse_checkpoint).transpose()?;
        let mut chain = Chain { tree: Frontier::new(), tip: Hash::ZERO, at: Timestamp::from_millis(0) };
        let last = self.last_index();
        let mut root_there = None;
        loop {
            let size = chain.tree.size();
            if checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.size == size) {
                root_there = Some(chain.tree.root());
            }
            // One at a time, so that a damaged page is laid to the first entry it hides.
            match self.read(size..size + 1) {
                Ok(entries) => match entries.first() {
                    Some(entry) => chain.check(entry)?,
                    None if last.is_none_or(|last| last < size) => break,
                    None => return Err(bad(size, "it is missing")),
                },
                Err(ReadError::Fault(Fault::Io(cause))) => return Err(Fault::Io(cause).into()),
                Err(error) => return Err(bad(size, error.to_string())),
            }
        }
        match (&checkpoint, root_there) {
            (Some(checkpoint), None) => Err(FsckError::Checkpoint(format!(
                "it covers {} entries and the log has {}: the end of the log is missing",
                checkpoint.size,
                chain.tree.size()
            ))),
            (Some(checkpoint), Some(root)) if root != checkpoint.root => Err(FsckError::Checkpoint(format!(
                "it has root {} at {} entries, the log has {root}",
                checkpoint.root, checkpoint.size
            ))),
            _ => Ok((chain.tree, chain.tip, checkpoint.map(|checkpoint| checkpoint.size))),
        }
    }

    /// The largest index in the table; unreadable counts as none, and the walk then says where.
    fn last_index(&self) -> Option<u64> {
        let last = self.conn.query_row("SELECT max(idx) FROM entry", [], |row| row.get::<_, Option<i64>>(0));
        last.ok().flatten().map(|last| last as u64)
    }

    fn check_snapshots(&self, log: u64) -> Result<(), FsckError> {
        match self.snapshot(u64::MAX)? {
            Some(snapshot) if snapshot.size > log => Err(FsckError::Snapshot { size: snapshot.size, log }),
            _ => Ok(()),
        }
    }

    fn check_vault(&self) -> Result<u64, FsckError> {
        let names = rows::names(&self.conn, "SELECT name FROM vault ORDER BY name")?;
        for name in &names {
            let record = rows::load(&self.conn, name)?;
            if record.is_none_or(|record| self.keyring.open(name, &record).is_none()) {
                return Err(FsckError::Vault(name.clone()));
            }
        }
        match rows::stray_slot(&self.conn)? {
            Some(slot) => Err(FsckError::Structure(format!("vault slot {slot} holds a key that no record has"))),
            None => Ok(names.len() as u64),
        }
    }

    fn check_cells(&self) -> Result<u64, FsckError> {
        self.cells("").map(|cells| cells.len() as u64).map_err(|error| match error {
            ReadError::Cell { name } => FsckError::Cell(name.to_string()),
            ReadError::Fault(fault) => FsckError::Fault(fault),
            other => FsckError::Structure(other.to_string()),
        })
    }

    fn check_structure(&self) -> Result<(), FsckError> {
        let said: String =
            self.conn.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(Fault::from)?;
        if said == "ok" { Ok(()) } else { Err(FsckError::Structure(said)) }
    }
}

/// The log as computed anew, up to the entry before the one that is looked at.
struct Chain {
    tree: Frontier,
    tip: Hash,
    at: Timestamp,
}

impl Chain {
    fn check(&mut self, stored: &Entry) -> Result<(), FsckError> {
        let index = self.tree.size();
        let entry = evidence::Entry::<Opaque>::parse(&stored.bytes).map_err(|error| bad(index, error.to_string()))?;
        let (hash, leaf) = (entry_hash(&stored.bytes), leaf_hash(&stored.bytes));
        if entry.index != index {
            return Err(bad(index, format!("it says it is entry {}", entry.index)));
        }
        if entry.prev != self.tip {
            return Err(bad(index, "it does not follow the entry before it"));
        }
        if entry.at < self.at {
            return Err(bad(index, "it is earlier than the entry before it"));
        }
        if hash != stored.hash || leaf != stored.leaf {
            return Err(bad(index, "its bytes do not have the hashes kept with it"));
        }
        self.tree.append(leaf);
        self.tip = hash;
        self.at = entry.at;
        Ok(())
    }
}

fn bad(index: u64, reason: impl Into<String>) -> FsckError {
    FsckError::Entry { index, reason: reason.into() }
}

fn parse_checkpoint(stored: StoredCheckpoint) -> Result<Checkpoint, FsckError> {
    let note = SignedNote::parse(stored.note.as_bytes()).map_err(|error| FsckError::Checkpoint(error.to_string()))?;
    let checkpoint = Checkpoint::parse(note.text()).map_err(|error| FsckError::Checkpoint(error.to_string()))?;
    if checkpoint.size == stored.size {
        Ok(checkpoint)
    } else {
        Err(FsckError::Checkpoint(format!("it covers {} entries, kept as {}", checkpoint.size, stored.size)))
    }
}
