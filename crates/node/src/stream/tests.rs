use std::sync::Arc;
use std::time::Duration;

use crypto::{PairKey, Secret32};
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use types::{Hash, KeyId, NodeId};

use super::{StreamError, accept, open};
use crate::keyring::HeldKey;
use crate::pairs::{Cut, Pairs};

const STREAM: Hash = Hash::new([9; 32]);

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn held(key: u64) -> Arc<HeldKey> {
    Arc::new(HeldKey::new(KeyId::new(key), PairKey::from_bytes(&[key as u8; 32])))
}

/// One node's side of a pair: its keys as the hub moves them along.
struct Side {
    pairs: Pairs,
    peer: NodeId,
    held: Vec<Arc<HeldKey>>,
    current: Option<KeyId>,
}

impl Side {
    fn new(peer: &str) -> Self {
        let mut side = Self { pairs: Pairs::default(), peer: node(peer), held: Vec::new(), current: None };
        side.stage(1);
        side.activate(1);
        side
    }

    fn set(&self) {
        self.pairs.set(&self.peer, self.held.clone(), self.current);
    }

    fn stage(&mut self, key: u64) {
        self.held.push(held(key));
        self.set();
    }

    fn activate(&mut self, key: u64) {
        self.current = Some(KeyId::new(key));
        self.set();
    }

    fn retire(&mut self, key: u64) {
        self.held.retain(|one| one.id() != KeyId::new(key));
        self.set();
    }
}

/// An application behind each end, and the stream between.
struct Path {
    near: TcpStream,
    far: TcpStream,
    opener: JoinHandle<Result<(), StreamError>>,
    acceptor: JoinHandle<Result<(), StreamError>>,
}

async fn path<S>(a: &Side, b: &Side, io: (S, S)) -> Path
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (front, back) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let onward = back.local_addr().unwrap().to_string();
    let near = TcpStream::connect(front.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = front.accept().await.unwrap();
    let (pairs, peer, connect) = (a.pairs.clone(), a.peer.clone(), onward.clone());
    let opener = tokio::spawn(async move { open(io.0, &pairs, &peer, STREAM, tcp, &connect).await });
    let (pairs, peer) = (b.pairs.clone(), b.peer.clone());
    let acceptor = tokio::spawn(async move {
        accept(io.1, &pairs, &peer, STREAM, |asked| if asked == onward { Ok(()) } else { Err("elsewhere".to_owned()) })
            .await
    });
    let (far, _) = back.accept().await.unwrap();
    Path { near, far, opener, acceptor }
}

async fn pump(mut out: impl AsyncWrite + Unpin, len: usize, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut sha = Sha256::new();
    let mut chunk = vec![0; 100_000];
    let mut left = len;
    while left > 0 {
        let take = left.min(chunk.len());
        rng.fill_bytes(&mut chunk[..take]);
        sha.update(&chunk[..take]);
        out.write_all(&chunk[..take]).await.unwrap();
        left -= take;
    }
    out.shutdown().await.unwrap();
    sha.finalize().to_vec()
}

async fn drain(mut from: impl AsyncRead + Unpin) -> (usize, Vec<u8>) {
    let (mut sha, mut chunk, mut len) = (Sha256::new(), vec![0; 100_000], 0);
    loop {
        let got = from.read(&mut chunk).await.unwrap();
        if got == 0 {
            return (len, sha.finalize().to_vec());
        }
        len += got;
        sha.update(&chunk[..got]);
    }
}

/// KM-10, KM-11: 64 MiB each way arrive whole and in order while the pair's key rotates all the
/// time, the ends hearing of it at different moments, and every replaced key is retired at once.
#[tokio::test(flavor = "multi_thread")]
async fn rotation_loses_and_reorders_nothing() {
    const LEN: usize = 64 * 1024 * 1024;
    let (mut a, mut b) = (Side::new("n2"), Side::new("n1"));
    let Path { near, far, opener, acceptor } = path(&a, &b, tokio::io::duplex(256 * 1024)).await;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    let work = tokio::spawn(async move {
        tokio::join!(pump(near_write, LEN, 1), drain(far_read), pump(far_write, LEN, 2), drain(near_read))
    });
    let mut key = 1;
    while !work.is_finished() {
        key += 1;
        a.stage(key);
        b.stage(key);
        // the two ends take turns in hearing first
        let (first, second) = if key % 2 == 0 { (&mut a, &mut b) } else { (&mut b, &mut a) };
        first.activate(key);
        tokio::time::sleep(Duration::from_millis(25)).await;
        second.activate(key);
        first.retire(key - 1);
        second.retire(key - 1);
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    let (sent, received, sent_back, received_back) = work.await.unwrap();
    assert_eq!(received, (LEN, sent));
    assert_eq!(received_back, (LEN, sent_back));
    opener.await.unwrap().unwrap();
    acceptor.await.unwrap().unwrap();
    assert!(key > 2, "the key rotated meanwhile");
    assert_eq!((a.pairs.streams(), b.pairs.streams()), (0, 0));
}

/// A direction that has ended leaves the other one open.
#[tokio::test]
async fn half_a_close_is_half_a_close() {
    let (a, b) = (Side::new("n2"), Side::new("n1"));
    let Path { mut near, mut far, opener, acceptor } = path(&a, &b, tokio::io::duplex(4_096)).await;
    near.write_all(b"question").await.unwrap();
    near.shutdown().await.unwrap();
    let mut text = String::new();
    far.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "question");
    far.write_all(b"answer").await.unwrap();
    drop(far);
    text.clear();
    near.read_to_string(&mut text).await.unwrap();
    assert_eq!(text, "answer");
    opener.await.unwrap().unwrap();
    acceptor.await.unwrap().unwrap();
}

