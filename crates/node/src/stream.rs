//! One forwarded TCP stream between two nodes, sealed under keys derived from the pair's key.
//!
//! It runs inside a session of its own ([`session::Channel::Stream`]) and stays sealed should that
//! session's keys be known. Each direction is
//!
//! ```text
//! "QS1" ‖ u64 key number                                   in the clear: which key comes first
//! (u32 length ‖ sealed(payload ‖ u8 kind) ‖ tag[16])*       big-endian; the nonce counts from 0 per key
//! ```
//!
//! Kinds: 0 data, 1 rekey (payload: u64 number of the key from the next frame on), 2 end of this
//! direction, 3 open (payload: where to connect), 4 opened, 5 refused (payload: why). Opener and
//! acceptor exchange 3 and 4 before data flows. A direction that ends without its end frame was cut,
//! and the TCP connection is reset, so that no application takes a cut for an end.

use std::io;
use std::time::Duration;

use crypto::aead::TAG_LEN;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf as TcpRead, WriteHalf as TcpWrite};
use types::{Hash, KeyId, NodeId};

use crate::pairs::{Cut, Opened, Pairs, ReceiveKeys, SendKeys, Sending};
use keys::FrameKey;

pub(crate) mod keys;

/// Most payload of one frame.
pub(crate) const PAYLOAD: usize = 64 * 1024;
const PREFIX: usize = 4;
const KIND: usize = 1;
const MAGIC: &[u8; 3] = b"QS1";
const HELLO: usize = 11;
/// Longest time for the exchange before data flows.
const OPEN_LIMIT: Duration = Duration::from_secs(15);
/// Longest time to connect onward.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest text in an open or refused frame.
const MAX_TEXT: usize = 512;

const DATA: u8 = 0;
const REKEY: u8 = 1;
const END: u8 = 2;
const OPEN: u8 = 3;
const OPENED: u8 = 4;
const REFUSED: u8 = 5;

/// Why a stream ended before its time.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("there is no active key with `{0}` yet")]
    NoKey(NodeId),
    #[error("the stream was cut: {0}")]
    Cut(Cut),
    #[error("a frame did not verify: the stream is cut")]
    Forged,
    #[error("the peer broke the form of a stream")]
    Form,
    #[error("the peer refused: {0}")]
    Refused(String),
    #[error("the peer did not open the stream in time")]
    Deadline,
    #[error("the session broke: {0}")]
    Session(io::Error),
    #[error("the local connection broke: {0}")]
    Local(io::Error),
}

/// Resets the connection when it is dropped before its time.
struct Local {
    tcp: TcpStream,
    whole: bool,
}

impl Drop for Local {
    fn drop(&mut self) {
        if !self.whole {
            let _ = self.tcp.set_zero_linger();
        }
    }
}

/// Runs a stream from the end that listens: `tcp` was accepted, `onward` is where the peer connects.
pub(crate) async fn open<S: AsyncRead + AsyncWrite>(
    io: S,
    pairs: &Pairs,
    peer: &NodeId,
    id: Hash,
    tcp: TcpStream,
    onward: &str,
) -> Result<(), StreamError> {
    let local = Local { tcp, whole: false };
    let opened = pairs.open(peer, id, true).ok_or_else(|| StreamError::NoKey(peer.clone()))?;
    let cut = opened.cut.clone();
    let (mut send, mut receive) = ends(io, opened);
    let work = async {
        let begin = async {
            send.begin().await?;
            send.frame(OPEN, onward.as_bytes()).await?;
            receive.begin().await?;
            match receive.frame().await? {
                (OPENED, _) => Ok(()),
                (REFUSED, text) => Err(StreamError::Refused(printable(text))),
                _ => Err(StreamError::Form),
            }
        };
        tokio::time::timeout(OPEN_LIMIT, begin).await.unwrap_or(Err(StreamError::Deadline))?;
        carry(local, send, receive).await
    };
    unless_cut(cut, work).await
}

