//! What holds for any policies and any request.

use std::sync::LazyLock;

use kernel::policy::{
    Action, Actor, DEFAULT_POLICY, Decision, Facts, NodeRef, PolicySet, Request, Resource, decide, decide_by_scan,
};
use proptest::prelude::*;
use types::mesh::{Function, KeyType, Severity, SignalKind};
use types::{Hash, IncidentId, KeyId, LinkId, RequestId, Timestamp, cbor};

use crate::{boundary, hub, member, node};

const PRINCIPALS: &[&str] = &[
    "principal",
    "principal is Operator",
    "principal is Node",
    "principal == Operator::\"op1\"",
    "principal == Node::\"n1\"",
    "principal in Group::\"duty\"",
    "principal is Operator in Group::\"operators\"",
    "principal is Engine",
];

const ACTIONS: &[&str] = &[
    "action",
    "action == Action::\"read\"",
    "action in [Action::\"signal\", Action::\"node_signal\"]",
    "action in [Action::\"rotate\", Action::\"approve\", Action::\"add_forward\", Action::\"node_forward\"]",
    "action in [Action::\"respond_isolate_node\", Action::\"restore_node\"]",
];

const RESOURCES: &[&str] = &[
    "resource",
    "resource is Boundary",
    "resource == Boundary::\"b1\"",
    "resource is Node",
    "resource in Node::\"n1\"",
    "resource is Node in Node::\"n2\"",
    "resource is Operator",
    "resource == KeyType::\"MESH_SESSION\"",
];

const CONDITIONS: &[&str] = &[
    "",
    "when { context.assisted }",
    "unless { context.assisted }",
    "when { context.now < 1000 }",
    // Overflows for a late `now`: a policy that fails.
    "when { context.now + 9223372036854774000 > 0 }",
];

/// Scopes that fit the schema together: the validator refuses those that could never apply.
static SCOPES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let mut scopes = Vec::new();
    for principal in PRINCIPALS {
        for action in ACTIONS {
            for resource in RESOURCES {
                let scope = format!("({principal}, {action}, {resource})");
                if PolicySet::parse(&format!("@id(\"p\") permit {scope};")).is_ok() {
                    scopes.push(scope);
                }
            }
        }
    }
    assert!(scopes.len() > 100, "too few to be worth it: {}", scopes.len());
    scopes
});

fn rule() -> impl Strategy<Value = String> {
    let annotations = prop_oneof![
        3 => Just(""),
        1 => Just("@grant(\"required\") @ttl(\"30s\")"),
        1 => Just("@approvals(\"2\") @approvers(\"duty\")"),
    ];
    (any::<prop::sample::Index>(), prop::sample::select(CONDITIONS), prop::bool::weighted(0.8), annotations).prop_map(
        |(scope, condition, permit, annotations)| {
            let scope = scope.get(&SCOPES);
            if permit {
                format!("{annotations} permit {scope} {condition};")
            } else {
                format!("forbid {scope} {condition};")
            }
        },
    )
}

fn text_of<'a>(rules: impl IntoIterator<Item = (usize, &'a String)>) -> String {
    rules.into_iter().map(|(number, rule)| format!("@id(\"p{number}\") {rule}\n")).collect()
}

fn set_of(rules: &[String]) -> PolicySet {
    PolicySet::parse(&text_of(rules.iter().enumerate())).unwrap()
}

fn a_node() -> impl Strategy<Value = NodeRef> {
    let name = prop::sample::select(&["n1", "n2", "n3"][..]);
    let function = prop::sample::select(Function::ALL);
    let known = (name, function, any::<bool>()).prop_map(|(n, f, isolated)| NodeRef { isolated, ..node(n, f) });
    prop_oneof![9 => known, 1 => Just(hub())]
}

fn a_operator() -> impl Strategy<Value = Actor> {
    let groups = prop::sample::subsequence(&["auditors", "duty", "operators"][..], 0..=3);
    (prop::sample::select(&["op1", "op2"][..]), groups, prop::bool::weighted(0.1))
        .prop_map(|(id, groups, revoked)| member(id, &groups, revoked))
}

fn signal() -> impl Strategy<Value = Facts> {
    (prop::sample::select(SignalKind::ALL), 0..=1_000_000_u32)
        .prop_map(|(kind, confidence_ppm)| Facts::Signal { kind, confidence_ppm })
}

