//! A mesh comes up and keys itself.

use std::collections::BTreeSet;

use crate::deployment::{Mesh, assert_holds};

const KEY_TYPES: [&str; 6] =
    ["SOVEREIGN_MASTER", "MESH_SESSION", "QKD_TRANSPORT", "NODE_IDENTITY", "AUDIT_SIGNING", "EPHEMERAL_SESSION"];

/// KM-01 KM-04 KM-08 KM-09 KM-10 KM-14: five nodes, ten keyed pairs, fifteen measured links; keys
/// rotate on schedule; every type of key is there; Ctrl-C stops all and a second start resumes.
#[test]
fn five_nodes_key_themselves_rotate_and_resume() {
    let mut mesh = Mesh::start(5, "3s");
    let status = mesh.wait_keyed();
    let functions: BTreeSet<&str> =
        status["nodes"].as_array().unwrap().iter().map(|node| node["function"].as_str().unwrap()).collect();
    assert_eq!(functions.len(), 5, "functions are assigned in turn");
    mesh.wait_status("every type of key is there", |status| {
        let types = status["keys"]["by_type"].as_object().unwrap();
        KEY_TYPES.iter().all(|wanted| types.contains_key(*wanted))
    });
    mesh.wait_status("quantum bits protect every delivery", |status| {
        status["links"].as_array().unwrap().iter().all(|link| link["delivery"] == "qkd+kem")
    });
    for link in mesh.read(&["links", "list"]).as_array().unwrap() {
        let qber = link["qber"].as_f64().unwrap();
        assert!(qber > 0.0 && qber < 0.11, "an honest fibre has few errors: {link}");
        assert!(link["qber_upper"].as_f64().unwrap() > qber, "the bound lies above the estimate: {link}");
    }

    let before = mesh.active_pairs();
    mesh.wait_status("every pair has another key", |_| {
        let now = mesh.active_pairs();
        now.len() == before.len() && now.iter().all(|(pair, key)| before[pair] != *key)
    });

    let size = mesh.status().unwrap()["log"]["size"].as_u64().unwrap();
    assert!(mesh.stop().unwrap().success(), "Ctrl-C is a clean end");
    mesh.up();
    let resumed = mesh.wait_keyed();
    assert!(resumed["log"]["size"].as_u64().unwrap() > size, "the log goes on");
    let (log, pins) = mesh.export("resumed");
    assert_holds(&log, &pins);
}
