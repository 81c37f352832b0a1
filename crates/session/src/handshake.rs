//! Binds two identities to one TLS channel and agrees on envelope keys inside it.
//!
//! 1. dialler → listener: `Hello` with an ephemeral X25519 + ML-KEM-768 key
//! 2. listener → dialler: ciphertext, signature over (role, exporter, 1, its own fields)
//! 3. dialler → listener: signature over (role, exporter, 1, 2), rosters the listener lacks, an envelope
//! 4. listener → dialler: rosters the dialler lacks, an envelope
//!
//! 1 and 2 say which membership each end goes by. Both take what they are shown and ask again whether
//! the other may be talked to, before the session counts as up (SM-02).
//!
//! The exporter (RFC 8446 section 7.5) is the same at both ends of one TLS channel and of no other,
//! so a signature cannot be relayed into another channel.

use crypto::kem::{self, KemCiphertext, KemPublic, KemSecret};
use crypto::{Entropy, EnvelopeKey, IdentityKey, IdentitySignature, Secret32, SharedSecret, SuiteId, kdf};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use types::{BoundaryId, Label, NodeId, cbor};

use crate::book::Book;
use crate::envelope::{OVERHEAD, Opener, PREFIX, Sealer};
use crate::error::HandshakeError;
use crate::roster::{MAX_LEN, MAX_ROSTERS, Mark};
use crate::trust::TrustEntry;
use crate::wire::{self, Answer, Channel, Confirm, Hello, Refusal, Reply, Shown};

const DIALLER: &[u8] = b"dialler";
const LISTENER: &[u8] = b"listener";
/// What the envelopes of the acknowledgement carry.
const UP: &[u8] = b"up";

/// What one end brings.
pub(crate) struct Local<'a> {
    pub(crate) boundary: &'a BoundaryId,
    pub(crate) node: &'a NodeId,
    pub(crate) identity: &'a IdentityKey,
    pub(crate) book: &'a Book,
    pub(crate) entropy: &'a Entropy,
    /// RFC 8446 exporter of the TLS channel under [`Label::SESSION_EXPORTER`].
    pub(crate) exporter: [u8; 32],
}

/// What both ends have at the end of the handshake.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) channel: Channel,
    pub(crate) peer_epoch: u64,
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
    /// Source of further secrets of this session; not the source of the envelope keys.
    pub(crate) exporter: SharedSecret,
}

struct Keys {
    from_dialler: EnvelopeKey,
    from_listener: EnvelopeKey,
    exporter: SharedSecret,
}

impl Keys {
    // From the exchange inside TLS alone: whoever knows every TLS key learns none of these.
    fn new(shared: &SharedSecret, hello: &[u8], ciphertext: &[u8]) -> Self {
        let salt = Label::SESSION_BINDING.hash(&[hello, ciphertext]);
        let ikm = shared.expose();
        Self {
            from_dialler: kdf::derive_secret(Label::SESSION_ENVELOPE, ikm, salt.as_bytes(), &[DIALLER]),
            from_listener: kdf::derive_secret(Label::SESSION_ENVELOPE, ikm, salt.as_bytes(), &[LISTENER]),
            exporter: kdf::derive_secret(Label::SESSION_ENVELOPE, ikm, salt.as_bytes(), &[b"exporter"]),
        }
    }
}

fn check_identity(peer: &TrustEntry, parts: &[&[u8]], signature: &[u8]) -> Result<(), HandshakeError> {
    let refused = |source| HandshakeError::Identity { node: peer.name.clone(), source };
    // bytes that are no signature at all fail like one that does not hold
    let signature =
        IdentitySignature::from_bytes(signature).map_err(|_| refused(crypto::identity::VerifyError::Suite))?;
    peer.identity.verify(Label::SESSION_BINDING, parts, &signature).map_err(refused)
}