fn a_subject() -> impl Strategy<Value = Resource> {
    let parse = |name: &str| name.parse().unwrap();
    let key = Resource::Key { id: KeyId::new(3), participants: vec![parse("n1"), parse("n2")] };
    prop_oneof![
        a_node().prop_map(Resource::Node),
        Just(Resource::Link(LinkId::new(parse("n1"), parse("n2")).unwrap())),
        any::<bool>().prop_map(|revoked| Resource::Operator { id: "op1".parse().unwrap(), revoked }),
        Just(key),
    ]
}

type Asked = (Actor, Action, Resource, Facts);

fn a_question() -> impl Strategy<Value = Asked> {
    let severity = || prop::sample::select(Severity::ALL);
    let forward = || (a_node(), a_node()).prop_map(|(from, to)| Resource::Forward { from, to });
    let respond_node =
        [Action::RespondIsolateNode, Action::RespondReroute, Action::RespondWatch, Action::RespondReauthenticate];
    let respond_node = prop::sample::select(respond_node.to_vec());
    let on_node = prop::sample::select(
        &[Action::AdmitNode, Action::RestoreNode, Action::IsolateNode, Action::BreakGlass, Action::ConfirmBreakGlass][..],
    );
    let on_forward = prop::sample::select(&[Action::AddForward, Action::RemoveForward][..]);
    let rotate = prop::sample::select(&[Action::Rotate, Action::RotateEmergency][..]);
    let keys = prop_oneof![Just(boundary()), prop::sample::select(KeyType::ALL).prop_map(Resource::KeyType)];
    let answer = prop::sample::select(&[Action::Approve, Action::Deny][..]);
    let asker = prop_oneof![Just(None), Just(Some("op1")), Just(Some("op2"))];
    prop_oneof![
        a_operator().prop_map(|a| (a, Action::Read, boundary(), Facts::Read("status".to_owned()))),
        a_operator().prop_map(|a| (a, Action::ExportAudit, boundary(), Facts::None)),
        (a_operator(), any::<bool>()).prop_map(|(a, on)| (a, Action::SetAssisted, boundary(), Facts::On(on))),
        (a_operator(), on_node, a_node()).prop_map(|(a, act, n)| (a, act, Resource::Node(n), Facts::None)),
        (a_operator(), rotate, keys).prop_map(|(a, act, r)| (a, act, r, Facts::None)),
        (a_operator(), severity()).prop_map(|(a, severity)| {
            (a, Action::ReviewIncident, Resource::Incident { id: IncidentId::new(4), severity }, Facts::None)
        }),
        (a_operator(), a_subject(), signal()).prop_map(|(a, r, f)| (a, Action::Signal, r, f)),
        (a_operator(), on_forward, forward()).prop_map(|(a, act, r)| (a, act, r, Facts::None)),
        (a_operator(), answer, asker).prop_map(|(a, act, asker)| {
            let asker = asker.map(|name| name.parse().unwrap());
            (a, act, Resource::Held { id: RequestId::new(5), asker }, Facts::None)
        }),
        severity().prop_map(|s| (Actor::Engine, Action::RespondRotateKeys, boundary(), Facts::Severity(s))),
        (respond_node, a_node(), severity()).prop_map(|(act, n, s)| (
            Actor::Engine,
            act,
            Resource::Node(n),
            Facts::Severity(s)
        )),
        (a_node(), a_subject(), signal()).prop_map(|(n, r, f)| (Actor::Node(n), Action::NodeSignal, r, f)),
        (a_node(), forward()).prop_map(|(n, r)| (Actor::Node(n), Action::NodeForward, r, Facts::None)),
    ]
}

fn a_request() -> impl Strategy<Value = Request> {
    (a_question(), prop_oneof![0..2_000_u64, Just(i64::MAX as u64)], any::<bool>()).prop_map(
        |((actor, action, resource, facts), now, assisted)| Request {
            actor,
            action,
            resource,
            now: Timestamp::from_millis(now),
            assisted,
            facts,
        },
    )
}

