use evidence::bundle::Part;
use qaudit::{Exit, verify};

use crate::boundary::Boundary;

/// QT-10: an exported log holds with nothing but the file and the pins.
#[test]
fn an_exported_log_holds() {
    let boundary = Boundary::lived();
    let summary = verify(boundary.bundle().as_slice(), &boundary.pins()).unwrap();
    assert_eq!((summary.header.size, summary.checkpoints), (boundary.entries.len() as u64, 2));
    assert_eq!(summary.last_entry_at, boundary.state.clock());
}

/// QT-10: flipped bytes all over a real log are found, and the first bad entry is named.
#[test]
fn flipped_bytes_are_found_and_named() {
    let boundary = Boundary::lived();
    let (bytes, pins) = (boundary.bundle(), boundary.pins());
    let ends = section_ends(&bytes);
    for place in (0..bytes.len()).step_by(41) {
        let mut altered = bytes.clone();
        altered[place] ^= 1 << (place % 8);
        let failure = verify(altered.as_slice(), &pins).unwrap_err();
        assert_eq!(failure.exit(), Exit::Tampered, "byte {place}: {failure}");
        let (part, _) = ends.iter().find(|(_, end)| place < *end).unwrap();
        assert_eq!(failure.part(), Some(*part), "byte {place}: {failure}");
    }
}

/// Where each part of a bundle ends, read off its lengths alone.
fn section_ends(bytes: &[u8]) -> Vec<(Part, usize)> {
    let mut at = 16 + 1 + 5 + 1 + 5 + 8;
    let mut ends = vec![(Part::Header, at)];
    let mut entries = 0;
    while at < bytes.len() {
        let part = if bytes[at] == b'E' { Part::Entry(entries) } else { Part::Checkpoint(entries) };
        entries += u64::from(bytes[at] == b'E');
        at += 5 + u32::from_be_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
        ends.push((part, at));
    }
    ends
}

#[test]
fn a_cut_log_is_incomplete() {
    let boundary = Boundary::lived();
    let (bytes, pins) = (boundary.bundle(), boundary.pins());
    for len in [1, 40, bytes.len() / 3, bytes.len() / 2, bytes.len() - 1] {
        assert_eq!(verify(&bytes[..len], &pins).unwrap_err().exit(), Exit::Incomplete, "cut at {len}");
    }
    assert_eq!(verify(&b"no bundle"[..], &pins).unwrap_err().exit(), Exit::Unreadable);
}

/// A wrong pin is not the log's fault, and still never holds.
#[test]
fn other_keys_do_not_vouch() {
    let boundary = Boundary::lived();
    let (pins, other) = (boundary.pins().to_string(), Boundary::new().pins().to_string());
    let is_key = |line: &&str| line.starts_with("log ");
    let mut keys = other.lines().filter(is_key);
    let lines = pins.lines().map(|line| if is_key(&line) { keys.next().unwrap() } else { line });
    let pins = lines.map(|line| format!("{line}\n")).collect::<String>().parse().unwrap();
    let failure = verify(boundary.bundle().as_slice(), &pins).unwrap_err();
    assert_eq!((failure.exit(), failure.part()), (Exit::Tampered, Some(Part::Checkpoint(3))));
}
