//! The tables, and how a connection must be set before it touches them.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::time::Duration;

use crate::fault::Fault;

/// `QECS` in the header of every store, so that another SQLite file is not taken for one.
pub(crate) const APPLICATION_ID: i32 = 0x5145_4353;
/// Version of the tables below.
pub(crate) const FORMAT: i32 = 1;

/// How long a writer waits for another process before it reports [`Fault::Busy`].
const BUSY_WAIT: Duration = Duration::from_secs(5);

// The index is the fence: two writers that append at one head collide on `entry.idx`. A file holds
// one boundary, named in `about`, so the boundary is not repeated in each row.
const TABLES: &str = "
CREATE TABLE about (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boundary TEXT NOT NULL,
    key_check BLOB NOT NULL
) STRICT;
CREATE TABLE entry (
    idx INTEGER PRIMARY KEY,
    hash BLOB NOT NULL,
    leaf BLOB NOT NULL,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE checkpoint (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    note TEXT NOT NULL
) STRICT;
CREATE TABLE snapshot (
    size INTEGER PRIMARY KEY,
    bytes BLOB NOT NULL
) STRICT;
CREATE TABLE vault (
    name TEXT PRIMARY KEY,
    version INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE vault_key (
    slot INTEGER PRIMARY KEY,
    wrapped BLOB NOT NULL
) STRICT;
CREATE TABLE vault_free (
    slot INTEGER PRIMARY KEY
) STRICT;
CREATE TABLE cell (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL,
    tag BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// Opens the file at `path`, which must exist, and sets the connection up.
pub(crate) fn connect(path: &Path) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let conn = Connection::open_with_flags(path, flags)?;
    conn.busy_timeout(BUSY_WAIT)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    conn.set_prepared_statement_cache_capacity(64);
    conn.pragma_update(None, "journal_mode", "WAL")?;
    // A commit returns only after the write-ahead log is on the device.
    conn.pragma_update(None, "synchronous", "FULL")?;
    // Deleted content is overwritten in the file, not only forgotten.
    conn.pragma_update(None, "secure_delete", "ON")?;
    conn.pragma_update(None, "cell_size_check", "ON")?;
    // Sort and statement journals never reach the disk.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // The engine ignores a failure of the checkpoint it starts by itself; the store must not, so it starts its own.
    conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    Ok(conn)
}

/// Writes the tables into a new file.
pub(crate) fn create_tables(conn: &Connection) -> Result<(), Fault> {
    conn.execute_batch(TABLES)?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", FORMAT)?;
    Ok(())
}

/// The application id and format version in the file's header.
pub(crate) fn stamp(conn: &Connection) -> Result<(i32, i32), Fault> {
    let application: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let format: i32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((application, format))
}
