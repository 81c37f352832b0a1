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
    let links = mesh.read(&["links", "list"]);
    assert_eq!(links.as_array().unwrap().len(), 15);
    for link in links.as_array().unwrap() {
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

/// SM-06b: of the mesh as it comes every channel is verified by entanglement, those to the hub too: each shows
/// its protocol and an S whose lower bound is above 2. Another protocol is a choice.
#[test]
fn sm06b_every_channel_of_the_default_mesh_is_verified_by_entanglement() {
    let mesh = Mesh::start(3, "5s");
    mesh.wait_status("every link is in use", |status| {
        status["links"].as_array().unwrap().iter().all(|link| link["delivery"] == "qkd+kem")
    });
    let (mut hub, mut nodes) = (0, 0);
    for link in mesh.read(&["links", "list"]).as_array().unwrap() {
        let (a, b) = (link["a"].as_str().unwrap(), link["b"].as_str().unwrap());
        let shown = mesh.read(&["links", "show", a, b]);
        assert_eq!(shown["protocol"].as_str(), Some("bbm92"), "{shown}");
        let (s, lower) = (shown["s"].as_f64().unwrap(), shown["s_lower"].as_f64().unwrap());
        assert!(lower > 2.0 && s > lower && s < 2.83, "{shown}");
        *(if a == "hub" || b == "hub" { &mut hub } else { &mut nodes }) += 1;
    }
    assert_eq!((hub, nodes), (3, 3));
}
