use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use crypto::{Entropy, IdentityKey, MasterKey, Secret32};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use types::{BoundaryId, Label, NodeId};

use super::{Bound, Local, accept, dial};
use crate::book::Book;
use crate::certificate::SpkiPin;
use crate::error::HandshakeError;
use crate::link::Session;
use crate::trust::TrustEntry;
use crate::wire::{Channel, Refusal};

/// Everything that one end writes into TLS: what an attacker sees who has every TLS key.
struct Tapped {
    inner: DuplexStream,
    seen: Arc<Mutex<Vec<u8>>>,
}

impl AsyncRead for Tapped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, out)
    }
}

impl AsyncWrite for Tapped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if let Poll::Ready(Ok(length)) = written {
            self.seen.lock().unwrap().extend_from_slice(&bytes[..length]);
        }
        written
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

struct Party {
    boundary: BoundaryId,
    node: NodeId,
    identity: IdentityKey,
    entropy: Entropy,
    exporter: [u8; 32],
    book: Book,
}

impl Party {
    fn new(name: &str) -> Self {
        let entropy = Entropy::system().unwrap();
        Self {
            boundary: "b".parse().unwrap(),
            node: name.parse().unwrap(),
            identity: IdentityKey::generate(&entropy).unwrap(),
            entropy,
            exporter: [9; 32],
            book: Book::new("b".parse().unwrap(), None, None, crate::book::system_clock()),
        }
    }

    fn local(&self) -> Local<'_> {
        Local {
            boundary: &self.boundary,
            node: &self.node,
            identity: &self.identity,
            book: &self.book,
            entropy: &self.entropy,
            exporter: self.exporter,
        }
    }

    fn entry(&self) -> TrustEntry {
        let pin: SpkiPin = "00".repeat(32).parse().unwrap();
        TrustEntry { name: self.node.clone(), address: None, pin, identity: self.identity.public().clone() }
    }
}

type Outcome = Result<Bound, HandshakeError>;
type Ends = (Tapped, Tapped);

async fn run(a: &Party, b: &Party, trusted_a: &TrustEntry, trusted_b: &TrustEntry) -> (Outcome, Outcome, Ends) {
    let (left, right) = tokio::io::duplex(1 << 20);
    let mut left = Tapped { inner: left, seen: Arc::default() };
    let mut right = Tapped { inner: right, seen: Arc::default() };
    let dialling = async {
        let local = a.local();
        let outcome = dial(&mut left, &local, trusted_b, Channel::Bulk, &|_| true).await;
        if outcome.is_err() {
            left.shutdown().await.unwrap();
        }
        outcome
    };
    let accepting = async {
        let local = b.local();
        let outcome = accept(&mut right, &local, trusted_a, &|node| node.as_str() != "isolated").await;
        if outcome.is_err() {
            right.shutdown().await.unwrap();
        }
        outcome
    };
    let (dialled, accepted) = tokio::join!(dialling, accepting);
    (dialled, accepted, (left, right))
}

/// SM-06e: whoever reads everything inside TLS reads no message and gets no secret of the session.
#[tokio::test]
async fn the_plaintext_of_tls_shows_no_payload() {
    const PAYLOAD: &[u8] = b"the grid is opened at breaker seven";
    let (a, b) = (Party::new("n1"), Party::new("hub"));
    let (dialled, accepted, (left, right)) = run(&a, &b, &a.entry(), &b.entry()).await;
    let seen = [Arc::clone(&left.seen), Arc::clone(&right.seen)];
    let mut left = Session::new(Box::new(left), b.node.clone(), true, dialled.unwrap());
    let mut right = Session::new(Box::new(right), a.node.clone(), false, accepted.unwrap());
    left.send(PAYLOAD).await.unwrap();
    assert_eq!(right.recv().await.unwrap(), PAYLOAD);
    right.send(PAYLOAD).await.unwrap();
    assert_eq!(left.recv().await.unwrap(), PAYLOAD);

    let ours: MasterKey = left.info().derive(Label::QKD_AUTH, &[b"n1~hub"]);
    let theirs: MasterKey = right.info().derive(Label::QKD_AUTH, &[b"n1~hub"]);
    assert_eq!(ours.expose(), theirs.expose());
    for seen in seen {
        let seen = seen.lock().unwrap();
        assert!(seen.len() > 4_000, "the tap is in the right place");
        for secret in [&PAYLOAD[..8], &ours.expose()[..8]] {
            assert!(!seen.windows(8).any(|window| window == secret));
        }
    }
}

