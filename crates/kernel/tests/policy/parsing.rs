//! What is no policy set, and how it is told.

use kernel::policy::{Action, DEFAULT_POLICY, Decision, Facts, PolicyError, PolicySet, Request, SCHEMA, decide};
use types::mesh::{Function, KeyType, Severity, SignalKind};
use types::{Label, Timestamp};

use crate::{boundary, operator};

fn bad(text: &str) -> PolicyError {
    PolicySet::parse(text).unwrap_err()
}

fn annotated(annotations: &str) -> Result<PolicySet, PolicyError> {
    PolicySet::parse(&format!("@id(\"p\") {annotations} permit (principal in Group::\"g\", action, resource);"))
}

fn read(groups: &[&str]) -> Request {
    Request {
        actor: operator("op1", groups),
        action: Action::Read,
        resource: boundary(),
        now: Timestamp::from_millis(1),
        assisted: false,
        facts: Facts::Read("status".to_owned()),
    }
}

/// QT-14: a policy that does not fit is refused when it is read.
#[test]
fn a_typo_is_found_when_the_policy_is_read() {
    for text in [
        "@id(\"p\") permit (principal, action == Action::\"raed\", resource);",
        "@id(\"p\") permit (principal is Operater, action, resource);",
        "@id(\"p\") permit (principal is Node, action, resource) when { principal.function == Function::\"gird\" };",
        "@id(\"p\") permit (principal is Node, action, resource) when { principal.role == 1 };",
        "@id(\"p\") permit (principal, action == Action::\"read\", resource) when { context.severity == 1 };",
        "@id(\"p\") permit (principal, action == Action::\"read\", resource) when { context.now < \"noon\" };",
        // It could never apply: no action has a node as principal and a boundary as resource.
        "@id(\"p\") permit (principal is Node, action, resource is Boundary);",
        // A comparison that is always false.
        "@id(\"p\") permit (principal is Node, action, resource) when { principal == Operator::\"op1\" };",
    ] {
        assert!(matches!(bad(text), PolicyError::Invalid(_)), "{text}");
    }
    assert!(matches!(bad("permit everything"), PolicyError::Syntax(_)));
}

#[test]
fn a_policy_needs_a_name_of_its_own() {
    let rule = "permit (principal, action, resource);";
    for id in ["", "@id ", "@id(\"\") ", "@id(\"Upper\") ", "@id(\"a:b\") ", "@id(\"a b\") ", "@id(\"é\") "] {
        assert!(matches!(bad(&format!("{id}{rule}")), PolicyError::BadId(_)), "{id}");
    }
    assert!(matches!(bad(&format!("@id(\"{}\") {rule}", "a".repeat(65))), PolicyError::BadId(_)));
    assert_eq!(bad(&format!("@id(\"p\") {rule} @id(\"p\") {rule}")), PolicyError::SameId("p".to_owned()));
}

/// FACTS section 5: injection through a templated policy. There are none.
#[test]
fn templates_are_not_taken() {
    let text = "@id(\"p\") permit (principal == ?principal, action, resource);";
    assert_eq!(bad(text), PolicyError::Template);
}