/// KM-07, KM-12: a revoked key cuts the stream at once, at the end that hears of it and then at the
/// other, and the application sees a reset, not an end.
#[tokio::test]
async fn a_purge_cuts_the_stream() {
    let (mut a, b) = (Side::new("n2"), Side::new("n1"));
    let Path { mut near, mut far, opener, acceptor } = path(&a, &b, tokio::io::duplex(4_096)).await;
    near.write_all(b"x").await.unwrap();
    assert_eq!(far.read_u8().await.unwrap(), b'x');
    a.stage(2);
    a.pairs.revoke(&[KeyId::new(2)]);
    assert!(!opener.is_finished(), "a key that is not in use yet cuts nothing");
    a.pairs.revoke(&[KeyId::new(1)]);
    assert!(matches!(opener.await.unwrap(), Err(StreamError::Cut(Cut::Revoked))));
    assert!(acceptor.await.unwrap().is_err());
    assert!(near.read_u8().await.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(far.read_u8().await.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    assert!(!a.pairs.ready(&node("n2")));
}

/// SM-02: isolating the peer cuts every stream with it.
#[tokio::test]
async fn isolation_cuts_the_stream() {
    let (a, b) = (Side::new("n2"), Side::new("n1"));
    let Path { near: _near, far: _far, opener, acceptor } = path(&a, &b, tokio::io::duplex(4_096)).await;
    b.pairs.isolate(&node("n1"));
    assert!(matches!(acceptor.await.unwrap(), Err(StreamError::Cut(Cut::Isolated))));
    assert!(opener.await.unwrap().is_err());
}

/// SM-06e, KM-05: whoever holds the session but not the pair's key cannot put a byte into the
/// stream: the first frame that is not sealed cuts it, and is counted on the key.
#[tokio::test]
async fn a_forged_frame_cuts_and_counts() {
    let (a, b) = (Side::new("n2"), Side::new("n1"));
    let (left, middle_a) = tokio::io::duplex(65_536);
    let (middle_b, right) = tokio::io::duplex(65_536);
    let meddler = tokio::spawn(meddle(middle_a, middle_b));
    let Path { mut near, mut far, opener, acceptor } = path(&a, &b, (left, right)).await;
    near.write_all(b"hello").await.unwrap();
    let mut nothing = Vec::new();
    assert!(far.read_to_end(&mut nothing).await.is_err() && nothing.is_empty());
    assert!(matches!(acceptor.await.unwrap(), Err(StreamError::Forged)));
    meddler.abort();
    assert!(opener.await.unwrap().is_err());
    let used = b.held[0].take_use().unwrap();
    assert_eq!((used.key, used.failures), (KeyId::new(1), 1));
}

/// Passes the opening exchange on, then flips one bit of the first data frame.
async fn meddle(a: DuplexStream, b: DuplexStream) {
    let (mut a_read, mut a_write) = tokio::io::split(a);
    let (mut b_read, mut b_write) = tokio::io::split(b);
    let back = async { tokio::io::copy(&mut b_read, &mut a_write).await };
    let forth = async {
        let mut hello = [0; 11];
        a_read.read_exact(&mut hello).await.unwrap();
        b_write.write_all(&hello).await.unwrap();
        for flipped in [false, true] {
            let len = a_read.read_u32().await.unwrap();
            let mut frame = vec![0; len as usize];
            a_read.read_exact(&mut frame).await.unwrap();
            frame[0] ^= u8::from(flipped);
            b_write.write_u32(len).await.unwrap();
            b_write.write_all(&frame).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    tokio::join!(back, forth).0.unwrap();
}

/// SM-07b: a peer reaches only what is forwarded to it, and is told why not.
#[tokio::test]
async fn what_is_not_forwarded_is_refused() {
    let (a, b) = (Side::new("n2"), Side::new("n1"));
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _near = TcpStream::connect(front.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = front.accept().await.unwrap();
    let (left, right) = tokio::io::duplex(4_096);
    let (opened, accepted) = tokio::join!(
        open(left, &a.pairs, &a.peer, STREAM, tcp, "127.0.0.1:22"),
        accept(right, &b.pairs, &b.peer, STREAM, |_| Err("not here".to_owned())),
    );
    assert!(matches!(opened, Err(StreamError::Refused(why)) if why.contains("not here")));
    assert!(matches!(accepted, Err(StreamError::Refused(_))));
}

/// KM-04: without an active key there is no stream.
#[tokio::test]
async fn without_a_key_there_is_no_stream() {
    let pairs = Pairs::default();
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _near = TcpStream::connect(front.local_addr().unwrap()).await.unwrap();
    let (tcp, _) = front.accept().await.unwrap();
    let (left, _right) = tokio::io::duplex(4_096);
    assert!(matches!(open(left, &pairs, &node("n2"), STREAM, tcp, "x").await, Err(StreamError::NoKey(_))));
}
