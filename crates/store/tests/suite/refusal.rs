//! Files that are not what they should be: each has its own error, and is left as it was.

use std::path::Path;

use store::{CreateError, Fault, Head, OpenError, Store};

use crate::fixture::{Writer, boundary, create, entropy, master};

fn open(path: &Path) -> Result<Store, OpenError> {
    Store::open(path, &boundary(), master(1), entropy())
}

fn made(dir: &Path) -> std::path::PathBuf {
    let path = dir.join("alpha.db");
    let mut store = create(&path);
    let mut writer = Writer::new();
    let mut head = Head::EMPTY;
    for fill in 0..10 {
        head = store.append(head, writer.batch(&[900; 8], fill)).unwrap();
    }
    store.close().unwrap();
    path
}

#[test]
fn a_missing_file_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    assert!(matches!(open(&path), Err(OpenError::Missing(_))));
    assert!(!path.exists());
}

#[test]
fn an_existing_file_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    std::fs::write(&path, b"precious").unwrap();
    let again = Store::create(&path, &boundary(), master(1), entropy());
    assert!(matches!(again, Err(CreateError::Exists(_))));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn creation_leaves_one_private_file() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    // What an earlier creation left when it was cut off is no obstacle.
    std::fs::write(dir.path().join("alpha.db.new"), b"half").unwrap();
    std::fs::write(dir.path().join("alpha.db.new-wal"), b"half").unwrap();
    let store = create(&path);
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
    store.close().unwrap();
    let names: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["alpha.db"]);
}

#[test]
fn a_truncated_file_says_how_much_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = made(dir.path());
    let whole = std::fs::read(&path).unwrap();
    for keep in [0, 1, 99, 100, 4_096, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..keep]).unwrap();
        match open(&path) {
            Err(OpenError::Truncated { found, .. }) => assert_eq!(found, keep as u64),
            other => panic!("{keep}: {other:?}"),
        }
        assert_eq!(std::fs::read(&path).unwrap().len(), keep);
    }
}

#[test]
fn another_kind_of_file_is_not_a_store() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, vec![b'x'; 9_000]).unwrap();
    assert!(matches!(open(&text), Err(OpenError::Fault(Fault::NotAStore))));
    let foreign = dir.path().join("foreign.db");
    rusqlite::Connection::open(&foreign).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(open(&foreign), Err(OpenError::Fault(Fault::NotAStore))));
}

#[test]
fn a_wrong_key_boundary_or_format_is_told_apart() {
    let dir = tempfile::tempdir().unwrap();
    let path = made(dir.path());
    assert!(matches!(Store::open(&path, &boundary(), master(2), entropy()), Err(OpenError::WrongKey)));
    let beta = "beta".parse().unwrap();
    let other = Store::open(&path, &beta, master(1), entropy());
    assert!(matches!(other, Err(OpenError::OtherBoundary { found, .. }) if found == "alpha"));
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    assert!(matches!(open(&path), Err(OpenError::Format { found: 2, wanted: 1 })));
}

/// A damaged page is either refused on opening, or found by the check; never a wrong answer.
#[test]
fn a_damaged_page_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = made(dir.path());
    let whole = std::fs::read(&path).unwrap();
    let pages = whole.len() / 4_096;
    assert!(pages > 10);
    for page in 0..pages {
        let mut damaged = whole.clone();
        let start = page * 4_096 + if page == 0 { 100 } else { 0 };
        damaged[start..(page + 1) * 4_096].fill(0xA5);
        std::fs::write(&path, &damaged).unwrap();
        match open(&path) {
            Ok(store) => assert!(store.fsck().is_err(), "page {page}"),
            Err(OpenError::Fault(Fault::Corrupt(_))) => {}
            other => panic!("page {page}: {other:?}"),
        }
    }
}
