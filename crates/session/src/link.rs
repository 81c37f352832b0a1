//! Sessions that are up: sending and receiving sealed messages.

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use crypto::{Secret32, SharedSecret, kdf};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, watch};
use types::{Label, NodeId};

use crate::envelope::{EnvelopeCounts, EnvelopeError, Opener, PREFIX, Sealer};
use crate::handshake::Bound;
use crate::raw::RawStream;
use crate::wire::Channel;

/// Anything that carries bytes both ways.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Bytes asked of the transport at a time.
const READ: usize = 64 * 1024;

/// A message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Too long, or no numbers left.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The session is down.
    #[error("the session is closed; open a new one")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
}

/// A message was not received.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// A message was refused. After [`EnvelopeError::TooLarge`] the session is down, else the next
    /// message may follow.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The session is down.
    #[error("the session is closed; open a new one")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
}

/// What both halves of a session know about it.
pub struct SessionInfo {
    peer: NodeId,
    channel: Channel,
    peer_epoch: u64,
    dialled: bool,
    exporter: SharedSecret,
    counts: Arc<EnvelopeCounts>,
    down: watch::Sender<bool>,
}

impl SessionInfo {
    /// The peer, proven by pin and by hybrid signature.
    pub fn peer(&self) -> &NodeId {
        &self.peer
    }

    /// What the session is for.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// The revocation epoch that the peer signed in the handshake. A peer behind ours is stale.
    pub fn peer_epoch(&self) -> u64 {
        self.peer_epoch
    }

    /// Whether this end dialled.
    pub fn dialled(&self) -> bool {
        self.dialled
    }

    /// Messages refused so far.
    pub fn counts(&self) -> &EnvelopeCounts {
        &self.counts
    }

    /// A secret that both ends of this session have and nobody else, fresh per session. It depends
    /// on no TLS key and on no envelope key.
    pub fn derive<T: Secret32>(&self, label: Label, info: &[&[u8]]) -> T {
        kdf::derive_secret(label, self.exporter.expose(), &[], info)
    }

    /// Ends the session at once, whatever its halves are waiting for.
    pub fn terminate(&self) {
        self.down.send_replace(true);
    }
}

impl fmt::Debug for SessionInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionInfo({} {:?})", self.peer, self.channel)
    }
}

/// A session that is up.
#[derive(Debug)]
pub struct Session {
    sender: SessionSender,
    receiver: SessionReceiver,
}

impl Session {
    pub(crate) fn new(transport: Box<dyn Transport>, peer: NodeId, dialled: bool, bound: Bound) -> Self {
        let (reader, writer) = tokio::io::split(transport);
        let (down, gone) = watch::channel(false);
        let info = Arc::new(SessionInfo {
            peer,
            channel: bound.channel,
            peer_epoch: bound.peer_epoch,
            dialled,
            exporter: bound.exporter,
            counts: Arc::clone(bound.opener.counts()),
            down,
        });
        let outgoing = Outgoing { writer, sealer: bound.sealer, unsent: Vec::new(), sent: 0 };
        let sender = SessionSender { info: Arc::clone(&info), outgoing: Arc::new(Mutex::new(outgoing)) };
        let receiver = SessionReceiver { info, reader, opener: bound.opener, buffer: BytesMut::new(), gone };
        Self { sender, receiver }
    }

    /// What is known about the session.
    pub fn info(&self) -> &Arc<SessionInfo> {
        &self.sender.info
    }

    /// The peer.
    pub fn peer(&self) -> &NodeId {
        self.info().peer()
    }

    /// What the session is for.
    pub fn channel(&self) -> Channel {
        self.info().channel()
    }

    /// Sends one message. See [`SessionSender::send`].
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, message: &[u8]) -> Result<(), SendError> {
        self.sender.send(message).await
    }

    /// Receives one message. See [`SessionReceiver::recv`].
    ///
    /// # Errors
    /// [`RecvError`].
    pub async fn recv(&mut self) -> Result<Vec<u8>, RecvError> {
        self.receiver.recv().await
    }

    /// The two halves, for two tasks.
    pub fn split(self) -> (SessionSender, SessionReceiver) {
        (self.sender, self.receiver)
    }

    /// The TLS stream itself, for bulk data that its users seal themselves (a [`Channel::Stream`]).
    /// No envelope follows the ones exchanged so far; `terminate` no longer reaches it.
    ///
    /// # Errors
    /// Gives the session back where a message is still being sent.
    pub fn into_raw(self) -> Result<RawStream, Box<Self>> {
        let SessionSender { info, outgoing } = self.sender;
        match Arc::try_unwrap(outgoing).map(Mutex::into_inner) {
            Ok(outgoing) if outgoing.unsent.is_empty() => {
                let transport = self.receiver.reader.unsplit(outgoing.writer);
                Ok(RawStream::new(info, transport, self.receiver.buffer))
            }
            Ok(outgoing) => {
                let sender = SessionSender { info, outgoing: Arc::new(Mutex::new(outgoing)) };
                Err(Box::new(Self { sender, receiver: self.receiver }))
            }
            Err(outgoing) => {
                let sender = SessionSender { info, outgoing };
                Err(Box::new(Self { sender, receiver: self.receiver }))
            }
        }
    }
}

