//! Keys of a log: Ed25519 and ML-DSA-44 over raw messages, as the lines of a C2SP signed note want
//! them. The domain separation of these messages is that of the note formats.

use std::path::Path;

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};
use crate::identity::SignError;
use crate::secret_file::{self, FileKind, SecretFileError};

/// Length of an ML-DSA-44 public key, in bytes (FIPS 204 table 2).
pub const MLDSA44_PUBLIC_LEN: usize = 1_312;
/// Length of an ML-DSA-44 signature, in bytes (FIPS 204 table 2).
pub const MLDSA44_SIGNATURE_LEN: usize = 2_420;
const SEED: usize = 32;

/// A log's keys could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum LogKeyError {
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The file that keeps them cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The library refused the secret.
    #[error("the secret does not make a log's keys; restore the file from its backup")]
    Refused,
}

/// Whether `signature` (64 bytes) is an Ed25519 signature of `message` by `public` (32 bytes).
pub fn ed25519_verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public).verify(message, signature).is_ok()
}

/// Whether `signature` (2,420 bytes) is an ML-DSA-44 signature of `message`, with an empty context,
/// by `public` (1,312 bytes).
pub fn mldsa44_verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    // The library also takes keys wrapped in X.509; a log's key has one form only.
    public.len() == MLDSA44_PUBLIC_LEN && UnparsedPublicKey::new(&ML_DSA_44, public).verify(message, signature).is_ok()
}

/// The two secret keys that sign a log's checkpoints ([`SuiteId::ED25519_MLDSA44`](crate::SuiteId)).
pub struct LogSigner {
    seeds: Zeroizing<[u8; 2 * SEED]>,
    ed25519: Ed25519KeyPair,
    mldsa44: PqdsaKeyPair,
    ed25519_public: [u8; 32],
    mldsa44_public: Box<[u8; MLDSA44_PUBLIC_LEN]>,
}

impl LogSigner {
    /// Fresh keys; 256 bits of entropy for each.
    ///
    /// # Errors
    /// [`LogKeyError::Entropy`] where a source failed.
    pub fn generate(entropy: &Entropy) -> Result<Self, LogKeyError> {
        let mut seeds = Zeroizing::new([0; 2 * SEED]);
        entropy.fill(&mut *seeds)?;
        Self::from_seeds(seeds)
    }

    fn from_seeds(seeds: Zeroizing<[u8; 2 * SEED]>) -> Result<Self, LogKeyError> {
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&seeds[..SEED]).map_err(|_| LogKeyError::Refused)?;
        let mldsa44 = PqdsaKeyPair::from_seed(&ML_DSA_44_SIGNING, &seeds[SEED..]).map_err(|_| LogKeyError::Refused)?;
        let ed25519_public = ed25519.public_key().as_ref().try_into().map_err(|_| LogKeyError::Refused)?;
        let mldsa44_public: [u8; MLDSA44_PUBLIC_LEN] =
            mldsa44.public_key().as_ref().try_into().map_err(|_| LogKeyError::Refused)?;
        Ok(Self { seeds, ed25519, mldsa44, ed25519_public, mldsa44_public: Box::new(mldsa44_public) })
    }

    /// Keeps the keys in a new file with mode 0600.
    ///
    /// # Errors
    /// [`LogKeyError::File`], also where the file exists: a log's keys are never overwritten.
    pub fn save(&self, path: &Path) -> Result<(), LogKeyError> {
        Ok(secret_file::create(path, FileKind::LOG_KEY, &*self.seeds)?)
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// [`LogKeyError::File`] for a file that is missing, readable by others, of another kind or
    /// damaged.
    pub fn load(path: &Path) -> Result<Self, LogKeyError> {
        Self::from_seeds(secret_file::read_exact(path, FileKind::LOG_KEY)?)
    }

    /// Reads what is kept in the file, or keeps fresh keys there.
    ///
    /// # Errors
    /// As [`Self::load`], [`Self::generate`] and [`Self::save`].
    pub fn load_or_generate(path: &Path, entropy: &Entropy) -> Result<Self, LogKeyError> {
        match Self::load(path) {
            Err(LogKeyError::File(SecretFileError::Missing { .. })) => {
                let fresh = Self::generate(entropy)?;
                fresh.save(path)?;
                Ok(fresh)
            }
            other => other,
        }
    }

    /// The Ed25519 public key.
    pub fn ed25519_public(&self) -> &[u8; 32] {
        &self.ed25519_public
    }

    /// The ML-DSA-44 public key.
    pub fn mldsa44_public(&self) -> &[u8; MLDSA44_PUBLIC_LEN] {
        &self.mldsa44_public
    }

    /// Ed25519 signature of `message`.
    ///
    /// # Errors
    /// [`SignError`] where the library fails.
    pub fn sign_ed25519(&self, message: &[u8]) -> Result<[u8; 64], SignError> {
        let signature = self.ed25519.try_sign(message).map_err(|_| SignError)?;
        signature.as_ref().try_into().map_err(|_| SignError)
    }

    /// ML-DSA-44 signature of `message`, 2,420 bytes, with an empty context, hedged.
    ///
    /// # Errors
    /// [`SignError`] where the library fails.
    pub fn sign_mldsa44(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; MLDSA44_SIGNATURE_LEN];
        self.mldsa44.sign(message, &mut signature).map_err(|_| SignError)?;
        Ok(signature)
    }
}

impl std::fmt::Debug for LogSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LogSigner(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::{LogSigner, ed25519_verify, mldsa44_verify};
    use crate::Entropy;
    use crate::identity::{IdentityError, IdentityKey};
    use crate::secret_file::SecretFileError;

    #[test]
    fn each_algorithm_holds_alone_and_only_for_its_message() {
        let signer = LogSigner::generate(&Entropy::system().unwrap()).unwrap();
        let (ed, ml) = (signer.sign_ed25519(b"note").unwrap(), signer.sign_mldsa44(b"note").unwrap());
        assert!(ed25519_verify(signer.ed25519_public(), b"note", &ed));
        assert!(mldsa44_verify(signer.mldsa44_public(), b"note", &ml));
        assert!(!ed25519_verify(signer.ed25519_public(), b"nota", &ed));
        assert!(!mldsa44_verify(signer.mldsa44_public(), b"nota", &ml));
        assert!(!ed25519_verify(&signer.ed25519_public()[1..], b"note", &ed));
        assert!(!mldsa44_verify(&signer.mldsa44_public()[1..], b"note", &ml));
        assert!(!mldsa44_verify(signer.mldsa44_public(), b"note", &ml[1..]));
    }

    #[test]
    fn saved_keys_come_back_and_are_not_taken_for_an_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.key");
        let signer = LogSigner::generate(&Entropy::system().unwrap()).unwrap();
        signer.save(&path).unwrap();
        assert_eq!(LogSigner::load(&path).unwrap().mldsa44_public(), signer.mldsa44_public());
        let refused = IdentityKey::load(&path).unwrap_err();
        assert!(matches!(refused, IdentityError::File(SecretFileError::WrongKind { .. })), "{refused}");
    }
}
