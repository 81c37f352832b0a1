//! Reversing an autonomous action takes two people (SM-04, QT-09).

use kernel::record::{Principal, Record, Refusal};
use types::mesh::NodeState;
use types::{Hash, Millis};

use crate::{World, assist, decision, digest_of, grant_in, held_in, is_carried_out, name, refusal, restore};

fn isolated() -> World {
    let mut world = World::new();
    world.isolate_n2();
    world
}

fn state_of_n2(world: &World) -> NodeState {
    world.state.node(&name("n2")).unwrap().state
}

/// SM-04: one person asks, another approves, the first presents the grant.
#[test]
fn a_node_comes_back_with_two_people() {
    let mut world = isolated();
    let asked = world.ask("op1", restore("n2"));
    let held = held_in(&asked).unwrap();
    assert_eq!(held.1, digest_of("op1", &restore("n2")));
    let fact = asked.iter().find_map(|record| match record {
        Record::Held { by, summary, needed, group, expires, .. } => {
            Some((by, summary.as_str(), *needed, group.as_str(), *expires))
        }
        _ => None,
    });
    let expires = world.now + Millis::from_hours(1);
    assert_eq!(fact, Some((&Principal::Operator(name("op1")), "restore node n2", 1, "duty", expires)));

    let repeated = world.ask("op1", restore("n2"));
    assert!(held_in(&repeated).is_none() && grant_in(&repeated).is_none(), "the held one is found: {repeated:?}");

    let approved = world.approve("op2", held);
    assert!(approved.contains(&Record::Approved { request: held.0, by: name("op2") }));
    assert!(!is_carried_out(&approved) && grant_in(&approved).is_none());

    let grant = world.granted("op1", restore("n2"));
    assert!(world.state.access().held().is_empty());
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    assert!(is_carried_out(&world.present("op1", restore("n2"), grant)));
    assert_eq!(state_of_n2(&world), NodeState::Offline);
}

/// FACTS section 5: a requester in the approver group approves itself.
#[test]
fn nobody_approves_an_own_request() {
    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    let own = world.approve("op1", held);
    assert_eq!(decision(&own), Some((false, vec!["never-own-request".to_owned()])));
    assert!(grant_in(&world.ask("op1", restore("n2"))).is_none());
}

