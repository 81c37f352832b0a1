//! Third-party clients as they are. They are installed by `scripts/etsi-clients.sh`, which this runs first.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::fixture::{Site, World, config, sae};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Where the clients are installed.
fn installed() -> PathBuf {
    let done = Command::new(root().join("scripts/etsi-clients.sh")).output().unwrap();
    assert!(done.status.success(), "the clients cannot be installed: {}", text(&done));
    PathBuf::from(String::from_utf8(done.stdout).unwrap().trim())
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn run(mut command: Command) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// Host, port, authority, and certificate and key of both SAEs.
fn arguments(site: &Site) -> Vec<String> {
    let (master, slave) = (site.credential("a1"), site.credential("a2"));
    let path = |path: &Path| path.display().to_string();
    let files = [&master.authority, &master.certificate, &master.key, &slave.certificate, &slave.key];
    let mut all = vec![site.address.ip().to_string(), site.address.port().to_string()];
    all.extend(files.iter().map(|file| path(file)));
    all.extend(["a1".to_owned(), "a2".to_owned()]);
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn third_party_clients_take_and_fetch_keys() {
    let world = World::new();
    let ka = world.start(config("ka")).await;
    let clients = tokio::task::spawn_blocking(installed).await.unwrap();
    for name in ["etsi014", "etsi014-client"] {
        let mut command = Command::new(clients.join("debug/etsi-clients"));
        command.arg(name).args(arguments(&ka));
        run(command).await;
    }
    let mut python = Command::new(clients.join("python/bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python.py")).args(arguments(&ka));
    run(python).await;
    let curl = ka.credential("a1");
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail-with-body", "--cacert"]).arg(&curl.authority);
    command.arg("--cert").arg(&curl.certificate).arg("--key").arg(&curl.key);
    command.arg(format!("https://{}/api/v1/keys/a2/enc_keys?number=2", ka.address));
    run(command).await;
}

/// Our own client, link and examination against our own server.
#[tokio::test(flavor = "multi_thread")]
async fn a_link_draws_the_same_bits_at_both_ends() {
    use kme::client::{KmeLink, examine};
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let (near, far) = (KmeLink::new(ka.client("a1"), sae("b1")), KmeLink::new(kb.client("b1"), sae("a1")));
    let drawn = near.draw(1_000).await.unwrap();
    assert_eq!(drawn.bits.expose().len(), 31 * 32);
    let fetched = far.redeem(&drawn.ids, drawn.bits.expose().len()).await.unwrap();
    assert_eq!(drawn.bits.expose(), fetched.expose());
    assert!(far.redeem(&drawn.ids, 992).await.is_err());
    let seen = examine(&ka.client("a1"), &sae("b1"), true).await;
    assert!(seen.is_good(), "{seen:?}");
    assert_eq!(seen.findings.len(), 11);
    let seen = examine(&ka.client("a1"), &sae("nobody"), false).await;
    assert!(!seen.is_good());
}
