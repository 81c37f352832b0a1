//! A critical command runs on a grant: short-lived, used once, of one person, for one command (QT-09).

use kernel::access::MOST_OPEN;
use kernel::event::Command;
use kernel::record::{Record, Refusal};
use types::mesh::{ForwardSpec, Function};
use types::{GrantId, Millis};

use crate::{World, decision, digest_of, grant_in, is_carried_out, name, node, refusal};

/// A command that takes a grant and nobody's approval.
pub(crate) fn admit(id: &str) -> Command {
    Command::AdmitNode { node: node(id, Function::Comms), links: vec![] }
}

fn forward(from: &str, to: &str) -> Command {
    let spec = ForwardSpec {
        node: name(from),
        listen: "127.0.0.1:7000".to_owned(),
        to: name(to),
        connect: "127.0.0.1:8000".to_owned(),
    };
    Command::AddForward { spec }
}

/// QT-09, QT-10: allow, then grant, then evidence of both.
#[test]
fn a_critical_command_is_granted_first_and_then_carried_out() {
    for command in [admit("n9"), admit("n8")] {
        let mut world = World::new();
        let asked = world.ask("op1", command.clone());
        assert!(!is_carried_out(&asked), "{asked:?}");
        assert_eq!(decision(&asked), Some((true, vec!["duty-critical".to_owned()])));
        let digest = digest_of("op1", &command);
        let expires = world.now + Millis::from_secs(60);
        let grant = grant_in(&asked).unwrap();
        assert!(asked.contains(&Record::Granted { grant, operator: name("op1"), digest, expires }));
        let presented = world.present("op1", command, grant);
        assert!(presented.contains(&Record::GrantUsed { grant }));
        assert_eq!(decision(&presented), Some((true, vec!["duty-critical".to_owned()])));
        assert!(is_carried_out(&presented), "{presented:?}");
    }
}

#[test]
fn what_is_not_critical_is_carried_out_at_once() {
    for command in [
        Command::Read { what: "keys".to_owned() },
        Command::RotateKeys { key_type: None, emergency: false },
        forward("n1", "n2"),
    ] {
        let mut world = World::new();
        assert!(is_carried_out(&world.ask("op3", command)));
    }
}

/// FACTS section 5: grants used twice, late, by others, for other commands or elsewhere.
#[test]
fn a_grant_is_used_once() {
    let mut world = World::new();
    let grant = world.granted("op1", forward("n1", "n5"));
    assert!(is_carried_out(&world.present("op1", forward("n1", "n5"), grant)));
    let again = world.present("op1", forward("n1", "n5"), grant);
    assert_eq!(refusal(&again), Some(Refusal::BadGrant));
    assert!(!is_carried_out(&again) && again.contains(&Record::Denied { operator: name("op1") }));
}

#[test]
fn a_grant_ends_at_its_time_with_or_without_a_tick() {
    for ticked in [false, true] {
        let mut world = World::new();
        let grant = world.granted("op1", admit("n9"));
        world.wait(Millis::new(59_999));
        world.tick();
        assert!(world.state.access().grants().contains_key(&grant));
        world.wait(Millis::new(1));
        if ticked {
            assert!(world.tick().contains(&Record::GrantExpired { grant }));
            assert!(world.state.access().grants().is_empty());
        }
        let late = world.present("op1", admit("n9"), grant);
        assert_eq!((refusal(&late), is_carried_out(&late)), (Some(Refusal::BadGrant), false));
    }
}

#[test]
fn a_stolen_grant_is_useless_to_another_operator() {
    let mut world = World::new();
    let grant = world.granted("op1", admit("n9"));
    let stolen = world.present("op2", admit("n9"), grant);
    assert_eq!((refusal(&stolen), is_carried_out(&stolen)), (Some(Refusal::BadGrant), false));
    assert!(is_carried_out(&world.present("op1", admit("n9"), grant)), "the attempt left the grant alone");
}

/// FACTS section 5: any grant lets a user rotate another's key. Here a grant is for one command.
#[test]
fn a_grant_is_for_the_very_command() {
    let mut world = World::new();
    let grant = world.granted("op1", admit("n7"));
    for other in [admit("n8"), admit("n9")] {
        let records = world.present("op1", other, grant);
        assert_eq!((refusal(&records), is_carried_out(&records)), (Some(Refusal::BadGrant), false));
    }
}

