//! Known defects of other policy engines, each tried here.

use kernel::policy::{Action, Actor, Decision, Facts, PolicySet, Request, Resource, decide};
use types::mesh::Function;
use types::{LinkId, RequestId, Timestamp};

use crate::{boundary, node, operator};

fn ask(set: &PolicySet, actor: Actor, action: Action, resource: Resource, facts: Facts) -> Decision {
    let request = Request { actor, action, resource, now: Timestamp::from_millis(1), assisted: false, facts };
    set.conforms(&request).unwrap();
    decide(set, &request)
}

/// FACTS section 5: a deny bypassed by a more specific, or a wildcard, allow.
#[test]
fn no_allow_however_specific_or_wide_passes_a_deny() {
    let forbid =
        "@id(\"no\") forbid (principal in Group::\"contractors\", action == Action::\"export_audit\", resource);";
    for allow in [
        "permit (principal, action, resource);",
        "permit (principal == Operator::\"op1\", action == Action::\"export_audit\", resource == Boundary::\"b1\");",
        "permit (principal is Operator in Group::\"contractors\", action == Action::\"export_audit\", resource is Boundary);",
        "permit (principal, action in [Action::\"read\", Action::\"export_audit\"], resource);",
    ] {
        let set = PolicySet::parse(&format!("{forbid} @id(\"yes\") {allow}")).unwrap();
        let contractor = operator("op1", &["contractors"]);
        assert_eq!(
            ask(&set, contractor, Action::ExportAudit, boundary(), Facts::None),
            Decision::Deny { reasons: vec!["no".to_owned()] },
        );
        let denied_elsewhere = ask(&set, operator("op2", &[]), Action::Rotate, boundary(), Facts::None);
        assert_eq!(matches!(denied_elsewhere, Decision::Permit(_)), allow.starts_with("permit (principal, action, "));
    }
}

