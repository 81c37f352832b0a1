//! Crash images: the states in which power loss at any write can leave the files (KM-01, QT-10).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use store::{Batch, Head, Store};

use crate::fixture::{Writer, boundary, cell, create, entropy, master, open, secret, secret_name};
use crate::vfs::{self, Event, Part};

/// What a device writes as a whole.
const SECTOR: usize = 512;

/// What is in a store, or should be.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    head: Head,
    note: Option<String>,
    secrets: BTreeMap<String, Vec<u8>>,
    cells: Vec<(String, Vec<u8>)>,
}

fn see(store: &Store) -> Seen {
    let secrets = store.secret_names("").unwrap().into_iter().map(|name| {
        let secret = store.secret(&name).unwrap().unwrap();
        (name.to_string(), secret.expose().to_vec())
    });
    Seen {
        head: store.head().unwrap(),
        note: store.checkpoint().unwrap().map(|checkpoint| checkpoint.note),
        secrets: secrets.collect(),
        cells: store.cells("").unwrap().into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
    }
}

/// Steps of different sizes that touch everything; some erase, so that the write-ahead log is folded.
fn step(writer: &mut Writer, number: usize) -> Batch {
    let lens: Vec<usize> = (0..number % 5).map(|entry| entry * 700).collect();
    let mut batch = writer.batch(&lens, number as u8);
    batch.changes.put_cell(cell("pad"), number.to_be_bytes().to_vec());
    if number % 3 == 1 {
        batch.changes.put_secret(secret_name(&format!("key/{}", number % 4)), secret(&vec![number as u8; 40 * number]));
    }
    if number % 4 == 3 {
        batch.changes.erase_secret(secret_name(&format!("key/{}", (number - 2) % 4)));
    }
    if number == 10 {
        batch.changes.put_cell(cell("large"), vec![0x5A; 30_000]);
    }
    batch
}

type Files = BTreeMap<Part, Vec<u8>>;

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

fn carry_out(files: &mut Files, event: &Event) {
    match event {
        Event::Write { part, at, bytes } => put(files.entry(*part).or_default(), *at, bytes),
        Event::Truncate { part, len } => files.entry(*part).or_default().resize(*len, 0),
        Event::Delete { part } => drop(files.remove(part)),
        Event::Sync { .. } | Event::Acknowledged(_) => {}
    }
}

/// How much of what was not yet flushed reached the device.
#[derive(Debug, Clone, Copy)]
enum Reached {
    Nothing,
    Everything,
    /// Everything up to the last write, and some sectors of that.
    TornLast,
    /// Any sectors of any writes.
    Scattered,
}

fn reach(files: &mut Files, pending: &[Event], reached: Reached, rng: &mut ChaCha8Rng) {
    let last = pending.len().saturating_sub(1);
    for (number, event) in pending.iter().enumerate() {
        let torn = match reached {
            Reached::Nothing => return,
            Reached::Everything => false,
            Reached::TornLast => number == last,
            Reached::Scattered => true,
        };
        match event {
            Event::Write { part, at, bytes } if torn => {
                for (sector, piece) in bytes.chunks(SECTOR).enumerate() {
                    if rng.next_u32().is_multiple_of(2) {
                        put(files.entry(*part).or_default(), at + sector * SECTOR, piece);
                    }
                }
            }
            event if !torn || rng.next_u32().is_multiple_of(2) => carry_out(files, event),
            _ => {}
        }
    }
}

fn lay_out(dir: &Path, files: &Files) -> PathBuf {
    let path = dir.join("image.db");
    let side = |suffix: &str| dir.join(format!("image.db{suffix}"));
    for suffix in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(side(suffix));
    }
    std::fs::write(&path, files.get(&Part::Main).map_or(&[][..], Vec::as_slice)).unwrap();
    if let Some(log) = files.get(&Part::Wal) {
        std::fs::write(side("-wal"), log).unwrap();
    }
    path
}

/// Memory-backed where the machine has it: thousands of images need no flushing.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

struct Recording {
    before: Files,
    events: Vec<Event>,
    states: Vec<Seen>,
}

fn record(steps: usize) -> Recording {
    let dir = scratch();
    let path = dir.path().join("alpha.db");
    create(&path).close().unwrap();
    let before = Files::from([(Part::Main, std::fs::read(&path).unwrap())]);
    let recorder = vfs::watch(&path);
    let mut store = open(&path);
    let mut writer = Writer::new();
    let mut states = vec![see(&store)];
    for number in 0..steps {
        let expected = Head::from(writer.head);
        store.append(expected, step(&mut writer, number)).unwrap();
        states.push(see(&store));
        vfs::lock(&recorder).events.push(Event::Acknowledged(number + 1));
    }
    store.close().unwrap();
    let events = vfs::lock(&recorder).events.clone();
    Recording { before, events, states }
}

/// Opens the image as a restart would, and says after which step it stands.
fn recover(path: &Path, states: &[Seen], why: &str) -> usize {
    let store = Store::open(path, &boundary(), master(1), entropy()).unwrap_or_else(|error| panic!("{why}: {error}"));
    let seen = see(&store);
    let step = states.iter().position(|state| *state == seen);
    let step = step.unwrap_or_else(|| panic!("{why}: part of a step is visible: {:?}", seen.head));
    store.fsck().unwrap_or_else(|error| panic!("{why}: {error}"));
    step
}

