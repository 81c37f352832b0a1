//! Where the vault's bytes lie in the file.
//!
//! The engine overwrites what is deleted, but a B-tree that rebalances copies rows to other pages and
//! leaves stale bytes in the gaps, where no deletion reaches them. So a wrapped key never moves: slots are
//! added only at the right end of their table, which moves no other, are all of one length, are
//! never deleted, and are overwritten in place. Sealed texts may leave traces; without their keys they are noise.

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{Keyring, Record, VaultSecret, WRAPPED_LEN};
use crate::error::{AppendError, RewrapError};
use crate::fault::Fault;

/// What lies in a slot without a key.
const EMPTY_SLOT: [u8; WRAPPED_LEN] = [0; WRAPPED_LEN];

/// The record `name`.
pub(crate) fn load(conn: &Connection, name: &str) -> Result<Option<Record>, Fault> {
    let sql = "SELECT version, wrapped, sealed FROM vault JOIN vault_key USING (slot) WHERE name = ?1";
    let mut get = conn.prepare_cached(sql)?;
    let record = get.query_row([name], |row| {
        Ok(Record { version: row.get::<_, i64>(0)? as u64, key: row.get(1)?, body: row.get(2)? })
    });
    Ok(record.optional()?)
}

/// Seals `secret` as the next version of the record `name`; returns whether that destroyed an older one.
pub(crate) fn put(
    tx: &Transaction<'_>,
    keyring: &Keyring,
    name: &str,
    secret: &VaultSecret,
) -> Result<bool, AppendError> {
    let old = place(tx, name)?;
    let version = old.map_or(1, |(version, _)| version + 1);
    let record = keyring.seal(name, version as u64, secret)?;
    let slot = match old {
        Some((_, slot)) => overwrite(tx, slot, &record.key).map(|()| slot),
        None => occupy(tx, &record.key),
    }?;
    tx.prepare_cached("INSERT OR REPLACE INTO vault (name, version, slot, sealed) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut put| put.execute(params![name, version, slot, record.body]))
        .map_err(Fault::from)?;
    Ok(old.is_some())
}

/// Destroys the record `name`; returns whether there was one.
pub(crate) fn erase(tx: &Transaction<'_>, name: &str) -> Result<bool, Fault> {
    let Some((_, slot)) = place(tx, name)? else { return Ok(false) };
    overwrite(tx, slot, &EMPTY_SLOT)?;
    tx.prepare_cached("DELETE FROM vault WHERE name = ?1")?.execute([name])?;
    tx.prepare_cached("INSERT INTO vault_free (slot) VALUES (?1)")?.execute([slot])?;
    Ok(true)
}

/// Refuses where another handle moved the file to another master key since `keyring` was opened.
pub(crate) fn same_master(tx: &Transaction<'_>, keyring: &Keyring) -> Result<(), Fault> {
    let check: Vec<u8> = tx.prepare_cached("SELECT key_check FROM about")?.query_row([], |row| row.get(0))?;
    if keyring.matches(&check) { Ok(()) } else { Err(Fault::OtherKey) }
}

/// Version and slot of the record `name`.
fn place(tx: &Transaction<'_>, name: &str) -> Result<Option<(i64, i64)>, Fault> {
    let mut get = tx.prepare_cached("SELECT version, slot FROM vault WHERE name = ?1")?;
    Ok(get.query_row([name], |row| Ok((row.get(0)?, row.get(1)?))).optional()?)
}

fn occupy(tx: &Transaction<'_>, wrapped: &[u8]) -> Result<i64, Fault> {
    let mut free =
        tx.prepare_cached("DELETE FROM vault_free WHERE slot = (SELECT min(slot) FROM vault_free) RETURNING slot")?;
    match free.query_row([], |row| row.get(0)).optional()? {
        Some(slot) => overwrite(tx, slot, wrapped).map(|()| slot),
        None => {
            // Without a slot given, the row goes behind the last one.
            tx.prepare_cached("INSERT INTO vault_key (wrapped) VALUES (?1)")?.execute([wrapped])?;
            Ok(tx.last_insert_rowid())
        }
    }
}

fn overwrite(tx: &Transaction<'_>, slot: i64, wrapped: &[u8]) -> Result<(), Fault> {
    // An update to a value of the same length is written over the old one; a replacement would not be.
    let done =
        tx.prepare_cached("UPDATE vault_key SET wrapped = ?2 WHERE slot = ?1")?.execute(params![slot, wrapped])?;
    if done == 1 { Ok(()) } else { Err(Fault::Corrupt(format!("vault slot {slot} is missing"))) }
}

/// Moves every record key and every cell's tag from `old` to `new` in one transaction. The secrets
/// themselves are not touched.
pub(crate) fn rewrap(conn: &mut Connection, old: &Keyring, new: &Keyring) -> Result<(), RewrapError> {
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Fault::from)?;
    same_master(&tx, old)?;
    for name in names(&tx, "SELECT name FROM vault ORDER BY name")? {
        let found = load(&tx, &name)?.and_then(|record| Some((record.version, old.unwrap_key(&name, &record)?)));
        let (Some((version, record_key)), Some((_, slot))) = (found, place(&tx, &name)?) else {
            return Err(RewrapError::Vault { name });
        };
        overwrite(&tx, slot, &new.wrap(&name, version, &record_key)?)?;
    }
    for name in names(&tx, "SELECT name FROM cell ORDER BY name")? {
        let (value, tag) = tx
            .prepare_cached("SELECT value, tag FROM cell WHERE name = ?1")
            .and_then(|mut get| {
                get.query_row([&name], |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)))
            })
            .map_err(Fault::from)?;
        // A new tag over a damaged value would hide the damage.
        if !old.cell_matches(&name, &value, &tag) {
            return Err(RewrapError::Cell { name });
        }
        tx.prepare_cached("UPDATE cell SET tag = ?2 WHERE name = ?1")
            .and_then(|mut update| update.execute(params![name, new.cell_tag(&name, &value)]))
            .map_err(Fault::from)?;
    }
    tx.execute("UPDATE about SET key_check = ?1", [new.check_value()]).map_err(Fault::from)?;
    tx.commit().map_err(Fault::from)?;
    Ok(())
}

/// The first column of `sql`, which selects names.
pub(crate) fn names(conn: &Connection, sql: &str) -> Result<Vec<String>, Fault> {
    let mut statement = conn.prepare(sql)?;
    Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// The first slot that is neither a record's nor free and empty.
pub(crate) fn stray_slot(conn: &Connection) -> Result<Option<i64>, Fault> {
    let sql = "SELECT slot FROM vault_key WHERE slot NOT IN (SELECT slot FROM vault)
        AND NOT (wrapped = ?1 AND slot IN (SELECT slot FROM vault_free)) LIMIT 1";
    Ok(conn.query_row(sql, [EMPTY_SLOT], |row| row.get(0)).optional()?)
}
