//! Who may act: operators come, are renewed, replaced and go, through the shipped commands and hub (S15).

use std::time::{Duration, Instant};

use adversary::Deployment;
use hub::config::Span;
use types::Millis;

use crate::folder::{Folder, Ran};

/// Has `command` asked for by `op1` and approved by `op2`, and asks again.
#[track_caller]
fn agreed(folder: &Folder, command: &[&str]) -> Ran {
    let command = [command, &["--reason", "the rota changed"]].concat();
    let held = folder.run("op1", &command).expect(4);
    let number = held.out.split("(request ").nth(1).and_then(|rest| rest.split(')').next()).unwrap().to_owned();
    let own = folder.run("op1", &["approvals", "approve", &number]).expect(3);
    assert!(!own.err.is_empty());
    let approved = folder.run("op2", &["approvals", "approve", &number]).expect(0);
    assert!(approved.out.contains("the rota changed"), "the approver sees why: {}", approved.out);
    folder.run("op1", &command).expect(0)
}

/// S15: added, renewed, replaced and removed, each by two people, with keys handed over by card; an old key is worth
/// nothing, and enough people stay.
#[tokio::test(flavor = "multi_thread")]
async fn s15_operators_come_and_go_by_two_people_and_a_card() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let folder = Folder::new(&deployment, hub.http_address());
    let groups = ["--group", "duty", "--group", "operators"];
    folder.run("op1", &[&["operators", "card", "op9"], &groups[..]].concat()).expect(0);
    let card = folder.file("cards/op9.toml");
    let card = card.to_str().unwrap();
    assert!(!std::fs::read_to_string(card).unwrap().contains("PRIVATE"));

    let unsaid = folder.run("op1", &["operators", "add", card]).expect(3);
    assert!(unsaid.err.contains("reason"), "{}", unsaid.err);
    folder.run("op9", &["status"]).expect(10);
    agreed(&folder, &["operators", "add", card]);
    folder.run("op9", &["status"]).expect(0);
    let twice = folder.run("op1", &["operators", "add", card, "--reason", "again"]).expect(3);
    assert!(twice.err.contains("taken"), "{}", twice.err);
    let twin = std::fs::read_to_string(card).unwrap().replace("\"op9\"", "\"op8\"");
    std::fs::write(folder.file("cards/op8.toml"), twin).unwrap();
    let twin = folder.file("cards/op8.toml");
    let ran = folder.run("op1", &["operators", "add", twin.to_str().unwrap(), "--reason", "a twin"]).expect(3);
    assert!(ran.err.contains("identity"), "{}", ran.err);
    std::fs::remove_file(twin).unwrap();

    let old = std::fs::read(folder.file("operators/op9.key")).unwrap();
    folder.run("op9", &[&["operators", "card", "op9"], &groups[..]].concat()).expect(0);
    let next = folder.file("operators/next/op9.toml");
    agreed(&folder, &["operators", "replace", next.to_str().unwrap()]);
    folder.run("op9", &["status"]).expect(0);
    let new = std::fs::read(folder.file("operators/op9.key")).unwrap();
    std::fs::write(folder.file("operators/op9.key"), old).unwrap();
    folder.run("op9", &["status"]).expect(10);
    std::fs::write(folder.file("operators/op9.key"), new).unwrap();

    let listed = |name: &str| {
        let all = folder.run("op1", &["operators", "list", "--json"]).expect(0).json();
        all.as_array().unwrap().iter().find(|one| one["id"] == name).cloned()
    };
    let before = listed("op9").unwrap()["expires"].as_u64().unwrap();
    agreed(&folder, &["operators", "renew", "op9", "--life", "4000h"]);
    assert!(listed("op9").unwrap()["expires"].as_u64().unwrap() > before + 1_000 * 3_600_000);

    agreed(&folder, &["operators", "remove", "op9"]);
    folder.run("op9", &["status"]).expect(10);
    assert!(listed("op9").is_none());
    for last in ["op1", "op2"] {
        let ran = folder.run("op1", &["operators", "remove", last, "--reason", "alone at last"]).expect(3);
        assert!(ran.err.contains("too few"), "{}", ran.err);
    }
    hub.stop().await;
}

/// S15: a key that ended is refused by name, and its end was announced by an incident.
#[tokio::test(flavor = "multi_thread")]
async fn s15_an_operators_key_ends() {
    let mut deployment = Deployment::new(0);
    let short = deployment.config.operators.iter_mut().find(|one| one.id.as_str() == "plain").unwrap();
    short.life = Span(Millis::from_secs(8));
    let hub = deployment.start().await;
    let folder = Folder::new(&deployment, hub.http_address());
    let incidents = folder.run("op1", &["incidents", "list", "--json"]).expect(0).json();
    let told = incidents.as_array().unwrap().iter().any(|one| one["kind"] == "credential-expiry");
    assert!(told, "{incidents}");
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let ran = folder.run("plain", &["status"]);
        if ran.code == Some(3) && ran.err.contains("expired") {
            break;
        }
        assert!(Instant::now() < deadline && ran.code == Some(0), "{ran:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    folder.run("op1", &["status"]).expect(0);
    hub.stop().await;
}

/// S15: a hub whose founders share one identity does not begin.
#[test]
fn s15_two_founders_with_one_identity_are_refused() {
    let deployment = Deployment::new(0);
    let mut config = deployment.config.clone();
    config.operators[1].identity = config.operators[0].identity.clone();
    let path = deployment.dir.path().join("twins.toml");
    std::fs::write(&path, config.to_toml().unwrap()).unwrap();
    let ran = crate::folder::qecnet(&["hub", "run", "--config"]).arg(&path).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert!(ran.status.code() == Some(6) && said.contains("one identity"), "{said}");
}
