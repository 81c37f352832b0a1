//! Hybrid KEM keys that peers encapsulate to. They live in memory only, are replaced on use, and are
//! forgotten soon after, so that what is on the wire today cannot be opened tomorrow (SM-01).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crypto::kem::KemError;
use crypto::{Entropy, KemCiphertext, KemSecret, SharedSecret, SuiteId};

/// A prekey this young is offered again rather than replaced: a burst of uses makes one new key, not
/// one each.
const YOUNG: Duration = Duration::from_secs(1);
/// How long a replaced key still opens what was under way when it was replaced. A peer that is slow
/// to hear of the new one keeps using the old one, however often.
const GRACE: Duration = Duration::from_secs(30);
/// Most keys held, whatever their age.
const MOST: usize = 40;

struct Prekey {
    secret: KemSecret,
    made: Instant,
}

/// The prekeys towards one peer.
#[derive(Clone)]
pub(crate) struct Prekeys {
    entropy: Arc<Entropy>,
    keys: Arc<Mutex<VecDeque<Prekey>>>,
}

impl Prekeys {
    pub(crate) fn new(entropy: Arc<Entropy>) -> Self {
        Self { entropy, keys: Arc::default() }
    }

    /// The prekey to offer from now on, as it is sent: a new one, unless the newest is young.
    pub(crate) fn renew(&self) -> Result<Vec<u8>, KemError> {
        let now = Instant::now();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newest) = keys.front().filter(|newest| now.duration_since(newest.made) < YOUNG) {
            return Ok(newest.secret.public().to_bytes());
        }
        // A key was replaced when the one before it in the list was made.
        let replaced = keys.iter().skip(1).zip(keys.iter()).map(|(_, newer)| newer.made);
        let kept = 1 + replaced.take_while(|at| now.duration_since(*at) < GRACE).count();
        keys.truncate(kept.min(MOST));
        let secret = KemSecret::generate(SuiteId::X25519_MLKEM1024, &self.entropy)?;
        let public = secret.public().to_bytes();
        keys.push_front(Prekey { secret, made: now });
        Ok(public)
    }

    /// The secrets that `ciphertext` may carry, the newest prekey first. A ciphertext says not for
    /// which key it was made; whoever uses the secrets finds out by a tag or a proof.
    pub(crate) fn secrets(&self, ciphertext: &[u8]) -> Result<Vec<SharedSecret>, KemError> {
        let ciphertext = KemCiphertext::from_bytes(ciphertext)?;
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.iter().map(|key| key.secret.decapsulate(&ciphertext)).collect()
    }
}