/// Runs a stream from the end that connects onward, where `allowed` says that the peer may.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite>(
    io: S,
    pairs: &Pairs,
    peer: &NodeId,
    id: Hash,
    allowed: impl Fn(&str) -> Result<(), String>,
) -> Result<(), StreamError> {
    // This end may hear of an activation a little later than the peer.
    let ready = tokio::time::timeout(OPEN_LIMIT, pairs.wait_ready(peer)).await;
    let opened = ready.ok().and_then(|()| pairs.open(peer, id, false));
    let opened = opened.ok_or_else(|| StreamError::NoKey(peer.clone()))?;
    let cut = opened.cut.clone();
    let (mut send, mut receive) = ends(io, opened);
    let work = async {
        let begin = async {
            receive.begin().await?;
            let onward = match receive.frame().await? {
                (OPEN, text) => printable(text),
                _ => return Err(StreamError::Form),
            };
            send.begin().await?;
            let local = match allowed(&onward) {
                Ok(()) => connect(&onward).await,
                Err(why) => Err(why),
            };
            match local {
                Ok(local) => send.frame(OPENED, &[]).await.map(|()| local),
                Err(why) => {
                    send.frame(REFUSED, why.as_bytes()).await?;
                    Err(StreamError::Refused(why))
                }
            }
        };
        let local = tokio::time::timeout(OPEN_LIMIT, begin).await.unwrap_or(Err(StreamError::Deadline))?;
        carry(local, send, receive).await
    };
    unless_cut(cut, work).await
}

async fn connect(onward: &str) -> Result<Local, String> {
    match tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(onward)).await {
        Ok(Ok(tcp)) => Ok(Local { tcp, whole: false }),
        Ok(Err(error)) => Err(format!("cannot connect to `{onward}`: {error}")),
        Err(_) => Err(format!("cannot connect to `{onward}` in time")),
    }
}

async fn unless_cut(
    mut cut: tokio::sync::watch::Receiver<Option<Cut>>,
    work: impl Future<Output = Result<(), StreamError>>,
) -> Result<(), StreamError> {
    let cut = async {
        match cut.wait_for(Option::is_some).await {
            Ok(why) => *why,
            Err(_) => None,
        }
    };
    tokio::select! {
        biased;
        why = cut => Err(why.map_or(StreamError::Form, StreamError::Cut)),
        done = work => done,
    }
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

fn ends<S: AsyncRead + AsyncWrite>(io: S, opened: Opened) -> (Outgoing<WriteHalf<S>>, Incoming<ReadHalf<S>>) {
    let (read, write) = tokio::io::split(io);
    let Opened { send, receive, first, .. } = opened;
    let outgoing = Outgoing { io: write, keys: send, now: first, buffer: vec![0; PREFIX + PAYLOAD + KIND + TAG_LEN] };
    (outgoing, Incoming { io: read, keys: receive, key: None, buffer: Vec::new() })
}

/// Carries data both ways until both directions have ended.
async fn carry<S: AsyncRead + AsyncWrite>(
    mut local: Local,
    mut send: Outgoing<WriteHalf<S>>,
    mut receive: Incoming<ReadHalf<S>>,
) -> Result<(), StreamError> {
    let _ = local.tcp.set_nodelay(true);
    let (read, write) = local.tcp.split();
    tokio::try_join!(send.carry(read), receive.carry(write))?;
    local.whole = true;
    // The last frame is with the transport; a peer that left first does not matter any more.
    let _ = send.io.shutdown().await;
    Ok(())
}

struct Outgoing<W> {
    io: W,
    keys: SendKeys,
    now: Sending,
    buffer: Vec<u8>,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    async fn begin(&mut self) -> Result<(), StreamError> {
        let mut hello = [0; HELLO];
        hello[..MAGIC.len()].copy_from_slice(MAGIC);
        hello[MAGIC.len()..].copy_from_slice(&self.now.id.get().to_be_bytes());
        self.io.write_all(&hello).await.map_err(StreamError::Session)
    }

    async fn frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), StreamError> {
        let len = payload.len().min(PAYLOAD);
        self.buffer[PREFIX..PREFIX + len].copy_from_slice(&payload[..len]);
        self.seal(kind, len).await
    }

    /// Seals and sends the first `len` bytes of payload in the buffer.
    async fn seal(&mut self, kind: u8, len: usize) -> Result<(), StreamError> {
        let text = PREFIX + len + KIND;
        self.buffer[text - KIND] = kind;
        let tag = self.now.key.seal(&mut self.buffer[PREFIX..text]).map_err(|_| StreamError::Form)?;
        self.buffer[text..text + TAG_LEN].copy_from_slice(&tag);
        self.buffer[..PREFIX].copy_from_slice(&((text - PREFIX + TAG_LEN) as u32).to_be_bytes());
        self.io.write_all(&self.buffer[..text + TAG_LEN]).await.map_err(StreamError::Session)?;
        self.io.flush().await.map_err(StreamError::Session)
    }

    /// Moves to the newest key: the old one seals the announcement, the new one all that follows.
    async fn rekey(&mut self) -> Result<(), StreamError> {
        if let Some(next) = self.keys.newer(self.now.id) {
            self.frame(REKEY, &next.id.get().to_be_bytes()).await?;
            self.now = next;
        }
        Ok(())
    }

    async fn carry(&mut self, mut read: TcpRead<'_>) -> Result<(), StreamError> {
        loop {
            let got = tokio::select! {
                biased;
                () = self.keys.changed() => None,
                got = read.read(&mut self.buffer[PREFIX..PREFIX + PAYLOAD]) => Some(got.map_err(StreamError::Local)?),
            };
            match got {
                None => self.rekey().await?,
                Some(0) => {
                    self.seal(END, 0).await?;
                    self.keys.finish();
                    return Ok(());
                }
                Some(len) => self.seal(DATA, len).await?,
            }
        }
    }
}

