use std::path::Path;
use std::process::{Command, Output};

use kernel::record::Record;
use serde_json::Value;

use crate::boundary::Boundary;

pub(crate) fn qaudit(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_qaudit")).args(args).current_dir(dir).output().unwrap()
}

pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap()
}

/// QT-10: the exit codes that scripts rely on, and what they come with.
#[test]
fn exit_codes_are_the_documented_ones() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let boundary = Boundary::lived();
    let bytes = boundary.bundle();
    write("pins", boundary.pins().to_string().as_bytes());
    write("good", &bytes);
    write("cut", &bytes[..bytes.len() - 100]);
    write("other", b"this is a letter");
    let mut altered = bytes.clone();
    altered[100] ^= 1;
    write("altered", &altered);
    let mut forged = boundary;
    let index = forged.find(|record| matches!(record, Record::Granted { .. }));
    forged.entries[index as usize].1.records.pop();
    write("forged", &forged.bundle());

    let code = |args: &[&str]| qaudit(dir.path(), args).status.code();
    assert_eq!(code(&["verify", "good", "--pins", "pins"]), Some(0));
    assert_eq!(code(&["replay", "good", "--pins", "pins"]), Some(0));
    assert_eq!(code(&["verify", "altered", "--pins", "pins"]), Some(1));
    assert_eq!(code(&["verify", "forged", "--pins", "pins"]), Some(0));
    assert_eq!(code(&["replay", "forged", "--pins", "pins"]), Some(1));
    assert_eq!(code(&["verify", "other", "--pins", "pins"]), Some(2));
    assert_eq!(code(&["verify", "missing", "--pins", "pins"]), Some(2));
    assert_eq!(code(&["verify", "good", "--pins", "good"]), Some(2));
    assert_eq!(code(&["verify", "good"]), Some(2));
    assert_eq!(code(&["verify", "cut", "--pins", "pins"]), Some(3));
    assert_eq!(code(&["show", "good", "--at", "999"]), Some(2));

    let held = json(&qaudit(dir.path(), &["replay", "good", "--pins", "pins", "--json"]));
    assert_eq!((&held["result"], &held["header"]["boundary"]), (&"holds".into(), &"north".into()));
    let found = json(&qaudit(dir.path(), &["verify", "altered", "--pins", "pins", "--json"]));
    assert_eq!((&found["result"], &found["entry"]), (&"tampered".into(), &0.into()));
    let found = json(&qaudit(dir.path(), &["replay", "forged", "--pins", "pins", "--json"]));
    assert_eq!((&found["entry"], &found["differs"]["logged"]), (&index.into(), &Value::Null));
    assert!(found["differs"]["replayed"].is_object());
    let shown = json(&qaudit(dir.path(), &["show", "good", "--at", "0", "--json"]));
    assert_eq!((&shown["index"], &shown["state"]["boundary"]), (&0.into(), &"north".into()));
    let text = qaudit(dir.path(), &["verify", "altered", "--pins", "pins"]);
    assert!(String::from_utf8(text.stderr).unwrap().starts_with("tampered: entry 0: "));
    let text = qaudit(dir.path(), &["show", "good", "--at", "2"]);
    assert!(String::from_utf8(text.stdout).unwrap().starts_with("entry 2 at 2023-11-14T"));
}

/// S15: a reader that went away changes nothing of the verdict: what holds is not called tampered.
#[test]
fn s15_a_closed_pipe_does_not_say_tampered() {
    let dir = tempfile::tempdir().unwrap();
    let boundary = Boundary::lived();
    std::fs::write(dir.path().join("pins"), boundary.pins().to_string()).unwrap();
    let bytes = boundary.bundle();
    std::fs::write(dir.path().join("good"), &bytes).unwrap();
    let mut altered = bytes;
    altered[100] ^= 1;
    std::fs::write(dir.path().join("altered"), &altered).unwrap();
    let closed = |args: &[&str]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_qaudit"))
            .args(args)
            .current_dir(dir.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        assert!(!String::from_utf8_lossy(&ended.stderr).contains("panicked"));
        ended.status.code()
    };
    assert_eq!(closed(&["verify", "good", "--pins", "pins"]), Some(0));
    assert_eq!(closed(&["replay", "good", "--pins", "pins", "--json"]), Some(0));
    assert_eq!(closed(&["show", "good", "--at", "0", "--json"]), Some(0));
    assert_eq!(closed(&["verify", "altered", "--pins", "pins", "--json"]), Some(1));
}
