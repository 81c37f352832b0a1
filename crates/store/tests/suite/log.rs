//! Append, read, checkpoint, snapshot, cells, and the check of it all.

use store::{AppendError, Batch, Changes, Entry, FsckError, Head, Store, WriteError};
use types::Hash;

use crate::fixture::{Writer, cell, create, open, secret, secret_name};

/// QT-10: what was acknowledged is there after reopening, in order and whole.
#[test]
fn an_append_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    let mut writer = Writer::new();
    let batch = writer.batch(&[0, 50, 7], 1);
    let (entries, note) = (batch.entries.clone(), batch.checkpoint.clone().unwrap());
    let head = store.append(Head::EMPTY, batch).unwrap();
    assert_eq!(head, Head::from(writer.head));
    store.close().unwrap();

    let store = open(&path);
    assert_eq!(store.head().unwrap(), head);
    assert_eq!(store.read(0..100).unwrap(), entries);
    assert_eq!(store.read(1..2).unwrap(), entries[1..2]);
    assert_eq!(store.read(3..9).unwrap(), []);
    assert_eq!(store.leaf_hashes(0..3).unwrap(), entries.iter().map(|entry| entry.leaf).collect::<Vec<_>>());
    let checkpoint = store.checkpoint().unwrap().unwrap();
    assert_eq!((checkpoint.size, checkpoint.note), (3, note));
    let report = store.fsck().unwrap();
    assert_eq!((report.entries, report.root, report.checkpoint_size), (3, writer.tree.root(), Some(3)));
}

/// QT-10: of two writers on one file the second loses, is told the head, and nothing of its batch stays.
#[test]
fn the_second_writer_loses() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut first = create(&path);
    let mut second = open(&path);
    let mut writer = Writer::new();
    let mut loser = writer.clone();
    let won = first.append(Head::EMPTY, writer.batch(&[1], 1)).unwrap();

    let mut batch = loser.batch(&[2, 3], 2);
    batch.changes.put_secret(secret_name("key/1"), secret(b"lost"));
    batch.changes.put_cell(cell("cursor"), vec![1]);
    match second.append(Head::EMPTY, batch) {
        Err(AppendError::Lost { actual }) => assert_eq!(actual, won),
        other => panic!("{other:?}"),
    }
    assert!(second.secret(&secret_name("key/1")).unwrap().is_none());
    assert_eq!(second.cell(&cell("cursor")).unwrap(), None);
    assert_eq!(second.append(won, writer.batch(&[4], 3)).unwrap().size, 2);
    assert!(matches!(first.append(won, loser.batch(&[5], 4)), Err(AppendError::Lost { .. })));
    first.fsck().unwrap();
}

#[test]
fn a_head_of_the_right_size_and_the_wrong_tip_loses() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(&dir.path().join("alpha.db"));
    let mut writer = Writer::new();
    let head = store.append(Head::EMPTY, writer.batch(&[1], 1)).unwrap();
    let forked = Head { tip: Hash::new([9; 32]), ..head };
    assert!(matches!(store.append(forked, writer.batch(&[1], 1)), Err(AppendError::Lost { actual }) if actual == head));
}

#[test]
fn a_batch_beyond_the_limits_is_refused_whole() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(&dir.path().join("alpha.db"));
    let entry = |len: usize| Entry { hash: Hash::ZERO, leaf: Hash::ZERO, bytes: vec![0; len] };
    let long: Batch = [entry(5), entry(65_536)].into_iter().collect();
    assert!(matches!(store.append(Head::EMPTY, long), Err(AppendError::EntryTooLong { position: 1, len: 65_536 })));
    let many: Batch = (0..1_025).map(|_| entry(1)).collect();
    assert!(matches!(store.append(Head::EMPTY, many), Err(AppendError::TooManyEntries { len: 1_025 })));
    assert_eq!(store.head().unwrap(), Head::EMPTY);
}

#[test]
fn the_last_two_snapshots_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = create(&dir.path().join("alpha.db"));
    store.append(Head::EMPTY, Writer::new().batch(&[0; 5], 0)).unwrap();
    assert_eq!(store.snapshot(u64::MAX).unwrap(), None);
    for size in [1, 3, 5] {
        store.put_snapshot(size, &[size as u8; 10_000]).unwrap();
    }
    let at = |size: u64| store.snapshot(size).unwrap().map(|snapshot| snapshot.size);
    assert_eq!((at(u64::MAX), at(4), at(2)), (Some(5), Some(3), None));
    assert_eq!(store.snapshot(5).unwrap().unwrap().bytes, vec![5; 10_000]);
}

