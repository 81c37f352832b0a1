//! A key in use, with the counters of its use (KM-05).

use std::sync::atomic::{AtomicU64, Ordering};

use crypto::PairKey;
use session::mesh::KeyUse;
use types::KeyId;

/// How often a key was used since the counters were last read.
#[derive(Debug, Default)]
pub struct UseCounters {
    frames: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
}

impl UseCounters {
    /// Counts one frame of `bytes` bytes that was sealed or opened.
    pub fn frame(&self, bytes: usize) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Counts one frame that did not verify.
    pub fn failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }
}

/// A confirmed key. Its bytes are wiped when the last holder lets go.
#[derive(Debug)]
pub struct HeldKey {
    id: KeyId,
    secret: PairKey,
    used: std::sync::Arc<UseCounters>,
}

impl HeldKey {
    pub(crate) fn new(id: KeyId, secret: PairKey) -> Self {
        Self { id, secret, used: std::sync::Arc::default() }
    }

    /// Its number.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Its bytes.
    pub(crate) fn secret(&self) -> &PairKey {
        &self.secret
    }

    /// Its counters; they live on in streams that still hold keys derived from it.
    pub(crate) fn counters(&self) -> &std::sync::Arc<UseCounters> {
        &self.used
    }

    /// What was counted since the last call, `None` where it was not used.
    pub(crate) fn take_use(&self) -> Option<KeyUse> {
        let take = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        let used = KeyUse {
            key: self.id,
            frames: take(&self.used.frames),
            bytes: take(&self.used.bytes),
            failures: take(&self.used.failures),
        };
        (used.frames > 0 || used.failures > 0).then_some(used)
    }
}
