//! Sessions over real sockets.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may stop at a surprise, in its parts too

mod party;
mod trust;

use std::sync::Arc;
use std::time::Duration;

use crypto::{AuthKey, Secret32};
use party::{DAY, Party, now};
use rustls::crypto::aws_lc_rs::kx_group;
use session::operator;
use session::{
    Arrival, Certificate, Channel, Endpoint, EnvelopeError, HandshakeError, Limits, Listener, RecvError, SendError,
    Session,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use types::{Label, NodeId};

async fn listen(endpoint: Endpoint) -> (Listener, String) {
    let listener = Listener::bind(endpoint, "127.0.0.1:0", Limits::default()).await.unwrap();
    let address = listener.address().to_string();
    (listener, address)
}

async fn arrived(listener: &mut Listener) -> Session {
    match listener.next().await.unwrap() {
        Arrival::Session(session) => *session,
        Arrival::Refused { error, .. } => panic!("{error}"),
    }
}

async fn refused(listener: &mut Listener) -> HandshakeError {
    match listener.next().await.unwrap() {
        Arrival::Session(session) => panic!("{session:?}"),
        Arrival::Refused { error, .. } => error,
    }
}

fn hub() -> NodeId {
    NodeId::hub()
}

async fn pair(channel: Channel) -> (Session, Session) {
    let (n1, hub_party) = (Party::new("n1"), Party::new("hub"));
    let trusted = [n1.entry(), hub_party.entry()];
    let (n1, hub_end) = (n1.endpoint(&trusted), hub_party.endpoint(&trusted));
    hub_end.issue_roster(7, vec!["n1".parse().unwrap()], Vec::new()).unwrap();
    let (mut listener, address) = listen(hub_end).await;
    let hub = hub();
    let (dialled, accepted) = tokio::join!(n1.dial(&hub, &address, channel), arrived(&mut listener));
    (dialled.unwrap(), accepted)
}

/// SM-01, SM-06c
#[tokio::test]
async fn messages_go_both_ways_in_order() {
    let (mut node, mut hub) = pair(Channel::Urgent).await;
    assert_eq!((node.peer().as_str(), hub.peer().as_str()), ("hub", "n1"));
    assert_eq!((node.info().peer_epoch(), hub.info().peer_epoch()), (7, 0));
    assert_eq!((node.channel(), hub.channel()), (Channel::Urgent, Channel::Urgent));
    assert!(node.info().dialled() && !hub.info().dialled());
    let (ours, theirs): (AuthKey, AuthKey) =
        (node.info().derive(Label::QKD_AUTH, &[]), hub.info().derive(Label::QKD_AUTH, &[]));
    assert_eq!(ours.expose(), theirs.expose());

    let large = vec![0xa5; session::envelope::MAX_MESSAGE];
    let sending = async {
        for number in 0..200_u32 {
            node.send(&number.to_be_bytes()).await.unwrap();
        }
        node.send(&large).await.unwrap();
        node.send(b"").await.unwrap();
    };
    let receiving = async {
        for number in 0..200_u32 {
            assert_eq!(hub.recv().await.unwrap(), number.to_be_bytes());
        }
        assert_eq!(hub.recv().await.unwrap(), large);
        assert_eq!(hub.recv().await.unwrap(), b"");
    };
    tokio::join!(sending, receiving);
    hub.send(b"back").await.unwrap();
    assert_eq!(node.recv().await.unwrap(), b"back");
    assert_eq!(node.info().counts().total() + hub.info().counts().total(), 0);
}

#[tokio::test]
async fn a_message_too_long_is_an_error_and_the_session_goes_on() {
    let (node, mut hub) = pair(Channel::Bulk).await;
    let long = vec![0; session::envelope::MAX_MESSAGE + 1];
    let refused = node.send(&long).await.unwrap_err();
    assert!(matches!(refused, SendError::Envelope(EnvelopeError::TooLarge { .. })));
    node.send(b"after").await.unwrap();
    assert_eq!(hub.recv().await.unwrap(), b"after");
}

/// KM-12: an affected session ends at once at this end, and then at the other.
#[tokio::test]
async fn a_session_is_terminated_from_anywhere() {
    let (node, hub) = pair(Channel::Bulk).await;
    let info = Arc::clone(node.info());
    let (sender, mut receiver) = node.split();
    let waiting = tokio::spawn(async move { receiver.recv().await });
    info.terminate();
    assert!(matches!(waiting.await.unwrap(), Err(RecvError::Closed)));
    assert!(matches!(sender.send(b"x").await, Err(SendError::Closed)));
    drop(sender);
    let (_, mut receiver) = hub.split();
    assert!(matches!(receiver.recv().await, Err(RecvError::Closed)));
}

/// SM-11: what the peer's TLS carries that is not the peer's envelope is refused and counted.
#[tokio::test]
async fn envelopes_injected_into_tls_are_refused_and_counted() {
    let (node, mut hub) = pair(Channel::Stream).await;
    // the raw stream shares TLS with the hub's session, but has no envelope key
    let mut raw = node.into_raw().unwrap();
    let mut forged = 40_u32.to_be_bytes().to_vec();
    forged.extend_from_slice(&[0; 40]);
    raw.write_all(&forged).await.unwrap();
    raw.write_all(&forged).await.unwrap();
    raw.flush().await.unwrap();
    for _ in 0..2 {
        assert!(matches!(hub.recv().await, Err(RecvError::Envelope(EnvelopeError::Forged))));
    }
    assert_eq!(hub.info().counts().forged(), 2);

    raw.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    raw.flush().await.unwrap();
    assert!(matches!(hub.recv().await, Err(RecvError::Envelope(EnvelopeError::TooLarge { .. }))));
    assert_eq!(hub.info().counts().too_large(), 1);
    assert!(matches!(hub.recv().await, Err(RecvError::Closed)));
}

#[tokio::test]
async fn a_raw_stream_carries_bulk_both_ways() {
    let (node, hub) = pair(Channel::Stream).await;
    let (mut node, mut hub) = (node.into_raw().unwrap(), hub.into_raw().unwrap());
    let bulk: Vec<u8> = (0..3_000_000_u32).map(|at| (at % 251) as u8).collect();
    let writing = async {
        node.write_all(&bulk).await.unwrap();
        node.shutdown().await.unwrap();
    };
    let reading = async {
        let mut got = Vec::new();
        hub.read_to_end(&mut got).await.unwrap();
        got
    };
    let ((), got) = tokio::join!(writing, reading);
    assert!(got == bulk);
    hub.write_all(b"done").await.unwrap();
    hub.shutdown().await.unwrap();
    let mut end = Vec::new();
    node.read_to_end(&mut end).await.unwrap();
    assert_eq!(end, b"done");
}

/// SM-06c: a key that is not the pinned one, at either end; each end says what is wrong.
#[tokio::test]
async fn a_wrong_pin_is_refused_by_name() {
    let (n1, hub_party, stranger) = (Party::new("n1"), Party::new("hub"), Party::new("n1"));
    let wrong_hub = [n1.entry(), hub_party.entry_with(stranger.tls_key.pin())];
    let right = [n1.entry(), hub_party.entry()];
    let (mut listener, address) = listen(hub_party.endpoint(&right)).await;

    let error = n1.endpoint(&wrong_hub).dial(&hub(), &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::WrongPin(ref name) if name == "hub"), "{error}");
    // the listener only sees that the caller went away
    refused(&mut listener).await;

    let error = stranger.endpoint(&right).dial(&hub(), &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::OursUnknown), "{error}");
    let error = refused(&mut listener).await;
    assert!(matches!(error, HandshakeError::WrongPin(ref name) if name == "n1"), "{error}");
}

