//! Hybrid KEM keys that peers encapsulate to. They live in memory only and are replaced after every
//! use, so that what is on the wire today cannot be opened tomorrow (SM-01).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crypto::kem::KemError;
use crypto::{Entropy, KemCiphertext, KemSecret, SharedSecret, SuiteId};

/// Keys kept for ciphertexts that are still under way: the newest, and the ones before it.
const KEPT: usize = 3;

/// The prekeys towards one peer.
#[derive(Clone)]
pub(crate) struct Prekeys {
    entropy: Arc<Entropy>,
    keys: Arc<Mutex<VecDeque<KemSecret>>>,
}

impl Prekeys {
    pub(crate) fn new(entropy: Arc<Entropy>) -> Self {
        Self { entropy, keys: Arc::default() }
    }

    /// Makes a new prekey; returns its public half as it is sent.
    pub(crate) fn renew(&self) -> Result<Vec<u8>, KemError> {
        let secret = KemSecret::generate(SuiteId::X25519_MLKEM1024, &self.entropy)?;
        let public = secret.public().to_bytes();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.push_front(secret);
        keys.truncate(KEPT);
        Ok(public)
    }

    /// The secrets that `ciphertext` may carry, the newest prekey first. A ciphertext says not for
    /// which key it was made; whoever uses the secrets finds out by a tag or a proof.
    pub(crate) fn secrets(&self, ciphertext: &[u8]) -> Result<Vec<SharedSecret>, KemError> {
        let ciphertext = KemCiphertext::from_bytes(ciphertext)?;
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| key.decapsulate(&ciphertext)).collect()
    }
}