/// Takes the rosters that the peer showed. There is a session only where both ends then know at least
/// what the other claimed, still admit each other, and go by a roster that is young enough.
fn settle(
    local: &Local<'_>,
    peer: &TrustEntry,
    (claimed, shown): (Mark, Shown),
    admit: &(dyn Fn(&NodeId) -> bool + Send + Sync),
) -> Result<(), HandshakeError> {
    let node = || peer.name.clone();
    let before = local.book.mark();
    let showed = !shown.rosters.is_empty();
    for roster in shown.rosters.into_iter().take(MAX_ROSTERS) {
        local.book.take(roster).map_err(|source| HandshakeError::Roster { node: node(), source })?;
    }
    let ahead = claimed.epoch > local.book.mark().epoch;
    if ahead || (claimed.epoch == before.epoch && claimed.isolated != before.isolated && !showed) {
        return Err(HandshakeError::Withheld { node: node(), epoch: claimed.epoch });
    }
    if let Some(reason) = shown.refused {
        return Err(HandshakeError::Refused(reason));
    }
    let refusing = |reason| Err(HandshakeError::Refusing { node: node(), reason });
    if !admit(&peer.name) {
        return refusing(Refusal::NotAdmitted);
    }
    if !peer.name.is_hub() && !local.book.is_fresh() {
        return refusing(Refusal::Stale);
    }
    Ok(())
}

async fn send_up<S: AsyncWrite + Unpin>(stream: &mut S, sealer: &mut Sealer) -> Result<(), HandshakeError> {
    let mut frame = Vec::new();
    sealer.seal(UP, &mut frame)?;
    stream.write_all(&frame).await.map_err(HandshakeError::from_io)?;
    stream.flush().await.map_err(HandshakeError::from_io)
}

async fn receive_up<S: AsyncRead + Unpin>(stream: &mut S, opener: &mut Opener) -> Result<(), HandshakeError> {
    const { assert!(PREFIX == 4) }
    let mut frame = wire::receive_bytes(stream, UP.len() + OVERHEAD).await?;
    let range = opener.open(&mut frame)?;
    if &frame[range] == UP { Ok(()) } else { Err(HandshakeError::NotAcknowledged) }
}

/// The handshake of the end that dialled `peer`.
pub(crate) async fn dial<S>(
    stream: &mut S,
    local: &Local<'_>,
    peer: &TrustEntry,
    channel: Channel,
    admit: &(dyn Fn(&NodeId) -> bool + Send + Sync),
) -> Result<Bound, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ephemeral = KemSecret::generate(SuiteId::X25519_MLKEM768, local.entropy)?;
    let hello = Hello {
        boundary: local.boundary.clone(),
        from: local.node.clone(),
        to: peer.name.clone(),
        channel,
        mark: local.book.mark(),
        kem_public: ephemeral.public().to_bytes(),
    };
    let hello_bytes = wire::send(stream, &hello).await?;

    let (answer, answer_bytes) = wire::receive::<_, Answer>(stream).await?;
    let reply = match answer {
        Answer::Accepted(reply) => reply,
        Answer::Refused(reason) => return Err(HandshakeError::Refused(reason)),
    };
    let mark = cbor::to_vec(&reply.mark);
    let signed: [&[u8]; 5] = [LISTENER, &local.exporter, &hello_bytes, &mark, &reply.kem_ciphertext];
    check_identity(peer, &signed, &reply.signature)?;
    let ciphertext = KemCiphertext::from_bytes(&reply.kem_ciphertext)?;
    let shared = ephemeral.decapsulate(&ciphertext)?;
    let keys = Keys::new(&shared, &hello_bytes, &reply.kem_ciphertext);

    let parts: [&[u8]; 4] = [DIALLER, &local.exporter, &hello_bytes, &answer_bytes];
    let signature = local.identity.sign(Label::SESSION_BINDING, &parts)?;
    wire::send(stream, &Confirm { signature: signature.to_bytes() }).await?;
    wire::send(stream, &Shown { rosters: local.book.lacking(&reply.mark), refused: None }).await?;
    let mut sealer = Sealer::new(keys.from_dialler)?;
    let mut opener = Opener::new(keys.from_listener)?;
    send_up(stream, &mut sealer).await?;
    let (shown, _) = wire::receive_up_to::<_, Shown>(stream, MAX_LEN).await?;
    settle(local, peer, (reply.mark, shown), admit)?;
    receive_up(stream, &mut opener).await?;
    Ok(Bound { channel, peer_epoch: reply.mark.epoch, sealer, opener, exporter: keys.exporter })
}

