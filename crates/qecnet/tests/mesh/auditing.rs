//! An outsider checks one file.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use evidence::Pins;
use evidence::bundle::Part;
use qaudit::{Exit, verify};

use crate::deployment::{Mesh, assert_holds, free_port, qaudit, qecnet, run, wait};

/// Where each part of a bundle ends, read off its lengths alone (`docs/format/bundle.md`).
fn ends_of_parts(bytes: &[u8]) -> Vec<(Part, usize)> {
    let mut at = 16;
    for _ in ["boundary", "origin"] {
        at += 1 + usize::from(bytes[at]);
    }
    at += 8;
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

/// Alters the byte at `place`; the verifier finds it, and names the part it lies in.
#[track_caller]
fn is_found_and_named(bytes: &mut [u8], place: usize, by: u8, ends: &[(Part, usize)], pins: &Pins) {
    bytes[place] ^= by;
    let failure = verify(&*bytes, pins).expect_err("an altered bundle holds");
    bytes[place] ^= by;
    let (part, _) = ends.iter().find(|(_, end)| place < *end).unwrap();
    assert_eq!((failure.exit(), failure.part()), (Exit::Tampered, Some(*part)), "byte {place} ^ {by:#x}: {failure}");
}

/// QT-10: the export of a live mesh verifies and replays; an altered byte, a cut file, foreign pins and
/// a missing file each end in their own exit code. Bytes drawn all over it are found and named.
#[test]
fn an_export_holds_and_every_kind_of_damage_is_told_apart() {
    let mesh = Mesh::start(2, "2s");
    let (log, pins) = mesh.export("whole");
    assert_holds(&log, &pins);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let verify = |file: &str| run(&qaudit(), &["verify", file, "--pins", &text(&pins)]);

    let mut bytes = fs::read(&log).unwrap();
    let damaged = mesh.dir().join("damaged.audit");
    let mut flipped = bytes.clone();
    flipped[bytes.len() / 2] ^= 1;
    fs::write(&damaged, &flipped).unwrap();
    let ran = verify(&text(&damaged)).expect(1);
    assert!(ran.err.starts_with("tampered: "), "{}", ran.err);
    fs::write(&damaged, &bytes[..bytes.len() / 2]).unwrap();
    verify(&text(&damaged)).expect(3);
    verify("/nowhere/at/all").expect(2);
    let show = run(&qaudit(), &["show", &text(&log), "--at", "0", "--json"]).expect(0).json();
    assert!(show.to_string().contains("create"), "the first entry is the boundary's beginning");

    let (ends, known) = (ends_of_parts(&bytes), fs::read_to_string(&pins).unwrap().parse().unwrap());
    let mut draw = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..400 {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        let (place, by) = ((draw >> 8) as usize % bytes.len(), (draw as u8).max(1));
        is_found_and_named(&mut bytes, place, by, &ends, &known);
    }
}

/// Ends the hub with the test.
struct Alone(Child);

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A short policy makes a short export: its text is in it twice.
const POLICY: &str = "@id(\"look\") permit (principal in Group::\"operators\", action in [Action::\"export_audit\", Action::\"read\"], resource);\n";

/// QT-10: every single byte of what a real hub exports, altered by one bit, is found, and the part it
/// lies in is named.
#[test]
fn no_byte_of_an_export_can_be_altered_unnoticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let (listen, mesh_listen) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    run(&qecnet(), &["init", "hub", "--listen", &listen, "--mesh-listen", &mesh_listen, "--dir", path]).expect(0);
    run(&qecnet(), &["init", "operator", "--id", "op1", "--dir", path]).expect(0);
    run(&qecnet(), &["init", "trust", "--dir", path]).expect(0);
    let config = dir.path().join("hub/config.toml");
    fs::write(dir.path().join("hub/policy.cedar"), POLICY).unwrap();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("policy = \"policy.cedar\"\n{text}")).unwrap();
    let mut hub = Command::new(qecnet());
    hub.args(["hub", "run", "--config", config.to_str().unwrap()]).stdin(Stdio::null());
    let _hub = Alone(hub.spawn().unwrap());

    let (log, pins) = (dir.path().join("log.audit"), dir.path().join("log.pins"));
    let pin = ["audit", "pins", "--dir", path, "--out", pins.to_str().unwrap()];
    wait("the hub shows how its log began", || (run(&qecnet(), &pin).code() == 0).then_some(()));
    run(&qecnet(), &["audit", "export", "--dir", path, "--out", log.to_str().unwrap()]).expect(0);
    assert_holds(&log, &pins);
    let mut bytes = fs::read(&log).unwrap();
    let (ends, pins) = (ends_of_parts(&bytes), fs::read_to_string(&pins).unwrap().parse().unwrap());
    assert!(ends.len() > 3, "entries and a checkpoint");
    for place in 0..bytes.len() {
        is_found_and_named(&mut bytes, place, 1 << (place % 8), &ends, &pins);
    }
}
