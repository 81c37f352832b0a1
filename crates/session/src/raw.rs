//! The stream under a session, for data that its users seal themselves.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::link::{SessionInfo, Transport};

/// The TLS stream of a session whose handshake is done. Its users seal what they write; dropping it
/// closes the connection.
pub struct RawStream {
    info: Arc<SessionInfo>,
    transport: Box<dyn Transport>,
    early: BytesMut,
}

impl RawStream {
    pub(crate) fn new(info: Arc<SessionInfo>, transport: Box<dyn Transport>, early: BytesMut) -> Self {
        Self { info, transport, early }
    }

    /// What is known about the session.
    pub fn info(&self) -> &Arc<SessionInfo> {
        &self.info
    }
}

impl AsyncRead for RawStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.transport).poll_read(cx, out);
        }
        let length = self.early.len().min(out.remaining());
        out.put_slice(&self.early[..length]);
        self.early.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RawStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl fmt::Debug for RawStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawStream({:?})", self.info)
    }
}
