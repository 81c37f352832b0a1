//! Callers that stall hold up nobody, and are cut off.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kme::config::Guard;
use rustls_pki_types::ServerName;
use rustls_pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::fixture::{Site, World, config, sae};

const PATIENCE: Duration = Duration::from_secs(60);

fn guard() -> Guard {
    let short = types::Millis::new(1_500);
    Guard {
        handshake: types::Millis::from_secs(3),
        head: short,
        body: short,
        write: short,
        body_len: 4_096,
        ..Guard::default()
    }
}

async fn raw(site: &Site, name: &str) -> tokio_rustls::client::TlsStream<TcpStream> {
    let credential = site.credential(name);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls_pki_types::CertificateDer::from_pem_file(&credential.authority).unwrap()).unwrap();
    let certificate = rustls_pki_types::CertificateDer::from_pem_file(&credential.certificate).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::from_pem_file(&credential.key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![certificate], key)
        .unwrap();
    let stream = TcpStream::connect(site.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Everything the server says until it ends the connection.
async fn rest(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut said = Vec::new();
    // An abrupt end is an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.expect("a stalled connection was not ended");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_callers_hold_up_nobody_and_are_cut_off() {
    let world = World::new();
    let ka = world.start_guarded(config("ka"), guard()).await;
    // Silent before TLS, as a peer's KME is blocked by a single one.
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(TcpStream::connect(ka.address).await.unwrap());
    }
    // Half a handshake.
    let mut half = TcpStream::connect(ka.address).await.unwrap();
    half.write_all(&[22, 3, 1, 2, 0, 1, 0]).await.unwrap();
    // A head that never ends, byte by byte.
    let mut head = raw(&ka, "a1").await;
    head.write_all(b"GET /api/v1/keys/a2/status HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    // A body that never comes.
    let mut body = raw(&ka, "a1").await;
    body.write_all(b"POST /api/v1/keys/a2/enc_keys HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{").await.unwrap();
    // Idle after the handshake.
    let mut idle = raw(&ka, "a1").await;

    let client = ka.client("a1");
    for _ in 0..10 {
        client.enc_keys(&sae("a2"), 1, 256).await.unwrap();
    }
    for stream in &mut silent {
        rest(stream).await;
    }
    rest(&mut half).await;
    let head = rest(&mut head).await;
    assert!(head.is_empty() || head.starts_with("HTTP/1.1 4"), "{head}");
    assert!(rest(&mut idle).await.is_empty());
    let mut answer = [0; 12];
    timeout(PATIENCE, body.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 400");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_limit_is_refused() {
    let world = World::new();
    let ka = world.start_guarded(config("ka"), guard()).await;
    let client = ka.client("a1");
    let body = format!(r#"{{"x":"{}"}}"#, "y".repeat(5_000));
    let result = client.call(hyper::Method::POST, "a2/enc_keys", Some(body)).await;
    let refused = crate::fixture::refusal(result);
    assert_eq!(refused.0, 400);
    assert!(refused.1.starts_with("the body cannot be read"), "{}", refused.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_limited_and_come_back() {
    let world = World::new();
    let long = types::Millis::from_secs(30);
    let few = Guard { connections: 6, per_address: 6, per_sae: 3, handshake: long, ..Guard::default() };
    let ka = world.start_guarded(config("ka"), few).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let client = ka.client("a1");
        client.status(&sae("a2")).await.unwrap();
        held.push(client);
    }
    // A fourth of the same SAE is dropped; another SAE is served.
    assert!(ka.client("a1").status(&sae("a2")).await.is_err());
    ka.client("a2").status(&sae("a1")).await.unwrap();
    held.clear();
    for _ in 0..200 {
        if ka.client("a1").status(&sae("a2")).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("a place did not come back");
}

/// Two addresses that connect without end, and finish no handshake, keep out nobody at another.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn s8_a_crowd_at_two_addresses_keeps_no_application_out() {
    let world = World::new();
    let ka =
        world.start_guarded(config("ka"), Guard { handshake: types::Millis::from_secs(30), ..Guard::default() }).await;
    let (to, opened) = (ka.address, Arc::new(AtomicUsize::new(0)));
    let crowd = |last: u8| {
        let opened = Arc::clone(&opened);
        tokio::spawn(async move {
            let mut held = VecDeque::new();
            loop {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind(std::net::SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
                if let Ok(stream) = socket.connect(to).await {
                    held.push_back(stream);
                    opened.fetch_add(1, Ordering::Relaxed);
                }
                if held.len() > 1_000 {
                    held.pop_front();
                }
            }
        })
    };
    let crowds = [crowd(2), crowd(3)];
    timeout(PATIENCE, async {
        while opened.load(Ordering::Relaxed) < 2_500 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("the crowd is too slow to matter");
    for _ in 0..5 {
        ka.client("a1").enc_keys(&sae("a2"), 1, 256).await.unwrap();
    }
    crowds.iter().for_each(tokio::task::JoinHandle::abort);
}

/// SM-05: the hybrid group is preferred, and what older encryptors offer is still taken.
#[tokio::test(flavor = "multi_thread")]
async fn the_hybrid_group_comes_first() {
    let world = World::new();
    let ka = world.start(config("ka")).await;
    let client = ka.client("a1");
    client.status(&sae("a2")).await.unwrap();
    assert_eq!(client.group().as_deref(), Some("X25519MLKEM768"));
    let classical = raw(&ka, "a1").await;
    assert!(classical.get_ref().1.negotiated_key_exchange_group().is_some());
}

/// U8: a SAE that sends all of a body that is too large before it reads still gets the answer (clause 6.5).
#[tokio::test(flavor = "multi_thread")]
async fn u8_a_refused_body_still_gets_its_answer() {
    let world = World::new();
    let ka = world.start_guarded(config("ka"), guard()).await;
    let mut stream = raw(&ka, "a1").await;
    const BODY: usize = 6 << 20;
    let path = "/api/v1/keys/a2/enc_keys";
    let head =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {BODY}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for piece in vec![b' '; BODY].chunks(1 << 16) {
        stream.write_all(piece).await.unwrap();
    }
    let said = rest(&mut stream).await;
    assert!(said.starts_with("HTTP/1.1 400") && said.contains("\"message\""), "{said}");
}