#[tokio::test]
async fn sessions_derive_apart() {
    let (a, b) = (Party::new("n1"), Party::new("hub"));
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let (dialled, accepted, (left, _right)) = run(&a, &b, &a.entry(), &b.entry()).await;
        let (dialled, _accepted) = (dialled.unwrap(), accepted.unwrap());
        let session = Session::new(Box::new(left), b.node.clone(), true, dialled);
        secrets.push(*session.info().derive::<MasterKey>(Label::QKD_AUTH, &[]).expose());
    }
    assert_ne!(secrets[0], secrets[1]);
}

/// SM-07a: the right TLS channel with the wrong identity is no session, at either end.
#[tokio::test]
async fn an_identity_that_is_not_the_trusted_one_is_refused() {
    let (a, b, other) = (Party::new("n1"), Party::new("hub"), Party::new("n1"));
    let (_, accepted, _) = run(&other, &b, &a.entry(), &b.entry()).await;
    assert!(matches!(accepted, Err(HandshakeError::Identity { ref node, .. }) if node.as_str() == "n1"));

    let mut impostor = Party::new("hub");
    impostor.exporter = a.exporter;
    let (dialled, accepted, _) = run(&a, &impostor, &a.entry(), &b.entry()).await;
    assert!(matches!(dialled, Err(HandshakeError::Identity { ref node, .. }) if node.as_str() == "hub"));
    assert!(matches!(accepted, Err(HandshakeError::NotAcknowledged)));
}

/// A man in the middle has two TLS channels, so two exporters: signatures do not carry over.
#[tokio::test]
async fn a_handshake_relayed_between_two_channels_is_refused() {
    let (a, mut b) = (Party::new("n1"), Party::new("hub"));
    b.exporter = [8; 32];
    let (dialled, accepted, _) = run(&a, &b, &a.entry(), &b.entry()).await;
    assert!(matches!(dialled, Err(HandshakeError::Identity { .. })));
    assert!(accepted.is_err());
}

/// SM-02, SM-07d: each refusal is named at both ends.
#[tokio::test]
async fn a_peer_that_may_not_have_a_session_is_told_why() {
    let b = Party::new("hub");
    let isolated = Party::new("isolated");
    let mut foreign = Party::new("n1");
    foreign.boundary = "other".parse().unwrap();
    let renamed = Party::new("n2");
    let mut wrong_name = renamed.entry();
    wrong_name.name = "n3".parse().unwrap();
    let mut wrong_addressee = b.entry();
    wrong_addressee.name = "n9".parse().unwrap();
    let cases = [
        (&isolated, isolated.entry(), b.entry(), Refusal::NotAdmitted),
        (&foreign, foreign.entry(), b.entry(), Refusal::Boundary),
        (&renamed, wrong_name, b.entry(), Refusal::Name),
        (&renamed, renamed.entry(), wrong_addressee, Refusal::Addressee),
    ];
    for (a, trusted_a, trusted_b, expected) in cases {
        let (dialled, accepted, _) = run(a, &b, &trusted_a, &trusted_b).await;
        assert!(matches!(dialled, Err(HandshakeError::Refused(reason)) if reason == expected), "{dialled:?}");
        assert!(matches!(accepted, Err(HandshakeError::Refusing { reason, .. }) if reason == expected));
    }
}

#[tokio::test]
async fn an_overlong_or_malformed_hello_is_refused_before_it_is_kept() {
    let b = Party::new("hub");
    for (bytes, overlong) in [(&[0xff; 8][..], true), (&[0, 0, 0, 2, 0x80, 0x80][..], false)] {
        let (mut left, mut right) = tokio::io::duplex(1 << 16);
        left.write_all(bytes).await.unwrap();
        let refused = accept(&mut right, &b.local(), &b.entry(), &|_| true).await.unwrap_err();
        match refused {
            HandshakeError::TooLarge { length } => assert!(overlong && length == u32::MAX as usize),
            HandshakeError::Malformed(_) => assert!(!overlong),
            other => panic!("{other}"),
        }
    }
}