#[test]
fn cells_are_set_and_removed_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    store.put_cells(vec![(cell("pad/a"), vec![1]), (cell("pad/b"), vec![]), (cell("epoch"), vec![3; 9])]).unwrap();
    let mut changes = Changes::default();
    changes.put_cell(cell("pad/a"), vec![2]);
    changes.remove_cell(cell("pad/b"));
    changes.remove_cell(cell("never"));
    store.apply(changes).unwrap();
    drop(store);
    let store = open(&path);
    assert_eq!(store.cells("pad/").unwrap(), [(cell("pad/a"), vec![2])]);
    assert_eq!(store.cell(&cell("pad/b")).unwrap(), None);
    assert_eq!(store.cell(&cell("epoch")).unwrap(), Some(vec![3; 9]));
}

fn tamper(path: &std::path::Path, sql: &str) -> Store {
    rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap();
    open(path)
}

/// QT-10: whatever is changed in the file, the check names the first bad item.
#[test]
fn the_check_names_the_first_bad_item() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("alpha.db");
    let mut store = create(&made);
    let mut writer = Writer::new();
    let mut batch = writer.batch(&[0; 6], 5);
    batch.changes.put_secret(secret_name("key/1"), secret(b"one"));
    batch.changes.put_cell(cell("cursor"), vec![1]);
    store.append(Head::EMPTY, batch).unwrap();
    store.close().unwrap();

    let after = |name: &str, sql: &str| {
        let path = dir.path().join(name);
        std::fs::copy(&made, &path).unwrap();
        tamper(&path, sql).fsck()
    };
    after("whole", "").unwrap();
    let entries = [
        ("UPDATE entry SET bytes = (SELECT bytes FROM entry WHERE idx = 1) WHERE idx IN (3, 4)", 3),
        ("UPDATE entry SET hash = zeroblob(32) WHERE idx = 2", 2),
        ("UPDATE entry SET leaf = zeroblob(32) WHERE idx = 5", 5),
        ("DELETE FROM entry WHERE idx = 0", 0),
        ("DELETE FROM entry WHERE idx = 4", 4),
        ("UPDATE entry SET bytes = x'00' WHERE idx = 1", 1),
        ("UPDATE entry SET hash = x'00' WHERE idx = 1", 1),
    ];
    for (number, (sql, expected)) in entries.into_iter().enumerate() {
        match after(&format!("entry{number}"), sql) {
            Err(FsckError::Entry { index, .. }) => assert_eq!(index, expected, "{sql}"),
            other => panic!("{sql}: {other:?}"),
        }
    }
    assert!(matches!(after("tail", "DELETE FROM entry WHERE idx = 5"), Err(FsckError::Checkpoint(_))));
    assert!(matches!(after("note", "UPDATE checkpoint SET size = 4"), Err(FsckError::Checkpoint(_))));
    assert!(matches!(after("cell", "UPDATE cell SET value = x'00'"), Err(FsckError::Cell(name)) if name == "cursor"));
    assert!(matches!(after("key", "UPDATE vault SET version = 2"), Err(FsckError::Vault(name)) if name == "key/1"));
    let ahead = after("snap", "INSERT INTO snapshot VALUES (7, x'00')");
    assert!(matches!(ahead, Err(FsckError::Snapshot { size: 7, log: 6 })));
}

/// QT-10: a flipped bit anywhere in an entry's bytes on disk is found.
#[test]
fn a_flipped_bit_in_the_file_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("alpha.db");
    let mut store = create(&made);
    store.append(Head::EMPTY, Writer::new().batch(&[0; 12], 0xAB)).unwrap();
    store.close().unwrap();
    let bytes = std::fs::read(&made).unwrap();
    // Inside the bodies, which are runs of 0xAB.
    let bodies = bytes.windows(8).enumerate().filter(|(_, run)| *run == [0xAB; 8]).map(|(at, _)| at);
    let places: Vec<usize> = bodies.step_by(97).collect();
    assert!(places.len() > 20);
    for at in places {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << (at % 8);
        let path = dir.path().join("flipped.db");
        std::fs::write(&path, flipped).unwrap();
        assert!(matches!(open(&path).fsck(), Err(FsckError::Entry { .. })), "bit at {at}");
    }
}

#[test]
fn a_handle_that_holds_the_store_keeps_others_from_holding_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("node.db");
    let mut first = create(&path);
    first.hold().unwrap();
    let mut second = open(&path);
    assert!(matches!(second.hold(), Err(store::OpenError::Held)));
    drop(first);
    second.hold().unwrap();
    let done: Result<(), WriteError> = second.put_cells(vec![(cell("pad"), vec![1])]);
    done.unwrap();
}
