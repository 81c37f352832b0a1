//! Every endpoint, tried unauthenticated; every command, tried as every role.

use api::routes;
use hyper::Method;
use kernel::event::{Command, NodeSpec};
use types::mesh::{ForwardSpec, Function, KeyType, SignalKind, Subject};
use types::{ForwardId, Hash, IncidentId, RequestId, cbor};

use adversary::{Deployment, GROUPS};

const PATHS: &[&str] = &[
    routes::REQUESTS,
    routes::CHECKPOINT,
    routes::CHECKPOINT_V1,
    "/tile/0/000.p/1",
    "/tile/entries/000.p/1",
    routes::HEALTH,
    routes::SECURITY_TXT,
    routes::CONSOLE,
    routes::CONSOLE_ENTER,
    routes::CONSOLE_EVENTS,
    routes::CONSOLE_LEAVE,
    routes::CONSOLE_SCRIPT,
    routes::CONSOLE_MORPH,
    routes::CONSOLE_STYLE,
    "/",
    "/metrics",
    "/../etc/passwd",
];

/// SM-07a, QT-01: what an outsider gets, for every path and method.
#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_reaches_only_what_is_public() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    let before = client.checkpoint().await.unwrap().checkpoint().size;
    let mut table = String::new();
    for path in PATHS {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let answered = deployment.exchange(&hub, method.clone(), path, &[], "x").await;
            table.push_str(&format!("{:6} {path:26} {}\n", method.as_str(), answered.status));
            assert_eq!(answered.headers["x-content-type-options"], "nosniff");
            assert!(answered.headers["content-security-policy"].contains("default-src 'none'"));
        }
    }
    golden("endpoints.txt", &table);
    // Nothing of it left an entry, beyond what the boundary does by itself.
    let after = client.checkpoint().await.unwrap().checkpoint().size;
    assert!(after - before < 8, "{before} entries became {after}");
    hub.stop().await;
}

fn commands() -> Vec<(&'static str, Command)> {
    let n1 = || "n1".parse().unwrap();
    let spec = ForwardSpec {
        node: n1(),
        listen: "127.0.0.1:7000".to_owned(),
        to: "n2".parse().unwrap(),
        connect: "127.0.0.1:7001".to_owned(),
    };
    let node = NodeSpec { id: "n9".parse().unwrap(), function: Function::Grid, identity: Hash::ZERO };
    let signal = |subject| Command::Signal { subject, kind: SignalKind::Telemetry };
    let sae = types::sae::SaeSpec {
        id: "a1".parse().unwrap(),
        node: n1(),
        fingerprint: Hash::ZERO,
        slaves: None,
        quota_bps: None,
        groups: types::mesh::Groups::Preferred,
    };
    let digest = Hash::ZERO;
    vec![
        ("read", Command::Read { what: "status".to_owned() }),
        ("read unknown", Command::Read { what: "secrets".to_owned() }),
        ("open_console", Command::OpenConsole),
        ("export_audit", Command::ExportAudit),
        ("rotate", Command::RotateKeys { key_type: Some(KeyType::MeshSession), emergency: false }),
        ("rotate emergency", Command::RotateKeys { key_type: None, emergency: true }),
        ("signal", signal(Subject::Node(n1()))),
        ("signal operator", signal(Subject::Operator("op2".parse().unwrap()))),
        ("review_incident", Command::ReviewIncident { incident: IncidentId::new(1), note: "seen".to_owned() }),
        ("add_forward", Command::AddForward { spec }),
        ("remove_forward", Command::RemoveForward { id: ForwardId::new(1) }),
        ("admit_node", Command::AdmitNode { node, links: Vec::new() }),
        ("restore_node", Command::RestoreNode { node: n1() }),
        ("isolate_node", Command::IsolateNode { node: n1() }),
        ("break_glass", Command::BreakGlass { subject: Subject::Node(n1()) }),
        ("confirm", Command::ConfirmBreakGlass { incident: IncidentId::new(1) }),
        ("set_assisted", Command::SetAssisted { on: true }),
        ("assisted off", Command::SetAssisted { on: false }),
        ("add_sae", Command::AddSae { spec: sae }),
        ("remove_sae", Command::RemoveSae { id: "a9".parse().unwrap() }),
        ("approve", Command::Approve { request: RequestId::new(1), digest }),
        ("deny", Command::Deny { request: RequestId::new(1), digest }),
    ]
}

/// SM-04, SM-07b, QT-09: what each role gets for each command, without a grant.
#[tokio::test(flavor = "multi_thread")]
async fn each_role_gets_what_policy_says() {
    let mut table = String::new();
    for (operator, groups) in GROUPS.iter().skip(1) {
        // A hub for each: denials of one must not count against another.
        let deployment = Deployment::new(2);
        let hub = deployment.start().await;
        for (name, command) in commands() {
            let groups = if groups.is_empty() { &["(no group)"] } else { *groups };
            let body = cbor::to_vec(&deployment.signed(operator, command));
            let answered = deployment.exchange(&hub, Method::POST, routes::REQUESTS, &[], body).await;
            let is_bundle = answered.headers["content-type"] == routes::BUNDLE;
            let word = if is_bundle { "bundle".to_owned() } else { answered.word() };
            table.push_str(&format!("{:18} {name:17} {} {word}\n", groups.join("+"), answered.status));
        }
        hub.stop().await;
    }
    golden("roles.txt", &table);
}

/// Compares with the file under `tests/golden`; `GOLDEN=write` writes it anew.
pub(crate) fn golden(name: &str, found: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, wanted, "{name} changed: look at every line, then run with GOLDEN=write");
}
