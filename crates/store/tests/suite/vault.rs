//! The sealed vault (SM-06d).

use std::path::Path;

use proptest::prelude::*;
use store::{Batch, Changes, Fault, Head, OpenError, ReadError, Store, WriteError};

use crate::fixture::{Writer, boundary, cell, create, entropy, master, open, secret, secret_name};

fn contains(path: &Path, needle: &[u8]) -> bool {
    ["", "-wal"].iter().any(|suffix| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::read(name).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

fn key_column(path: &Path, name: &str) -> Vec<u8> {
    let conn = rusqlite::Connection::open(path).unwrap();
    conn.query_row("SELECT wrapped FROM vault JOIN vault_key USING (slot) WHERE name = ?1", [name], |row| row.get(0))
        .unwrap()
}

/// SM-06d: secrets come back, are not in the file in the clear, and every record has a key of its own.
#[test]
fn secrets_are_sealed_one_key_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    let mut batch = Batch::default();
    for name in ["key/1", "key/2", "other"] {
        batch.changes.put_secret(secret_name(name), secret(b"the very same secret text"));
    }
    store.append(Head::EMPTY, batch).unwrap();
    assert_eq!(store.secret(&secret_name("key/1")).unwrap().unwrap().expose(), b"the very same secret text");
    assert!(store.secret(&secret_name("key/3")).unwrap().is_none());
    assert_eq!(store.secret_names("key/").unwrap(), [secret_name("key/1"), secret_name("key/2")]);
    assert!(!contains(&path, b"the very same"));
    let conn = rusqlite::Connection::open(&path).unwrap();
    let count = |column: &str| -> i64 {
        conn.query_row(&format!("SELECT count(DISTINCT {column}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((count("wrapped) FROM vault_key --"), count("sealed) FROM vault --")), (3, 3));
    assert!(!format!("{:?}", store.secret(&secret_name("key/1"))).contains("secret text"));
}

/// SM-06d: a row under another name, an altered version, key or text does not open.
#[test]
fn a_row_opens_only_where_it_was_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("alpha.db");
    let mut store = create(&made);
    let mut changes = Changes::default();
    changes.put_secret(secret_name("a"), secret(b"first"));
    changes.put_secret(secret_name("b"), secret(b"second"));
    store.apply(changes).unwrap();
    store.close().unwrap();
    let text = "(SELECT sealed FROM vault WHERE name = 'b')";
    for (number, sql) in [
        "UPDATE vault SET slot = 3 - slot".to_owned(),
        format!("UPDATE vault SET slot = 2, sealed = {text} WHERE name = 'a'"),
        format!("UPDATE vault SET sealed = {text} WHERE name = 'a'"),
        "UPDATE vault SET version = 2 WHERE name = 'a'".to_owned(),
        "UPDATE vault SET sealed = x'' WHERE name = 'a'".to_owned(),
        "UPDATE vault_key SET wrapped = x'' WHERE slot = 1".to_owned(),
        "UPDATE vault_key SET wrapped = zeroblob(80) WHERE slot = 1".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let path = dir.path().join(format!("moved{number}"));
        std::fs::copy(&made, &path).unwrap();
        let conn = rusqlite::Connection::open(&path).unwrap();
        conn.execute_batch(sql).unwrap();
        drop(conn);
        let store = open(&path);
        assert!(matches!(store.secret(&secret_name("a")), Err(ReadError::Vault { .. })), "{sql}");
        assert!(store.fsck().is_err(), "{sql}");
    }
}

/// SM-06d: neither the wrapped key nor the sealed text of an erased record stays in file or write-ahead log.
#[test]
fn an_erased_record_leaves_no_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    let mut keys = Vec::new();
    // Rows of uneven size and random order make the tree split, merge and defragment its pages.
    let name = |number: usize| format!("key/{:03}", (number * 37) % 200);
    for number in 0..200 {
        let mut changes = Changes::default();
        changes.put_secret(secret_name(&name(number)), secret(&vec![number as u8; 16 + (number * 53) % 700]));
        store.apply(changes).unwrap();
        keys.push(key_column(&path, &name(number)));
    }
    for (number, key) in keys.iter().enumerate() {
        assert!(contains(&path, key));
        let mut changes = Changes::default();
        if number % 3 == 0 {
            changes.put_secret(secret_name(&name(number)), secret(b"a new secret in its place"));
        } else {
            changes.erase_secret(secret_name(&name(number)));
        }
        store.apply(changes).unwrap();
        assert!(store.tend());
        assert!(!contains(&path, key), "record {number} is still in the file");
    }
    store.fsck().unwrap();
    // Slots are used again: churn does not grow the file for ever.
    let slots = |path: &Path| -> i64 {
        let conn = rusqlite::Connection::open(path).unwrap();
        conn.query_row("SELECT count(*) FROM vault_key", [], |row| row.get(0)).unwrap()
    };
    let before = slots(&path);
    for number in 0..50 {
        let mut changes = Changes::default();
        changes.put_secret(secret_name(&format!("new/{number}")), secret(b"again"));
        store.apply(changes).unwrap();
    }
    assert_eq!(slots(&path), before);
    store.fsck().unwrap();
}