/// FACTS section 5: grants across tenants. The digest holds the boundary, and so does the request.
#[test]
fn a_grant_of_another_boundary_is_none_here() {
    let mut world = World::new();
    let grant = world.granted("op1", admit("n9"));
    let mut foreign = world.request("op1", admit("n9"), Some(grant));
    foreign.boundary = name("b2");
    assert_eq!(world.send(foreign), [Record::Refused(Refusal::UnknownOperator)]);
    let elsewhere = kernel::access::command_digest(&name("b2"), &name("op1"), &admit("n9"));
    assert_ne!(elsewhere, digest_of("op1", &admit("n9")));
}

#[test]
fn a_grant_nobody_gave_is_refused_even_for_what_needs_none() {
    let mut world = World::new();
    let records = world.present("op1", Command::OpenConsole, GrantId::new(7));
    assert_eq!((refusal(&records), is_carried_out(&records)), (Some(Refusal::BadGrant), false));
}

/// Policy is asked again when a grant is used: what was allowed then may not be now.
#[test]
fn policy_is_asked_again_when_a_grant_is_used() {
    let policy = "
        @id(\"early\") @grant(\"required\") @ttl(\"15m\")
        permit (principal, action == Action::\"admit_node\", resource) when { context.now < 1790000060000 };";
    let mut world = World::under(policy);
    let grant = world.granted("op1", admit("n9"));
    world.wait(Millis::from_secs(61));
    let records = world.present("op1", admit("n9"), grant);
    assert_eq!(decision(&records), Some((false, vec![])));
    assert!(!is_carried_out(&records) && !records.contains(&Record::GrantUsed { grant }));
}

#[test]
fn asking_again_ends_the_grant_before() {
    let mut world = World::new();
    let first = world.granted("op1", admit("n9"));
    let asked = world.ask("op1", admit("n9"));
    assert!(asked.contains(&Record::GrantExpired { grant: first }));
    let second = grant_in(&asked).unwrap();
    assert_eq!(refusal(&world.present("op1", admit("n9"), first)), Some(Refusal::BadGrant));
    assert!(is_carried_out(&world.present("op1", admit("n9"), second)));
}

#[test]
fn open_grants_are_bounded() {
    let mut world = World::new();
    let admit = |number: usize| Command::AdmitNode { node: node(&format!("x{number}"), Function::Grid), links: vec![] };
    for number in 0..MOST_OPEN {
        world.granted("op1", admit(number));
    }
    assert_eq!(refusal(&world.ask("op1", admit(MOST_OPEN))), Some(Refusal::OutOfBounds));
    assert_eq!(world.state.access().grants().len(), MOST_OPEN);
    world.granted("op2", admit(MOST_OPEN));
}

/// A revoked operator's grants end with the credential, in the same entry.
#[test]
fn grants_end_with_the_credential() {
    let mut world = World::new();
    let grant = world.granted("op1", admit("n9"));
    let records = world.revoke("op1");
    assert!(records.contains(&Record::GrantExpired { grant }));
    assert_eq!(world.present("op1", admit("n9"), grant), [Record::Refused(Refusal::UnknownOperator)]);
}

/// SM-07b: what reaches into defense from another function takes an operator's grant; within the rest,
/// and out of defense, a forward is carried out at once.
#[test]
fn a_grid_node_reaches_into_defense_only_on_a_grant() {
    let mut world = World::new();
    assert!(is_carried_out(&world.ask("op3", forward("n1", "n2"))));
    assert!(is_carried_out(&world.ask("op3", forward("n5", "n2"))));
    let mut world = World::new();
    let asked = world.ask("op3", forward("n1", "n5"));
    assert!(!is_carried_out(&asked));
    let grant = grant_in(&asked).unwrap();
    assert!(is_carried_out(&world.present("op3", forward("n1", "n5"), grant)));
}

/// SM-07b: an isolated node opens no forward, whoever asks.
#[test]
fn an_isolated_node_opens_no_forward() {
    let mut world = World::new();
    world.isolate_n2();
    let records = world.ask("op1", forward("n2", "n1"));
    assert!(!is_carried_out(&records));
    assert!(records.contains(&Record::Denied { operator: name("op1") }));
    let denied = records.iter().any(
        |record| matches!(record, Record::Decided(decided) if !decided.permit && decided.reasons == ["never-isolated"]),
    );
    assert!(denied, "{records:?}");
}
