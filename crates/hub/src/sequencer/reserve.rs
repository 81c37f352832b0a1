//! Room on the disk that is kept for revocations.

use store::{Fault, StoreHandle};
use types::{Millis, Timestamp};

/// Least time between two attempts to make the reserve whole again.
const PAUSE: Millis = Millis::from_secs(10);

/// What the sequencer knows of the store's reserve.
pub(super) struct Reserve {
    /// When it was last tried to make it whole, where it is not known to be.
    short: Option<Timestamp>,
}

impl Default for Reserve {
    /// Not known to be whole: a hub may start on a disk that is full.
    fn default() -> Self {
        Self { short: Some(Timestamp::from_millis(0)) }
    }
}

impl Reserve {
    /// Gives a part of it to the store. Whether there was any.
    pub(super) async fn release(&mut self, store: &StoreHandle) -> bool {
        self.short.get_or_insert(Timestamp::from_millis(0));
        match store.release_reserve().await {
            Ok(left) => left,
            Err(fault) => {
                tracing::error!(%fault, "the room kept for revocations cannot be used");
                false
            }
        }
    }

    /// Takes back at once what a revocation did not need, before anything else is written there.
    pub(super) async fn retake(&self, store: &StoreHandle) {
        match store.keep_reserve().await {
            // less than all of it is left
            Ok(()) | Err(Fault::DiskFull) => {}
            Err(fault) => tracing::error!(%fault, "the room kept for revocations is not whole"),
        }
    }

    /// Makes it whole again, where there is room now.
    pub(super) async fn refill(&mut self, store: &StoreHandle, now: Timestamp) {
        if self.short.is_none_or(|tried| now < tried + PAUSE) {
            return;
        }
        self.short = match store.keep_reserve().await {
            Ok(()) => None,
            Err(fault) => {
                tracing::warn!(%fault, "the room kept for revocations is not whole");
                Some(now)
            }
        };
    }
}
