use std::sync::Arc;

use kernel::effect::Effect;
use kernel::record::Record;
use types::Timestamp;

/// Proof that an event and all that was decided on it are durable and under a signed checkpoint.
/// Only the sequencer makes one, after the append.
#[derive(Debug, Clone)]
pub struct Receipt {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    index: u64,
    at: Timestamp,
    entry: Vec<u8>,
    records: Vec<Record>,
    checkpoint: Arc<str>,
    size: u64,
}

impl Receipt {
    pub(super) fn new(
        index: u64,
        at: Timestamp,
        entry: Vec<u8>,
        records: Vec<Record>,
        checkpoint: Arc<str>,
        size: u64,
    ) -> Self {
        Self { inner: Arc::new(Inner { index, at, entry, records, checkpoint, size }) }
    }

    /// Index of the entry.
    pub fn index(&self) -> u64 {
        self.inner.index
    }

    /// Time of the entry.
    pub fn at(&self) -> Timestamp {
        self.inner.at
    }

    /// The entry's canonical bytes.
    pub fn entry(&self) -> &[u8] {
        &self.inner.entry
    }

    /// What was decided.
    pub fn records(&self) -> &[Record] {
        &self.inner.records
    }

    /// The signed checkpoint that covers the entry.
    pub fn checkpoint(&self) -> &str {
        &self.inner.checkpoint
    }

    /// Number of entries under that checkpoint.
    pub fn size(&self) -> u64 {
        self.inner.size
    }
}

/// Effects that may start now, because the entry that decided them is durable. Holding one is the
/// permission to act; only the sequencer gives it.
#[derive(Debug)]
pub struct Order {
    effects: Vec<Effect>,
    entry: u64,
}

impl Order {
    pub(super) fn new(effects: Vec<Effect>, entry: u64) -> Self {
        Self { effects, entry }
    }

    /// Index of the entry that decided them; the last one for what a restart found undone.
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// Whether it takes keys or a node out of use.
    pub(super) fn revokes(&self) -> bool {
        self.effects.iter().any(|effect| matches!(effect, Effect::Purge(_) | Effect::Isolate { .. }))
    }

    /// Uses the permission up.
    pub fn into_effects(self) -> Vec<Effect> {
        self.effects
    }
}