fn bytes_of(set: &PolicySet, request: &Request) -> Vec<u8> {
    cbor::to_vec(&decide(set, request).record(set, request, Hash::ZERO))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// QT-01: the index gives the answers, reasons and obligations of Cedar's scan of the whole set.
    #[test]
    fn the_index_changes_no_answer(
        rules in prop::collection::vec(rule(), 0..24),
        requests in prop::collection::vec(a_request(), 8),
    ) {
        let set = set_of(&rules);
        for request in &requests {
            prop_assert_eq!(decide(&set, request), decide_by_scan(&set, request));
        }
    }

    /// QT-01: what was asked before changes no answer, whatever the time and the order of questions.
    #[test]
    fn an_answer_does_not_depend_on_what_was_asked_before(
        rules in prop::collection::vec(rule(), 0..12),
        requests in prop::collection::vec(a_request(), 1..6),
        asked in prop::collection::vec((any::<prop::sample::Index>(), 0..2_000_u64), 24),
    ) {
        let set = set_of(&rules);
        for (at, now) in asked {
            let request = Request { now: Timestamp::from_millis(now), ..at.get(&requests).clone() };
            prop_assert_eq!(decide(&set, &request), decide_by_scan(&set, &request));
        }
    }

    /// QT-01: same inputs, same bytes; also after reading the policies again, and in another order.
    #[test]
    fn a_decision_is_the_same_bytes_each_time(
        rules in prop::collection::vec(rule(), 0..12),
        requests in prop::collection::vec(a_request(), 8),
    ) {
        let set = set_of(&rules);
        let again = set_of(&rules);
        let turned = PolicySet::parse(&text_of(rules.iter().enumerate().rev())).unwrap();
        for request in &requests {
            prop_assert_eq!(bytes_of(&set, request), bytes_of(&again, request));
            prop_assert_eq!(decide(&set, request), decide(&turned, request));
        }
    }

    /// QT-01: deny wins over anything that permits.
    #[test]
    fn a_deny_wins(rules in prop::collection::vec(rule(), 0..12), requests in prop::collection::vec(a_request(), 8)) {
        let with_forbid = [rules, vec!["forbid (principal, action, resource);".to_owned()]].concat();
        let set = set_of(&with_forbid);
        let name = format!("p{}", with_forbid.len() - 1);
        for request in &requests {
            let Decision::Deny { reasons } = decide(&set, request) else { panic!("permitted against a forbid") };
            prop_assert!(reasons.contains(&name));
        }
    }

    /// QT-01: nothing is permitted unless a policy permits it.
    #[test]
    fn without_a_permit_everything_is_denied(
        rules in prop::collection::vec(rule().prop_filter("forbids only", |rule| rule.starts_with("forbid")), 0..4),
        requests in prop::collection::vec(a_request(), 8),
    ) {
        for set in [set_of(&[]), set_of(&rules)] {
            for request in &requests {
                let is_denied = matches!(decide(&set, request), Decision::Deny { .. });
                prop_assert!(is_denied);
            }
        }
    }

    /// QT-09: one more permitting policy never takes an obligation away.
    #[test]
    fn another_permit_never_asks_for_less(
        rules in prop::collection::vec(rule(), 1..12),
        more in rule().prop_filter("permits only", |rule| rule.contains("permit")),
        requests in prop::collection::vec(a_request(), 8),
    ) {
        let before = set_of(&rules);
        let after = set_of(&[rules, vec![more]].concat());
        for request in &requests {
            if let (Decision::Permit(before), Decision::Permit(after)) = (decide(&before, request), decide(&after, request)) {
                let (less, more) = (before.obligations(), after.obligations());
                prop_assert!(more.grant >= less.grant && more.ttl <= less.ttl && more.approvals >= less.approvals);
                prop_assert!(more.approvers.is_superset(&less.approvers));
            }
        }
    }

    /// Every request these types can make fits the schema, so validation speaks for each decision.
    #[test]
    fn every_request_fits_the_schema(requests in prop::collection::vec(a_request(), 8)) {
        let set = PolicySet::parse(DEFAULT_POLICY).unwrap();
        for request in &requests {
            prop_assert_eq!(set.conforms(request), Ok(()));
        }
    }

    /// SM-04, SM-07b: what holds of the shipped policies for any actor.
    #[test]
    fn the_shipped_policies_keep_their_promises(requests in prop::collection::vec(a_request(), 8)) {
        let set = PolicySet::parse(DEFAULT_POLICY).unwrap();
        for request in &requests {
            let Decision::Permit(permit) = decide(&set, request) else { continue };
            let needs = permit.obligations();
            match request.action {
                Action::AdmitNode | Action::RotateEmergency | Action::SetAssisted => prop_assert!(needs.grant),
                Action::RestoreNode => prop_assert!(needs.grant && needs.approvals >= 1),
                Action::Deny if matches!(request.resource, Resource::Held { asker: None, .. }) => {
                    prop_assert!(needs.grant && needs.approvals >= 1);
                }
                Action::RespondRotateKeys | Action::RespondIsolateNode | Action::RespondReroute => {
                    prop_assert_eq!(needs.approvals >= 1, request.assisted);
                }
                _ => {}
            }
            match &request.actor {
                Actor::Operator { groups, revoked, .. } => prop_assert!(!revoked && !groups.is_empty()),
                Actor::Node(node) => prop_assert!(!node.isolated),
                Actor::Engine => {}
            }
        }
    }
}