struct Outgoing {
    writer: WriteHalf<Box<dyn Transport>>,
    sealer: Sealer,
    /// Frames sealed and not yet with the transport. A send that is dropped half-way leaves the
    /// rest here, so that the next one goes on where it stopped.
    unsent: Vec<u8>,
    sent: usize,
}

impl Outgoing {
    async fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.unsent.len() {
            let written = self.writer.write(&self.unsent[self.sent..]).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.sent += written;
        }
        self.unsent.clear();
        self.sent = 0;
        self.writer.flush().await
    }
}

/// The sending half. Its clones share the order of messages.
#[derive(Clone)]
pub struct SessionSender {
    info: Arc<SessionInfo>,
    outgoing: Arc<Mutex<Outgoing>>,
}

impl SessionSender {
    /// What is known about the session.
    pub fn info(&self) -> &Arc<SessionInfo> {
        &self.info
    }

    /// Seals one message and gives it to the transport. Dropping the future before it is done may
    /// or may not send the message, but never breaks the session.
    ///
    /// # Errors
    /// [`SendError`].
    pub async fn send(&self, message: &[u8]) -> Result<(), SendError> {
        self.send_all(std::iter::once(message)).await
    }

    /// Sends several messages in one go: one flush for all of them.
    ///
    /// # Errors
    /// [`SendError`]; where a message is too long, none after it is sent.
    pub async fn send_all(&self, messages: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<(), SendError> {
        let mut gone = self.info.down.subscribe();
        let mut outgoing = self.outgoing.lock().await;
        if *gone.borrow() {
            return Err(SendError::Closed);
        }
        let Outgoing { sealer, unsent, .. } = &mut *outgoing;
        let sealed = messages.into_iter().try_for_each(|message| sealer.seal(message.as_ref(), unsent));
        let flushed = tokio::select! {
            flushed = outgoing.flush() => flushed.map_err(closed_or(SendError::Closed, SendError::Io)),
            _ = gone.wait_for(|down| *down) => Err(SendError::Closed),
        };
        if flushed.is_err() {
            self.info.terminate();
        }
        flushed.and(sealed.map_err(SendError::from))
    }

    /// Closes the session for both ends, after what was sent.
    ///
    /// # Errors
    /// [`SendError`] where the connection is broken already.
    pub async fn close(&self) -> Result<(), SendError> {
        let mut outgoing = self.outgoing.lock().await;
        let done = outgoing.writer.shutdown().await;
        self.info.terminate();
        done.map_err(closed_or(SendError::Closed, SendError::Io))
    }
}

impl fmt::Debug for SessionSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionSender({:?})", self.info)
    }
}

/// The receiving half.
pub struct SessionReceiver {
    info: Arc<SessionInfo>,
    reader: ReadHalf<Box<dyn Transport>>,
    opener: Opener,
    buffer: BytesMut,
    gone: watch::Receiver<bool>,
}

impl SessionReceiver {
    /// What is known about the session.
    pub fn info(&self) -> &Arc<SessionInfo> {
        &self.info
    }

    /// Takes no message longer than `message` bytes from now on: a longer one ends the session before it is read
    /// in.
    pub fn limit(&mut self, message: usize) {
        self.opener.limit(message);
    }

    /// The next message, in order. The future can be dropped without losing anything.
    ///
    /// # Errors
    /// [`RecvError`].
    pub async fn recv(&mut self) -> Result<Vec<u8>, RecvError> {
        loop {
            if *self.gone.borrow() {
                return Err(RecvError::Closed);
            }
            if let Some(mut frame) = self.next_frame()? {
                let range = self.opener.open(&mut frame)?;
                return Ok(frame[range].to_vec());
            }
            self.buffer.reserve(READ);
            let read = tokio::select! {
                read = self.reader.read_buf(&mut self.buffer) => read,
                _ = self.gone.wait_for(|down| *down) => return Err(RecvError::Closed),
            };
            match read {
                Ok(0) => return Err(self.end(RecvError::Closed)),
                Ok(_) => {}
                Err(error) => {
                    let error = closed_or(RecvError::Closed, RecvError::Io)(error);
                    return Err(self.end(error));
                }
            }
        }
    }

    fn end(&self, error: RecvError) -> RecvError {
        self.info.terminate();
        error
    }

    fn next_frame(&mut self) -> Result<Option<BytesMut>, RecvError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        // beyond a length that is not allowed nothing says where the next frame starts
        let length = self.opener.check_length(*prefix).map_err(|error| self.end(error.into()))?;
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        let mut frame = self.buffer.split_to(PREFIX + length);
        Ok(Some(frame.split_off(PREFIX)))
    }
}

impl fmt::Debug for SessionReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionReceiver({:?})", self.info)
    }
}

fn closed_or<E>(closed: E, io: impl FnOnce(io::Error) -> E) -> impl FnOnce(io::Error) -> E {
    |error| match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => closed,
        _ => io(error),
    }
}

#[cfg(test)]
mod tests;
