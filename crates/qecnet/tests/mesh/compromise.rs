//! A node falls, and comes back only with two persons.

use crate::deployment::{Mesh, assert_holds, wait};

/// SM-02 SM-08a SM-08b KM-12 KM-13: a compromise signal isolates the node, revokes what it holds,
/// re-keys the rest from reserve, each of the six steps an entry.
/// SM-04 QT-09: nobody brings it back alone. U4: and its return is no incident.
#[test]
fn a_compromised_node_is_cut_off_and_needs_two_persons_to_return() {
    let mesh = Mesh::start(4, "30s");
    let before = mesh.active_pairs();
    mesh.compromise("n3");

    mesh.wait_status("n3 is isolated", |status| {
        status["nodes"].as_array().unwrap().iter().any(|node| node["id"] == "n3" && node["state"] == "ISOLATED")
    });
    let incident = wait("the recovery is complete", || {
        let incidents = mesh.read(&["incidents", "list"]);
        let found = incidents.as_array().unwrap().iter().find(|incident| incident["kind"] == "node-compromise")?;
        (found["recovery"].as_array().unwrap().len() == 6).then(|| found.clone())
    });
    assert_eq!(incident["recovery"], serde_json::json!(["DETECT", "ISOLATE", "REVOKE", "RE-KEY", "VERIFY", "REPORT"]));
    assert_eq!(incident["severity"], "CRITICAL");

    let after = mesh.active_pairs();
    assert_eq!(after.keys().collect::<Vec<_>>(), ["n1~n2", "n1~n4", "n2~n4"], "no key with n3 is in use");
    assert!(after.iter().all(|(pair, key)| before[pair] != *key), "the rest is re-keyed");

    let held = mesh.cli(&["nodes", "restore", "n3", "--json"]).expect(4).json();
    let request = held["request"].as_str().unwrap();
    mesh.cli(&["approvals", "approve", request]).expect(3);
    mesh.cli(&["nodes", "restore", "n3"]).expect(4);
    mesh.cli(&["approvals", "approve", request, "--as", "op2"]).expect(0);
    mesh.cli(&["nodes", "restore", "n3"]).expect(0);
    mesh.wait_keyed();
    mesh.wait_status("the links of n3 carry key again", |status| {
        let links = status["links"].as_array().unwrap();
        let of_n3 = |link: &&serde_json::Value| link["a"] == "n3" || link["b"] == "n3";
        links.iter().filter(of_n3).all(|link| link["delivery"] == "qkd+kem")
    });
    // U4: what was planned raises no incident
    let incidents = mesh.read(&["incidents", "list"]);
    assert_eq!(incidents.as_array().unwrap().len(), 1, "{incidents}");
    let id = incident["id"].as_str().unwrap();
    mesh.cli(&["incidents", "review", id, "--note", "drill"]).expect(0);
    let (log, pins) = mesh.export("recovered");
    assert_holds(&log, &pins);
}

/// SM-09: in assisted mode the engine classifies and waits; approval carries the response out.
#[test]
fn assisted_mode_holds_the_response_until_approved() {
    let mesh = Mesh::start(3, "30s");
    let held = mesh.cli(&["assist", "on", "--json"]).expect(4).json();
    mesh.cli(&["approvals", "approve", held["request"].as_str().unwrap(), "--as", "op2"]).expect(0);
    mesh.cli(&["assist", "on"]).expect(0);
    mesh.compromise("n2");
    let held = mesh.read(&["approvals", "list"]);
    let held: Vec<_> = held.as_array().unwrap().iter().filter(|held| held["open"] == true).cloned().collect();
    assert!(!held.is_empty(), "the responses wait");
    let node = mesh.read(&["nodes", "show", "n2"]);
    assert_eq!(node["state"], "ONLINE", "nothing is done before approval");
    for request in &held {
        mesh.cli(&["approvals", "approve", request["request"].as_str().unwrap(), "--as", "op2"]).expect(3);
        mesh.cli(&["approvals", "approve", request["request"].as_str().unwrap(), "--as", "op3"]).expect(0);
    }
    mesh.wait_status("n2 is isolated", |status| {
        status["nodes"].as_array().unwrap().iter().any(|node| node["id"] == "n2" && node["state"] == "ISOLATED")
    });
    let (log, pins) = mesh.export("assisted");
    assert_holds(&log, &pins);
}

/// U4: after a compromise the status says that a node is cut off and a review is owed. S5: one person alone
/// cuts nobody off for good: break-glass lapses, and is confirmed by another.
#[test]
fn u4_a_status_says_what_waits_for_people() {
    let mesh = Mesh::start(3, "30s");
    mesh.cli(&["signal", "--node", "n2", "--kind", "node-compromise"]).expect(0);
    let attention = &mesh.status().unwrap()["attention"];
    assert_eq!(attention["isolated"], serde_json::json!([]), "one person's word isolates nobody");
    mesh.cli(&["break-glass", "node", "n2"]).expect(0);
    let status = mesh
        .wait_status("n2 is under quarantine", |status| status["attention"]["isolated"] == serde_json::json!(["n2"]));
    let quarantine = &status["attention"]["quarantined"][0];
    assert_eq!(quarantine["by"], "op1");
    let incident = quarantine["incident"].as_str().unwrap();
    mesh.cli(&["break-glass", "confirm", incident]).expect(3);
    mesh.cli(&["incidents", "review", incident, "--note", "nothing"]).expect(3);
    mesh.cli(&["break-glass", "confirm", incident, "--as", "op2"]).expect(0);
    mesh.wait_status("the isolation is lasting, and its review is owed", |status| {
        let attention = &status["attention"];
        attention["quarantined"] == serde_json::json!([]) && attention["reviews_owed"] == 1
    });
    let (log, pins) = mesh.export("broken-glass");
    assert_holds(&log, &pins);
}
