//! Messages of the handshake inside TLS, before envelopes exist.

use minicbor::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use types::{BoundaryId, NodeId, cbor};

use crate::error::HandshakeError;
use crate::roster::{Mark, SignedRoster};

/// Longest handshake message, in bytes; the longest real one has about 5,000.
const MAX_LEN: usize = 16 * 1024;

/// What a session is for. Each channel has a connection of its own, so that nothing waits behind
/// what is less urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(index_only)]
pub enum Channel {
    /// Revocation and isolation.
    #[n(0)]
    Urgent,
    /// Keys and configuration.
    #[n(1)]
    Bulk,
    /// Post-processing of a quantum link.
    #[n(2)]
    Link,
    /// One forwarded stream.
    #[n(3)]
    Stream,
}

/// First message, by the end that dialled.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Hello {
    #[n(0)]
    pub(crate) boundary: BoundaryId,
    #[n(1)]
    pub(crate) from: NodeId,
    #[n(2)]
    pub(crate) to: NodeId,
    #[n(3)]
    pub(crate) channel: Channel,
    #[n(4)]
    pub(crate) mark: Mark,
    #[cbor(n(5), with = "minicbor::bytes")]
    pub(crate) kem_public: Vec<u8>,
}

/// Second message.
#[derive(Debug, Encode, Decode)]
pub(crate) enum Answer {
    #[n(0)]
    Accepted(#[n(0)] Reply),
    #[n(1)]
    Refused(#[n(0)] Refusal),
}

#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Reply {
    #[n(0)]
    pub(crate) mark: Mark,
    #[cbor(n(1), with = "minicbor::bytes")]
    pub(crate) kem_ciphertext: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    pub(crate) signature: Vec<u8>,
}

/// Third message.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Confirm {
    #[cbor(n(0), with = "minicbor::bytes")]
    pub(crate) signature: Vec<u8>,
}

/// After that, from each end: what the other has not seen of membership. The acknowledgements that
/// follow are envelopes.
#[derive(Debug, Encode, Decode)]
#[cbor(array)]
pub(crate) struct Shown {
    #[n(0)]
    pub(crate) rosters: Vec<SignedRoster>,
    /// There is no session, by what both have seen now.
    #[n(1)]
    pub(crate) refused: Option<Refusal>,
}

/// Why the peer did not accept a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// It belongs to another boundary.
    #[n(0)]
    Boundary,
    /// It has another name than the one dialled.
    #[n(1)]
    Addressee,
    /// The name in the message is not that of the certificate.
    #[n(2)]
    Name,
    /// It does not admit this participant: isolated, or not admitted yet.
    #[n(3)]
    NotAdmitted,
    /// The ephemeral key is not valid.
    #[n(4)]
    Key,
    /// The newest roster it has is too old to go by.
    #[n(5)]
    Stale,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Boundary => "it belongs to another boundary",
            Self::Addressee => "it has another name",
            Self::Name => "our certificate is that of another participant",
            Self::NotAdmitted => "it does not admit us",
            Self::Key => "our ephemeral key is not valid",
            Self::Stale => "neither end has a roster of the hub that is young enough to go by",
        })
    }
}

/// Writes one message and returns its bytes, which the signatures cover.
pub(crate) async fn send<S, T>(stream: &mut S, message: &T) -> Result<Vec<u8>, HandshakeError>
where
    S: AsyncWrite + Unpin,
    T: Encode<()>,
{
    let body = cbor::to_vec(message);
    let mut frame = (body.len() as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    stream.write_all(&frame).await.map_err(HandshakeError::from_io)?;
    stream.flush().await.map_err(HandshakeError::from_io)?;
    Ok(body)
}

/// Reads one message of bounded length and returns it with its bytes.
pub(crate) async fn receive<S, T>(stream: &mut S) -> Result<(T, Vec<u8>), HandshakeError>
where
    S: AsyncRead + Unpin,
    T: for<'b> Decode<'b, ()> + Encode<()>,
{
    receive_up_to(stream, MAX_LEN).await
}

/// As [`receive`], of at most `limit` bytes.
pub(crate) async fn receive_up_to<S, T>(stream: &mut S, limit: usize) -> Result<(T, Vec<u8>), HandshakeError>
where
    S: AsyncRead + Unpin,
    T: for<'b> Decode<'b, ()> + Encode<()>,
{
    let body = receive_bytes(stream, limit).await?;
    let message = cbor::from_slice(&body).map_err(HandshakeError::Malformed)?;
    Ok((message, body))
}

/// Reads one frame of at most `limit` bytes, without its length.
pub(crate) async fn receive_bytes<S>(stream: &mut S, limit: usize) -> Result<Vec<u8>, HandshakeError>
where
    S: AsyncRead + Unpin,
{
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).await.map_err(HandshakeError::from_io)?;
    let length = usize::try_from(u32::from_be_bytes(prefix)).unwrap_or(usize::MAX);
    if length > limit {
        return Err(HandshakeError::TooLarge { length });
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.map_err(HandshakeError::from_io)?;
    Ok(body)
}
