//! A process that is killed while it appends. It is this test program, started again as a child.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use store::{Changes, Head};

use crate::fixture::{Writer, cell, create, open, secret, secret_name};

const PLACE: &str = "STORE_KILL_PATH";
const ROUNDS: u64 = 60;

/// One step of the child: entries, a secret that replaces the last, and a cursor, all saying `number`.
fn step(writer: &mut Writer, number: u64) -> store::Batch {
    let mut batch = writer.batch(&[(number % 700) as usize, 5], number as u8);
    batch.changes.put_secret(secret_name("latest"), secret(&number.to_be_bytes()));
    batch.changes.put_secret(secret_name(&format!("key/{number}")), secret(&[7; 32]));
    if number >= 5 {
        batch.changes.erase_secret(secret_name(&format!("key/{}", number - 5)));
    }
    batch.changes.put_cell(cell("pad"), number.to_be_bytes().to_vec());
    batch
}

/// The writer as it stands after the entries in the store.
fn resume(store: &store::Store) -> Writer {
    let mut writer = Writer::new();
    for entry in store.read(0..u64::MAX).unwrap() {
        let parsed = evidence::Entry::<evidence::Opaque>::parse(&entry.bytes).unwrap();
        writer.head = evidence::Head { size: parsed.index + 1, hash: entry.hash, at: parsed.at };
        writer.tree.append(entry.leaf);
    }
    writer
}

/// The child's body; does nothing in a normal run.
#[test]
fn child() {
    let Some(path) = std::env::var_os(PLACE).map(PathBuf::from) else { return };
    let mut store = open(&path);
    let mut writer = resume(&store);
    loop {
        let number = writer.head.size / 2;
        let expected = Head::from(writer.head);
        let head = store.append(expected, step(&mut writer, number)).unwrap();
        assert_eq!(head.size, 2 * (number + 1));
        println!("acknowledged {number}");
    }
}

/// KM-01, QT-10: after SIGKILL at any moment, what was acknowledged is there, and no step is there in part.
#[test]
fn a_killed_writer_loses_nothing_it_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    create(&path).close().unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(0x5145_434e);
    let mut steps = 0;
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
            .env(PLACE, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let said = |line: &str| line.split("acknowledged ").nth(1).and_then(|number| number.parse::<u64>().ok());
            output.lines().map_while(Result::ok).filter_map(|line| said(&line)).last()
        });
        std::thread::sleep(Duration::from_micros(15_000 + u64::from(rng.next_u32() % 60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let acknowledged = reader.join().unwrap();

        let store = open(&path);
        let report = store.fsck().unwrap_or_else(|error| panic!("round {round}: {error}"));
        assert_eq!(report.entries % 2, 0, "round {round}: half a batch");
        let done = report.entries / 2;
        assert!(acknowledged.is_none_or(|number| number < done), "round {round}: {acknowledged:?} of {done} lost");
        assert!(done >= steps, "round {round}: what an earlier round found is gone");
        steps = done;
        let Some(last) = done.checked_sub(1) else { continue };
        assert_eq!(report.checkpoint_size, Some(report.entries));
        assert_eq!(store.secret(&secret_name("latest")).unwrap().unwrap().expose(), last.to_be_bytes());
        assert_eq!(store.cell(&cell("pad")).unwrap(), Some(last.to_be_bytes().to_vec()));
        assert_eq!(store.secret_names("key/").unwrap().len() as u64, done.min(5));
    }
    assert!(steps > ROUNDS, "the children did too little to prove anything: {steps} steps");
}

/// A reader in another handle sees a step whole or not at all, also while it is written.
#[test]
fn a_reader_never_sees_part_of_a_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    let reader = open(&path);
    let writing = std::thread::spawn(move || {
        let mut writer = Writer::new();
        for number in 0..150 {
            let expected = Head::from(writer.head);
            store.append(expected, step(&mut writer, number)).unwrap();
        }
        store.apply(Changes::default()).unwrap();
    });
    while !writing.is_finished() {
        assert_eq!(reader.head().unwrap().size % 2, 0);
        assert!(reader.secret_names("key/").unwrap().len() <= 5);
    }
    writing.join().unwrap();
    assert_eq!(reader.fsck().unwrap().entries, 300);
}
