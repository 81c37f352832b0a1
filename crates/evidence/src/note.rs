//! C2SP signed notes (c2sp.org/signed-note): text with signature lines under it.

mod key;
mod text;

pub use key::{Algorithm, KeyName, NameError, NoteKeyId, VerifierKey, VerifierKeyError};
pub use text::{NoteError, SignatureLine, SignedNote};

/// Longest note in bytes. Sixteen lines with signatures of 5 kB fit twice.
pub const NOTE_LEN: usize = 256 * 1024;

/// Most signature lines of a note.
pub const SIGNATURES: usize = 32;

/// Decides signatures; implemented where asymmetric cryptography is.
pub trait NoteVerifier {
    /// Whether `signature` is `key`'s over exactly `message`. For [`Algorithm::Ed25519`] and
    /// [`Algorithm::Ed25519Cosignature`] this is RFC 8032 Ed25519 (64 bytes), for
    /// [`Algorithm::MlDsa44`] it is FIPS 204 ML-DSA-44 with an empty context (2,420 bytes). The
    /// lengths have been checked by the caller.
    fn verify(&self, key: &VerifierKey, message: &[u8], signature: &[u8]) -> bool;
}

impl<F: Fn(&VerifierKey, &[u8], &[u8]) -> bool> NoteVerifier for F {
    fn verify(&self, key: &VerifierKey, message: &[u8], signature: &[u8]) -> bool {
        self(key, message, signature)
    }
}

/// Makes signatures; implemented where the key is kept.
pub trait NoteSigner {
    /// The public half, as verifiers know it.
    fn key(&self) -> &VerifierKey;

    /// The bare signature over exactly `message`: 64 bytes of Ed25519 or 2,420 of ML-DSA-44 with
    /// an empty context.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed>;
}

/// A signer gave no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("key `{name}` made no signature: {reason}")]
pub struct SigningFailed {
    /// Name of the key.
    pub name: KeyName,
    /// What the signer said.
    pub reason: String,
}
