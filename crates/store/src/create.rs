//! Making a store file so that it is there whole or not at all, and looking at one before it is opened.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use types::BoundaryId;

use crate::error::{CreateError, OpenError};
use crate::fault::Fault;
use crate::schema;
use crate::vault::Keyring;

/// `path` with `suffix` added to its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Writes an empty store under a working name, and links it to `path` once it is on the device.
pub(crate) fn create(path: &Path, boundary: &BoundaryId, keyring: &Keyring) -> Result<(), CreateError> {
    if path.exists() {
        return Err(CreateError::Exists(path.to_owned()));
    }
    let working = beside(path, ".new");
    let file_error = |cause: std::io::Error| CreateError::File { path: path.to_owned(), cause };
    discard(&working).map_err(file_error)?;
    // The engine gives its side files the mode of this one.
    File::options().write(true).create_new(true).mode(0o600).open(&working).map_err(file_error)?;
    let made = fill(&working, boundary, keyring).and_then(|()| publish(&working, path).map_err(file_error));
    let tidied = discard(&working).map_err(file_error);
    made.and(tidied)
}

fn fill(working: &Path, boundary: &BoundaryId, keyring: &Keyring) -> Result<(), CreateError> {
    let key_check = keyring.check_value();
    let conn = schema::connect(working)?;
    schema::create_tables(&conn)?;
    conn.execute("INSERT INTO about (id, boundary, key_check) VALUES (1, ?1, ?2)", (boundary.as_str(), key_check))
        .map_err(Fault::from)?;
    // Closing folds the write-ahead log into the file and removes it.
    conn.close().map_err(|(_, error)| Fault::from(error))?;
    Ok(())
}

fn publish(working: &Path, path: &Path) -> std::io::Result<()> {
    File::open(working)?.sync_all()?;
    // Unlike a rename, a link never replaces a file that came meanwhile.
    fs::hard_link(working, path)?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

fn discard(working: &Path) -> std::io::Result<()> {
    for suffix in ["", "-wal", "-shm"] {
        match fs::remove_file(beside(working, suffix)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a file that is missing or cut short, which the engine would take for an empty one.
pub(crate) fn check_file(path: &Path) -> Result<(), OpenError> {
    let file_error = |cause: std::io::Error| match cause.kind() {
        std::io::ErrorKind::NotFound => OpenError::Missing(path.to_owned()),
        std::io::ErrorKind::PermissionDenied => OpenError::Fault(Fault::Access),
        _ => OpenError::File { path: path.to_owned(), cause },
    };
    let mut file = File::open(path).map_err(file_error)?;
    let found = file.metadata().map_err(file_error)?.len();
    let mut header = [0; 100];
    if found < header.len() as u64 {
        return Err(OpenError::Truncated { wanted: 0, found });
    }
    file.read_exact(&mut header).map_err(file_error)?;
    if header[..16] != *b"SQLite format 3\0" {
        return Err(Fault::NotAStore.into());
    }
    // SQLite file format, section 1.3: page size at 16 (1 stands for 65,536), pages at 28.
    let page_size = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        size => u64::from(size),
    };
    let pages = u32::from_be_bytes([header[28], header[29], header[30], header[31]]);
    let wanted = page_size * u64::from(pages);
    // With a write-ahead log beside it the file may rightly lag behind its header after a crash.
    let log_len = fs::metadata(beside(path, "-wal")).map_or(0, |meta| meta.len());
    if found < wanted && log_len == 0 {
        return Err(OpenError::Truncated { wanted, found });
    }
    Ok(())
}
