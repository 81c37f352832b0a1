//! C2SP checkpoints (c2sp.org/tlog-checkpoint): a signed note that says how long a log is and
//! which root it has.

use std::fmt;

use serde::Serialize;
use types::{Hash, Timestamp};

use crate::base64;
use crate::note::{Algorithm, KeyName, NoteError, NoteSigner, SignatureLine, SignedNote, SigningFailed, VerifierKey};

mod policy;

pub use policy::{CheckpointError, CheckpointPolicy, PolicyError, SignedCheckpoint};

/// Size and root of a log. Shown as the note text: `origin\nsize\nbase64(root)\n`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Checkpoint {
    /// Which log.
    pub origin: KeyName,
    /// Number of entries.
    pub size: u64,
    /// Root of the Merkle tree over them.
    pub root: Hash,
}

/// A text is not that of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a checkpoint is three lines: origin, size in decimal, root in base64")]
pub struct BodyError;

/// A checkpoint was not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// A signer gave no signature.
    #[error(transparent)]
    Signer(#[from] SigningFailed),
    /// A signature has not the length of its algorithm.
    #[error("key `{0}` made a signature of the wrong length")]
    WrongLength(KeyName),
    /// Too many or no signers.
    #[error(transparent)]
    Note(#[from] NoteError),
}

impl Checkpoint {
    /// Parses the note text of a checkpoint. Extension lines are refused: an ML-DSA-44 line does
    /// not sign them.
    pub fn parse(text: &str) -> Result<Self, BodyError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(BodyError);
        };
        let checkpoint = Self {
            origin: origin.parse().map_err(|_| BodyError)?,
            size: size.parse().map_err(|_| BodyError)?,
            root: base64::decode_hash(root).ok_or(BodyError)?,
        };
        if checkpoint.to_string() == text { Ok(checkpoint) } else { Err(BodyError) }
    }

    /// The exact bytes that `key` signs for this checkpoint, at `seconds` since the Unix epoch
    /// (ignored by types without a time).
    pub fn message(&self, key: &VerifierKey, seconds: u64) -> Vec<u8> {
        match key.algorithm() {
            Algorithm::Ed25519 => self.to_string().into_bytes(),
            Algorithm::Ed25519Cosignature => format!("cosignature/v1\ntime {seconds}\n{self}").into_bytes(),
            Algorithm::MlDsa44 => {
                let mut message = b"subtree/v1\n\0".to_vec();
                push_short(&mut message, key.name());
                message.extend_from_slice(&seconds.to_be_bytes());
                push_short(&mut message, &self.origin);
                message.extend_from_slice(&0u64.to_be_bytes());
                message.extend_from_slice(&self.size.to_be_bytes());
                message.extend_from_slice(self.root.as_ref());
                message
            }
        }
    }

    /// The line that carries `signature`, made by `key` over [`Checkpoint::message`].
    pub fn line(&self, key: &VerifierKey, seconds: u64, signature: &[u8]) -> Result<SignatureLine, SignError> {
        if signature.len() != key.algorithm().signature_len() {
            return Err(SignError::WrongLength(key.name().clone()));
        }
        let time: &[u8] = &seconds.to_be_bytes();
        let time = if key.algorithm().timestamped() { time } else { &[] };
        Ok(SignatureLine { name: key.name().clone(), key_id: key.id(), payload: [time, signature].concat() })
    }

    /// Signs with every signer, one line each, in their order.
    pub fn sign(&self, at: Timestamp, signers: &[&dyn NoteSigner]) -> Result<SignedNote, SignError> {
        let seconds = at.as_millis() / 1_000;
        let mut lines = Vec::new();
        for signer in signers {
            let signature = signer.sign(&self.message(signer.key(), seconds))?;
            lines.push(self.line(signer.key(), seconds, &signature)?);
        }
        Ok(SignedNote::new(self.to_string(), lines)?)
    }
}

/// One length byte, then the name: a `KeyName` has at most 255 bytes.
fn push_short(message: &mut Vec<u8>, name: &KeyName) {
    message.push(name.as_str().len() as u8);
    message.extend_from_slice(name.as_str().as_bytes());
}

impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, base64::encode(self.root.as_ref()))
    }
}
