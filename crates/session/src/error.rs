use std::io;

use rustls::{AlertDescription, CertificateError, PeerIncompatible};
use types::NodeId;

use crate::book::RosterError;
use crate::certificate::SpkiPin;
use crate::verify::PinError;
use crate::wire::Refusal;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// No connection to the address.
    #[error("cannot connect to `{address}`: {source}")]
    Connect {
        /// The address.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// The peer took too long.
    #[error("the peer did not finish the handshake in time")]
    Deadline,
    /// Too many others were waiting, and this one had waited longest.
    #[error("dropped in favour of newer connections: too many handshakes at once")]
    Evicted,
    /// The node dialled is not in the trust file.
    #[error("`{0}` is not in the trust file; add it there to reach it")]
    UnknownNode(NodeId),
    /// A peer that no entry of the trust file describes.
    #[error("an unknown node called: no entry of the trust file has pin {0}")]
    UnknownPin(SpkiPin),
    /// The peer's key is not the one in the trust file.
    #[error(
        "wrong pin: the key of `{0}` is not the one in the trust file; if it was replaced, update the file by hand"
    )]
    WrongPin(String),
    /// The peer's certificate has expired.
    #[error("the peer's certificate has expired; renew it on the peer, or set this machine's clock")]
    Expired,
    /// The peer's certificate is not valid yet.
    #[error("the peer's certificate is not valid yet; check both clocks")]
    NotYetValid,
    /// The peer refused our certificate because of its dates.
    #[error("the peer says that our certificate has expired; renew it, or set this machine's clock")]
    OursExpired,
    /// The peer refused our certificate because of its key.
    #[error("the peer does not know our key; add its pin to the peer's trust file")]
    OursUnknown,
    /// The peer offers no post-quantum key exchange that we accept.
    #[error("the peer has no key exchange in common with us; it must offer the post-quantum group of this listener")]
    Group,
    /// TLS failed otherwise.
    #[error("tls failed: {0}")]
    Tls(rustls::Error),
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// The connection was closed before both ends had acknowledged the session.
    #[error("the peer closed the connection before the session was up")]
    NotAcknowledged,
    /// A message is longer than any real one.
    #[error("the peer sent a handshake message of {length} bytes, which is too long")]
    TooLarge {
        /// Its length.
        length: usize,
    },
    /// A message is not well formed.
    #[error("the peer sent a malformed handshake message: {0}")]
    Malformed(types::cbor::DecodeError),
    /// The peer refused, and says why.
    #[error("the peer refused the session: {0}")]
    Refused(Refusal),
    /// We refused the peer.
    #[error("refused `{node}`: {reason}")]
    Refusing {
        /// The peer.
        node: NodeId,
        /// What it was told, seen from its side.
        reason: Refusal,
    },
    /// The peer showed a roster that is none.
    #[error("`{node}` showed a roster that does not hold: {source}")]
    Roster {
        /// The peer.
        node: NodeId,
        /// Why.
        source: RosterError,
    },
    /// The peer says that it knows of more isolations than we do, and shows no roster that says so.
    #[error("`{node}` claims membership of epoch {epoch} and does not show what the hub signed")]
    Withheld {
        /// The peer.
        node: NodeId,
        /// What it claims.
        epoch: u64,
    },
    /// The peer's hybrid signature over the channel does not hold.
    #[error("`{node}` did not prove its identity: {source}")]
    Identity {
        /// The peer.
        node: NodeId,
        /// Which half fails.
        source: crypto::identity::VerifyError,
    },
    /// The peer's acknowledgement is not sealed under the agreed keys.
    #[error("the peer's acknowledgement does not hold: {0}")]
    Envelope(#[from] crate::EnvelopeError),
    /// The key exchange inside TLS failed.
    #[error(transparent)]
    Kem(#[from] crypto::kem::KemError),
    /// Our own signature failed.
    #[error(transparent)]
    Sign(#[from] crypto::identity::SignError),
    /// Our own cipher failed.
    #[error(transparent)]
    Seal(#[from] crypto::SealError),
}

impl HandshakeError {
    /// Sorts an error of a TLS stream: a wrong
    /// pin, an expired certificate or a missing group comes out as such.
    pub fn from_io(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::from_tls(tls.clone()),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::NotAcknowledged,
            None => Self::Io(error),
        }
    }

    fn from_tls(error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(ref other)) => {
                match other.0.downcast_ref::<PinError>() {
                    Some(PinError::WrongPin(name)) => Self::WrongPin(name.clone()),
                    Some(PinError::Unknown(pin)) => Self::UnknownPin(*pin),
                    None => Self::Tls(error),
                }
            }
            rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                Self::Expired
            }
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            ) => Self::NotYetValid,
            rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => Self::OursExpired,
            rustls::Error::AlertReceived(AlertDescription::CertificateUnknown) => Self::OursUnknown,
            rustls::Error::AlertReceived(AlertDescription::HandshakeFailure)
            | rustls::Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => Self::Group,
            other => Self::Tls(other),
        }
    }
}
