//! Versions of the rules, told to the shipped `qaudit`.

use evidence::bundle::{BundleWriter, Header};
use evidence::{Head, Opaque, Tree};
use kernel::Body;
use kernel::event::{Command, Event};
use kernel::record::Record;
use qaudit::replay::Problem;
use qaudit::{Exit, Failure, replay};

use crate::boundary::Boundary;
use crate::cli::{json, qaudit};

/// The boundary after two people brought the next version of the rules into force.
fn gone_over() -> Boundary {
    let mut boundary = Boundary::lived();
    let activate = Command::ActivateRules { version: kernel::RULES + 1 };
    let digest = kernel::access::command_digest(&Boundary::id(), &"op1".parse().unwrap(), &activate);
    let held = boundary.request("op1", None, activate.clone());
    let request = held.iter().find_map(|record| match record {
        Record::Held { request, .. } => Some(*request),
        _ => None,
    });
    boundary.request("op2", None, Command::Approve { request: request.unwrap(), digest });
    let granted = boundary.request("op1", None, activate.clone());
    let grant = granted.iter().find_map(|record| match record {
        Record::Granted { grant, .. } => Some(*grant),
        _ => None,
    });
    let done = boundary.request("op1", grant, activate);
    assert!(done.contains(&Record::RulesActivated { version: kernel::RULES + 1 }), "{done:?}");
    boundary
}

/// The log with one more entry whose body is `later`, signed.
fn with_entry(boundary: &Boundary, later: Vec<u8>) -> Vec<u8> {
    let mut entries: Vec<_> = boundary.entries.iter().map(|(at, body)| (*at, types::cbor::to_vec(body))).collect();
    entries.push((boundary.state.clock(), later));
    let header = Header { boundary: Boundary::id(), origin: "north".parse().unwrap(), size: entries.len() as u64 };
    let mut writer = BundleWriter::new(Vec::new(), &header).unwrap();
    let (mut head, mut tree) = (Head::EMPTY, Tree::new());
    for (at, body) in entries {
        let sealed = head.next(at, Opaque::new(body).unwrap()).seal().unwrap();
        head = head.after(at, &sealed);
        tree.append(sealed.leaf());
        writer.entry(sealed.bytes()).unwrap();
    }
    writer.finish(&boundary.checkpoint(&tree)).unwrap()
}

/// An entry of another version, with an event and a record that nobody here knows.
fn unknown() -> Vec<u8> {
    types::cbor::to_vec(&(kernel::RULES + 1, (9_999u32, ("later",)), [(9_998u32, ("too",))]))
}

/// H11: a log that goes on by later rules is no tampered one: the verifier says which version it needs, and
/// still checks every byte.
#[test]
fn h11_a_log_of_later_rules_is_incomplete_here_and_not_tampered() {
    let dir = tempfile::tempdir().unwrap();
    let boundary = gone_over();
    let mut bytes = with_entry(&boundary, unknown());
    std::fs::write(dir.path().join("log"), &bytes).unwrap();
    std::fs::write(dir.path().join("pins"), boundary.pins().to_string()).unwrap();
    assert_eq!(qaudit(dir.path(), &["verify", "log", "--pins", "pins"]).status.code(), Some(0));
    let output = qaudit(dir.path(), &["replay", "log", "--pins", "pins", "--json"]);
    let found = json(&output);
    let last = boundary.entries.len() as u64;
    assert_eq!((output.status.code(), &found["entry"]), (Some(3), &last.into()), "{found}");
    let problem = found["problem"].as_str().unwrap();
    let (needs, knows) = (kernel::RULES + 1, kernel::RULES);
    assert!(problem.contains(&format!("needs rules version {needs}")), "{problem}");
    assert!(problem.contains(&format!("knows up to {knows}")), "{problem}");
    // Up to there it holds, and what is not as signed is found in such a log, too.
    replay(boundary.bundle().as_slice(), &boundary.pins()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(dir.path().join("log"), &bytes).unwrap();
    assert_eq!(qaudit(dir.path(), &["replay", "log", "--pins", "pins"]).status.code(), Some(1));
}

/// H11: an entry that names another version than the one in force is tampered with: nobody evades a replay by
/// claiming rules that no entry brought, and nobody goes back to earlier ones.
#[test]
fn h11_a_version_that_no_entry_brought_is_found() {
    let boundary = Boundary::lived();
    let last = boundary.entries.len() as u64;
    let bytes = with_entry(&boundary, unknown());
    let failure = replay(bytes.as_slice(), &boundary.pins()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Tampered);
    assert!(matches!(failure, Failure::Replay { index, problem: Problem::OtherRules { .. } } if index == last));
    let boundary = gone_over();
    let last = boundary.entries.len() as u64;
    let body = Body { rules: kernel::RULES, event: Event::Tick, records: Vec::new() };
    let failure = replay(with_entry(&boundary, types::cbor::to_vec(&body)).as_slice(), &boundary.pins()).unwrap_err();
    assert!(matches!(failure, Failure::Replay { index, problem: Problem::OtherRules { .. } } if index == last));
}