/// SM-03
#[tokio::test]
async fn an_unknown_node_is_refused_in_both_directions() {
    let (n1, n2, hub_party) = (Party::new("n1"), Party::new("n2"), Party::new("hub"));
    let (known, all) = ([n1.entry(), hub_party.entry()], [n2.entry(), hub_party.entry()]);
    let pin = n2.tls_key.pin();
    let (mut listener, address) = listen(hub_party.endpoint(&known)).await;
    let error = n2.endpoint(&all).dial(&hub(), &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::OursUnknown), "{error}");
    let error = refused(&mut listener).await;
    assert!(matches!(error, HandshakeError::UnknownPin(found) if found == pin), "{error}");

    let nobody = "n9".parse().unwrap();
    let error = n1.endpoint(&known).dial(&nobody, &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::UnknownNode(ref node) if *node == nobody), "{error}");
}

/// SM-06c: dates are checked at both ends, and a renewed certificate of the same key is welcome.
#[tokio::test]
async fn an_expired_certificate_is_refused_until_renewed() {
    let (n1, hub_party) = (Party::new("n1"), Party::new("hub"));
    let trusted = [n1.entry(), hub_party.entry()];
    let old = n1.certificate(now() - DAY - DAY);
    let future = n1.certificate(now() + DAY);
    let fresh = n1.certificate(now());
    let node = n1.endpoint_with(&trusted, old, |_| true);
    let (mut listener, address) = listen(hub_party.endpoint(&trusted)).await;

    let error = node.dial(&hub(), &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::OursExpired), "{error}");
    assert!(matches!(refused(&mut listener).await, HandshakeError::Expired));
    node.renew(&future).unwrap();
    node.dial(&hub(), &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(refused(&mut listener).await, HandshakeError::NotYetValid));
    node.renew(&fresh).unwrap();
    node.dial(&hub(), &address, Channel::Bulk).await.unwrap();
    arrived(&mut listener).await;
    assert!(node.renew(&Party::new("n1").certificate(now())).is_err());
}

