//! Hybrid key encapsulation: X25519 (RFC 7748) with ML-KEM-1024 or ML-KEM-768 (FIPS 203). The
//! secret stays safe while either half holds (SM-05).
//!
//! The classical half draws on our health-tested entropy, the post-quantum half on the library's
//! own generator, so that the failure of one source does not break both.

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::kem::{Algorithm, AlgorithmId, DecapsulationKey, EncapsulationKey, ML_KEM_768, ML_KEM_1024};
use minicbor::{Decode, Encode};
use types::{Label, cbor};
use zeroize::Zeroizing;

use crate::entropy::{Entropy, EntropyError};
use crate::kdf;
use crate::secret::SharedSecret;
use crate::suite::{Kind, SuiteId};

const X25519_LEN: usize = 32;

/// A key encapsulation failed.
#[derive(Debug, thiserror::Error)]
pub enum KemError {
    /// The suite is not one for key encapsulation.
    #[error("`{0}` is not a suite for key encapsulation")]
    Suite(SuiteId),
    /// No healthy entropy.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The peer's key or ciphertext is malformed, of another suite or of low order.
    #[error("the peer's key or ciphertext is not valid; ask it for a new one")]
    Peer,
    /// The library failed for a reason of its own.
    #[error("the key encapsulation library failed; restart the process and report it")]
    Library,
}

fn algorithm(suite: SuiteId) -> Result<&'static Algorithm<AlgorithmId>, KemError> {
    match suite {
        SuiteId::X25519_MLKEM1024 => Ok(&ML_KEM_1024),
        SuiteId::X25519_MLKEM768 => Ok(&ML_KEM_768),
        other => Err(KemError::Suite(other)),
    }
}

/// Sizes of the post-quantum public key and ciphertext of `suite`.
fn sizes(suite: SuiteId) -> Option<(usize, usize)> {
    match suite.suite()?.kind {
        Kind::Kem { pq_public, pq_ciphertext, .. } => Some((pq_public, pq_ciphertext)),
        Kind::Signature { .. } => None,
    }
}

/// A public key to which secrets are encapsulated.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KemPublic {
    #[n(0)]
    suite: SuiteId,
    #[cbor(n(1), with = "minicbor::bytes")]
    x25519: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    mlkem: Vec<u8>,
}

/// What carries an encapsulated secret to the holder of the secret key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct KemCiphertext {
    #[n(0)]
    suite: SuiteId,
    #[cbor(n(1), with = "minicbor::bytes")]
    x25519: Vec<u8>,
    #[cbor(n(2), with = "minicbor::bytes")]
    mlkem: Vec<u8>,
}

impl KemPublic {
    /// The suite.
    pub fn suite(&self) -> SuiteId {
        self.suite
    }

    /// The canonical bytes (deterministic CBOR: suite, X25519 key, ML-KEM key).
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`KemError::Peer`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KemError> {
        let public: Self = cbor::from_slice(bytes).map_err(|_| KemError::Peer)?;
        if public.has_shape() { Ok(public) } else { Err(KemError::Peer) }
    }

    fn has_shape(&self) -> bool {
        self.x25519.len() == X25519_LEN && sizes(self.suite).is_some_and(|(public, _)| self.mlkem.len() == public)
    }
}

impl KemCiphertext {
    /// The suite.
    pub fn suite(&self) -> SuiteId {
        self.suite
    }

    /// The canonical bytes (deterministic CBOR: suite, X25519 key, ML-KEM ciphertext).
    pub fn to_bytes(&self) -> Vec<u8> {
        cbor::to_vec(self)
    }

    /// Reads the canonical bytes.
    ///
    /// # Errors
    /// [`KemError::Peer`] for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KemError> {
        let ciphertext: Self = cbor::from_slice(bytes).map_err(|_| KemError::Peer)?;
        if ciphertext.has_shape() { Ok(ciphertext) } else { Err(KemError::Peer) }
    }

    fn has_shape(&self) -> bool {
        self.x25519.len() == X25519_LEN && sizes(self.suite).is_some_and(|(_, text)| self.mlkem.len() == text)
    }
}

/// The secret half of a [`KemPublic`]. Lives in memory only.
pub struct KemSecret {
    x25519: PrivateKey,
    mlkem: DecapsulationKey,
    public: KemPublic,
}

