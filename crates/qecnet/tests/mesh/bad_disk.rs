//! A disk that runs full under a hub that is at work.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use crate::deployment::{Mesh, Ran, assert_holds, wait};

/// Room for the hub's folder: its secrets, its store and a write-ahead log of several mebibytes.
const ROOM: &str = "size=24m";

/// A file system of its own for the hub's folder, gone with the test.
struct SmallDisk<'p>(&'p Path);

impl<'p> SmallDisk<'p> {
    fn mount(path: &'p Path) -> Self {
        fs::create_dir_all(path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", ROOM, "tmpfs"]).arg(path).status().unwrap();
        assert!(done.success(), "this test mounts a small file system: run it as root");
        Self(path)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Writes until nothing more fits.
fn fill(path: &Path) {
    let mut file = File::create(path).unwrap();
    for len in [1 << 16, 1 << 12, 1 << 8, 1] {
        while file.write_all(&vec![7; len]).is_ok() {}
    }
}

/// QT-10 KM-01: with its disk full a hub refuses, with its own code, and does nothing that it could not
/// record; nodes keep their keys; with room again it goes on by itself and nothing that was answered is
/// missing.
#[test]
fn a_full_disk_stops_recording_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("hub");
    let _disk = SmallDisk::mount(&disk);
    let mesh = Mesh::start_on(2, "1s", |data| std::os::unix::fs::symlink(&disk, data.join("hub")).unwrap());
    let filler = disk.join("filler");
    fill(&filler);
    let refused: Ran = wait("the hub refuses for want of room", || {
        // What a checkpoint gave back is filled again.
        File::options().append(true).open(&filler).map(|mut file| while file.write_all(&[7; 4096]).is_ok() {}).unwrap();
        let ran = mesh.cli(&["status"]);
        (ran.code() != 0).then_some(ran)
    });
    let refused = refused.expect(8);
    assert!(refused.err.contains("disk is full"), "{}", refused.err);
    mesh.cli(&["keys", "rotate", "--type", "MESH_SESSION"]).expect(8);
    let pid = mesh.pid("hub");

    fs::remove_file(&filler).unwrap();
    let before = wait("the hub records again", || mesh.status());
    let size = before["log"]["size"].as_u64().unwrap();
    assert_eq!(mesh.pid("hub"), pid, "the hub went on by itself");
    let pairs = mesh.active_pairs();
    mesh.wait_status("keys rotate again", |_| {
        let now = mesh.active_pairs();
        !now.is_empty() && now != pairs
    });
    let after = mesh.wait_keyed();
    assert!(after["log"]["size"].as_u64().unwrap() > size);
    let (log, pins) = mesh.export("after");
    assert_holds(&log, &pins);
}
