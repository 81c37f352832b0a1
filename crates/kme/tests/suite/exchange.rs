//! The listener of applications: what it takes as a handshake, and what as a request.

use std::sync::Arc;

use hyper::Method;
use kme::config::Guard;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use types::mesh::{Exchange, Groups};

use crate::fixture::{Site, World, config, refusal, sae};

type Group = &'static dyn SupportedKxGroup;

/// One request of an encryptor that knows these groups and versions; the whole answer where there is one.
async fn ask(
    site: &Site,
    name: &str,
    groups: &[Group],
    version: &'static SupportedProtocolVersion,
    path: &str,
) -> std::io::Result<String> {
    let settings = site.settings(name);
    let pem = |path| CertificateDer::pem_file_iter(path).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(pem(&settings.authority).remove(0)).unwrap();
    let provider = CryptoProvider { kx_groups: groups.to_vec(), ..aws_lc_rs::default_provider() };
    let tls = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(pem(&settings.certificate), PrivateKeyDer::from_pem_file(&settings.key).unwrap())
        .unwrap();
    let stream = TcpStream::connect(site.address).await?;
    let host = ServerName::try_from("127.0.0.1").unwrap();
    let mut stream = TlsConnector::from(Arc::new(tls)).connect(host, stream).await?;
    let head = format!("GET /api/v1/keys/{path} HTTP/1.1\r\nHost: kme\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut answer = String::new();
    // a listener that is done may close without the last word of TLS
    let read = stream.read_to_string(&mut answer).await;
    if answer.is_empty() { read.map(|_| answer) } else { Ok(answer) }
}

/// S15: TLS 1.2 is refused, whatever it offers.
#[tokio::test(flavor = "multi_thread")]
async fn s15_applications_are_served_over_tls_1_3_alone() {
    let world = World::new();
    let ka = world.start(config("ka")).await;
    let all = [kx_group::X25519, kx_group::SECP256R1];
    assert!(ask(&ka, "a1", &all, &TLS12, "a2/status").await.is_err());
    assert!(ask(&ka, "a1", &all, &TLS13, "a2/status").await.unwrap().starts_with("HTTP/1.1 200"));
}

/// S15: `groups = "hybrid"` refuses classical groups in the handshake.
#[tokio::test(flavor = "multi_thread")]
async fn s15_a_hybrid_listener_refuses_classical_groups() {
    let world = World::new();
    let ka = world.start_with(config("ka"), Guard::default(), Groups::Hybrid).await;
    for classical in [kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1] {
        assert!(ask(&ka, "a1", &[classical], &TLS13, "a2/status").await.is_err(), "{classical:?}");
    }
    let answer = ask(&ka, "a1", &[kx_group::X25519MLKEM768], &TLS13, "a2/status").await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// S15: `preferred` takes hybrid first, says of each delivery which it was, and serves nobody over a classical
/// group whose entry in the boundary demands hybrid.
#[tokio::test(flavor = "multi_thread")]
async fn s15_each_delivery_says_how_its_connection_agreed_on_keys() {
    let world = World::new();
    let mut strict = config("ka");
    strict.saes.iter_mut().filter(|one| one.id == sae("a2")).for_each(|one| one.groups = Groups::Hybrid);
    let ka = world.start(strict).await;
    let _kb = world.start(config("kb")).await;
    let both: [Group; 2] = [kx_group::X25519, kx_group::X25519MLKEM768];
    let ways: [(&[Group], Exchange); 3] = [
        (&both, Exchange::Hybrid),
        (&[kx_group::X25519MLKEM768], Exchange::Hybrid),
        (&[kx_group::SECP256R1], Exchange::Classical),
    ];
    for (groups, expected) in ways {
        let answer = ask(&ka, "a1", groups, &TLS13, "b1/enc_keys").await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert_eq!(ka.notes.0.lock().unwrap().last().unwrap().exchange, expected);
        let given = ka.notes.0.lock().unwrap().len();
        let strict = ask(&ka, "a2", groups, &TLS13, "b1/enc_keys").await.unwrap();
        match expected {
            Exchange::Hybrid => assert!(strict.starts_with("HTTP/1.1 200"), "{strict}"),
            Exchange::Classical => {
                assert!(strict.starts_with("HTTP/1.1 401") && strict.contains("X25519MLKEM768"), "{strict}");
                assert_eq!(ka.notes.0.lock().unwrap().len(), given, "nothing was given");
            }
        }
    }
}

/// U10: additional slaves that are none, or the slave itself, make a malformed request and cost no key.
#[tokio::test(flavor = "multi_thread")]
async fn u10_additional_slaves_that_name_nobody_new_are_malformed() {
    let world = World::new();
    let (ka, _kb) = world.pair().await;
    let client = ka.client("a1");
    for list in [r#"[]"#, r#"[""]"#, r#"["b2",""]"#, r#"["b1"]"#, r#"["b2","b1"]"#] {
        let body = Some(format!(r#"{{"additional_slave_SAE_IDs":{list}}}"#));
        let (status, message) = refusal(client.call(Method::POST, "b1/enc_keys", body).await);
        assert_eq!(status, 400, "{list}: {message}");
        assert!(!message.is_empty(), "{list}");
    }
    assert!(ka.notes.0.lock().unwrap().is_empty(), "a key was given");
    let body = Some(r#"{"additional_slave_SAE_IDs":["b2"]}"#.to_owned());
    client.call(Method::POST, "b1/enc_keys", body).await.unwrap();
}
