//! Repeated denials are noticed (QT-11).

use kernel::access::{BURST, BURST_WINDOW};
use kernel::event::Command;
use kernel::record::Record;
use types::mesh::{Severity, SignalKind, Subject};
use types::{GrantId, Millis};

use crate::{World, assist, name};

fn is_burst(record: &Record) -> bool {
    matches!(record, Record::SignalNoted { subject: Subject::Operator(_), kind: SignalKind::DenialBurst, .. })
}

fn denied(world: &mut World) -> bool {
    let records = world.ask("op4", assist());
    assert!(records.contains(&Record::Denied { operator: name("op4") }));
    records.iter().any(is_burst)
}

/// QT-11: the fifth denial within a minute opens an incident about the operator, and no sooner.
#[test]
fn the_fifth_denial_within_a_minute_is_a_burst() {
    let mut world = World::new();
    for _ in 1..BURST {
        assert!(!denied(&mut world));
    }
    let records = world.ask("op4", assist());
    assert!(records.iter().any(is_burst));
    let subject = Subject::Operator(name("op4"));
    let opened =
        |r: &Record| matches!(r, Record::IncidentOpened { subject: s, severity: Severity::High, .. } if *s == subject);
    assert!(records.iter().any(opened));
    assert!(!world.state.operator(&name("op4")).unwrap().revoked, "a burst alone revokes nobody");
    // Counting begins anew.
    world.wait(Millis::from_secs(11));
    for _ in 1..BURST {
        assert!(!denied(&mut world));
    }
    assert!(denied(&mut world));
}

#[test]
fn slow_denials_are_no_burst() {
    let mut world = World::new();
    let step = Millis::new(BURST_WINDOW.get() / (BURST as u64 - 1));
    for _ in 0..4 * BURST {
        assert!(!denied(&mut world));
        world.wait(step);
    }
}

#[test]
fn a_bad_grant_counts_and_an_honest_mistake_does_not() {
    let mut world = World::new();
    for _ in 0..2 * BURST {
        assert!(!world.ask("op1", Command::RestoreNode { node: name("n77") }).iter().any(is_burst));
    }
    for _ in 1..BURST {
        assert!(!world.present("op1", assist(), GrantId::new(9)).iter().any(is_burst));
    }
    assert!(world.present("op1", assist(), GrantId::new(9)).iter().any(is_burst));
}

/// Old requests sent again bring nobody under suspicion: they count for nothing.
#[test]
fn replays_count_against_nobody() {
    let mut world = World::new();
    let request = world.request("op4", assist(), None);
    world.send(request.clone());
    for _ in 0..3 * BURST {
        assert_eq!(world.send(request.clone()).len(), 1);
    }
    assert!(!denied(&mut world), "the second that counts");
}