/// The handshake of the end that was dialled by the holder of `peer`'s TLS key.
pub(crate) async fn accept<S>(
    stream: &mut S,
    local: &Local<'_>,
    peer: &TrustEntry,
    admit: &(dyn Fn(&NodeId) -> bool + Send + Sync),
) -> Result<Bound, HandshakeError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (hello, hello_bytes) = wire::receive::<_, Hello>(stream).await?;
    let kem_public = match screen(&hello, local, peer, admit) {
        Ok(public) => public,
        Err(reason) => {
            wire::send(stream, &Answer::Refused(reason)).await?;
            return Err(HandshakeError::Refusing { node: peer.name.clone(), reason });
        }
    };
    let (ciphertext, shared) = kem::encapsulate(&kem_public, local.entropy)?;
    let kem_ciphertext = ciphertext.to_bytes();
    let keys = Keys::new(&shared, &hello_bytes, &kem_ciphertext);
    let mark = local.book.mark();
    let marked = cbor::to_vec(&mark);
    let signed: [&[u8]; 5] = [LISTENER, &local.exporter, &hello_bytes, &marked, &kem_ciphertext];
    let signature = local.identity.sign(Label::SESSION_BINDING, &signed)?.to_bytes();
    let reply = Reply { mark, kem_ciphertext, signature };
    let answer_bytes = wire::send(stream, &Answer::Accepted(reply)).await?;

    let (confirm, _) = wire::receive::<_, Confirm>(stream).await?;
    check_identity(peer, &[DIALLER, &local.exporter, &hello_bytes, &answer_bytes], &confirm.signature)?;
    let (shown, _) = wire::receive_up_to::<_, Shown>(stream, MAX_LEN).await?;
    let settled = settle(local, peer, (hello.mark, shown), admit);
    let refused = match &settled {
        Err(HandshakeError::Refusing { reason, .. }) => Some(*reason),
        _ => None,
    };
    let rosters = if settled.is_ok() || refused.is_some() { local.book.lacking(&hello.mark) } else { Vec::new() };
    wire::send(stream, &Shown { rosters, refused }).await?;
    settled?;
    let mut sealer = Sealer::new(keys.from_listener)?;
    let mut opener = Opener::new(keys.from_dialler)?;
    receive_up(stream, &mut opener).await?;
    send_up(stream, &mut sealer).await?;
    let peer_epoch = hello.mark.epoch;
    Ok(Bound { channel: hello.channel, peer_epoch, sealer, opener, exporter: keys.exporter })
}

fn screen(
    hello: &Hello,
    local: &Local<'_>,
    peer: &TrustEntry,
    admit: &(dyn Fn(&NodeId) -> bool + Send + Sync),
) -> Result<KemPublic, Refusal> {
    if hello.boundary != *local.boundary {
        return Err(Refusal::Boundary);
    }
    if hello.to != *local.node {
        return Err(Refusal::Addressee);
    }
    if hello.from != peer.name {
        return Err(Refusal::Name);
    }
    if !admit(&peer.name) {
        return Err(Refusal::NotAdmitted);
    }
    KemPublic::from_bytes(&hello.kem_public)
        .ok()
        .filter(|public| public.suite() == SuiteId::X25519_MLKEM768)
        .ok_or(Refusal::Key)
}

#[cfg(test)]
mod tests;
