use evidence::bundle::{
    Audit, BundleError, BundleWriter, Header, Incomplete, Item, Part, Problem, Section, Sections, Summary,
};
use evidence::pins::Seen;
use evidence::{Opaque, Pins};

use crate::keys::{Log, verifier};

const ORIGIN: &str = "qecnet.example/north";

/// The parts of a bundle and the byte at which each ends.
fn bundle(log: &Log, checkpoints: &[u64]) -> (Vec<u8>, Vec<(Part, usize)>) {
    let size = log.entries.len() as u64;
    let header = Header { boundary: Log::boundary(), origin: log.origin.clone(), size };
    let mut parts = Vec::new();
    let mut out = Vec::new();
    let mut writer = BundleWriter::new(&mut out, &header).unwrap();
    let mut at = 16 + 1 + 5 + 1 + ORIGIN.len() + 8;
    parts.push((Part::Header, at));
    for (index, entry) in (0..).zip(&log.entries) {
        writer.entry(entry.bytes()).unwrap();
        at += 5 + entry.bytes().len();
        parts.push((Part::Entry(index), at));
        if checkpoints.contains(&(index + 1)) {
            let note = log.signed(index + 1);
            writer.checkpoint(&note).unwrap();
            at += 5 + note.to_string().len();
            parts.push((Part::Checkpoint(index + 1), at));
        }
    }
    let note = log.signed(size);
    writer.finish(&note).unwrap();
    at += 5 + note.to_string().len();
    parts.push((Part::Checkpoint(size), at));
    assert_eq!(out.len(), at);
    (out, parts)
}

fn audit(bytes: &[u8], pins: &Pins) -> Result<(Vec<Vec<u8>>, Summary), BundleError> {
    let mut audit = Audit::open(bytes, pins, verifier)?;
    let mut entries = Vec::new();
    while let Some(item) = audit.next_item::<Opaque>()? {
        if let Item::Entry { bytes, .. } = item {
            entries.push(bytes);
        }
    }
    Ok((entries, audit.summary().unwrap()))
}

fn blamed(bytes: &[u8], pins: &Pins) -> Option<Part> {
    match audit(bytes, pins) {
        Err(BundleError::Tampered { part, .. }) => Some(part),
        _ => None,
    }
}

/// QT-10: a bundle as written holds, and gives back every entry.
#[test]
fn a_bundle_as_written_holds() {
    for size in [0, 1, 2, 9] {
        let log = Log::with_entries(ORIGIN, size);
        let (bytes, _) = bundle(&log, &[1, 5]);
        let (entries, summary) = audit(&bytes, &log.pins()).unwrap();
        assert!(entries.iter().eq(log.entries.iter().map(|entry| entry.bytes())));
        assert_eq!((summary.header.size, summary.root, summary.last_entry_at), (size, log.root(size), log.head.at));
    }
}

/// QT-10: any altered byte is found, and the part it is in is named.
#[test]
fn every_altered_byte_is_found_and_its_part_named() {
    let log = Log::with_entries(ORIGIN, 5);
    let pins = log.pins();
    let (bytes, parts) = bundle(&log, &[2]);
    for place in 0..bytes.len() {
        let (part, _) = parts.iter().find(|(_, end)| place < *end).unwrap();
        for change in [0x01, 0x80] {
            let mut altered = bytes.clone();
            altered[place] ^= change;
            assert_eq!(
                blamed(&altered, &pins),
                Some(*part),
                "byte {place} ^ {change:#x}: {:?}",
                audit(&altered, &pins).err()
            );
        }
    }
}

/// QT-10: every other value of the bytes in front of a section, where a reader could be led astray.
#[test]
fn every_value_of_a_frame_is_found() {
    let log = Log::with_entries(ORIGIN, 4);
    let pins = log.pins();
    let (bytes, parts) = bundle(&log, &[2]);
    for (before, after) in parts.iter().zip(&parts[1..]) {
        for place in before.1..before.1 + 6 {
            for value in 0..=u8::MAX {
                let mut altered = bytes.clone();
                altered[place] = value;
                if altered != bytes {
                    assert_eq!(blamed(&altered, &pins), Some(after.0), "byte {place} = {value:#x}");
                }
            }
        }
    }
}

/// QT-10: a cut file is incomplete, wherever it is cut, and never holds.
#[test]
fn a_cut_bundle_is_incomplete() {
    let log = Log::with_entries(ORIGIN, 4);
    let (bytes, parts) = bundle(&log, &[2]);
    for len in 1..bytes.len() {
        let whole = parts.iter().filter(|(part, end)| matches!(part, Part::Entry(_)) && *end <= len).count() as u64;
        match audit(&bytes[..len], &log.pins()) {
            Err(BundleError::Incomplete(Incomplete::CutShort { entries })) => {
                assert_eq!(entries, whole, "cut at {len}")
            }
            other => panic!("cut at {len}: {other:?}"),
        }
    }
    assert!(matches!(audit(&[], &log.pins()), Err(BundleError::NotABundle)));
    assert!(matches!(audit(b"PK\x03\x04 something else entirely", &log.pins()), Err(BundleError::NotABundle)));
}

