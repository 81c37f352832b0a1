//! The trust file (SM-03).

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use session::{TrustError, TrustStore};

use crate::party::{Party, boundary, store};

#[test]
fn a_trust_file_comes_back_as_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trust.toml");
    let (n1, n2) = (Party::new("n1").entry(), Party::new("n2").entry());
    let trust = store(&path, &[n1.clone(), n2.clone()]);
    assert_eq!(trust.boundary(), &boundary());
    assert_eq!(trust.get(&n1.name), Some(&n1));
    assert_eq!(trust.by_pin(&n2.pin), Some(&n2));
    assert_eq!(trust.iter().count(), 2);
}

#[test]
fn a_trust_file_that_others_may_change_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trust.toml");
    store(&path, &[Party::new("n1").entry()]);
    std::fs::set_permissions(&path, Permissions::from_mode(0o664)).unwrap();
    assert!(matches!(TrustStore::load(&path), Err(TrustError::TooOpen { mode: 0o664, .. })));
}

#[test]
fn typos_and_duplicates_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trust.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        TrustStore::load(&path).unwrap_err()
    };
    assert!(matches!(load("boundry = \"demo\"\n"), TrustError::Syntax { .. }));
    let one = Party::new("n1");
    let mut text = TrustStore::render(&boundary(), vec![one.entry()]).unwrap();
    let typo = text.replace("pin = ", "pim = ");
    assert!(matches!(load(&typo), TrustError::Syntax { .. }));
    assert!(matches!(load(&text.replace("pin = \"", "pin = \"zz")), TrustError::Syntax { .. }));

    let second = TrustStore::render(&boundary(), vec![Party::new("n1").entry()]).unwrap();
    let block = second.split_once("[[node]]").unwrap().1.to_owned();
    text.push_str("\n[[node]]");
    text.push_str(&block);
    assert!(matches!(load(&text), TrustError::Twice { what: "name", .. }));

    let mut twin = one.entry();
    twin.name = "n2".parse().unwrap();
    let text = TrustStore::render(&boundary(), vec![one.entry(), twin]).unwrap();
    assert!(matches!(load(&text), TrustError::Twice { what: "pin", .. }));
    assert!(matches!(TrustStore::load(&dir.path().join("none")), Err(TrustError::Io { .. })));
}
