//! History that was invented, cut or skipped, shown to the shipped `qaudit`.

use std::fs::File;
use std::io::Write;
use std::process::Command;

use evidence::pins::Seen;
use kernel::event::{Event, Pause};
use qaudit::replay;
use types::Timestamp;

use crate::boundary::Boundary;
use crate::cli::{json, qaudit};

/// S6: another boundary of the same name, under the same log keys, with other people and nodes, is
/// internally without fault, and is not the pinned one. Who differs is named.
#[test]
fn s6_a_second_founding_under_the_same_log_keys_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).unwrap();
    let honest = Boundary::lived();
    let invented = Boundary::lived_under(honest.keys());
    write("pins", honest.pins().to_string().as_bytes());
    write("its-pins", invented.pins().to_string().as_bytes());
    write("invented", &invented.bundle());
    for command in ["verify", "replay"] {
        let args = |pins| [command, "invented", "--pins", pins, "--json"];
        assert_eq!(qaudit(dir.path(), &args("its-pins")).status.code(), Some(0), "it is without fault in itself");
        let output = qaudit(dir.path(), &args("pins"));
        assert_eq!(output.status.code(), Some(1), "{command}");
        let found = json(&output);
        assert_eq!(found["entry"], 0);
        let problem = found["problem"].as_str().unwrap();
        assert!(problem.contains("operator op1") && problem.contains("node n1"), "{problem}");
    }
}

/// S6: the same people founding it again is another log, too: its first entry is not the pinned one.
#[test]
fn s6_the_same_people_founding_again_are_told_by_the_first_entry() {
    let dir = tempfile::tempdir().unwrap();
    let boundary = Boundary::lived();
    std::fs::write(dir.path().join("pins"), boundary.pins().to_string()).unwrap();
    let mut again = boundary;
    for (at, _) in &mut again.entries {
        *at = Timestamp::from_millis(at.as_millis() + 1);
    }
    std::fs::write(dir.path().join("again"), again.bundle()).unwrap();
    let output = qaudit(dir.path(), &["verify", "again", "--pins", "pins"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("tampered: entry 0: it is not the founding entry that is pinned"), "{said}");
}

/// S6: an old export, whole and honest, is refused where a later checkpoint is known; where none is
/// given, every result says loudly what it does not prove. The pins are updated after success alone.
#[test]
fn s6_a_cut_export_is_told_by_a_later_checkpoint_and_warned_of_without() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let whole = Boundary::lived();
    std::fs::write(path("whole"), whole.bundle()).unwrap();
    std::fs::write(path("pins"), whole.pins().to_string()).unwrap();
    std::fs::write(path("later"), whole.note().to_string()).unwrap();
    let mut old = whole;
    old.entries.truncate(6);
    std::fs::write(path("old"), old.bundle()).unwrap();
    std::fs::write(path("early"), old.note().to_string()).unwrap();

    let held = json(&qaudit(dir.path(), &["replay", "old", "--pins", "pins", "--json"]));
    assert_eq!((&held["result"], &held["warnings"][0]["kind"]), (&"holds".into(), &"no_later_checkpoint".into()));
    let loud = qaudit(dir.path(), &["replay", "old", "--pins", "pins"]);
    assert!(String::from_utf8(loud.stderr).unwrap().contains("WARNING: no checkpoint newer"));
    let given = ["replay", "old", "--pins", "pins", "--checkpoint", "later", "--update-pins"];
    let output = qaudit(dir.path(), &given);
    assert_eq!(output.status.code(), Some(3), "the log is longer than the file: {output:?}");
    assert!(!std::fs::read_to_string(path("pins")).unwrap().contains("seen"), "a failure pins nothing");

    // What was seen once is remembered, and the old export is refused by the pins alone.
    let whole = ["verify", "whole", "--pins", "pins", "--checkpoint", "later", "--update-pins", "--json"];
    let held = json(&qaudit(dir.path(), &whole));
    assert_eq!((&held["result"], held["warnings"].as_array().unwrap().len()), (&"holds".into(), 0));
    assert!(std::fs::read_to_string(path("pins")).unwrap().contains("\nseen "));
    assert_eq!(qaudit(dir.path(), &["verify", "old", "--pins", "pins"]).status.code(), Some(3));
    // The same export again shows nothing new, and a checkpoint that is older than the pins proves nothing.
    let stale = ["verify", "whole", "--pins", "pins", "--checkpoint", "early", "--json"];
    let held = json(&qaudit(dir.path(), &stale));
    let kinds: Vec<_> = held["warnings"].as_array().unwrap().iter().map(|warning| &warning["kind"]).collect();
    assert_eq!(kinds, ["no_later_checkpoint", "nothing_newer"]);
}

