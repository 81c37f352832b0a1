//! `kill -9`, again and again.

use std::time::Duration;

use crate::deployment::{Mesh, assert_holds};

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