/// KM-01, QT-10: power is lost between any two calls of the engine to the operating system, and of what was
/// not flushed any sectors reach the device. Every acknowledged step is there, and no step in part.
#[test]
fn a_crash_at_any_write_keeps_every_acknowledged_step_whole() {
    let recording = record(24);
    let dir = scratch();
    let mut rng = ChaCha8Rng::seed_from_u64(0x5145_434e_4352);
    let mut flushed = recording.before.clone();
    let mut pending: Vec<Event> = Vec::new();
    let mut acknowledged = 0;
    let mut images = 0;
    let mut unfinished = 0;
    for (number, event) in recording.events.iter().enumerate() {
        match event {
            Event::Acknowledged(step) => acknowledged = *step,
            Event::Sync { part } => {
                let of_part = |event: &Event| match event {
                    Event::Write { part: other, .. } | Event::Truncate { part: other, .. } => other == part,
                    _ => false,
                };
                pending.iter().filter(|event| of_part(event)).for_each(|event| carry_out(&mut flushed, event));
                pending.retain(|event| !of_part(event));
            }
            other => pending.push(other.clone()),
        }
        for reached in
            [Reached::Nothing, Reached::Everything, Reached::TornLast, Reached::Scattered, Reached::Scattered]
        {
            if pending.is_empty() && !matches!(reached, Reached::Nothing) {
                continue;
            }
            let mut files = flushed.clone();
            reach(&mut files, &pending, reached, &mut rng);
            let path = lay_out(dir.path(), &files);
            let why = format!("after event {number} of {}, {reached:?}", recording.events.len());
            let found = recover(&path, &recording.states, &why);
            assert!(
                found == acknowledged || found == acknowledged + 1,
                "{why}: step {found}, acknowledged {acknowledged}"
            );
            images += 1;
            unfinished += usize::from(found > acknowledged);
        }
    }
    assert_eq!(acknowledged, 24);
    assert!(images > 500 && unfinished > 0, "{images} images, {unfinished} with a step that was not acknowledged yet");
}

/// QT-10: the write-ahead log cut anywhere, or with a byte changed anywhere, gives back a whole number of
/// steps, and never fewer for a longer log.
#[test]
fn a_log_cut_or_torn_anywhere_gives_back_whole_steps() {
    let dir = scratch();
    let made = dir.path().join("made.db");
    let mut store = create(&made);
    let mut writer = Writer::new();
    let mut states = vec![see(&store)];
    // Without erasures or replacements the log is not folded, and holds all of it.
    for number in 0..12_u8 {
        let expected = Head::from(writer.head);
        let mut batch = writer.batch(&[usize::from(number) * 90, 3], number);
        batch.changes.put_cell(cell("pad"), vec![number]);
        store.append(expected, batch).unwrap();
        states.push(see(&store));
    }
    let main = std::fs::read(&made).unwrap();
    let log = std::fs::read(dir.path().join("made.db-wal")).unwrap();
    assert!(log.len() > 12 * 4_096);

    let recovered = |log: &[u8], why: &str| {
        let files = Files::from([(Part::Main, main.clone()), (Part::Wal, log.to_vec())]);
        recover(&lay_out(dir.path(), &files), &states, why)
    };
    let mut so_far = 0;
    for part in 0..=300 {
        let keep = log.len() * part / 300;
        let found = recovered(&log[..keep], &format!("{keep} bytes kept"));
        assert!(found >= so_far, "{keep} bytes: {found} steps, {so_far} with fewer bytes");
        so_far = found;
    }
    assert_eq!(so_far, 12);
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    for _ in 0..200 {
        let mut torn = log.clone();
        let at = rng.next_u32() as usize % torn.len();
        torn[at] ^= 1 + (rng.next_u32() % 255) as u8;
        recovered(&torn, &format!("byte {at} changed"));
    }
}

/// SM-06d: a crash during a change of the master key leaves the vault under one key, wholly.
#[test]
fn a_crash_during_a_change_of_master_key_leaves_one_key() {
    let dir = scratch();
    let path = dir.path().join("alpha.db");
    let mut store = create(&path);
    let mut batch = Batch::default();
    for number in 0..60 {
        batch.changes.put_secret(secret_name(&format!("key/{number}")), secret(&[number; 200]));
    }
    batch.changes.put_cell(cell("pad"), vec![7]);
    store.append(Head::EMPTY, batch).unwrap();
    let expected = see(&store);
    store.close().unwrap();
    let mut flushed = Files::from([(Part::Main, std::fs::read(&path).unwrap())]);
    let recorder = vfs::watch(&path);
    let mut store = open(&path);
    store.rewrap(master(2)).unwrap();
    store.close().unwrap();

    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut pending = Vec::new();
    let mut under = [0, 0];
    for event in vfs::lock(&recorder).events.clone() {
        match event {
            Event::Sync { .. } => pending.drain(..).for_each(|event| carry_out(&mut flushed, &event)),
            other => pending.push(other),
        }
        for reached in [Reached::Nothing, Reached::Everything, Reached::Scattered] {
            let mut files = flushed.clone();
            reach(&mut files, &pending, reached, &mut rng);
            let image = lay_out(dir.path(), &files);
            let opened = [1, 2].map(|key| Store::open(&image, &boundary(), master(key), entropy()).ok());
            let held: Vec<usize> = (0..2).filter(|key| opened[*key].is_some()).collect();
            assert_eq!(held.len(), 1, "{reached:?}: opens under {held:?}");
            under[held[0]] += 1;
            let store = opened.into_iter().flatten().next().unwrap();
            assert_eq!(see(&store), expected);
            store.fsck().unwrap();
        }
    }
    assert!(under[0] > 0 && under[1] > 0, "{under:?}");
}
