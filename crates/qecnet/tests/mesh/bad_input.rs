//! Wrong input gets a clear error and an exit code of its own, and loses nothing.

use std::fs;
use std::net::TcpListener;
use std::thread::sleep;
use std::time::Duration;

use crate::deployment::{Mesh, free_port, qecnet, run};

/// No hub, no deployment, a wrong argument.
#[test]
fn commands_without_a_deployment_say_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let ran = run(&qecnet(), &["status", "--dir", path]).expect(6);
    assert!(ran.err.contains("op1.key") || ran.err.contains("client.toml"), "{}", ran.err);
    run(&qecnet(), &["status", "--nonsense"]).expect(2);
    run(&qecnet(), &["up", "--nodes", "1", "--dir", path]).expect(2);
    run(&qecnet(), &["up", "--refresh", "5 s", "--dir", path]).expect(2);
}

/// A port in use and a config with a typing error.
#[test]
fn a_hub_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let mesh_listen = format!("127.0.0.1:{}", free_port());
    run(&qecnet(), &["init", "hub", "--listen", &listen, "--mesh-listen", &mesh_listen, "--dir", path]).expect(0);
    run(&qecnet(), &["init", "operator", "--id", "op1", "--dir", path]).expect(0);
    run(&qecnet(), &["init", "trust", "--dir", path]).expect(0);
    let config = dir.path().join("hub/config.toml");
    let ran = run(&qecnet(), &["hub", "run", "--config", config.to_str().unwrap()]).expect(9);
    assert!(ran.err.contains(&listen), "{}", ran.err);

    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("mesh_listen", "mesh_lisen")).unwrap();
    let ran = run(&qecnet(), &["hub", "run", "--config", config.to_str().unwrap()]).expect(6);
    assert!(ran.err.contains("mesh_lisen"), "{}", ran.err);
    run(&qecnet(), &["init", "hub", "--dir", path]).expect(3);
}

/// QT-07: clients that connect and say nothing hold nobody up.
#[test]
fn idle_connections_stall_nobody() {
    let mesh = Mesh::start(2, "5s");
    let client: toml::Table =
        toml::from_str(&fs::read_to_string(mesh.dir().join("operators/client.toml")).unwrap()).unwrap();
    let hub: toml::Table = toml::from_str(&fs::read_to_string(mesh.dir().join("hub/config.toml")).unwrap()).unwrap();
    let addresses = [client["address"].as_str().unwrap(), hub["mesh_listen"].as_str().unwrap()];
    let idle: Vec<_> = addresses
        .iter()
        .flat_map(|address| (0..40).map(move |_| std::net::TcpStream::connect(address).unwrap()))
        .collect();
    sleep(Duration::from_millis(200));
    mesh.kill("n1");
    mesh.wait_keyed();
    drop(idle);
}

/// A store that was damaged is refused with its own code, and what was in it is not touched.
#[test]
fn a_damaged_store_is_refused_and_left_as_it_is() {
    let mut mesh = Mesh::start(2, "5s");
    mesh.stop();
    let store = mesh.dir().join("hub/store.db");
    let mut bytes = fs::read(&store).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..].iter_mut().step_by(97).for_each(|byte| *byte ^= 0x55);
    fs::write(&store, &bytes).unwrap();
    let config = mesh.dir().join("hub/config.toml");
    let ran = run(&qecnet(), &["hub", "run", "--config", config.to_str().unwrap()]).expect(7);
    assert!(!ran.err.is_empty());
    assert_eq!(fs::read(&store).unwrap().len(), bytes.len());
}

/// SM-03: a certificate pin that is not the hub's ends in refusal, not in a session.
#[test]
fn a_wrong_pin_is_refused_by_the_operator_and_by_the_node() {
    let mesh = Mesh::start(2, "5s");
    let path = mesh.dir().join("operators/client.toml");
    let good = fs::read_to_string(&path).unwrap();
    let pin = toml::from_str::<toml::Table>(&good).unwrap()["tls_pin"].as_str().unwrap().to_owned();
    fs::write(&path, good.replace(&pin, &"0".repeat(64))).unwrap();
    mesh.cli(&["status"]).expect(10);
    fs::write(&path, good).unwrap();
    mesh.cli(&["status"]).expect(0);
}
