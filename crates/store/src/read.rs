//! The read path. Every read of more than one row states a bound or takes a range.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Row, params};
use types::Hash;

use crate::error::ReadError;
use crate::fault::Fault;
use crate::log::{Entry, Head};
use crate::name::{CellName, VaultName};
use crate::store::Store;
use crate::vault::{VaultSecret, rows};

/// The state after the first `size` entries, as a caller kept it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Entries folded into it.
    pub size: u64,
    /// The caller's bytes. A cache: its hash must be checked against the log's own record of it.
    pub bytes: Vec<u8>,
}

/// The last checkpoint of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Entries it covers.
    pub size: u64,
    /// The signed note (C2SP `tlog-checkpoint`).
    pub note: String,
}

impl Store {
    /// Where the log ends now.
    pub fn head(&self) -> Result<Head, Fault> {
        head(&self.conn)
    }

    /// The entries of `range`, cut at the end of the log. The caller bounds the range.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<Entry>, ReadError> {
        let sql = "SELECT idx, hash, leaf, bytes FROM entry WHERE idx >= ?1 AND idx < ?2 ORDER BY idx";
        self.collect(sql, range, |row| Ok(Entry { hash: hash(row, 1)?, leaf: hash(row, 2)?, bytes: row.get(3)? }))
    }

    /// The leaf hashes of `range`, cut at the end of the log: 32 bytes an entry.
    pub fn leaf_hashes(&self, range: Range<u64>) -> Result<Vec<Hash>, ReadError> {
        self.collect("SELECT idx, leaf FROM entry WHERE idx >= ?1 AND idx < ?2 ORDER BY idx", range, |row| hash(row, 1))
    }

    fn collect<T>(
        &self,
        sql: &str,
        range: Range<u64>,
        item: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, ReadError> {
        let mut statement = self.conn.prepare_cached(sql).map_err(Fault::from)?;
        let bound = |index: u64| i64::try_from(index).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![bound(range.start), bound(range.end)]).map_err(Fault::from)?;
        let mut items = Vec::new();
        while let Some(row) = rows.next().map_err(Fault::from)? {
            let index = range.start + items.len() as u64;
            let found: i64 = row.get(0).map_err(Fault::from)?;
            if found as u64 != index {
                return Err(ReadError::Gap { index });
            }
            items.push(item(row).map_err(Fault::from)?);
        }
        Ok(items)
    }

    /// The last checkpoint, if one was ever appended.
    pub fn checkpoint(&self) -> Result<Option<StoredCheckpoint>, Fault> {
        let row = |row: &Row<'_>| Ok(StoredCheckpoint { size: row.get::<_, i64>(0)? as u64, note: row.get(1)? });
        Ok(self.conn.prepare_cached("SELECT size, note FROM checkpoint")?.query_row([], row).optional()?)
    }

    /// The last snapshot that covers at most `size` entries.
    pub fn snapshot(&self, size: u64) -> Result<Option<Snapshot>, Fault> {
        let row = |row: &Row<'_>| Ok(Snapshot { size: row.get::<_, i64>(0)? as u64, bytes: row.get(1)? });
        let sql = "SELECT size, bytes FROM snapshot WHERE size <= ?1 ORDER BY size DESC LIMIT 1";
        let bound = i64::try_from(size).unwrap_or(i64::MAX);
        Ok(self.conn.prepare_cached(sql)?.query_row([bound], row).optional()?)
    }

    /// The value of a cell, `None` where there is no such cell.
    pub fn cell(&self, name: &CellName) -> Result<Option<Vec<u8>>, ReadError> {
        let row: Option<(Vec<u8>, Vec<u8>)> = self
            .conn
            .prepare_cached("SELECT value, tag FROM cell WHERE name = ?1")
            .and_then(|mut get| get.query_row([name.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).optional())
            .map_err(Fault::from)?;
        match row {
            Some((value, tag)) if self.keyring.cell_matches(name.as_str(), &value, &tag) => Ok(Some(value)),
            Some(_) => Err(ReadError::Cell { name: name.clone() }),
            None => Ok(None),
        }
    }

    /// Names and values of the cells whose names start with `prefix`, in order of name.
    pub fn cells(&self, prefix: &str) -> Result<Vec<(CellName, Vec<u8>)>, ReadError> {
        let names = self.names("SELECT name FROM cell WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name", prefix)?;
        let mut cells = Vec::with_capacity(names.len());
        for name in names {
            let name = CellName::new(name).map_err(|error| Fault::Corrupt(error.to_string()))?;
            if let Some(value) = self.cell(&name)? {
                cells.push((name, value));
            }
        }
        Ok(cells)
    }

    /// The secret sealed under `name`, `None` where there is no such record.
    pub fn secret(&self, name: &VaultName) -> Result<Option<VaultSecret>, ReadError> {
        let record = rows::load(&self.conn, name.as_str())?;
        let Some(record) = record else { return Ok(None) };
        match self.keyring.open(name.as_str(), &record) {
            Some(secret) => Ok(Some(secret)),
            None => Err(ReadError::Vault { name: name.clone() }),
        }
    }

    /// Names of the vault's records that start with `prefix`, in order.
    pub fn secret_names(&self, prefix: &str) -> Result<Vec<VaultName>, Fault> {
        let names =
            self.names("SELECT name FROM vault WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name", prefix)?;
        names.into_iter().map(|name| VaultName::new(name).map_err(|error| Fault::Corrupt(error.to_string()))).collect()
    }

    fn names(&self, sql: &str, prefix: &str) -> Result<Vec<String>, Fault> {
        let mut statement = self.conn.prepare_cached(sql)?;
        let names = statement.query_map([prefix], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()?;
        Ok(names)
    }
}

pub(crate) fn head(conn: &Connection) -> Result<Head, Fault> {
    let last = conn
        .prepare_cached("SELECT idx, hash FROM entry ORDER BY idx DESC LIMIT 1")?
        .query_row([], |row| Ok(Head { size: row.get::<_, i64>(0)? as u64 + 1, tip: hash(row, 1)? }))
        .optional()?;
    Ok(last.unwrap_or(Head::EMPTY))
}

pub(crate) fn hash(row: &Row<'_>, column: usize) -> rusqlite::Result<Hash> {
    row.get::<_, [u8; 32]>(column).map(Hash::new)
}
