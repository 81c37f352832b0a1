//! An eavesdropper on one fibre.

use serde_json::Value;

use crate::deployment::{Mesh, assert_holds};

fn link<'a>(status: &'a Value, a: &str, b: &str) -> &'a Value {
    status["links"].as_array().unwrap().iter().find(|link| link["a"] == a && link["b"] == b).unwrap()
}

/// KM-09 SM-06b SM-10: intercept-resend of half the pulses gives 12.5 % errors, keys of that fibre
/// are given up, delivery falls back to hybrid KEM, and an incident names the link and no other.
/// When the tap is gone, the link recovers by itself.
#[test]
fn a_tapped_fibre_is_noticed_named_and_given_up() {
    let mesh = Mesh::start(3, "2s");
    let bits_protect_all =
        |status: &Value| status["links"].as_array().unwrap().iter().all(|link| link["delivery"] == "qkd+kem");
    mesh.wait_status("quantum bits protect every delivery", bits_protect_all);
    assert_eq!(mesh.read(&["incidents", "list"]), serde_json::json!([]), "no incident without a cause");

    mesh.cli(&["fibre", "tap", "n1", "n2", "--fraction", "0.5"]).expect(0);
    let tapped = mesh.wait_status("the error rate passes the abort line", |status| {
        let link = link(status, "n1", "n2");
        link["qber"].as_f64().unwrap() >= 0.11 && link["delivery"] == "kem" && status["incidents"]["open"] == 1
    });
    let qber = link(&tapped, "n1", "n2")["qber"].as_f64().unwrap();
    assert!((0.11..0.16).contains(&qber), "a quarter of half the pulses, and the fibre's own errors: {qber}");

    let incidents = mesh.read(&["incidents", "list"]);
    let incidents = incidents.as_array().unwrap();
    assert!(incidents.iter().any(|incident| incident["kind"] == "qber-high"), "{incidents:?}");
    for incident in incidents {
        assert_eq!(incident["subject"], serde_json::json!({"link": {"a": "n1", "b": "n2"}}));
    }
    assert_eq!(mesh.active_pairs().len(), 3, "the pair goes on with hybrid KEM");

    mesh.cli(&["fibre", "untap", "n1", "n2"]).expect(0);
    mesh.wait_status("the link recovers", |status| bits_protect_all(status) && status["incidents"]["open"] == 0);
    let (log, pins) = mesh.export("tapped");
    assert_holds(&log, &pins);
}

/// SM-06b KM-09: over real processes, on links of each kind: entangled pairs show S above 2 with its
/// bound; photon-number splitting raises the decoys' alarm, blinding the receiver's; neither changes the
/// error rate, both stop the use of the link and open an incident that names it.
#[test]
fn attacks_that_make_no_errors_are_caught_too() {
    let mesh = Mesh::start_mixed(3, "5s");
    mesh.wait_status("quantum bits protect every delivery", |status| {
        status["links"].as_array().unwrap().iter().all(|link| link["delivery"] == "qkd+kem")
    });
    let shown = mesh.read(&["links", "show", "n1", "n2"]);
    assert_eq!((shown["protocol"].as_str(), shown["alarm"].is_null()), (Some("bbm92"), true), "{shown}");
    let (s, lower) = (shown["s"].as_f64().unwrap(), shown["s_lower"].as_f64().unwrap());
    assert!(lower > 2.0 && s > lower && s < 2.83, "{shown}");
    assert!(shown["epsilon"].as_f64().unwrap() > 1e-10 && shown["efficiency"].as_f64().unwrap() > 1.0, "{shown}");
    assert!((shown["loss_db"].as_f64().unwrap() - 2.0).abs() < 0.5, "{shown}");

    let refused = mesh.cli(&["fibre", "tap", "n1", "n2", "--fraction", "1", "--attack", "pns"]).expect(3);
    assert!(refused.out.contains("only decoy-bb84 sends weak pulses"), "{}", refused.out);
    for (a, b, protocol, attack, alarm) in [
        ("n1", "n3", "decoy-bb84", "pns", "decoy"),
        ("n1", "n2", "bbm92", "blind", "blinding"),
        ("n1", "n2", "bbm92", "blind-alice", "blinding"),
    ] {
        mesh.cli(&["fibre", "tap", a, b, "--fraction", "1", "--attack", attack]).expect(0);
        mesh.wait_status("the link is given up and an incident is open", |status| {
            link(status, a, b)["delivery"] == "kem" && status["incidents"]["open"] == 1
        });
        let shown = mesh.read(&["links", "show", a, b]);
        assert_eq!((shown["protocol"].as_str(), shown["alarm"].as_str()), (Some(protocol), Some(alarm)), "{shown}");
        assert!(shown["qber"].as_f64().unwrap() < 0.06, "no errors tell: {shown}");
        let incidents = mesh.read(&["incidents", "list"]);
        let named = serde_json::json!({"link": {"a": a, "b": b}});
        assert!(incidents.as_array().unwrap().iter().any(|incident| incident["subject"] == named), "{incidents}");
        mesh.cli(&["fibre", "untap", a, b]).expect(0);
        mesh.wait_status("the link recovers", |status| {
            link(status, a, b)["delivery"] == "qkd+kem" && status["incidents"]["open"] == 0
        });
    }
}

/// S14 SM-06b: on the mesh as it comes, a link to the hub: whoever blinds the hub's own detectors, the end that
/// gives the clock, and lets the node's real photons pass makes no error and breaks no inequality. The link is
/// given up and an incident names it.
#[test]
fn s14_blinding_the_hub_is_caught_on_a_link_of_its_own() {
    let mesh = Mesh::start(2, "5s");
    let all_bits =
        |status: &Value| status["links"].as_array().unwrap().iter().all(|link| link["delivery"] == "qkd+kem");
    mesh.wait_status("quantum bits protect every delivery", all_bits);
    mesh.cli(&["fibre", "tap", "hub", "n1", "--fraction", "1", "--attack", "blind-alice"]).expect(0);
    mesh.wait_status("the link is given up and an incident is open", |status| {
        link(status, "hub", "n1")["delivery"] == "kem" && status["incidents"]["open"] == 1
    });
    let shown = mesh.read(&["links", "show", "hub", "n1"]);
    assert_eq!(shown["alarm"].as_str(), Some("blinding"), "{shown}");
    assert!(shown["qber"].as_f64().unwrap() < 0.06 && shown["s_lower"].as_f64().unwrap() > 2.0, "{shown}");
    let named = serde_json::json!({"link": {"a": "hub", "b": "n1"}});
    let incidents = mesh.read(&["incidents", "list"]);
    assert!(incidents.as_array().unwrap().iter().any(|incident| incident["subject"] == named), "{incidents}");
    mesh.cli(&["fibre", "untap", "hub", "n1"]).expect(0);
    mesh.wait_status("the link recovers", |status| all_bits(status) && status["incidents"]["open"] == 0);
}

/// Bad input: a fibre that does not exist, a fraction that is none.
#[test]
fn a_tap_on_nothing_is_a_clear_error() {
    let mesh = Mesh::start(2, "5s");
    let ran = mesh.cli(&["fibre", "tap", "n1", "n9", "--fraction", "0.5"]).expect(6);
    assert!(ran.err.contains("n1 and n9"), "{}", ran.err);
    mesh.cli(&["fibre", "tap", "n1", "n2", "--fraction", "1.5"]).expect(2);
}
