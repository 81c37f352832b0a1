//! Randomness for the quantum engine, from the health-tested source of the process (KM-03).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crypto::{Drbg, Entropy};

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

/// What one part of a link draws from.
pub(crate) struct Draw {
    from: From,
    failed: Failed,
}

enum From {
    Source(Arc<Entropy>),
    Generator(Drbg),
}

impl Draw {
    /// Every bit straight from the source: for what becomes key.
    pub(crate) fn bits(source: Arc<Entropy>, failed: Failed) -> Self {
        Self { from: From::Source(source), failed }
    }

    /// Bits of a generator of its own: for choices that are published in the end, and for physics.
    pub(crate) fn choices(source: Arc<Entropy>, failed: Failed) -> Self {
        Self { from: From::Generator(Drbg::new(source)), failed }
    }
}

impl qkd::Entropy for Draw {
    fn fill(&mut self, out: &mut [u8]) {
        let filled = match &mut self.from {
            From::Source(source) => source.fill_bulk(out),
            From::Generator(generator) => generator.fill(out),
        };
        if let Err(error) = filled {
            self.failed.set(&error);
        }
    }
}
