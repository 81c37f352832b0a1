//! The write path: what happens inside one transaction.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use types::limits::{BATCH_ENTRIES, ENTRY_LEN};

use crate::error::{AppendError, WriteError};
use crate::fault::Fault;
use crate::log::{Batch, Changes, Head, VaultOp};
use crate::name::CellName;
use crate::read;
use crate::store::Op;
use crate::vault::{Keyring, rows};

/// Snapshots kept: the last one, and one more should the last turn out damaged.
const SNAPSHOTS_KEPT: i64 = 2;

impl WriteError {
    pub(crate) fn from_append(error: AppendError) -> Self {
        match error {
            AppendError::Seal(error) => Self::Seal(error),
            AppendError::Fault(fault) => Self::Fault(fault),
            // Only an append has a head or entries to be wrong about.
            other => Self::Fault(Fault::Engine(other.to_string())),
        }
    }
}

/// What a committed group did.
pub(crate) struct Done {
    /// One result for each op: the head after it, or why it alone did nothing.
    pub(crate) results: Vec<Result<Head, AppendError>>,
    /// Whether a vault record was destroyed, whose key is still in the write-ahead log.
    pub(crate) destroyed: bool,
}

/// Commits `ops` in order. An op that loses or is malformed writes nothing and has its own error;
/// any other failure rolls the whole group back and is the outer error.
pub(crate) fn group(conn: &mut Connection, keyring: &Keyring, ops: &[Op]) -> Result<Done, AppendError> {
    // Immediate: the head read below cannot move before the commit.
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Fault::from)?;
    let mut head = read::head(&tx)?;
    let mut done = Done { results: Vec::with_capacity(ops.len()), destroyed: false };
    for op in ops {
        let result = match op {
            Op::Append { expected, batch } => match admit(head, *expected, batch) {
                Ok(()) => {
                    append(&tx, head, batch)?;
                    done.destroyed |= apply(&tx, keyring, &batch.changes)?;
                    head = batch.head_after(head);
                    Ok(head)
                }
                Err(error) => Err(error),
            },
            Op::Apply(changes) => {
                done.destroyed |= apply(&tx, keyring, changes)?;
                Ok(head)
            }
        };
        done.results.push(result);
    }
    tx.commit().map_err(Fault::from)?;
    Ok(done)
}

/// Every reason to refuse a batch, before any of it is written.
fn admit(actual: Head, expected: Head, batch: &Batch) -> Result<(), AppendError> {
    if expected != actual {
        return Err(AppendError::Lost { actual });
    }
    if batch.entries.len() > BATCH_ENTRIES {
        return Err(AppendError::TooManyEntries { len: batch.entries.len() });
    }
    match batch.entries.iter().position(|entry| entry.bytes.len() > ENTRY_LEN) {
        Some(position) => Err(AppendError::EntryTooLong { position, len: batch.entries[position].bytes.len() }),
        None => Ok(()),
    }
}

fn append(tx: &Transaction<'_>, head: Head, batch: &Batch) -> Result<(), Fault> {
    let mut insert = tx.prepare_cached("INSERT INTO entry (idx, hash, leaf, bytes) VALUES (?1, ?2, ?3, ?4)")?;
    for (index, entry) in (head.size..).zip(&batch.entries) {
        insert.execute(params![index as i64, entry.hash.as_bytes(), entry.leaf.as_bytes(), entry.bytes])?;
    }
    if let Some(note) = &batch.checkpoint {
        let size = head.size + batch.entries.len() as u64;
        tx.prepare_cached("INSERT OR REPLACE INTO checkpoint (id, size, note) VALUES (1, ?1, ?2)")?
            .execute(params![size as i64, note])?;
    }
    Ok(())
}

/// Returns whether a vault record was destroyed.
fn apply(tx: &Transaction<'_>, keyring: &Keyring, changes: &Changes) -> Result<bool, AppendError> {
    if changes.is_empty() {
        return Ok(false);
    }
    rows::same_master(tx, keyring)?;
    let mut destroyed = false;
    for op in &changes.vault {
        destroyed |= match op {
            VaultOp::Put(name, secret) => rows::put(tx, keyring, name.as_str(), secret)?,
            VaultOp::Erase(name) => rows::erase(tx, name.as_str())?,
        };
    }
    cells(tx, keyring, &changes.cells)?;
    Ok(destroyed)
}

fn cells(tx: &Transaction<'_>, keyring: &Keyring, cells: &[(CellName, Option<Vec<u8>>)]) -> Result<(), Fault> {
    for (name, value) in cells {
        match value {
            Some(value) => {
                let tag = keyring.cell_tag(name.as_str(), value);
                tx.prepare_cached("INSERT OR REPLACE INTO cell (name, value, tag) VALUES (?1, ?2, ?3)")?
                    .execute(params![name.as_str(), value, tag])?;
            }
            None => {
                tx.prepare_cached("DELETE FROM cell WHERE name = ?1")?.execute([name.as_str()])?;
            }
        }
    }
    Ok(())
}

pub(crate) fn snapshot(conn: &mut Connection, size: u64, bytes: &[u8]) -> Result<(), Fault> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    tx.prepare_cached("INSERT OR REPLACE INTO snapshot (size, bytes) VALUES (?1, ?2)")?
        .execute(params![size as i64, bytes])?;
    tx.prepare_cached(
        "DELETE FROM snapshot WHERE size NOT IN (SELECT size FROM snapshot ORDER BY size DESC LIMIT ?1)",
    )?
    .execute([SNAPSHOTS_KEPT])?;
    tx.commit()?;
    Ok(())
}
