use evidence::bundle::Part;
use kernel::event::{Command, Event};
use kernel::record::Record;
use qaudit::replay::Problem;
use qaudit::{Exit, Failure, replay, verify};
use types::{Timestamp, cbor};

use crate::boundary::Boundary;

/// What replay says of a log that verifies.
fn problem(boundary: &Boundary) -> (u64, Problem) {
    let bytes = boundary.bundle();
    verify(bytes.as_slice(), &boundary.pins()).unwrap();
    let failure = replay(bytes.as_slice(), &boundary.pins()).unwrap_err();
    assert_eq!(failure.exit(), Exit::Tampered);
    match failure {
        Failure::Replay { index, problem } => (index, problem),
        other => panic!("{other}"),
    }
}

/// QT-10: every decision, record and signature of an honest log comes out again.
#[test]
fn an_honest_log_replays() {
    let boundary = Boundary::lived();
    let replayed = replay(boundary.bundle().as_slice(), &boundary.pins()).unwrap();
    assert_eq!(replayed.state, boundary.state.hash());
    let signed = boundary.entries.iter().filter(|(_, body)| matches!(body.event, Event::Request(_))).count() as u64;
    assert!(replayed.signatures == signed && signed >= 5, "{} of {signed}", replayed.signatures);
    let all = boundary.entries.iter().flat_map(|(_, body)| &body.records);
    let decisions = all.clone().filter(|record| matches!(record, Record::Decided(_))).count() as u64;
    assert_eq!((replayed.records, replayed.decisions), (all.count() as u64, decisions));
    assert!(decisions >= 5);
}

/// QT-01, QT-10: a decision turned round, with every hash and signature of the log remade by its
/// operator, verifies and does not replay.
#[test]
fn a_decision_turned_round_and_signed_again_is_found() {
    let honest = Boundary::lived();
    let denied = honest.find(|record| matches!(record, Record::Decided(decision) if !decision.permit));
    let mut forged = honest;
    for record in &mut forged.entries[denied as usize].1.records {
        if let Record::Decided(decision) = record {
            decision.permit = true;
            decision.reasons = vec!["operators-signal".to_owned()];
        }
    }
    let (index, problem) = problem(&forged);
    assert_eq!(index, denied);
    let Problem::Differs(difference) = problem else { panic!("{problem}") };
    assert!(matches!(&difference.logged, Some(Record::Decided(decision)) if decision.permit));
    assert!(matches!(&difference.replayed, Some(Record::Decided(decision)) if !decision.permit));
}

/// QT-09, QT-10: records left out or added are found, whichever they are.
#[test]
fn records_left_out_or_added_are_found() {
    let entries = Boundary::lived().entries;
    for index in 0..entries.len() {
        let mut forged = Boundary::lived();
        let records = &mut forged.entries[index].1.records;
        let left_out = records.pop();
        if left_out.is_some() {
            assert_eq!(problem(&forged).0, index as u64);
        }
        let mut forged = Boundary::lived();
        forged.entries[index].1.records.push(Record::AssistedSet { on: false });
        let (found, problem) = problem(&forged);
        assert_eq!(found, index as u64);
        let Problem::Differs(difference) = problem else { panic!("{problem}") };
        assert_eq!((difference.logged, difference.replayed), (Some(Record::AssistedSet { on: false }), None));
    }
}

/// QT-09: a step that needs what was left out before is found where it leads to something else.
#[test]
fn an_entry_left_out_is_found_where_it_is_missed() {
    let mut forged = Boundary::lived();
    let granted = forged.find(|record| matches!(record, Record::Granted { .. }));
    let used = forged.find(|record| matches!(record, Record::GrantUsed { .. }));
    forged.entries.remove(granted as usize);
    assert_eq!(problem(&forged).0, used - 1);
}

/// SM-04, SM-07a: a command in an operator's name that the operator did not sign is found.
#[test]
fn a_command_that_its_operator_did_not_sign_is_found() {
    let mut boundary = Boundary::lived();
    let index = boundary.entries.len() as u64;
    let signed = boundary.signed("op1", "op2", None, Command::Read { what: "keys".to_owned() });
    boundary.event(Event::Request(Box::new(signed)));
    let (found, problem) = problem(&boundary);
    assert_eq!(found, index);
    assert!(matches!(problem, Problem::Unsigned { operator, .. } if operator.as_str() == "op1"));

    let mut altered = Boundary::lived();
    let index = altered.find(|record| matches!(record, Record::GrantUsed { .. }));
    if let Event::Request(signed) = &mut altered.entries[index as usize].1.event {
        signed.request.command = Command::SetAssisted { on: false };
    }
    assert!(matches!(crate::replay::problem(&altered), (found, Problem::Unsigned { .. }) if found == index));
}

/// A log that founds another boundary, or under other keys, is not the pinned one's.
#[test]
fn another_founding_is_found() {
    let with = |change: &dyn Fn(&mut Event)| {
        let mut boundary = Boundary::lived();
        change(&mut boundary.entries[0].1.event);
        problem(&boundary)
    };
    let other = with(&|event| {
        if let Event::Create(genesis) = event {
            genesis.boundary = "south".parse().unwrap();
        }
    });
    assert!(matches!(other, (0, Problem::OtherBoundary { found }) if found.as_str() == "south"));
    let other = with(&|event| {
        if let Event::Create(genesis) = event {
            genesis.audit_key = genesis.salt;
        }
    });
    assert!(matches!(other, (0, Problem::OtherLogKeys)));
    assert!(matches!(with(&|event| *event = Event::Tick), (0, Problem::NotFounded)));
}

/// QT-10: time is part of what is decided; an entry moved in time is found where it mattered.
#[test]
fn an_entry_moved_in_time_is_found() {
    let mut forged = Boundary::lived();
    let read = forged.find(|record| matches!(record, Record::Served { .. }));
    for (at, _) in &mut forged.entries[read as usize..] {
        *at = Timestamp::from_millis(at.as_millis() + 86_400_000);
    }
    assert_eq!(problem(&forged).0, read);
}

/// A bundle that is not as signed is reported as that, even where an entry before it differs.
#[test]
fn what_is_not_as_signed_is_reported_first() {
    let mut forged = Boundary::lived();
    forged.entries[2].1.records.push(Record::AssistedSet { on: true });
    let mut bytes = forged.bundle();
    *bytes.last_mut().unwrap() ^= 1;
    let failure = replay(bytes.as_slice(), &forged.pins()).unwrap_err();
    assert_eq!(failure.part(), Some(Part::Checkpoint(forged.entries.len() as u64)));
}

/// QT-10: the bytes of a real log's bodies are in the schema-free canonical form of the format.
#[test]
fn bodies_are_canonical_without_a_schema() {
    for (_, body) in Boundary::lived().entries {
        evidence::Opaque::new(cbor::to_vec(&body)).unwrap();
    }
}
