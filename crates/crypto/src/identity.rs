//! Hybrid identities: Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204) over one message. A signature
//! holds only where both halves hold.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use minicbor::{Decode, Encode};
use types::{Hash, Label, cbor};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};
use crate::secret_file::{self, FileKind, SecretFileError};
use crate::suite::{Age, SuiteId};

const MLDSA65_PUBLIC: usize = 1_952;
const MLDSA65_SIGNATURE: usize = 3_309;
const SEED: usize = 32;

/// An identity could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The file that keeps it cannot be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// The library refused the secret.
    #[error("the secret does not make an identity; restore the file from its backup")]
    Refused,
}

/// A signature could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing library failed; restart the process and report it")]
pub struct SignError;

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// The suite is unknown, deprecated for fresh objects, or not that of the key.
    #[error("the signature uses a suite that this key or this version does not accept")]
    Suite,
    /// The Ed25519 half fails.
    #[error("the classical half of the signature does not hold")]
    Classical,
    /// The ML-DSA half fails.
    #[error("the post-quantum half of the signature does not hold")]
    PostQuantum,
}

/// The text or bytes are not a public identity or a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseIdentityError {
    /// Not hex.
    #[error("write it in hex digits, as `qecnet init` prints it")]
    Hex,
    /// Not the canonical encoding.
    #[error(transparent)]
    Encoding(#[from] cbor::DecodeError),
    /// A part has the wrong length, or the suite is not one for identities.
    #[error("the suite or the length of a half is not that of an identity")]
    Shape,
}

/// The secret half of an identity. Kept as two seeds of 32 bytes.
pub struct IdentityKey {
    seeds: Zeroizing<[u8; 2 * SEED]>,
    ed25519: Ed25519KeyPair,
    mldsa: PqdsaKeyPair,
    public: IdentityPublic,
}

impl IdentityKey {
    /// A fresh identity of suite [`SuiteId::ED25519_MLDSA65`]; 256 bits of entropy for each half.
    ///
    /// # Errors
    /// [`IdentityError::Entropy`] where a source failed.
    pub fn generate(entropy: &Entropy) -> Result<Self, IdentityError> {
        let mut seeds = Zeroizing::new([0; 2 * SEED]);
        entropy.fill(&mut *seeds)?;
        Self::from_seeds(seeds)
    }

    fn from_seeds(seeds: Zeroizing<[u8; 2 * SEED]>) -> Result<Self, IdentityError> {
        let ed25519 = Ed25519KeyPair::from_seed_unchecked(&seeds[..SEED]).map_err(|_| IdentityError::Refused)?;
        let mldsa = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, &seeds[SEED..]).map_err(|_| IdentityError::Refused)?;
        let public = IdentityPublic::new(ed25519.public_key().as_ref(), mldsa.public_key().as_ref())
            .ok_or(IdentityError::Refused)?;
        Ok(Self { seeds, ed25519, mldsa, public })
    }

    /// Keeps the identity in a new file with mode 0600.
    ///
    /// # Errors
    /// [`IdentityError::File`], also where the file exists: an identity is never overwritten.
    pub fn save(&self, path: &Path) -> Result<(), IdentityError> {
        Ok(secret_file::create(path, FileKind::IDENTITY_KEY, &*self.seeds)?)
    }

    /// Reads what [`Self::save`] wrote.
    ///
    /// # Errors
    /// [`IdentityError::File`] for a file that is missing, readable by others, of another kind or
    /// damaged.
    pub fn load(path: &Path) -> Result<Self, IdentityError> {
        Self::from_seeds(secret_file::read_exact(path, FileKind::IDENTITY_KEY)?)
    }

    /// Reads what is kept in the file, or keeps a fresh identity there.
    ///
    /// # Errors
    /// As [`Self::load`], [`Self::generate`] and [`Self::save`].
    pub fn load_or_generate(path: &Path, entropy: &Entropy) -> Result<Self, IdentityError> {
        match Self::load(path) {
            Err(IdentityError::File(SecretFileError::Missing { .. })) => {
                let fresh = Self::generate(entropy)?;
                fresh.save(path)?;
                Ok(fresh)
            }
            other => other,
        }
    }

    /// The public half.
    pub fn public(&self) -> &IdentityPublic {
        &self.public
    }

    /// Signs `parts` in the domain `label` with both halves.
    ///
    /// # Errors
    /// [`SignError`] where the library fails.
    pub fn sign(&self, label: Label, parts: &[&[u8]]) -> Result<IdentitySignature, SignError> {
        let message = self.public.message(label, parts);
        let classical = self.ed25519.try_sign(&message).map_err(|_| SignError)?;
        let mut pq = vec![0; MLDSA65_SIGNATURE];
        self.mldsa.sign(&message, &mut pq).map_err(|_| SignError)?;
        Ok(IdentitySignature { suite: self.public.suite, classical: classical.as_ref().to_vec(), pq })
    }
}

