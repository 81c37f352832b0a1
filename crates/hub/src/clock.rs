//! The hub's clock: never runs backwards, and tells when the system's did.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use types::{Millis, Timestamp};

/// How far the system's clock may go back before it is reported.
const TOLERANCE: Millis = Millis::from_secs(1);

/// Where the time comes from.
pub type TimeSource = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock.
pub fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A clock that only goes forward.
pub(crate) struct Clock {
    source: TimeSource,
    last: Timestamp,
    regressed: bool,
}

/// One look at the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Now {
    /// The time, never earlier than at the look before.
    pub(crate) at: Timestamp,
    /// Whether the system's clock was just found to have gone back.
    pub(crate) regressed: bool,
}

impl Clock {
    /// A clock that does not go behind `last`, the time of the last entry.
    pub(crate) fn new(source: TimeSource, last: Timestamp) -> Self {
        Self { source, last, regressed: false }
    }

    /// The time alone; what is to be reported stays for [`Self::now`].
    pub(crate) fn at(&self) -> Timestamp {
        self.last.max((self.source)())
    }

    pub(crate) fn now(&mut self) -> Now {
        let seen = (self.source)();
        let behind = self.last.since(seen) > TOLERANCE;
        // Reported once for each time it goes back, not until it has caught up.
        let regressed = behind && !self.regressed;
        self.regressed = behind;
        self.last = self.last.max(seen);
        Now { at: self.last, regressed }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use types::Timestamp;

    use super::{Clock, Now};

    #[test]
    fn time_stands_while_the_system_catches_up_and_is_reported_once() {
        let system = Arc::new(AtomicU64::new(10_000));
        let source = Arc::clone(&system);
        let mut clock =
            Clock::new(Arc::new(move || Timestamp::from_millis(source.load(Ordering::Relaxed))), Timestamp::default());
        let mut look = |millis| {
            system.store(millis, Ordering::Relaxed);
            clock.now()
        };
        let now = |at, regressed| Now { at: Timestamp::from_millis(at), regressed };
        assert_eq!(look(10_000), now(10_000, false));
        assert_eq!(look(9_500), now(10_000, false));
        assert_eq!(look(5_000), now(10_000, true));
        assert_eq!(look(5_100), now(10_000, false));
        assert_eq!(look(10_001), now(10_001, false));
        assert_eq!(look(2), now(10_001, true));
    }
}
