//! What is stale, seen before, or of someone else. Such a request spends nothing and leaves one record.

use kernel::access::FRESHNESS;
use kernel::event::Command;
use kernel::record::{Record, Refusal};
use types::Millis;

use crate::{World, assist, name, refusal};

fn read() -> Command {
    Command::Read { what: "status".to_owned() }
}

/// SM-07a: a request is taken once.
#[test]
fn a_request_is_taken_once() {
    let mut world = World::new();
    let request = world.request("op1", read(), None);
    assert!(world.send(request.clone()).iter().any(|record| matches!(record, Record::Served { .. })));
    assert_eq!(world.send(request.clone()), [Record::Refused(Refusal::Replayed)]);
    world.wait(FRESHNESS);
    assert_eq!(world.send(request.clone()), [Record::Refused(Refusal::Replayed)]);
    world.wait(Millis::new(1));
    assert_eq!(world.send(request), [Record::Refused(Refusal::Stale)]);
}

/// The nonce makes a request new, whatever else changes; two people may draw the same.
#[test]
fn a_nonce_is_spent_for_its_operator_whatever_it_was_spent_on() {
    let mut world = World::new();
    let first = world.request("op1", read(), None);
    world.send(first.clone());
    let mut second = world.request("op1", Command::OpenConsole, None);
    second.nonce = first.nonce;
    assert_eq!(world.send(second.clone()), [Record::Refused(Refusal::Replayed)]);
    second.operator = name("op2");
    assert!(world.send(second).iter().any(|record| matches!(record, Record::Served { .. })));
}

/// A denied request spends its nonce too: it cannot be tried again until policy changes its mind.
#[test]
fn a_denied_request_cannot_be_sent_again() {
    let mut world = World::new();
    let request = world.request("op4", assist(), None);
    assert!(world.send(request.clone()).iter().any(|record| matches!(record, Record::Denied { .. })));
    assert_eq!(world.send(request), [Record::Refused(Refusal::Replayed)]);
}

#[test]
fn a_request_is_fresh_for_a_minute_either_way() {
    let mut world = World::new();
    world.wait(Millis::from_hours(1));
    for (offset, is_fresh) in [(60_000_i64, true), (60_001, false), (-60_000, true), (-60_001, false), (0, true)] {
        let mut request = world.request("op1", read(), None);
        request.at = types::Timestamp::from_millis(world.now.as_millis().checked_add_signed(offset).unwrap());
        let records = world.send(request);
        assert_eq!(records == [Record::Refused(Refusal::Stale)], !is_fresh, "{offset}: {records:?}");
    }
}

#[test]
fn strangers_and_other_boundaries_are_refused_before_policy_is_asked() {
    let mut world = World::new();
    let mut foreign = world.request("op1", read(), None);
    foreign.boundary = name("b2");
    assert_eq!(world.send(foreign), [Record::Refused(Refusal::UnknownOperator)]);
    assert_eq!(world.ask("nobody", read()), [Record::Refused(Refusal::UnknownOperator)]);
    world.revoke("op1");
    assert_eq!(world.ask("op1", read()), [Record::Refused(Refusal::UnknownOperator)]);
}

/// Nonces are forgotten only when their requests are stale for ever, also where the clock runs back.
#[test]
fn nonces_are_forgotten_and_stay_refused() {
    let mut world = World::new();
    let first = world.request("op1", read(), None);
    world.send(first.clone());
    for _ in 0..50 {
        world.wait(Millis::from_secs(20));
        world.ask("op1", read());
    }
    // Twice the freshness, at one request every twenty seconds, and the line itself.
    assert_eq!(world.state.access().nonces(), 7);
    world.now = first.at;
    let late = world.send(first);
    assert_eq!(refusal(&late), Some(Refusal::Stale));
    assert!(!late.iter().any(|record| matches!(record, Record::NonceSpent { .. })));
}
