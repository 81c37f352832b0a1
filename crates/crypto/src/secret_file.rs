//! Files that keep secrets: text with a line that says what it is, mode 0600, written whole or not
//! at all.
//!
//! ```text
//! qecnet identity key v1
//! 6b1f…  (64 hex digits a line)
//! ```
//!
//! Writing: `openat(O_CREAT|O_EXCL, 0600)` of a temporary name in the same directory, `write`,
//! `fsync`, `linkat` or `renameat` to the name, `fsync` of the directory. After a crash the name
//! holds the old content or the new, and at most a temporary file is left beside it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

/// Largest secret kept in such a file, in bytes.
pub const MAX_LEN: usize = 64 * 1024;

/// What a file keeps; the text of its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileKind(&'static str);

impl FileKind {
    /// Seeds of an identity.
    pub const IDENTITY_KEY: Self = Self("identity key");
    /// Seeds of a log's keys.
    pub const LOG_KEY: Self = Self("log key");
    /// Root key of a vault.
    pub const MASTER_KEY: Self = Self("master key");
    /// Private key of a TLS certificate, PKCS #8.
    pub const TLS_KEY: Self = Self("tls key");

    /// A kind of another crate. The text is lower-case words, unique in the product.
    pub const fn new(text: &'static str) -> Self {
        Self(text)
    }

    fn first_line(self) -> String {
        format!("qecnet {} v1", self.0)
    }
}

/// A secret file could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file exists; secrets are not overwritten by accident.
    #[error("`{path}` exists; move it away first")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// There is no such file.
    #[error("`{path}` does not exist; make it with `qecnet init`")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// Others may read or write it.
    #[error("`{path}` has mode {mode:03o} and may be known to others; replace the secret, or `chmod 600` it")]
    TooOpen {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It keeps something else.
    #[error("`{path}` does not start with `{wanted}`; give the path of the right file")]
    WrongKind {
        /// The file.
        path: PathBuf,
        /// The first line that was wanted.
        wanted: String,
    },
    /// It is of the right kind, but damaged.
    #[error("`{path}` is damaged; restore it from its backup")]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot use `{path}`: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> SecretFileError {
    let path = path.to_owned();
    |source| SecretFileError::Io { path, source }
}

/// Keeps `secret` in a new file.
///
/// # Errors
/// [`SecretFileError`]; [`SecretFileError::Exists`] where there is one already.
pub fn create(path: &Path, kind: FileKind, secret: &[u8]) -> Result<(), SecretFileError> {
    write(path, kind, secret, |from, to| {
        fs::hard_link(from, to)?;
        fs::remove_file(from)
    })
}

/// Keeps `secret` in the file, in the place of what it may have kept before.
///
/// # Errors
/// [`SecretFileError`]; the old content is then still there.
pub fn replace(path: &Path, kind: FileKind, secret: &[u8]) -> Result<(), SecretFileError> {
    write(path, kind, secret, |from, to| fs::rename(from, to))
}

fn write(
    path: &Path,
    kind: FileKind,
    secret: &[u8],
    publish: impl FnOnce(&Path, &Path) -> io::Result<()>,
) -> Result<(), SecretFileError> {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    if secret.len() > MAX_LEN {
        return Err(SecretFileError::Io { path: path.to_owned(), source: io::ErrorKind::FileTooLarge.into() });
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = directory.join(format!(".secret-{}-{number}.tmp", std::process::id()));
    // a temporary file with this name is what a crash of an earlier process with this id left
    let _ = fs::remove_file(&temporary);
    let text = to_text(kind, secret);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| publish(&temporary, path));
    if let Err(source) = written {
        let _ = fs::remove_file(&temporary);
        return Err(match source.kind() {
            io::ErrorKind::AlreadyExists => SecretFileError::Exists { path: path.to_owned() },
            _ => SecretFileError::Io { path: path.to_owned(), source },
        });
    }
    File::open(directory).and_then(|dir| dir.sync_all()).map_err(io_error(directory))
}

fn to_text(kind: FileKind, secret: &[u8]) -> Zeroizing<String> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let first = kind.first_line();
    // reserved in full: a string that grows would leave a copy behind
    let mut text = Zeroizing::new(String::with_capacity(first.len() + 1 + 2 * secret.len() + secret.len() / 32 + 1));
    text.push_str(&first);
    text.push('\n');
    for line in secret.chunks(32) {
        for byte in line {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text.push('\n');
    }
    text
}

/// Reads the secret in the file.
///
/// # Errors
/// [`SecretFileError`]: missing, open to others, of another kind, or damaged.
pub fn read(path: &Path, kind: FileKind) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    let damaged = || SecretFileError::Damaged { path: path.to_owned() };
    let text = read_text(path)?;
    let wanted = kind.first_line();
    let body = text
        .strip_prefix(wanted.as_bytes())
        .and_then(|rest| rest.strip_prefix(b"\n"))
        .ok_or_else(|| SecretFileError::WrongKind { path: path.to_owned(), wanted })?;
    let mut digits = Zeroizing::new(Vec::with_capacity(body.len()));
    digits.extend(body.iter().filter(|byte| **byte != b'\n'));
    let mut secret = Zeroizing::new(vec![0; digits.len() / 2]);
    hex::decode_to_slice(&*digits, &mut secret).map_err(|_| damaged())?;
    // one form only: a line cut short or joined is damage, even where the digits still decode
    if to_text(kind, &secret).as_bytes() == text.as_slice() { Ok(secret) } else { Err(damaged()) }
}

/// As [`read`], where the secret has exactly `N` bytes.
///
/// # Errors
/// As [`read`]; another length is damage.
pub fn read_exact<const N: usize>(path: &Path, kind: FileKind) -> Result<Zeroizing<[u8; N]>, SecretFileError> {
    let secret = read(path, kind)?;
    let mut out = Zeroizing::new([0; N]);
    if secret.len() != N {
        return Err(SecretFileError::Damaged { path: path.to_owned() });
    }
    out.copy_from_slice(&secret);
    Ok(out)
}

// Permissions are checked on the open file, not on the name, so that they cannot change in between.
fn read_text(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretFileError> {
    const MAX_TEXT: usize = 128 + 2 * MAX_LEN + MAX_LEN / 32 + 1;
    let file = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => SecretFileError::Missing { path: path.to_owned() },
        _ => SecretFileError::Io { path: path.to_owned(), source },
    })?;
    let about = file.metadata().map_err(io_error(path))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(SecretFileError::TooOpen { path: path.to_owned(), mode });
    }
    let length = usize::try_from(about.len()).unwrap_or(usize::MAX);
    if !about.is_file() || length > MAX_TEXT {
        return Err(SecretFileError::Damaged { path: path.to_owned() });
    }
    let mut text = Zeroizing::new(Vec::with_capacity(length + 1));
    file.take(length as u64 + 1).read_to_end(&mut text).map_err(io_error(path))?;
    Ok(text)
}

#[cfg(test)]
mod tests;
