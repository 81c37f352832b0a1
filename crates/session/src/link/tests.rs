use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crypto::{Entropy, IdentityKey};
use tokio::io::AsyncWriteExt;
use types::{Millis, NodeId, Timestamp};

use super::{RecvError, Session};
use crate::envelope::EnvelopeError;
use crate::{Arrival, Channel, Endpoint, EndpointConfig, Limits, Listener, TlsKey, TrustEntry, TrustStore};

fn keys(name: &str) -> (NodeId, IdentityKey, TlsKey) {
    let entropy = Entropy::system().unwrap();
    (name.parse().unwrap(), IdentityKey::generate(&entropy).unwrap(), TlsKey::generate(&entropy).unwrap())
}

fn endpoint((node, identity, tls_key): (NodeId, IdentityKey, TlsKey), trust: &str) -> Endpoint {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("trust.toml");
    std::fs::write(&path, trust).unwrap();
    let trust = TrustStore::load(&path).unwrap();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let since = Timestamp::from_millis(since) - Millis::from_secs(60);
    let certificate = tls_key.issue(trust.boundary(), &node, since, Millis::from_days(1)).unwrap();
    Endpoint::new(EndpointConfig {
        node,
        identity: Arc::new(identity),
        tls_key,
        certificate,
        book: Arc::new(crate::Book::of(&trust)),
        trust: Arc::new(trust),
        entropy: Arc::new(Entropy::system().unwrap()),
        admission: Box::new(|_| true),
        deadline: Duration::from_secs(30),
    })
    .unwrap()
}

/// A session between two participants over TLS on a socket.
async fn pair() -> (Session, Session) {
    let (node, hub) = (keys("n1"), keys("hub"));
    let entry = |(name, identity, tls): &(NodeId, IdentityKey, TlsKey)| TrustEntry {
        name: name.clone(),
        address: None,
        pin: tls.pin(),
        identity: identity.public().clone(),
    };
    let trust = TrustStore::render(&"b".parse().unwrap(), vec![entry(&node), entry(&hub)]).unwrap();
    let mut listener = Listener::bind(endpoint(hub, &trust), "127.0.0.1:0", Limits::default()).await.unwrap();
    let address = listener.address().to_string();
    let (node, to) = (endpoint(node, &trust), NodeId::hub());
    let (dialled, arrived) = tokio::join!(node.dial(&to, &address, Channel::Urgent), listener.next());
    match arrived.unwrap() {
        Arrival::Session(session) => (dialled.unwrap(), *session),
        Arrival::Refused { error, .. } => panic!("{error}"),
    }
}

/// SM-07a, SM-11: an envelope that comes again over the same TLS connection, and one that comes before
/// its turn, are refused, told apart and counted; the session goes on with the next in order.
#[tokio::test]
async fn a_replayed_envelope_is_refused_over_a_real_socket() {
    let (node, mut hub) = pair().await;
    let mut frames = [Vec::new(), Vec::new(), Vec::new()];
    {
        let mut outgoing = node.sender.outgoing.lock().await;
        for (frame, text) in frames.iter_mut().zip(["purge k1", "purge k2", "purge k3"]) {
            outgoing.sealer.seal(text.as_bytes(), frame).unwrap();
        }
        for frame in [&frames[0], &frames[0], &frames[2], &frames[1], &frames[0], &frames[2]] {
            outgoing.writer.write_all(frame).await.unwrap();
        }
        outgoing.writer.flush().await.unwrap();
    }
    node.send(b"purge k4").await.unwrap();
    let refused = |found: Result<Vec<u8>, RecvError>| match found {
        Err(RecvError::Envelope(error)) => error,
        other => panic!("{other:?}"),
    };
    // Number 0 acknowledged the session.
    assert_eq!(hub.recv().await.unwrap(), b"purge k1");
    assert!(matches!(refused(hub.recv().await), EnvelopeError::Replayed { found: 1 }));
    assert!(matches!(refused(hub.recv().await), EnvelopeError::Reordered { found: 3, expected: 2 }));
    assert_eq!(hub.recv().await.unwrap(), b"purge k2");
    assert!(matches!(refused(hub.recv().await), EnvelopeError::Replayed { found: 1 }));
    assert_eq!(hub.recv().await.unwrap(), b"purge k3");
    assert_eq!(hub.recv().await.unwrap(), b"purge k4");
    let counts = hub.info().counts();
    assert_eq!((counts.replayed(), counts.reordered(), counts.forged()), (2, 1, 0));
}
