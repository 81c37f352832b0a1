//! Randomness for the quantum engine, from the health-tested source of the process (KM-03).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crypto::{Entropy, kdf};
use types::Label;
use zeroize::Zeroizing;

/// Whether a source gave out at any time. What was drawn since then is zeros: nothing made from it
/// may be used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failed(Arc<AtomicBool>);

impl Failed {
    pub(crate) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn set(&self, error: &crypto::EntropyError) {
        if !self.0.swap(true, Ordering::AcqRel) {
            tracing::error!(%error, "no entropy for the quantum link: its blocks are discarded");
        }
    }
}

/// Every bit straight from the entropy source: for what becomes key.
pub(crate) struct Full {
    source: Arc<Entropy>,
    failed: Failed,
}

impl Full {
    pub(crate) fn new(source: Arc<Entropy>, failed: Failed) -> Self {
        Self { source, failed }
    }
}

impl qkd::Entropy for Full {
    fn fill(&mut self, out: &mut [u8]) {
        if let Err(error) = self.source.fill(out) {
            self.failed.set(&error);
        }
    }
}

/// Bits expanded by HKDF from a fresh 256-bit seed for every call: for the many small choices of a
/// receiver or of a fibre, which never become key themselves.
pub(crate) struct Expanded {
    source: Arc<Entropy>,
    failed: Failed,
}

impl Expanded {
    pub(crate) fn new(source: Arc<Entropy>, failed: Failed) -> Self {
        Self { source, failed }
    }
}

impl qkd::Entropy for Expanded {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8_160) {
            let mut seed = Zeroizing::new([0; 32]);
            if let Err(error) = self.source.fill(&mut *seed) {
                self.failed.set(&error);
            }
            if let Err(error) = kdf::derive_into(Label::QKD_DRAW, &*seed, &[], &[], chunk) {
                // Not reachable: a chunk has at most the 8,160 bytes one derivation gives.
                tracing::error!(%error, "a draw was refused");
            }
        }
    }
}