/// FACTS section 5: injection through names. A group's text never becomes another entity.
#[test]
fn a_group_name_cannot_become_another_entity() {
    let set = PolicySet::parse(
        "@id(\"duty\") permit (principal in Group::\"duty\", action, resource);
         @id(\"op9\") permit (principal == Operator::\"op9\", action, resource);",
    )
    .unwrap();
    for name in [
        "duty\"",
        "\"duty\"",
        "Group::\"duty\"",
        "x\", Group::\"duty",
        "duty\u{0}",
        "DUTY",
        " duty",
        "duty ",
        "*",
        "duty\u{200b}",
        "d\u{443}ty",
        "Operator::\"op9\"",
    ] {
        let decision = ask(&set, operator("op1", &[name]), Action::Read, boundary(), Facts::Read("keys".to_owned()));
        assert_eq!(decision, Decision::Deny { reasons: vec![] }, "{name:?}");
    }
}

/// A request the schema does not have is denied although everything is permitted: validation said
/// nothing about it.
#[test]
fn what_the_schema_does_not_have_is_denied() {
    let set = PolicySet::parse("@id(\"all\") permit (principal, action, resource);").unwrap();
    let ask = |actor, action, resource, facts| {
        let request = Request { actor, action, resource, now: Timestamp::from_millis(1), assisted: false, facts };
        assert!(set.conforms(&request).is_err());
        decide(&set, &request)
    };
    let denied = Decision::Deny { reasons: vec!["error".to_owned()] };
    let read = Facts::Read("keys".to_owned());
    assert_eq!(ask(Actor::Engine, Action::Read, boundary(), read.clone()), denied);
    assert_eq!(ask(operator("op1", &[]), Action::RespondRotateKeys, boundary(), Facts::None), denied);
    assert_eq!(ask(operator("op1", &[]), Action::RestoreNode, boundary(), Facts::None), denied);
    assert_eq!(ask(operator("op1", &[]), Action::OpenConsole, boundary(), read), denied);
}

/// The same text under two types is two things: a node called like an operator has none of its rights.
#[test]
fn names_of_different_kinds_do_not_meet() {
    let set = PolicySet::parse("@id(\"p\") permit (principal == Operator::\"n1\", action, resource);").unwrap();
    let forward = || Resource::Forward { from: node("n1", Function::Grid), to: node("n2", Function::Grid) };
    let by_node = ask(&set, Actor::Node(node("n1", Function::Grid)), Action::NodeForward, forward(), Facts::None);
    assert_eq!(by_node, Decision::Deny { reasons: vec![] });
    let by_operator = ask(&set, operator("n1", &[]), Action::AddForward, forward(), Facts::None);
    assert!(matches!(by_operator, Decision::Permit(_)));
}

/// A read's word is data and no pattern.
#[test]
fn a_fact_cannot_be_a_pattern() {
    let set = PolicySet::parse(
        "@id(\"p\") permit (principal, action == Action::\"read\", resource) when { context.what == \"status\" };",
    )
    .unwrap();
    for (word, permitted) in [("status", true), ("*", false), ("statu*", false), ("status\" || true || \"", false)] {
        let decision = ask(&set, operator("op1", &[]), Action::Read, boundary(), Facts::Read(word.to_owned()));
        assert_eq!(matches!(decision, Decision::Permit(_)), permitted, "{word}");
    }
}

/// FACTS section 5: a requester in the approver group approves itself. Policy forbids it although
/// the whole world is permitted; the kernel refuses it once more.
#[test]
fn an_asker_cannot_approve_under_the_shipped_forbid() {
    let set = PolicySet::parse(&format!(
        "{} @id(\"all\") permit (principal, action, resource);",
        kernel::policy::DEFAULT_POLICY
    ))
    .unwrap();
    let held = |asker: &str| Resource::Held { id: RequestId::new(1), asker: Some(asker.parse().unwrap()) };
    let own = ask(&set, operator("op1", &["duty"]), Action::Approve, held("op1"), Facts::None);
    assert_eq!(own, Decision::Deny { reasons: vec!["never-own-request".to_owned()] });
    let others = ask(&set, operator("op1", &["duty"]), Action::Approve, held("op2"), Facts::None);
    assert!(matches!(others, Decision::Permit(_)));
}

/// QT-01: a policy that fails denies, whatever else permits, and is named.
#[test]
fn a_policy_that_fails_denies_and_is_named() {
    let set = PolicySet::parse(
        "@id(\"all\") permit (principal, action, resource);
         @id(\"overflows\") forbid (principal, action == Action::\"read\", resource)
           when { context.now + 9223372036854775807 < 0 };",
    )
    .unwrap();
    let decision = ask(&set, operator("op1", &[]), Action::Read, boundary(), Facts::Read("keys".to_owned()));
    assert_eq!(decision, Decision::Deny { reasons: vec!["error:overflows".to_owned()] });
    let elsewhere = ask(&set, operator("op1", &[]), Action::OpenConsole, boundary(), Facts::None);
    assert!(matches!(elsewhere, Decision::Permit(_)));
}

/// A time no signed number holds is denied, not wrapped.
#[test]
fn a_time_beyond_the_language_denies() {
    let set = PolicySet::parse("@id(\"all\") permit (principal, action, resource);").unwrap();
    let request = Request {
        actor: operator("op1", &[]),
        action: Action::OpenConsole,
        resource: boundary(),
        now: Timestamp::from_millis(u64::MAX),
        assisted: false,
        facts: Facts::None,
    };
    assert_eq!(decide(&set, &request), Decision::Deny { reasons: vec!["error".to_owned()] });
}

/// SM-07b: a link belongs to its two ends and to no node whose name resembles one of them.
#[test]
fn a_link_is_not_claimed_by_a_similar_name() {
    let set = PolicySet::parse(kernel::policy::DEFAULT_POLICY).unwrap();
    let link = || Resource::Link(LinkId::new("n1".parse().unwrap(), "n11".parse().unwrap()).unwrap());
    let facts = || Facts::Signal { kind: types::mesh::SignalKind::QberHigh, confidence_ppm: 1 };
    for (name, permitted) in [("n1", true), ("n11", true), ("n", false), ("n111", false), ("n2", false)] {
        let actor = Actor::Node(node(name, Function::Grid));
        let decision = ask(&set, actor, Action::NodeSignal, link(), facts());
        assert_eq!(matches!(decision, Decision::Permit(_)), permitted, "{name}");
    }
}
