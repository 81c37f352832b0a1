//! A port that another holds.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::deployment::{Ran, free_port, qecnet, run};

/// Longest way to the end, on a machine with much else to do; the product itself waits one second.
const MOST: Duration = Duration::from_secs(10);

#[track_caller]
fn is_told(ran: &Ran, address: SocketAddr, option: &str) {
    let holder = format!("process {} (", std::process::id());
    for wanted in [&address.to_string(), &format!("port {}", address.port()), &holder, option] {
        assert!(ran.err.contains(wanted), "`{wanted}` is not said: {}{}", ran.err, ran.out);
    }
    assert!(!ran.out.contains("starting it again"), "it was tried again: {}", ran.out);
}

fn up(dir: &Path, listen: &str) -> (Ran, Duration) {
    let start = Instant::now();
    let arguments = ["up", "--nodes", "2", "--refresh", "5s", "--listen", listen, "--dir", dir.to_str().unwrap()];
    let ran = run(&qecnet(), &arguments);
    (ran.expect(9), start.elapsed())
}

/// U6: `up` ends with code 9 and says which port, who holds it and what to do: on a new deployment, on an old one,
/// and where the port is a node's or a fibre's.
#[test]
fn u6_up_ends_where_a_port_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let (ran, took) = up(dir.path(), &address.to_string());
    is_told(&ran, address, "--listen");
    println!("up ended after {took:?}");
    assert!(took < MOST, "{took:?}");
    assert!(!dir.path().join("hub").exists(), "a deployment was made on a port that is held");
    drop(held);

    // A deployment that exists: made, and stopped at the port of a node.
    let made = tempfile::tempdir().unwrap();
    let path = made.path().to_str().unwrap();
    let [listen, mesh_listen] = [0; 2].map(|_| format!("127.0.0.1:{}", free_port()));
    run(&qecnet(), &["init", "hub", "--listen", &listen, "--mesh-listen", &mesh_listen, "--dir", path]).expect(0);
    let node = format!("127.0.0.1:{}", free_port());
    let arguments = ["init", "node", "--id", "n1", "--function", "grid", "--listen", &node, "--hub", &mesh_listen];
    run(&qecnet(), &[&arguments[..], &["--dir", path]].concat()).expect(0);
    run(&qecnet(), &["init", "operator", "--id", "op1", "--dir", path]).expect(0);
    run(&qecnet(), &["init", "trust", "--dir", path]).expect(0);
    for (address, option) in [(&listen, "`listen` of"), (&mesh_listen, "`mesh_listen` of"), (&node, "`listen` of")] {
        let held = TcpListener::bind(address).unwrap();
        let (ran, took) = up(made.path(), "127.0.0.1:1");
        let file = if address == &node { "nodes/n1/config.toml" } else { "hub/config.toml" };
        is_told(&ran, held.local_addr().unwrap(), option.trim_end_matches(" of"));
        assert!(ran.err.contains(file), "{}", ran.err);
        assert!(took < MOST, "{took:?}");
    }
}

/// U6: and so does a part that is started alone.
#[test]
fn u6_a_part_alone_ends_where_its_port_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let held: Vec<TcpListener> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let [hub, node, fibre] = [0, 1, 2].map(|at: usize| held[at].local_addr().unwrap());
    let mesh_listen = format!("127.0.0.1:{}", free_port());
    let listen = hub.to_string();
    run(&qecnet(), &["init", "hub", "--listen", &listen, "--mesh-listen", &mesh_listen, "--dir", path]).expect(0);
    let listen = node.to_string();
    let arguments = ["init", "node", "--id", "n1", "--function", "grid", "--listen", &listen, "--hub", &mesh_listen];
    run(&qecnet(), &[&arguments[..], &["--dir", path]].concat()).expect(0);
    run(&qecnet(), &["init", "operator", "--id", "op1", "--dir", path]).expect(0);
    run(&qecnet(), &["init", "trust", "--dir", path]).expect(0);
    let file = dir.path().join("fibre.toml");
    let text = format!(
        "a = \"hub\"\nb = \"n1\"\nlisten_a = \"127.0.0.1:{}\"\nlisten_b = \"127.0.0.1:{}\"\ncontrol = \"{fibre}\"\n",
        free_port(),
        free_port()
    );
    fs::write(&file, text).unwrap();
    let parts = [
        ("hub", dir.path().join("hub/config.toml"), hub, "listen"),
        ("node", dir.path().join("nodes/n1/config.toml"), node, "listen"),
        ("fibre", file, fibre, "control"),
    ];
    for (part, config, address, option) in parts {
        let start = Instant::now();
        let ran = run(&qecnet(), &[part, "run", "--config", config.to_str().unwrap()]).expect(9);
        is_told(&ran, address, option);
        assert!(start.elapsed() < MOST, "{:?}", start.elapsed());
    }
}