#[test]
fn a_bad_annotation_is_an_error_when_read_and_not_when_decided() {
    for annotations in [
        "@grant(\"yes\")",
        "@grant",
        "@grant(\"required\") @ttl(\"0s\")",
        "@grant(\"required\") @ttl(\"16m\")",
        "@grant(\"required\") @ttl(\"60\")",
        "@grant(\"required\") @ttl(\"-1s\")",
        "@ttl(\"60s\")",
        "@approvals(\"1\")",
        "@approvers(\"duty\")",
        "@approvals(\"0\") @approvers(\"duty\")",
        "@approvals(\"10\") @approvers(\"duty\")",
        "@approvals(\"+1\") @approvers(\"duty\")",
        "@approvals(\"01\") @approvers(\"duty\")",
        "@approvals(\"1\") @approvers(\"duty,grid\")",
        "@approvals(\"1\") @approvers(\"\")",
    ] {
        assert!(matches!(annotated(annotations), Err(PolicyError::BadAnnotation { .. })), "{annotations}");
    }
    // A misspelt obligation must not silently be none.
    for annotations in ["@approval(\"1\")", "@Grant(\"required\")", "@ip_allow(\"10.0.0.0/8\")"] {
        assert!(matches!(annotated(annotations), Err(PolicyError::UnknownAnnotation { .. })), "{annotations}");
    }
    let on_forbid = "@id(\"p\") @grant(\"required\") forbid (principal, action, resource);";
    assert!(matches!(bad(on_forbid), PolicyError::UnknownAnnotation { .. }));
}

/// QT-09: of several permitting policies the strictest obligation counts, in each respect.
#[test]
fn the_strictest_obligation_wins() {
    let rule = "permit (principal in Group::\"g\", action == Action::\"read\", resource);";
    let set = PolicySet::parse(&format!(
        "@id(\"a\") {rule}
         @id(\"b\") @grant(\"required\") @ttl(\"5m\") {rule}
         @id(\"c\") @approvals(\"1\") @approvers(\"duty\") @ttl(\"2m\") {rule}
         @id(\"d\") @approvals(\"3\") @approvers(\"grid\") @ttl(\"3m\") {rule}"
    ))
    .unwrap();
    let Decision::Permit(permit) = decide(&set, &read(&["g"])) else { panic!("permitted by four") };
    assert_eq!(permit.policies(), ["a", "b", "c", "d"]);
    let needs = permit.obligations();
    assert!(needs.grant && !needs.is_immediate());
    assert_eq!((needs.ttl.get(), needs.approvals, needs.group().as_str()), (120_000, 3, "duty,grid"));
}

#[test]
fn a_grant_without_a_named_life_lives_a_minute() {
    let set = annotated("@grant(\"required\")").unwrap();
    let Decision::Permit(permit) = decide(&set, &read(&["g"])) else { panic!("permitted") };
    assert_eq!(permit.obligations().ttl.get(), 60_000);
}

#[test]
fn the_hash_names_the_canonical_text() {
    let set = PolicySet::parse(DEFAULT_POLICY).unwrap();
    assert_eq!(set.hash(), Label::POLICY.hash(&[set.text().as_bytes()]));
    let windows = PolicySet::parse(&format!("{}\r\n\r\n", DEFAULT_POLICY.replace('\n', "\r\n"))).unwrap();
    assert_eq!(windows.hash(), set.hash());
    assert_eq!(PolicySet::parse(set.text()).unwrap(), set);
    let other = PolicySet::parse(&DEFAULT_POLICY.replace("\"60s\"", "\"61s\"")).unwrap();
    assert_ne!(other.hash(), set.hash());
    assert_ne!(other, set);
}

/// The schema's words are the code's words, so that a policy can name each and no other.
#[test]
fn the_schema_has_every_word_of_the_mesh() {
    let words = |entity: &str| -> Vec<String> {
        let start = SCHEMA.find(&format!("entity {entity} enum [")).unwrap();
        let list = &SCHEMA[start..][..SCHEMA[start..].find(']').unwrap()];
        list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    };
    let texts = |all: &[&str]| all.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let functions: Vec<_> = Function::ALL.iter().map(|f| f.as_str()).chain(["hub"]).collect();
    assert_eq!(words("Function"), texts(&functions));
    assert_eq!(words("Severity"), texts(&Severity::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>()));
    assert_eq!(words("Signal"), texts(&SignalKind::ALL.iter().map(|s| s.as_str()).collect::<Vec<_>>()));
    assert_eq!(words("KeyType"), texts(&KeyType::ALL.iter().map(|k| k.as_str()).collect::<Vec<_>>()));
}
