//! A mesh that nobody touches.

use std::time::{Duration, Instant};

use crate::deployment::{Mesh, assert_holds};

/// How long; the full ten minutes with `QECNET_LONG=1`.
fn span() -> Duration {
    Duration::from_secs(if std::env::var_os("QECNET_LONG").is_some() { 600 } else { 20 })
}

/// KM-09 KM-13: without an eavesdropper no link is accused of one, however long the mesh runs.
#[test]
fn an_untapped_mesh_accuses_no_link() {
    let mesh = Mesh::start(5, "10s");
    let end = Instant::now() + span();
    while Instant::now() < end {
        std::thread::sleep(Duration::from_secs(2));
        let incidents = mesh.read(&["incidents", "list"]);
        let of_links = ["qber-high", "rate-low", "pool-dry"];
        let accused = |one: &serde_json::Value| one["kind"].as_str().is_none_or(|kind| of_links.contains(&kind));
        assert!(!incidents.as_array().unwrap().iter().any(accused), "{incidents:#}");
    }
    let (log, pins) = mesh.export("quiet");
    assert_holds(&log, &pins);
}