/// S6: a fork from what was seen, and a checkpoint of another log.
#[test]
fn s6_a_fork_of_what_was_seen_is_tampered() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let honest = Boundary::lived();
    let size = honest.entries.len() as u64;
    std::fs::write(path("later"), honest.note().to_string()).unwrap();
    std::fs::write(path("foreign"), Boundary::lived().note().to_string()).unwrap();
    let mut forked = honest;
    std::fs::write(path("pins"), forked.pins().to_string()).unwrap();
    let (last, _) = forked.entries.last_mut().unwrap();
    *last = Timestamp::from_millis(last.as_millis() + 1);
    forked.now += 1;
    std::fs::write(path("forked"), forked.bundle()).unwrap();
    let fork = json(&qaudit(dir.path(), &["verify", "forked", "--pins", "pins", "--checkpoint", "later", "--json"]));
    assert_eq!((&fork["result"], &fork["entry"]), (&"tampered".into(), &(size - 1).into()));
    let foreign = qaudit(dir.path(), &["verify", "forked", "--pins", "pins", "--checkpoint", "foreign"]);
    assert_eq!(foreign.status.code(), Some(2));
    let seen = Seen { size, root: types::Hash::new([1; 32]) };
    std::fs::write(path("other-pins"), forked.pins().with_seen(seen).to_string()).unwrap();
    assert_eq!(qaudit(dir.path(), &["verify", "forked", "--pins", "other-pins"]).status.code(), Some(1));
}

/// S6: a hub that leaves out ticks, and steps everything else by the rules, is found at the first entry
/// before which something was due for too long.
#[test]
fn s6_a_tick_that_was_left_out_is_found() {
    let honest = Boundary::lived();
    let ticks: Vec<usize> =
        (0..honest.entries.len()).filter(|place| matches!(honest.entries[*place].1.event, Event::Tick)).collect();
    assert!(ticks.len() >= 2);
    replay(honest.bundle().as_slice(), &honest.pins()).unwrap();
    let mut silent = Boundary::lived_without(|_, event| matches!(event, Event::Tick));
    // As long as nothing is late, nothing is found: the hub may tick within the slack.
    replay(silent.bundle().as_slice(), &silent.pins()).unwrap();
    let last = silent.entries.len() as u64;
    silent.now += qaudit::due::SLACK.get() + 1;
    silent.event(Event::NodeDown { node: "n1".parse().unwrap() });
    is_named(&silent, last, "a tick was left out");
}

/// S6: what comes due between two entries is missed too, also at the very end; and a hub that says it
/// did not run is believed, and what it claims is counted.
#[test]
fn s6_a_rotation_that_was_skipped_is_found_and_a_pause_is_counted() {
    let mut settled = Boundary::lived();
    while !settled.event(Event::Tick).is_empty() {}
    settled.entries.pop();
    settled.restate();
    let size = settled.entries.len() as u64;
    let start = settled.now;
    let down = |boundary: &mut Boundary| boundary.event(Event::NodeDown { node: "n2".parse().unwrap() });

    let mut skipped = settled;
    skipped.now = start + types::Millis::from_days(2).get();
    let missed = skipped.state.next_due().unwrap().as_millis();
    assert!(missed < skipped.now);
    down(&mut skipped);
    is_named(&skipped, size, "a tick was left out");

    skipped.entries.truncate(size as usize);
    skipped.restate();
    is_named(&skipped, size - 1, "a tick was left out");

    let since = skipped.state.clock();
    skipped.event(Event::Resumed { since, pause: Pause::NotRunning });
    skipped.event(Event::Tick);
    down(&mut skipped);
    let replayed = replay(skipped.bundle().as_slice(), &skipped.pins()).unwrap();
    assert_eq!((replayed.pauses.starts, replayed.pauses.stalls, replayed.pauses.longest_until), (1, 0, size));
    assert!(replayed.pauses.total_ms > types::Millis::from_days(1).get());
    // The tick after the pause is as due as any.
    let mut idle = Boundary::replaying(&skipped, |place, event| place > size as usize && matches!(event, Event::Tick));
    idle.now += qaudit::due::SLACK.get();
    down(&mut idle);
    is_named(&idle, size + 2, "a tick was left out");
}

/// Shows it to the shipped verifier, which finds fault with entry `index`.
#[track_caller]
fn is_named(boundary: &Boundary, index: u64, what: &str) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("log"), boundary.bundle()).unwrap();
    std::fs::write(dir.path().join("pins"), boundary.pins().to_string()).unwrap();
    assert_eq!(qaudit(dir.path(), &["verify", "log", "--pins", "pins"]).status.code(), Some(0));
    let output = qaudit(dir.path(), &["replay", "log", "--pins", "pins", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let found = json(&output);
    assert_eq!(found["entry"], index, "{found}");
    assert!(found["problem"].as_str().unwrap().contains(what), "{found}");
}

/// Bad input: a file of 4 GiB, most of it a hole, is refused at its first wrong byte, in bounded memory.
#[test]
fn s6_a_bundle_of_four_gibibytes_is_refused_in_bounded_memory() {
    const FOUR_GIB: u64 = 4 << 30;
    let dir = tempfile::tempdir().unwrap();
    let boundary = Boundary::lived();
    let bytes = boundary.bundle();
    std::fs::write(dir.path().join("pins"), boundary.pins().to_string()).unwrap();
    for (name, start, code) in [("hole", 0, 2), ("header", 40, 1), ("entries", bytes.len() - 4_000, 1)] {
        let mut file = File::create(dir.path().join(name)).unwrap();
        file.write_all(&bytes[..start]).unwrap();
        file.set_len(FOUR_GIB).unwrap();
        let limited = format!("ulimit -v 262144; exec \"$0\" replay {name} --pins pins");
        let output = Command::new("sh")
            .args(["-c", &limited, env!("CARGO_BIN_EXE_qaudit")])
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{name}: {output:?}");
        assert!(!output.stderr.is_empty());
    }
}