/// The same where a careless policy permits everything: the kernel itself refuses.
#[test]
fn nobody_approves_an_own_request_under_any_policy() {
    let mut world = World::under(
        "@id(\"all\") @approvals(\"1\") @approvers(\"duty\") permit (principal, action == Action::\"set_assisted\", resource);
         @id(\"any\") permit (principal, action, resource) unless { action == Action::\"set_assisted\" };",
    );
    let held = world.held("op1", assist());
    let own = world.approve("op1", held);
    assert_eq!(refusal(&own), Some(Refusal::NotAnApprover));
    assert!(grant_in(&world.ask("op1", assist())).is_none());
    let outsider = world.approve("op3", held);
    assert_eq!(refusal(&outsider), Some(Refusal::NotAnApprover), "not in the group");
    world.approve("op2", held);
    world.granted("op1", assist());
}

#[test]
fn only_the_named_group_approves_and_denies() {
    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    for outsider in ["op3", "op4"] {
        assert_eq!(decision(&world.approve(outsider, held)), Some((false, vec![])));
        assert_eq!(decision(&world.deny(outsider, held)), Some((false, vec![])));
    }
    assert!(world.state.access().held()[&held.0].approved_by.is_empty());
}

/// QT-09: several approvals are of several people, each in every group that any policy names.
#[test]
fn approvals_are_of_distinct_people_in_every_group() {
    let mut world = World::under(
        "@id(\"a\") @approvals(\"2\") @approvers(\"duty\") permit (principal, action == Action::\"set_assisted\", resource);
         @id(\"b\") @approvals(\"1\") @approvers(\"operators\") permit (principal, action == Action::\"set_assisted\", resource);
         @id(\"c\") permit (principal, action == Action::\"approve\", resource);",
    );
    let held = world.held("op3", assist());
    world.approve("op1", held);
    assert_eq!(refusal(&world.approve("op1", held)), Some(Refusal::NotAnApprover), "never twice");
    assert!(grant_in(&world.ask("op3", assist())).is_none());
    assert_eq!(refusal(&world.approve("op5", held)), Some(Refusal::NotAnApprover), "on duty, but no operator");
    world.approve("op2", held);
    let grant = world.granted("op3", assist());
    assert!(is_carried_out(&world.present("op3", assist(), grant)));
}

#[test]
fn an_approval_names_what_it_approves() {
    let mut world = isolated();
    let (request, digest) = world.held("op1", restore("n2"));
    for wrong in [Hash::ZERO, digest_of("op1", &restore("n1")), digest_of("op2", &restore("n2"))] {
        assert_eq!(refusal(&world.approve("op2", (request, wrong))), Some(Refusal::DigestMismatch));
        assert_eq!(refusal(&world.deny("op2", (request, wrong))), Some(Refusal::DigestMismatch));
    }
    let unknown = types::RequestId::new(99);
    assert_eq!(refusal(&world.approve("op2", (unknown, digest))), Some(Refusal::NoSuchRequest));
}

/// Two people who ask for the same thing are two requests: neither approves the other by asking.
#[test]
fn the_same_command_of_two_people_is_two_requests() {
    let mut world = isolated();
    let first = world.held("op1", restore("n2"));
    let second = world.held("op2", restore("n2"));
    assert_ne!(first, second);
    assert!(grant_in(&world.ask("op1", restore("n2"))).is_none());
}

#[test]
fn one_denial_ends_it() {
    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    world.approve("op2", held);
    let denied = world.deny("op5", held);
    assert!(denied.contains(&Record::HeldEnded { request: held.0, by: Some(name("op5")) }));
    let again = world.ask("op1", restore("n2"));
    assert!(grant_in(&again).is_none(), "the approval went with it");
    assert_ne!(held_in(&again).unwrap().0, held.0);
    assert_eq!(refusal(&world.approve("op2", held)), Some(Refusal::NoSuchRequest));
}

#[test]
fn an_asker_can_withdraw() {
    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    assert!(world.deny("op1", held).contains(&Record::HeldEnded { request: held.0, by: Some(name("op1")) }));
}

#[test]
fn a_held_request_ends_by_itself_with_or_without_a_tick() {
    for ticked in [false, true] {
        let mut world = isolated();
        let held = world.held("op1", restore("n2"));
        world.approve("op2", held);
        world.wait(Millis::from_hours(1));
        if ticked {
            assert!(world.tick().contains(&Record::HeldEnded { request: held.0, by: None }));
        }
        let again = world.ask("op1", restore("n2"));
        assert!(grant_in(&again).is_none());
        assert_ne!(held_in(&again).unwrap().0, held.0);
        assert_eq!(world.state.access().held().len(), 1);
    }
}

/// An approved grant serves once; the approvals are spent with it.
#[test]
fn approvals_are_spent_with_their_grant() {
    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    world.approve("op2", held);
    let grant = world.granted("op1", restore("n2"));
    let next = world.ask("op1", restore("n2"));
    assert!(grant_in(&next).is_none() && held_in(&next).is_some());
    assert!(is_carried_out(&world.present("op1", restore("n2"), grant)));
}

/// Nobody is asked to approve what cannot be carried out.
#[test]
fn a_node_that_is_not_isolated_is_not_held_for() {
    let mut world = World::new();
    let records = world.ask("op1", restore("n1"));
    assert_eq!((refusal(&records), held_in(&records)), (Some(Refusal::NoSuchNode), None));
}

/// Approvals are counted again when the grant is used: that of a person revoked since is none.
#[test]
fn an_approval_of_a_revoked_person_does_not_count() {
    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    world.approve("op2", held);
    let grant = world.granted("op1", restore("n2"));
    world.revoke("op2");
    let records = world.present("op1", restore("n2"), grant);
    assert_eq!((refusal(&records), is_carried_out(&records)), (Some(Refusal::BadGrant), false));

    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    world.approve("op2", held);
    world.revoke("op2");
    assert!(grant_in(&world.ask("op1", restore("n2"))).is_none());
    world.approve("op5", held);
    world.granted("op1", restore("n2"));
}

/// A revoked operator's held requests end with the credential, in the same entry.
#[test]
fn held_requests_end_with_the_credential() {
    let mut world = isolated();
    let held = world.held("op1", restore("n2"));
    assert!(world.revoke("op1").contains(&Record::HeldEnded { request: held.0, by: None }));
    assert!(world.state.access().held().is_empty());
}