/// SM-06d: a new master key takes over the whole vault at once; the old one opens nothing any more.
#[test]
fn the_vault_moves_to_a_new_master_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    let mut batch = Writer::new().batch(&[1], 1);
    batch.changes.put_secret(secret_name("key/1"), secret(b"stays the same"));
    batch.changes.put_cell(cell("cursor"), vec![4]);
    store.append(Head::EMPTY, batch).unwrap();
    let old_row = key_column(&path, "key/1");
    store.rewrap(master(2)).unwrap();
    assert_eq!(store.secret(&secret_name("key/1")).unwrap().unwrap().expose(), b"stays the same");
    assert!(!contains(&path, &old_row));
    store.put_cells(vec![(cell("cursor"), vec![5])]).unwrap();
    drop(store);
    assert!(matches!(Store::open(&path, &boundary(), master(1), entropy()), Err(OpenError::WrongKey)));
    let store = Store::open(&path, &boundary(), master(2), entropy()).unwrap();
    assert_eq!(store.secret(&secret_name("key/1")).unwrap().unwrap().expose(), b"stays the same");
    assert_eq!(store.cell(&cell("cursor")).unwrap(), Some(vec![5]));
    store.fsck().unwrap();
}

/// SM-06d: a handle that still has the old master key seals nothing under it after the change.
#[test]
fn a_handle_with_the_old_master_key_writes_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let (mut first, mut second) = (create(&path), open(&path));
    first.rewrap(master(2)).unwrap();
    let mut changes = Changes::default();
    changes.put_secret(secret_name("a"), secret(b"one"));
    assert!(matches!(second.apply(changes), Err(WriteError::Fault(Fault::OtherKey))));
    assert!(matches!(second.put_cells(vec![(cell("pad"), vec![1])]), Err(WriteError::Fault(Fault::OtherKey))));
    assert!(matches!(second.rewrap(master(3)), Err(store::RewrapError::Fault(Fault::OtherKey))));
    assert_eq!(first.fsck().unwrap().secrets, 0);
}

#[test]
fn a_damaged_record_stops_the_change_of_master_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    let mut changes = Changes::default();
    changes.put_secret(secret_name("a"), secret(b"one"));
    changes.put_secret(secret_name("b"), secret(b"two"));
    store.apply(changes).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.execute_batch("UPDATE vault_key SET wrapped = zeroblob(80) WHERE slot = 2").unwrap();
    assert!(matches!(store.rewrap(master(2)), Err(store::RewrapError::Vault { name }) if name == "b"));
    drop((store, conn));
    assert_eq!(open(&path).secret(&secret_name("a")).unwrap().unwrap().expose(), b"one");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// SM-06d: any length of secret comes back, the last version wins.
    #[test]
    fn any_secret_comes_back(first: Vec<u8>, second in proptest::collection::vec(any::<u8>(), 0..9_000)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = create(&dir.path().join("alpha.db"));
        for text in [&first, &second] {
            let mut changes = Changes::default();
            changes.put_secret(secret_name("x"), secret(text));
            store.apply(changes).unwrap();
            let found = store.secret(&secret_name("x")).unwrap().unwrap();
            prop_assert_eq!(found.expose(), &text[..]);
        }
    }
}
