//! The public port, as ordinary clients meet it.

use std::net::SocketAddr;
use std::process::{Command, Output};

use adversary::{Answered, Deployment, Outsider};
use api::view::View;
use api::{Outcome, Reply, routes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hub::Hub;
use hub::config::Public;
use hyper::Method;
use kernel::event::Command as Ask;
use tokio::io::AsyncReadExt;

use crate::endpoints::golden;

async fn start() -> (Deployment, Hub, SocketAddr) {
    let mut deployment = Deployment::new(0);
    deployment.config.public = Some(Public { listen: "127.0.0.1:0".parse().unwrap(), address: None });
    let hub = deployment.start().await;
    let public = hub.public_address().unwrap();
    (deployment, hub, public)
}

/// Runs the system's own curl. Who it talks to, it knows by the pin.
async fn curl(deployment: &Deployment, arguments: &[&str], url: &str) -> Output {
    let pin = hex::decode(deployment.created.http_pin.to_string()).unwrap();
    let pin = format!("sha256//{}", STANDARD.encode(pin));
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "60", "--insecure", "--pinnedpubkey", &pin]).args(arguments).arg(url);
    tokio::task::spawn_blocking(move || command.output().expect("curl is installed by ./test")).await.unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// U5: the system's curl, with whatever groups its OpenSSL has, reads the checkpoint, and the checkpoint holds.
#[tokio::test(flavor = "multi_thread")]
async fn u5_an_ordinary_client_reads_what_is_public() {
    let (deployment, hub, public) = start().await;
    let at = |path: &str| format!("https://{public}{path}");
    for groups in [&[][..], &["--curves", "X25519"], &["--curves", "P-256"]] {
        let read = curl(&deployment, groups, &at(routes::CHECKPOINT)).await;
        assert!(read.status.success(), "{groups:?}: {}", String::from_utf8_lossy(&read.stderr));
        let policy = deployment.client_config(public).policy().unwrap();
        let checkpoint = policy.open(&read.stdout, &api::client::verify_note).unwrap();
        assert!(checkpoint.checkpoint().size > 0);
    }
    assert!(text(&curl(&deployment, &[], &at(routes::HEALTH)).await).contains("\"ok\""));
    assert!(text(&curl(&deployment, &[], &at(routes::SECURITY_TXT)).await).contains("Contact: "));
    let head = text(&curl(&deployment, &["--head"], &at(routes::CHECKPOINT)).await);
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("content-length: "), "{head}");
    let refused = curl(&deployment, &["--tls-max", "1.2"], &at(routes::HEALTH)).await;
    assert!(!refused.status.success(), "less than TLS 1.3 was served");

    // The status says where it is.
    let Reply::Done(done) = deployment.client(&hub, "op1").run(Ask::Read { what: "status".to_owned() }).await.unwrap()
    else {
        panic!("held")
    };
    let Outcome::View(view) = done.outcome else { panic!("no view") };
    let View::Status(status) = *view else { panic!("no status") };
    assert_eq!(status.public, Some(format!("https://{public}")));
    hub.stop().await;
}

/// U5: the operators' own port stays hybrid only. A client that has the hybrid group uses it on the public port too.
#[tokio::test(flavor = "multi_thread")]
async fn u5_the_operators_port_stays_hybrid_only() {
    let (deployment, hub, public) = start().await;
    let operators = hub.http_address();
    for groups in ["X25519", "P-256"] {
        let read = curl(&deployment, &["--curves", groups], &format!("https://{operators}{}", routes::HEALTH)).await;
        assert!(!read.status.success(), "{groups}: {}", text(&read));
    }
    let pin = deployment.created.http_pin;
    let stream = Outsider::default().tls(public, pin).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    hub.stop().await;
}

/// U5: nothing but what is public is there, to read only, and without a body.
#[tokio::test(flavor = "multi_thread")]
async fn u5_only_what_is_public_is_on_the_public_port() {
    let (deployment, hub, public) = start().await;
    let paths = [
        routes::CHECKPOINT,
        routes::CHECKPOINT_V1,
        "/tile/0/000.p/1",
        "/tile/entries/000.p/1",
        routes::HEALTH,
        routes::SECURITY_TXT,
        routes::REQUESTS,
        routes::CONSOLE,
        routes::CONSOLE_ENTER,
        routes::CONSOLE_EVENTS,
        routes::CONSOLE_SCRIPT,
        "/",
        "/../etc/passwd",
    ];
    let mut table = String::new();
    for path in paths {
        for (method, body) in [(Method::GET, ""), (Method::HEAD, ""), (Method::GET, "x"), (Method::POST, "x")] {
            let stream = Outsider::default().tls(public, deployment.created.http_pin).await.unwrap();
            let answered = Answered::exchange(stream, method.clone(), path, &[], body.into()).await.unwrap();
            let what = if body.is_empty() { "" } else { "with a body" };
            table.push_str(&format!("{:4} {path:26} {what:11} {}\n", method.as_str(), answered.status));
        }
    }
    golden("public.txt", &table);
    hub.stop().await;
}

/// U5: one address takes a few places, and others are served beside it.
#[tokio::test(flavor = "multi_thread")]
async fn u5_one_address_does_not_take_every_place() {
    const PLACES: usize = 16;
    let (deployment, hub, public) = start().await;
    let crowd = Outsider::at(9);
    let mut held = Vec::new();
    for _ in 0..2 * PLACES {
        held.push(crowd.connect(public).await.unwrap());
    }
    // Those that came first and said nothing gave way to those that came later.
    for first in &mut held[..PLACES] {
        assert_eq!(first.read(&mut [0; 8]).await.unwrap_or(0), 0);
    }
    let stream = Outsider::at(10).tls(public, deployment.created.http_pin).await.unwrap();
    let answered = Answered::exchange(stream, Method::GET, routes::HEALTH, &[], "".into()).await.unwrap();
    assert_eq!(answered.status, 200);
    drop(held);
    hub.stop().await;
}