/// SM-02: a node that is not admitted has no session, and learns why.
#[tokio::test]
async fn an_isolated_node_is_refused() {
    let (n1, hub_party) = (Party::new("n1"), Party::new("hub"));
    let trusted = [n1.entry(), hub_party.entry()];
    let certificate = hub_party.certificate(now());
    let (mut listener, address) = listen(hub_party.endpoint_with(&trusted, certificate, |_| false)).await;
    let error = n1.endpoint(&trusted).dial(&hub(), &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Refused(_)), "{error}");
    assert!(matches!(refused(&mut listener).await, HandshakeError::Refusing { .. }));
}

fn client(group: &'static dyn rustls::crypto::SupportedKxGroup, root: &Certificate) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.der().to_vec().into()).unwrap();
    let provider =
        rustls::crypto::CryptoProvider { kx_groups: vec![group], ..rustls::crypto::aws_lc_rs::default_provider() };
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

async fn tls_client(config: Arc<rustls::ClientConfig>, address: &str) -> std::io::Result<()> {
    let name = rustls_pki_types::ServerName::try_from("localhost").unwrap();
    let tcp = TcpStream::connect(address).await.unwrap();
    tokio_rustls::TlsConnector::from(config).connect(name, tcp).await.map(drop)
}

/// SM-01, SM-05: a client without the hybrid group gets no TLS, on the mesh or as an operator.
#[tokio::test]
async fn a_classical_client_is_refused() {
    let (n1, hub_party) = (Party::new("n1"), Party::new("hub"));
    let trusted = [n1.entry(), hub_party.entry()];
    let web = hub_party.tls_key.issue_web(&["localhost".into(), "127.0.0.1".into()], now(), DAY).unwrap();
    let operators = operator::server_config(&hub_party.tls_key, &web).unwrap();

    let (mut listener, address) = listen(hub_party.endpoint(&trusted)).await;
    let (classical, hybrid) = (client(kx_group::X25519, &web), client(kx_group::X25519MLKEM768, &web));
    assert!(tls_client(Arc::clone(&classical), &address).await.is_err());
    assert!(matches!(refused(&mut listener).await, HandshakeError::Group));
    assert!(tls_client(Arc::clone(&hybrid), &address).await.is_err());
    assert!(matches!(refused(&mut listener).await, HandshakeError::Group));

    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(operators);
        while let Ok((tcp, _)) = socket.accept().await {
            let _ = acceptor.accept(tcp).await;
        }
    });
    assert!(tls_client(classical, &address).await.is_err());
    tls_client(hybrid, &address).await.unwrap();
}

