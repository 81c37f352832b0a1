//! Who may do what under the shipped policies, as one file a reviewer reads in a minute.
//! `UPDATE_GOLDEN=1` writes it anew.

use std::fmt::Write as _;

use crate::{boundary, hub, isolated, node, operator, revoked};
use kernel::policy::{Action, Actor, DEFAULT_POLICY, Decision, Facts, PolicySet, Request, Resource, decide};
use types::mesh::{Function, KeyType, Severity, SignalKind};
use types::{IncidentId, KeyId, LinkId, RequestId, Timestamp};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/policy-matrix.txt");

struct Question {
    name: &'static str,
    action: Action,
    resource: Resource,
    facts: Facts,
}

fn question(name: &'static str, action: Action, resource: Resource, facts: Facts) -> Question {
    Question { name, action, resource, facts }
}

fn severity(name: &'static str, action: Action, resource: Resource, class: Severity) -> Question {
    question(name, action, resource, Facts::Severity(class))
}

fn forward(from: Function, to: Function) -> Resource {
    Resource::Forward { from: node("n1", from), to: node("n9", to) }
}

fn held(asker: Option<&str>) -> Resource {
    Resource::Held { id: RequestId::new(1), asker: asker.map(|name| name.parse().unwrap()) }
}

fn sae() -> Resource {
    Resource::Sae { id: "a1".parse().unwrap(), node: node("n1", Function::Grid) }
}

fn operator_questions() -> Vec<Question> {
    let n2 = || Resource::Node(node("n2", Function::Lng));
    let signal = || Facts::Signal { kind: SignalKind::NodeCompromise, confidence_ppm: 1_000_000 };
    let other = || Resource::Operator { id: "op9".parse().unwrap(), revoked: false };
    vec![
        question("read", Action::Read, boundary(), Facts::Read("status".to_owned())),
        question("open_console", Action::OpenConsole, boundary(), Facts::None),
        question("export_audit", Action::ExportAudit, boundary(), Facts::None),
        question("rotate all", Action::Rotate, boundary(), Facts::None),
        question("rotate one type", Action::Rotate, Resource::KeyType(KeyType::MeshSession), Facts::None),
        question("rotate_emergency", Action::RotateEmergency, boundary(), Facts::None),
        question("set_assisted on", Action::SetAssisted, boundary(), Facts::On(true)),
        question("set_assisted off", Action::SetAssisted, boundary(), Facts::On(false)),
        question("admit_node", Action::AdmitNode, n2(), Facts::None),
        question("restore_node", Action::RestoreNode, n2(), Facts::None),
        question("isolate_node", Action::IsolateNode, n2(), Facts::None),
        question("break_glass node", Action::BreakGlass, n2(), Facts::None),
        question("break_glass credential", Action::BreakGlass, other(), Facts::None),
        question("confirm_break_glass", Action::ConfirmBreakGlass, n2(), Facts::None),
        question(
            "review_incident",
            Action::ReviewIncident,
            Resource::Incident { id: IncidentId::new(1), severity: Severity::Critical },
            Facts::None,
        ),
        question("signal node", Action::Signal, n2(), signal()),
        question("signal operator", Action::Signal, other(), signal()),
        question("add_forward", Action::AddForward, forward(Function::Grid, Function::Lng), Facts::None),
        question("remove_forward", Action::RemoveForward, forward(Function::Grid, Function::Lng), Facts::None),
        question("add_sae", Action::AddSae, sae(), Facts::Hybrid(false)),
        question("renew_sae", Action::RenewSae, sae(), Facts::None),
        question("remove_sae", Action::RemoveSae, sae(), Facts::None),
        question("add_operator", Action::AddOperator, other(), Facts::None),
        question("renew_operator", Action::RenewOperator, other(), Facts::None),
        question("replace_operator", Action::ReplaceOperator, other(), Facts::None),
        question("remove_operator", Action::RemoveOperator, other(), Facts::None),
        question("activate_rules", Action::ActivateRules, boundary(), Facts::None),
        question("approve other's", Action::Approve, held(Some("op9")), Facts::None),
        question("approve engine's", Action::Approve, held(None), Facts::None),
        question("approve own", Action::Approve, held(Some("op1")), Facts::None),
        question("deny other's", Action::Deny, held(Some("op9")), Facts::None),
        question("deny engine's", Action::Deny, held(None), Facts::None),
    ]
}

fn engine_questions() -> Vec<Question> {
    let n2 = || Resource::Node(node("n2", Function::Lng));
    let op9 = || Resource::Operator { id: "op9".parse().unwrap(), revoked: false };
    let mut questions = Vec::new();
    for class in Severity::ALL {
        questions.push(severity(class.as_str(), Action::RespondRotateKeys, boundary(), *class));
        questions.push(severity(class.as_str(), Action::RespondIsolateNode, n2(), *class));
        questions.push(severity(class.as_str(), Action::RespondReroute, n2(), *class));
        questions.push(severity(class.as_str(), Action::RespondRevokeOperator, op9(), *class));
        questions.push(severity(class.as_str(), Action::RespondWatch, n2(), *class));
        questions.push(severity(class.as_str(), Action::RespondReauthenticate, n2(), *class));
    }
    questions
}