impl fmt::Debug for IdentityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityKey({})", self.public.fingerprint())
    }
}

/// The public half of an identity. Shown and parsed as the hex digits of its canonical bytes;
/// [`Self::fingerprint`] is the short form for people.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(array)]
pub struct IdentityPublic {
    #[n(0)]
    suite: SuiteId,
    #[cbor(n(1), with = "minicbor::bytes")]
    classical: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    pq: Vec<u8>,
}

impl IdentityPublic {
    fn new(ed25519: &[u8], mldsa: &[u8]) -> Option<Self> {
        let public = Self { suite: SuiteId::ED25519_MLDSA65, classical: ed25519.to_vec(), pq: mldsa.to_vec() };
        public.has_shape().then_some(public)
    }

    fn has_shape(&self) -> bool {
        self.suite == SuiteId::ED25519_MLDSA65 && self.classical.len() == 32 && self.pq.len() == MLDSA65_PUBLIC
    }

    /// The suite of every signature by this identity.
    pub fn suite(&self) -> SuiteId {
        self.suite
    }

    /// The canonical bytes (deterministic CBOR: suite, Ed25519 key, ML-DSA-65 key).
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`ParseIdentityError`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseIdentityError> {
        let public: Self = cbor::from_slice(bytes)?;
        if public.has_shape() { Ok(public) } else { Err(ParseIdentityError::Shape) }
    }

    /// SHA-256 over the canonical bytes under [`Label::IDENTITY`].
    pub fn fingerprint(&self) -> Hash {
        Label::IDENTITY.hash(&[&self.to_bytes()])
    }

    /// Checks both halves of a fresh signature by this identity over `parts` in domain `label`.
    ///
    /// # Errors
    /// [`VerifyError`] names what fails.
    pub fn verify(&self, label: Label, parts: &[&[u8]], signature: &IdentitySignature) -> Result<(), VerifyError> {
        self.verify_aged(label, parts, signature, Age::Fresh)
    }

    /// As [`Self::verify`], for an object that a log dates.
    ///
    /// # Errors
    /// [`VerifyError`] names what fails.
    pub fn verify_aged(
        &self,
        label: Label,
        parts: &[&[u8]],
        signature: &IdentitySignature,
        age: Age,
    ) -> Result<(), VerifyError> {
        let accepted = self.suite.suite().is_some_and(|suite| suite.accepts(age));
        if !accepted || signature.suite != self.suite || !self.has_shape() {
            return Err(VerifyError::Suite);
        }
        let message = self.message(label, parts);
        let classical = UnparsedPublicKey::new(&ED25519, &self.classical);
        classical.verify(&message, &signature.classical).map_err(|_| VerifyError::Classical)?;
        let pq = UnparsedPublicKey::new(&ML_DSA_65, &self.pq);
        pq.verify(&message, &signature.pq).map_err(|_| VerifyError::PostQuantum)
    }

    // Both halves sign the suite and the whole identity: a half cannot be moved under another
    // identity that shares one of the two keys.
    fn message(&self, label: Label, parts: &[&[u8]]) -> Vec<u8> {
        let suite = self.suite.get().to_be_bytes();
        let inner = label.message(parts);
        Label::HYBRID_SIGNATURE.message(&[&suite, self.fingerprint().as_bytes(), &inner])
    }
}

impl fmt::Debug for IdentityPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdentityPublic({})", self.fingerprint())
    }
}

/// A signature by an identity: two halves over one message.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct IdentitySignature {
    #[n(0)]
    suite: SuiteId,
    #[cbor(n(1), with = "minicbor::bytes")]
    classical: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    pq: Vec<u8>,
}

impl IdentitySignature {
    /// The suite it was made with.
    pub fn suite(&self) -> SuiteId {
        self.suite
    }

    /// The canonical bytes (deterministic CBOR: suite, Ed25519 signature, ML-DSA-65 signature).
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`ParseIdentityError`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ParseIdentityError> {
        let signature: Self = cbor::from_slice(bytes)?;
        let shaped = signature.suite == SuiteId::ED25519_MLDSA65
            && signature.classical.len() == 64
            && signature.pq.len() == MLDSA65_SIGNATURE;
        if shaped { Ok(signature) } else { Err(ParseIdentityError::Shape) }
    }
}

macro_rules! as_hex_text {
    ($($name:ident)*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.to_bytes()))
            }
        }

        impl FromStr for $name {
            type Err = ParseIdentityError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::from_bytes(&hex::decode(text).map_err(|_| ParseIdentityError::Hex)?)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

as_hex_text!(IdentityPublic IdentitySignature);

#[cfg(test)]
mod tests;