struct Incoming<R> {
    io: R,
    keys: ReceiveKeys,
    key: Option<FrameKey>,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    async fn begin(&mut self) -> Result<(), StreamError> {
        let mut hello = [0; HELLO];
        self.io.read_exact(&mut hello).await.map_err(StreamError::Session)?;
        let (magic, number) = hello.split_first_chunk::<3>().ok_or(StreamError::Form)?;
        let number = <[u8; 8]>::try_from(number).map_err(|_| StreamError::Form)?;
        if magic != MAGIC {
            return Err(StreamError::Form);
        }
        self.key = Some(self.keys.pass(KeyId::new(u64::from_be_bytes(number))).ok_or(StreamError::Form)?);
        Ok(())
    }

    /// The next frame: its kind and payload.
    async fn frame(&mut self) -> Result<(u8, &[u8]), StreamError> {
        let mut len = [0; PREFIX];
        self.io.read_exact(&mut len).await.map_err(StreamError::Session)?;
        let len = u32::from_be_bytes(len) as usize;
        if !(KIND + TAG_LEN..=PAYLOAD + KIND + TAG_LEN).contains(&len) {
            return Err(StreamError::Form);
        }
        self.buffer.resize(PAYLOAD + KIND + TAG_LEN, 0);
        self.io.read_exact(&mut self.buffer[..len]).await.map_err(StreamError::Session)?;
        let key = self.key.as_mut().ok_or(StreamError::Form)?;
        let text = key.open(&mut self.buffer[..len]).map_err(|_| StreamError::Forged)?;
        text.split_last().map(|(kind, payload)| (*kind, payload)).ok_or(StreamError::Form)
    }

    async fn carry(&mut self, mut write: TcpWrite<'_>) -> Result<(), StreamError> {
        loop {
            match self.frame().await? {
                (DATA, payload) => write.write_all(payload).await.map_err(StreamError::Local)?,
                (REKEY, payload) => {
                    let number = <[u8; 8]>::try_from(payload).map_err(|_| StreamError::Form)?;
                    let key = self.keys.pass(KeyId::new(u64::from_be_bytes(number))).ok_or(StreamError::Form)?;
                    self.key = Some(key);
                }
                (END, _) => {
                    self.keys.finish();
                    // The application may have closed its side; the other direction goes on or fails by itself.
                    let _ = write.shutdown().await;
                    return Ok(());
                }
                _ => return Err(StreamError::Form),
            }
        }
    }
}

#[cfg(test)]
mod tests;
