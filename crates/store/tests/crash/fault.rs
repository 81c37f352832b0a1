//! A device that fails: the error says which way, nothing acknowledged is lost, and a handle whose last
//! write is in doubt writes no more.

use store::{AppendError, Fault, Head, StoreHandle, WriteError};

use crate::fixture::{Writer, cell, create, open, secret, secret_name};
use crate::vfs::{self, Failing};

/// QT-10: a full disk refuses the batch, keeps everything before it, and the same batch goes through once
/// there is room.
#[test]
fn a_full_disk_refuses_and_then_takes_the_same_batch() {
    for left in 0..6 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alpha.db");
        let recorder = vfs::watch(&path);
        let mut store = create(&path);
        let mut writer = Writer::new();
        let head = store.append(Head::EMPTY, writer.batch(&[9; 4], 1)).unwrap();

        vfs::lock(&recorder).failing = Some((Failing::Full, left));
        let ahead = writer.clone();
        let mut batch = writer.batch(&[900; 30], 2);
        batch.changes.put_cell(cell("pad"), vec![1]);
        let refused = store.append(head, batch);
        assert!(matches!(refused, Err(AppendError::Fault(Fault::DiskFull))), "{left}: {refused:?}");
        assert_eq!(store.head().unwrap(), head);
        assert_eq!(store.cell(&cell("pad")).unwrap(), None);
        assert!(store.stopped().is_none());

        vfs::lock(&recorder).failing = None;
        let mut again = ahead;
        assert_eq!(store.append(head, again.batch(&[900; 30], 2)).unwrap(), Head::from(writer.head));
        store.fsck().unwrap();
    }
}

/// QT-10: after a failed write or flush the handle refuses, and opening again shows all that was acknowledged.
#[test]
fn a_failing_device_stops_the_handle() {
    for (failing, left) in [(Failing::Write, 0), (Failing::Write, 3), (Failing::Sync, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alpha.db");
        let recorder = vfs::watch(&path);
        let mut store = create(&path);
        let mut writer = Writer::new();
        let head = store.append(Head::EMPTY, writer.batch(&[9; 4], 1)).unwrap();
        vfs::lock(&recorder).failing = Some((failing, left));
        let mut attempt = writer.clone();
        let failed = store.append(head, attempt.batch(&[900; 30], 2));
        assert!(matches!(failed, Err(AppendError::Fault(Fault::Io(_)))), "{failing:?} {left}: {failed:?}");

        // The device is well again, and still this handle writes nothing.
        vfs::lock(&recorder).failing = None;
        let refused = store.append(head, writer.clone().batch(&[1], 3));
        assert!(matches!(refused, Err(AppendError::Fault(Fault::Stopped(_)))), "{refused:?}");
        let cells = store.put_cells(vec![(cell("pad"), vec![1])]);
        assert!(matches!(cells, Err(WriteError::Fault(Fault::Stopped(_)))), "{cells:?}");
        drop(store);

        let mut store = open(&path);
        let found = store.head().unwrap();
        // In doubt was the failed batch, wholly; never what was acknowledged before it.
        assert!(found == head || found == Head::from(attempt.head), "{found:?}");
        let mut next = if found == head { writer } else { attempt };
        store.append(found, next.batch(&[5], 4)).unwrap();
        store.fsck().unwrap();
    }
}

/// A fold that fails is not taken lightly either: a page that did not reach the device must not be
/// forgotten by the write-ahead log.
#[test]
fn a_failing_fold_stops_the_handle_and_loses_nothing() {
    for left in 0..4 {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alpha.db");
        let recorder = vfs::watch(&path);
        let mut store = create(&path);
        let mut writer = Writer::new();
        let mut batch = writer.batch(&[9; 4], 1);
        batch.changes.put_secret(secret_name("k"), secret(b"kept"));
        // The commit flushes the write-ahead log once or twice; later flushes belong to the fold.
        vfs::lock(&recorder).failing = Some((Failing::Sync, left));
        let done = store.append(Head::EMPTY, batch);
        vfs::lock(&recorder).failing = None;
        let stopped = store.stopped().cloned();
        drop(store);
        let mut store = open(&path);
        if done.is_ok() {
            assert_eq!(store.head().unwrap(), Head::from(writer.head));
            assert_eq!(store.secret(&secret_name("k")).unwrap().unwrap().expose(), b"kept");
        } else {
            assert!(stopped.is_some(), "{left}: {done:?}");
        }
        assert!(store.tend());
        store.fsck().unwrap();
    }
}

/// One failed flush fails every caller that shared it, and nobody is told of success.
#[tokio::test]
async fn a_failed_flush_fails_the_whole_group() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let recorder = vfs::watch(&path);
    let handle = StoreHandle::spawn(create(&path)).unwrap();
    vfs::lock(&recorder).failing = Some((Failing::Sync, 0));
    let mut writer = Writer::new();
    let batch = writer.batch(&[1], 1);
    let (first, second) =
        tokio::join!(handle.append(Head::EMPTY, batch), handle.put_cells(vec![(cell("pad"), vec![1])]),);
    assert!(matches!(first, Err(AppendError::Fault(Fault::Io(_) | Fault::Stopped(_)))), "{first:?}");
    assert!(matches!(second, Err(WriteError::Fault(Fault::Io(_) | Fault::Stopped(_)))), "{second:?}");
    vfs::lock(&recorder).failing = None;
    let late = handle.put_cells(vec![(cell("pad"), vec![2])]).await;
    assert!(matches!(late, Err(WriteError::Fault(Fault::Stopped(_)))), "{late:?}");
}
