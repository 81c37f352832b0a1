//! The log's two signatures: Ed25519 and ML-DSA-44 over every checkpoint.

use crypto::LogSigner;
use evidence::checkpoint::SignError;
use evidence::note::{Algorithm, KeyName, NoteSigner, SigningFailed, VerifierKey, VerifierKeyError};
use evidence::{Checkpoint, SignedNote};
use types::{BoundaryId, Hash, Label, Timestamp};

/// The log's signing keys under their note names.
pub struct Signers {
    secret: LogSigner,
    origin: KeyName,
    ed25519: VerifierKey,
    mldsa44: VerifierKey,
}

/// The log's keys cannot be named.
#[derive(Debug, thiserror::Error)]
pub enum SignersError {
    /// The boundary's name is no origin of a log.
    #[error("the boundary's name cannot be the origin of a log: {0}")]
    Origin(#[from] evidence::note::NameError),
    /// A public key has the wrong form.
    #[error(transparent)]
    Key(#[from] VerifierKeyError),
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Signers({})", self.origin)
    }
}

struct Half<'a, F> {
    key: &'a VerifierKey,
    sign: F,
}

impl<F: Fn(&[u8]) -> Result<Vec<u8>, crypto::identity::SignError>> NoteSigner for Half<'_, F> {
    fn key(&self) -> &VerifierKey {
        self.key
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        (self.sign)(message).map_err(|error| SigningFailed { name: self.key.name().clone(), reason: error.to_string() })
    }
}

impl Signers {
    /// The signers of the log of `boundary`.
    ///
    /// # Errors
    /// [`SignersError`].
    pub fn new(secret: LogSigner, boundary: &BoundaryId) -> Result<Self, SignersError> {
        let origin: KeyName = boundary.as_str().parse()?;
        let [ed25519, mldsa44] = verifier_keys(&secret, &origin)?;
        Ok(Self { secret, origin, ed25519, mldsa44 })
    }

    /// The origin of the log.
    pub fn origin(&self) -> &KeyName {
        &self.origin
    }

    /// The public keys, as C2SP vkeys.
    pub fn keys(&self) -> [&VerifierKey; 2] {
        [&self.ed25519, &self.mldsa44]
    }

    /// Fingerprint of both public keys, fixed by the first entry of the log.
    pub fn fingerprint(&self) -> Hash {
        fingerprint(&self.secret)
    }

    /// Signs the checkpoint of `size` entries with `root`.
    ///
    /// # Errors
    /// [`SignError`] where the library fails.
    pub fn sign(&self, size: u64, root: Hash, at: Timestamp) -> Result<SignedNote, SignError> {
        let checkpoint = Checkpoint { origin: self.origin.clone(), size, root };
        let classical = Half { key: &self.ed25519, sign: |m: &[u8]| self.secret.sign_ed25519(m).map(|s| s.to_vec()) };
        let pq = Half { key: &self.mldsa44, sign: |m: &[u8]| self.secret.sign_mldsa44(m) };
        checkpoint.sign(at, &[&classical, &pq])
    }
}

/// The vkeys of a log's keys: Ed25519, then ML-DSA-44.
fn verifier_keys(secret: &LogSigner, origin: &KeyName) -> Result<[VerifierKey; 2], VerifierKeyError> {
    Ok([
        VerifierKey::new(origin.clone(), Algorithm::Ed25519, secret.ed25519_public().to_vec())?,
        VerifierKey::new(origin.clone(), Algorithm::MlDsa44, secret.mldsa44_public().to_vec())?,
    ])
}

/// Fingerprint of a log's public keys.
fn fingerprint(secret: &LogSigner) -> Hash {
    Label::IDENTITY.hash(&[b"log", secret.ed25519_public(), secret.mldsa44_public()])
}