fn node_questions() -> Vec<Question> {
    let signal = |kind| Facts::Signal { kind, confidence_ppm: 1_000_000 };
    let peer = |function| Resource::Node(node("n9", function));
    let link = |a: &str, b: &str| Resource::Link(LinkId::new(a.parse().unwrap(), b.parse().unwrap()).unwrap());
    let key =
        |a: &str| Resource::Key { id: KeyId::new(7), participants: vec![a.parse().unwrap(), "n9".parse().unwrap()] };
    let compromise = SignalKind::NodeCompromise;
    vec![
        question("compromise of a grid node", Action::NodeSignal, peer(Function::Grid), signal(compromise)),
        question("compromise of a defense node", Action::NodeSignal, peer(Function::Defense), signal(compromise)),
        question("compromise of the hub", Action::NodeSignal, Resource::Node(hub()), signal(compromise)),
        question(
            "auth-failure of a defense node",
            Action::NodeSignal,
            peer(Function::Defense),
            signal(SignalKind::AuthFailure),
        ),
        question("qber of its link", Action::NodeSignal, link("n1", "n9"), signal(SignalKind::QberHigh)),
        question("qber of another's link", Action::NodeSignal, link("n2", "n9"), signal(SignalKind::QberHigh)),
        question("mismatch of its key", Action::NodeSignal, key("n1"), signal(SignalKind::KeyMismatch)),
        question("mismatch of another's key", Action::NodeSignal, key("n2"), signal(SignalKind::KeyMismatch)),
        question(
            "denial-burst of an operator",
            Action::NodeSignal,
            Resource::Operator { id: "op1".parse().unwrap(), revoked: false },
            signal(SignalKind::DenialBurst),
        ),
        question("forward grid > grid", Action::NodeForward, forward(Function::Grid, Function::Grid), Facts::None),
        question(
            "forward grid > defense",
            Action::NodeForward,
            forward(Function::Grid, Function::Defense),
            Facts::None,
        ),
        question(
            "forward defense > defense",
            Action::NodeForward,
            forward(Function::Defense, Function::Defense),
            Facts::None,
        ),
        question(
            "forward of another node",
            Action::NodeForward,
            Resource::Forward { from: node("n2", Function::Grid), to: node("n9", Function::Grid) },
            Facts::None,
        ),
    ]
}

fn answer(set: &PolicySet, actor: &Actor, question: &Question, assisted: bool) -> String {
    let request = Request {
        actor: actor.clone(),
        action: question.action,
        resource: question.resource.clone(),
        now: Timestamp::from_millis(1_790_000_000_000),
        assisted,
        facts: question.facts.clone(),
    };
    match decide(set, &request) {
        Decision::Deny { reasons } if reasons.is_empty() => "-".to_owned(),
        Decision::Deny { reasons } if reasons == ["error"] => "no such request".to_owned(),
        Decision::Deny { reasons } => format!("DENY {}", reasons.join(" ")),
        Decision::Permit(permit) => {
            let needs = permit.obligations();
            let mut text = "permit".to_owned();
            if needs.grant {
                write!(text, " +grant {}", needs.ttl).unwrap();
            }
            if needs.approvals > 0 {
                write!(text, " +{} of {}", needs.approvals, needs.group()).unwrap();
            }
            text
        }
    }
}

fn table(out: &mut String, title: &str, actors: &[(&str, Actor)], questions: &[Question], assisted: bool) {
    let set = PolicySet::parse(DEFAULT_POLICY).unwrap();
    writeln!(out, "## {title}").unwrap();
    for asked in questions {
        writeln!(out, "{} · {}", asked.action.as_str(), asked.name).unwrap();
        for (name, actor) in actors {
            writeln!(out, "    {name:<18} {}", answer(&set, actor, asked, assisted)).unwrap();
        }
    }
    writeln!(out).unwrap();
}

/// QT-01, QT-09, SM-04, SM-07b, SM-08e, SM-09: every role and every action, and what each needs.
#[test]
fn every_role_and_every_action_is_as_reviewed() {
    let roles = [
        ("operators+duty", operator("op1", &["duty", "operators"])),
        ("operators", operator("op1", &["operators"])),
        ("duty", operator("op1", &["duty"])),
        ("auditors", operator("op1", &["auditors"])),
        ("in no group", operator("op1", &[])),
        ("called duty", operator("duty", &[])),
        ("revoked", revoked("op1", &["auditors", "duty", "operators"])),
        ("engine", Actor::Engine),
        ("grid node", Actor::Node(node("n1", Function::Grid))),
    ];
    let engine = [
        ("engine", Actor::Engine),
        ("operators+duty", operator("op1", &["duty", "operators"])),
        ("the hub as node", Actor::Node(hub())),
    ];
    let nodes = [
        ("grid n1", Actor::Node(node("n1", Function::Grid))),
        ("defense n1", Actor::Node(node("n1", Function::Defense))),
        ("isolated grid n1", isolated("n1", Function::Grid)),
        ("operators+duty", operator("op1", &["duty", "operators"])),
    ];
    let mut text = "Decisions of policies/default.cedar. `-` is the default deny;\n`no such request` is denied whatever the policies say.\n\n".to_owned();
    table(&mut text, "operators", &roles, &operator_questions(), false);
    table(&mut text, "engine, autonomous", &engine, &engine_questions(), false);
    table(&mut text, "engine, assisted", &engine, &engine_questions(), true);
    table(&mut text, "nodes", &nodes, &node_questions(), false);

    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).unwrap();
    }
    let golden = std::fs::read_to_string(GOLDEN).unwrap_or_default();
    assert!(golden == text, "decisions changed: look at the difference after UPDATE_GOLDEN=1\n{text}");
}

#[test]
fn the_matrix_asks_for_every_action() {
    let asked: std::collections::BTreeSet<Action> = [operator_questions(), engine_questions(), node_questions()]
        .iter()
        .flatten()
        .map(|question| question.action)
        .collect();
    assert_eq!(asked.into_iter().collect::<Vec<_>>(), Action::ALL.to_vec());
}
