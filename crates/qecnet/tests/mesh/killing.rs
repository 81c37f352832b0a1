//! `kill -9`, again and again.

use std::time::Duration;

use crate::deployment::{Mesh, assert_holds, qaudit, run, wait};

/// How often; the full two hundred with `QECNET_LONG=1`.
fn kills() -> usize {
    if std::env::var_os("QECNET_LONG").is_some() { 200 } else { 12 }
}

/// KM-01 QT-10: hub and nodes are killed at random moments while keys rotate; the mesh recovers each
/// time, and the log replays.
#[test]
fn killed_at_random_the_mesh_recovers_and_the_log_replays() {
    let mesh = Mesh::start(3, "1s");
    let mut draw = 0x9e37_79b9_7f4a_7c15_u64;
    let mut size = 0;
    for round in 0..kills() {
        draw ^= draw << 13;
        draw ^= draw >> 7;
        draw ^= draw << 17;
        std::thread::sleep(Duration::from_millis(draw % 700));
        let part = ["hub", "n1", "n2", "n3"][usize::try_from(draw >> 32).unwrap() % 4];
        mesh.kill(part);
        let status = mesh.wait_keyed();
        let now = status["log"]["size"].as_u64().unwrap();
        assert!(now > size, "round {round}: what was acknowledged is lost after {part} was killed");
        size = now;
        if round % 4 == 3 {
            let (log, pins) = mesh.export("killed");
            assert_holds(&log, &pins);
        }
    }
}

/// SM-02: the hub dies and does not come back for longer than a key may live. Every pair changes to its
/// reserve by itself; once the hub is back the log has it, as the pairs' own doing, and replays.
#[test]
fn pairs_renew_their_keys_while_the_hub_is_dead() {
    let mesh = Mesh::start(3, "15s");
    // from here on no rotation is due for a while
    mesh.cli(&["keys", "rotate", "--type", "MESH_SESSION"]).expect(0);
    let status = mesh.wait_status("every pair has a reserve, and the overlap is over", |status| {
        let count = |state: &str| status["keys"]["by_state"][state].as_u64().unwrap_or(0);
        count("DISTRIBUTED") >= 3 && count("ROTATING") == 0
    });
    let (config, aside) = (mesh.dir().join("hub/config.toml"), mesh.dir().join("hub/config.aside"));
    std::fs::rename(&config, &aside).unwrap();
    mesh.kill("hub");
    // both ends of a pair say so
    let renewed = |node: &str| {
        let log = std::fs::read_to_string(mesh.dir().join(format!("logs/{node}.log"))).unwrap_or_default();
        log.lines().filter(|line| line.contains("the pair changed to its reserve")).count()
    };
    wait("every pair uses its reserve", || ["n1", "n2", "n3"].iter().all(|node| renewed(node) == 2).then_some(()));
    std::fs::rename(&aside, &config).unwrap();
    let later = mesh.wait_keyed();
    let (log, pins) = mesh.export("renewed");
    assert_holds(&log, &pins);
    let size = |status: &serde_json::Value| status["log"]["size"].as_u64().unwrap();
    let by_a_pair = (size(&status)..size(&later)).any(|entry| {
        let shown = run(&qaudit(), &["show", log.to_str().unwrap(), "--at", &entry.to_string()]).expect(0).out;
        shown.contains(r#""to":"ACTIVE","cause":"pair""#)
    });
    assert!(by_a_pair, "the log says who changed the keys");
}
