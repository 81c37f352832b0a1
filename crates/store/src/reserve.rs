//! Room on the disk that is kept in a file beside the store, so that something can still be written when nothing
//! else fits: the file is cut shorter by as much as is needed.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::fault::Fault;

/// Bytes kept.
const LEN: u64 = 4 * 1024 * 1024;
/// Bytes given at a time: some commits of a few entries each.
const STEP: u64 = 256 * 1024;
/// Bytes written at a time.
const CHUNK: usize = 64 * 1024;

/// The file that keeps the room.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    fn open(&self) -> std::io::Result<File> {
        File::options().create(true).truncate(false).write(true).mode(0o600).open(&self.path)
    }

    /// Makes it whole, or as large as there is room: it goes before everything else that is written.
    pub(crate) fn keep(&self) -> Result<(), Fault> {
        let mut file = self.open().map_err(fault)?;
        let mut len = file.seek(SeekFrom::End(0)).map_err(fault)?;
        // not zeros: some file systems keep no room for those
        let filling = [0xa5; CHUNK];
        while len < LEN {
            if let Err(error) = file.write_all(&filling).and_then(|()| file.sync_data()) {
                file.set_len(len).map_err(fault)?;
                return Err(fault(error));
            }
            len += CHUNK as u64;
        }
        Ok(())
    }

    /// Gives a part of it back to the disk. Whether there was any.
    pub(crate) fn release(&self) -> Result<bool, Fault> {
        let mut file = self.open().map_err(fault)?;
        let len = file.seek(SeekFrom::End(0)).map_err(fault)?;
        if len == 0 {
            return Ok(false);
        }
        file.set_len(len.saturating_sub(STEP)).and_then(|()| file.sync_all()).map_err(fault)?;
        Ok(true)
    }
}

fn fault(error: std::io::Error) -> Fault {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Fault::DiskFull,
        std::io::ErrorKind::PermissionDenied => Fault::Access,
        _ => Fault::Engine(format!("the reserve: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::{LEN, Reserve, STEP};

    #[test]
    fn it_is_given_part_by_part_and_made_whole_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("reserve");
        let reserve = Reserve::new(path.clone());
        assert!(!reserve.release().unwrap(), "there is none yet");
        reserve.keep().unwrap();
        let len = || std::fs::metadata(&path).unwrap().len();
        assert_eq!(len(), LEN);
        for given in 1..=LEN / STEP {
            assert!(reserve.release().unwrap());
            assert_eq!(len(), LEN - given * STEP);
        }
        assert!(!reserve.release().unwrap());
        reserve.keep().unwrap();
        assert_eq!(len(), LEN);
    }
}