impl KemSecret {
    /// A fresh key pair of `suite`.
    ///
    /// # Errors
    /// [`KemError::Suite`], [`KemError::Entropy`], or [`KemError::Library`].
    pub fn generate(suite: SuiteId, entropy: &Entropy) -> Result<Self, KemError> {
        let algorithm = algorithm(suite)?;
        let (x25519, x25519_public) = x25519_pair(entropy)?;
        let mlkem = DecapsulationKey::generate(algorithm).map_err(|_| KemError::Library)?;
        let mlkem_public = mlkem.encapsulation_key().and_then(|key| key.key_bytes()).map_err(|_| KemError::Library)?;
        let public = KemPublic { suite, x25519: x25519_public, mlkem: mlkem_public.as_ref().to_vec() };
        Ok(Self { x25519, mlkem, public })
    }

    /// The public half.
    pub fn public(&self) -> &KemPublic {
        &self.public
    }

    /// The secret in `ciphertext`. A ciphertext altered in its post-quantum half gives another
    /// secret, not an error (FIPS 203 section 6.3).
    ///
    /// # Errors
    /// [`KemError::Peer`] where the ciphertext is of another suite, malformed or of low order.
    pub fn decapsulate(&self, ciphertext: &KemCiphertext) -> Result<SharedSecret, KemError> {
        if ciphertext.suite != self.public.suite || !ciphertext.has_shape() {
            return Err(KemError::Peer);
        }
        let classical = x25519_agree(&self.x25519, &ciphertext.x25519)?;
        let pq = self.mlkem.decapsulate(ciphertext.mlkem.as_slice().into()).map_err(|_| KemError::Peer)?;
        let pq = pq.as_ref().try_into().map_err(|_| KemError::Library)?;
        Ok(combine(&classical, pq, ciphertext, &self.public))
    }
}

impl std::fmt::Debug for KemSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KemSecret({}, redacted)", self.public.suite)
    }
}

/// Makes a secret for the holder of `public`, and what carries it there.
///
/// # Errors
/// [`KemError::Peer`] where the public key is malformed or of low order, [`KemError::Entropy`], or
/// [`KemError::Library`].
pub fn encapsulate(public: &KemPublic, entropy: &Entropy) -> Result<(KemCiphertext, SharedSecret), KemError> {
    if !public.has_shape() {
        return Err(KemError::Peer);
    }
    let (x25519, x25519_public) = x25519_pair(entropy)?;
    let classical = x25519_agree(&x25519, &public.x25519)?;
    let key = EncapsulationKey::new(algorithm(public.suite)?, &public.mlkem).map_err(|_| KemError::Peer)?;
    let (text, pq) = key.encapsulate().map_err(|_| KemError::Peer)?;
    let ciphertext = KemCiphertext { suite: public.suite, x25519: x25519_public, mlkem: text.as_ref().to_vec() };
    let pq = pq.as_ref().try_into().map_err(|_| KemError::Library)?;
    let secret = combine(&classical, pq, &ciphertext, public);
    Ok((ciphertext, secret))
}

fn x25519_pair(entropy: &Entropy) -> Result<(PrivateKey, Vec<u8>), KemError> {
    let mut seed = Zeroizing::new([0; X25519_LEN]);
    entropy.fill(&mut *seed)?;
    let key = PrivateKey::from_private_key(&X25519, &*seed).map_err(|_| KemError::Library)?;
    let public = key.compute_public_key().map_err(|_| KemError::Library)?.as_ref().to_vec();
    Ok((key, public))
}

// The library refuses a peer key that makes the all-zero secret (RFC 7748 section 6.1).
fn x25519_agree(key: &PrivateKey, peer: &[u8]) -> Result<Zeroizing<[u8; 32]>, KemError> {
    agreement::agree(key, UnparsedPublicKey::new(&X25519, peer), KemError::Peer, |shared| {
        let mut out = Zeroizing::new([0; 32]);
        if shared.len() != out.len() {
            return Err(KemError::Peer);
        }
        out.copy_from_slice(shared);
        Ok(out)
    })
}

// Binds both secrets, both ciphertexts and both public keys: neither half can be replaced, and no
// two exchanges share a secret unless all six agree.
fn combine(classical: &[u8; 32], pq: &[u8; 32], ciphertext: &KemCiphertext, public: &KemPublic) -> SharedSecret {
    let mut ikm = Zeroizing::new([0; 64]);
    ikm[..32].copy_from_slice(classical);
    ikm[32..].copy_from_slice(pq);
    let suite = public.suite.get().to_be_bytes();
    let bound: [&[u8]; 5] = [&suite, &ciphertext.x25519, &ciphertext.mlkem, &public.x25519, &public.mlkem];
    kdf::derive_secret(Label::HYBRID_KEM, &*ikm, &[], &bound)
}

#[cfg(test)]
mod tests;
