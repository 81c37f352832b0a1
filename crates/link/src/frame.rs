//! How frames of the quantum channel lie on a byte stream: `u32le length ‖ frame`.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Longest frame, in bytes: one that names the most slots `qkd` allows.
pub(crate) const MAX_FRAME: usize = 32 + 6 * qkd::params::MAX_ARRIVALS;

/// Bytes of light that a socket buffers in each direction.
pub(crate) const SOCKET_BUFFER: u32 = 64 * 1024;

/// A frame could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadFrameError {
    /// The stream failed or ended inside a frame.
    #[error("the quantum channel was cut: {0}")]
    Io(#[from] std::io::Error),
    /// The length is out of bounds.
    #[error("a frame of {0} bytes is longer than any frame of the quantum channel")]
    TooLong(usize),
}

/// Reads one frame into `frame`, in place of what was there. `false` where the stream ended
/// between two frames.
pub(crate) async fn read_frame<R: AsyncRead + Unpin>(
    reader: &mut R,
    frame: &mut Vec<u8>,
) -> Result<bool, ReadFrameError> {
    let mut len = [0; 4];
    match reader.read_exact(&mut len).await {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    let len = u32::from_le_bytes(len) as usize;
    if len > MAX_FRAME {
        return Err(ReadFrameError::TooLong(len));
    }
    // Grow with what arrives, not with what a peer announces.
    frame.clear();
    let read = reader.take(len as u64).read_to_end(frame).await?;
    if read == len { Ok(true) } else { Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()) }
}

/// Writes one frame.
pub(crate) async fn write_frame<W: AsyncWrite + Unpin>(writer: &mut W, frame: &[u8]) -> std::io::Result<()> {
    let len = u32::try_from(frame.len()).map_err(|_| std::io::ErrorKind::InvalidInput)?;
    writer.write_all(&len.to_le_bytes()).await?;
    writer.write_all(frame).await?;
    writer.flush().await
}