/// QT-10: sections left out, repeated or added are found.
#[test]
fn a_rearranged_bundle_is_found() {
    let log = Log::with_entries(ORIGIN, 5);
    let pins = log.pins();
    let (bytes, parts) = bundle(&log, &[2]);
    let without = |place: usize| [&bytes[..parts[place - 1].1], &bytes[parts[place].1..]].concat();
    assert_eq!(blamed(&without(1), &pins), Some(Part::Entry(0)));
    assert_eq!(blamed(&without(2), &pins), Some(Part::Entry(1)));
    assert_eq!(blamed(&without(6), &pins), Some(Part::Entry(4)));
    let repeated = [&bytes[..parts[2].1], &bytes[parts[1].1..]].concat();
    assert_eq!(blamed(&repeated, &pins), Some(Part::Entry(2)));
    assert_eq!(blamed(&[&bytes[..], b"E"].concat(), &pins), Some(Part::End));
    let early = [&bytes[..parts[1].1], &bytes[parts[2].1..parts[3].1], &bytes[parts[1].1..]].concat();
    assert_eq!(blamed(&early, &pins), Some(Part::Entry(1)));
}

/// QT-10: entries remade from one on, links and all, do not give the signed root.
#[test]
fn a_remade_tail_is_found() {
    let log = Log::with_entries(ORIGIN, 6);
    let mut forged = Log::with_entries(ORIGIN, 3);
    (100..103).for_each(|number| forged.push(number));
    let header = Header { boundary: Log::boundary(), origin: log.origin.clone(), size: 6 };
    let mut out = Vec::new();
    let mut writer = BundleWriter::new(&mut out, &header).unwrap();
    for (index, entry) in (1..).zip(&forged.entries) {
        writer.entry(entry.bytes()).unwrap();
        if index == 2 {
            writer.checkpoint(&log.signed(2)).unwrap();
        }
    }
    writer.finish(&log.signed(6)).unwrap();
    match audit(&out, &log.pins()) {
        Err(BundleError::Tampered { part: Part::Entry(5), problem: Problem::Entry(problem) }) => {
            assert_eq!(problem, evidence::chain::Problem::NotInRoot { confirmed: 2 });
        }
        other => panic!("{other:?}"),
    }
}

/// QT-10: a root seen before binds a log whose keys sign anything; a shorter log is a rollback.
#[test]
fn a_log_rewritten_or_rolled_back_by_its_own_keys_is_found() {
    let honest = Log::with_entries(ORIGIN, 6);
    let mut rewritten = Log::with_entries(ORIGIN, 3);
    (100..104).for_each(|number| rewritten.push(number));
    let pins = honest.pins().with_seen(Seen { size: 5, root: honest.root(5) });
    assert!(audit(&bundle(&honest, &[]).0, &pins).is_ok());
    let (bytes, _) = bundle(&rewritten, &[]);
    assert!(audit(&bytes, &honest.pins()).is_ok());
    assert_eq!(blamed(&bytes, &pins), Some(Part::Entry(4)));
    let short = bundle(&Log::with_entries(ORIGIN, 4), &[]).0;
    let rolled_back = audit(&short, &pins).unwrap_err();
    assert!(matches!(rolled_back, BundleError::Incomplete(Incomplete::RolledBack { entries: 4, seen: 5 })));
}

/// A wrong pin never lets a bundle hold.
#[test]
fn other_pins_are_refused() {
    let log = Log::with_entries(ORIGIN, 2);
    let (bytes, _) = bundle(&log, &[]);
    let other_boundary = Pins::new("south".parse().unwrap(), log.policy(), *log.pins().genesis());
    assert_eq!(blamed(&bytes, &other_boundary), Some(Part::Header));
    assert_eq!(blamed(&bytes, &Log::new("qecnet.example/south").pins()), Some(Part::Header));
}

/// Sections can be read without pins, one at a time.
#[test]
fn sections_are_read_without_pins() {
    let log = Log::with_entries(ORIGIN, 3);
    let (bytes, _) = bundle(&log, &[1]);
    let mut sections = Sections::open(bytes.as_slice()).unwrap();
    assert_eq!((sections.header().size, sections.header().boundary.as_str()), (3, "north"));
    let mut kinds = String::new();
    while let Some(section) = sections.next_section().unwrap() {
        kinds.push(match section {
            Section::Entry(_) => 'E',
            Section::Checkpoint(_) => 'C',
            Section::Final(_) => 'F',
        });
    }
    assert_eq!(kinds, "ECEEF");
}