/// Slow-loris: more idle connections than handshakes are allowed, and an honest peer still gets in.
#[tokio::test]
async fn idle_connections_stall_nobody() {
    let (n1, hub_party) = (Party::new("n1"), Party::new("hub"));
    let trusted = [n1.entry(), hub_party.entry()];
    let limits = Limits { handshakes: 8, arrivals: 64 };
    let mut listener = Listener::bind(hub_party.endpoint(&trusted), "127.0.0.1:0", limits).await.unwrap();
    let address = listener.address().to_string();
    let mut idle = Vec::new();
    for at in 0..24 {
        let mut tcp = TcpStream::connect(&address).await.unwrap();
        // some say nothing, some start a TLS record and never finish it
        if at % 2 == 0 {
            tcp.write_all(&[22, 3, 1]).await.unwrap();
        }
        idle.push(tcp);
    }
    let node = n1.endpoint(&trusted);
    node.dial(&hub(), &address, Channel::Urgent).await.unwrap();
    let (mut evicted, mut sessions) = (0, 0);
    while sessions == 0 {
        match listener.next().await.unwrap() {
            Arrival::Session(_) => sessions += 1,
            Arrival::Refused { error: HandshakeError::Evicted, .. } => evicted += 1,
            Arrival::Refused { error, .. } => panic!("{error}"),
        }
    }
    assert!(evicted >= 16, "{evicted}");
}

/// A peer that never finishes meets the deadline, with virtual time so that nobody waits for it.
#[tokio::test(start_paused = true)]
async fn an_unfinished_handshake_meets_its_deadline() {
    let (n1, hub_party) = (Party::new("n1"), Party::new("hub"));
    let trusted = [n1.entry(), hub_party.entry()];
    let (mut listener, address) = listen(hub_party.endpoint(&trusted)).await;
    let silent = TcpStream::connect(&address).await.unwrap();
    assert!(matches!(refused(&mut listener).await, HandshakeError::Deadline));
    drop(silent);

    let mute = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let error = n1.endpoint(&trusted).dial(&hub(), &address, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Deadline), "{error}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_named() {
    let (n1, hub_party) = (Party::new("n1"), Party::new("hub"));
    let trusted = [n1.entry(), hub_party.entry()];
    let unused = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
    let error = n1.endpoint(&trusted).dial(&hub(), &unused, Channel::Bulk).await.unwrap_err();
    assert!(matches!(error, HandshakeError::Connect { ref address, .. } if *address == unused), "{error}");
}

/// A receive that is dropped half-way, as `select!` does, loses nothing.
#[tokio::test]
async fn a_dropped_receive_loses_nothing() {
    let (node, mut hub) = pair(Channel::Bulk).await;
    let message = vec![7; 1_000_000];
    let sending = async {
        for _ in 0..4 {
            node.send(&message).await.unwrap();
        }
    };
    let receiving = async {
        let mut received = 0;
        while received < 4 {
            if let Ok(got) = tokio::time::timeout(Duration::from_micros(50), hub.recv()).await {
                assert!(got.unwrap() == message);
                received += 1;
            }
        }
    };
    tokio::join!(sending, receiving);
}
