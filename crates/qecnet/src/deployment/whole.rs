//! Writing a file whole or not at all, whenever the command is stopped.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Where this process writes a file before it takes its name: two commands at once do not meet there.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.partial", std::process::id()));
    path.with_file_name(name)
}

/// Writes `text` to `path`, readable for its owner alone unless `public`.
pub(crate) fn write(path: &Path, text: &str, public: bool) -> anyhow::Result<()> {
    write_beside(path, text.as_bytes(), if public { 0o644 } else { 0o600 })
        .with_context(|| format!("cannot write {}", path.display()))
}

/// As [`write()`], with a mode.
pub(crate) fn write_beside(path: &Path, text: &[u8], mode: u32) -> io::Result<()> {
    let partial = beside(path);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&partial)?;
    file.write_all(text).and_then(|()| file.sync_all())?;
    take_name(&partial, path)
}

/// Gives a file that is whole its name, durably.
pub(crate) fn take_name(partial: &Path, path: &Path) -> io::Result<()> {
    fs::rename(partial, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::File::open(folder)?.sync_all()
}
