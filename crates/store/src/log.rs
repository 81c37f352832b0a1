use types::Hash;

use crate::name::{CellName, VaultName};
use crate::vault::VaultSecret;

/// Where a log ends: how many entries it has, and the hash of the last one.
///
/// It is the fence of every append: whoever brings a head that is not the current one has lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Number of entries; also the index of the next one.
    pub size: u64,
    /// Hash of the last entry, [`Hash::ZERO`] for an empty log.
    pub tip: Hash,
}

impl Head {
    /// The head of a log without entries.
    pub const EMPTY: Self = Self { size: 0, tip: Hash::ZERO };
}

impl From<evidence::Head> for Head {
    fn from(head: evidence::Head) -> Self {
        Self { size: head.size, tip: head.hash }
    }
}

/// One entry of the log with the two hashes the caller computed for it.
///
/// The store keeps them and hands them out again; [`crate::Store::fsck`] computes them anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Hash that the next entry is chained to.
    pub hash: Hash,
    /// Leaf hash in the Merkle tree (RFC 6962 section 2.1).
    pub leaf: Hash,
    /// Canonical bytes, at most [`types::limits::ENTRY_LEN`].
    pub bytes: Vec<u8>,
}

impl From<evidence::Sealed> for Entry {
    fn from(sealed: evidence::Sealed) -> Self {
        Self { hash: sealed.hash(), leaf: sealed.leaf(), bytes: sealed.into_bytes() }
    }
}

/// One change of the vault.
#[derive(Debug)]
pub enum VaultOp {
    /// Seals a secret under a name, in place of what was there.
    Put(VaultName, VaultSecret),
    /// Destroys the record of that name together with its key; nothing happens where there is none.
    Erase(VaultName),
}

/// Changes outside the log, applied in the order given: vault first, then cells.
#[derive(Debug, Default)]
pub struct Changes {
    /// Changes of the vault.
    pub vault: Vec<VaultOp>,
    /// Cells with their new values; `None` removes the cell.
    pub cells: Vec<(CellName, Option<Vec<u8>>)>,
}

impl Changes {
    /// New values of cells, and nothing else.
    pub fn cells(cells: Vec<(CellName, Vec<u8>)>) -> Self {
        Self { vault: Vec::new(), cells: cells.into_iter().map(|(name, value)| (name, Some(value))).collect() }
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.vault.is_empty() && self.cells.is_empty()
    }

    /// Adds the sealing of `secret` under `name`.
    pub fn put_secret(&mut self, name: VaultName, secret: VaultSecret) {
        self.vault.push(VaultOp::Put(name, secret));
    }

    /// Adds the destruction of the record `name`.
    pub fn erase_secret(&mut self, name: VaultName) {
        self.vault.push(VaultOp::Erase(name));
    }

    /// Adds a cell's new value.
    pub fn put_cell(&mut self, name: CellName, value: Vec<u8>) {
        self.cells.push((name, Some(value)));
    }

    /// Adds a cell's removal.
    pub fn remove_cell(&mut self, name: CellName) {
        self.cells.push((name, None));
    }

    pub(crate) fn weight(&self) -> usize {
        let vault: usize = self
            .vault
            .iter()
            .map(|op| match op {
                VaultOp::Put(_, secret) => secret.len() + 512,
                VaultOp::Erase(_) => 512,
            })
            .sum();
        let cells: usize = self.cells.iter().map(|(_, value)| value.as_ref().map_or(0, Vec::len) + 128).sum();
        vault + cells
    }
}

/// Everything that becomes durable together, or not at all.
#[derive(Debug, Default)]
pub struct Batch {
    /// Entries in order; the first gets the index `expected.size`. At most
    /// [`types::limits::BATCH_ENTRIES`].
    pub entries: Vec<Entry>,
    /// Signed note of the log as it is after this batch (C2SP `tlog-checkpoint`); replaces the last one.
    pub checkpoint: Option<String>,
    /// Vault and cells.
    pub changes: Changes,
}

impl Batch {
    /// The head of a log that ended at `before`, once this batch is appended.
    pub fn head_after(&self, before: Head) -> Head {
        let tip = self.entries.last().map_or(before.tip, |entry| entry.hash);
        Head { size: before.size + self.entries.len() as u64, tip }
    }

    /// Roughly the bytes it adds to the file.
    pub(crate) fn weight(&self) -> usize {
        let entries: usize = self.entries.iter().map(|entry| entry.bytes.len() + 96).sum();
        entries + self.checkpoint.as_ref().map_or(0, String::len) + self.changes.weight()
    }
}
