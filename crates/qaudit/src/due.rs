//! Whether anything that was due was skipped.
//!
//! A boundary's hub looks at what is due whenever it takes a step and at least every
//! [`kernel::PAUSE`]; where it could not, it says so ([`Event::Resumed`]) before anything else. So
//! after each entry a tick that would have decided something, and did not come in time, was left
//! out, by whoever wrote the log. What a hub can still hide is that it claims a pause which was
//! none: every pause is counted, and nothing else contradicts a false one yet.

use kernel::event::{Event, Pause};
use kernel::{Body, State, step};
use serde::Serialize;
use types::{Millis, Timestamp};

/// How late what is due may be done before it counts as left out: more than the longest time between
/// two looks of a hub, for a batch takes its time to be recorded.
pub const SLACK: Millis = Millis::from_secs(5);

/// Time in which, by its own word, the hub could not act.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pauses {
    /// Starts of the hub.
    pub starts: u64,
    /// Pauses while it ran.
    pub stalls: u64,
    /// In all, in milliseconds.
    pub total_ms: u64,
    /// The longest, in milliseconds.
    pub longest_ms: u64,
    /// The entry that ended the longest.
    pub longest_until: u64,
}

/// Keeps watch over what is due, entry by entry.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Since when a tick would have decided something.
    waiting: Option<Timestamp>,
    pauses: Pauses,
}

/// Whether a tick at `at` decides nothing on `state`.
fn is_quiet(state: &State, at: Timestamp) -> bool {
    step(state, &Event::Tick, at).records.is_empty()
}

impl Watch {
    /// What was due before the entry with this body, and was not done: since when.
    pub(crate) fn before(&self, state: &State, body: &Body, at: Timestamp) -> Option<Timestamp> {
        let until = match &body.event {
            Event::Resumed { since, .. } => at.min(*since),
            _ => at,
        };
        self.overdue(state, until)
    }

    /// What was due at `until`, for longer than may be.
    pub(crate) fn overdue(&self, state: &State, until: Timestamp) -> Option<Timestamp> {
        if let Some(since) = self.waiting {
            return (until.since(since) > SLACK).then_some(since);
        }
        let limit = until - SLACK;
        // Before its first entry there is nothing to do.
        if state.boundary().is_none() || limit <= state.clock() || is_quiet(state, limit) {
            return None;
        }
        Some(state.next_due().map_or(limit, |due| due.clamp(state.clock(), limit)))
    }

    /// Takes note of an entry that was applied.
    pub(crate) fn after(&mut self, state: &State, index: u64, body: &Body, at: Timestamp) {
        if let Event::Resumed { since, pause } = &body.event {
            self.pauses.count(*pause, at.since(*since), index);
        }
        self.waiting = match &body.event {
            _ if is_quiet(state, at) => None,
            // A tick did as much as a step may, and a pause excuses what waited through it.
            Event::Tick | Event::Resumed { .. } => Some(at),
            _ => Some(self.waiting.unwrap_or(at)),
        };
    }

    pub(crate) fn pauses(&self) -> Pauses {
        self.pauses
    }
}

impl Pauses {
    fn count(&mut self, pause: Pause, span: Millis, index: u64) {
        match pause {
            Pause::NotRunning => self.starts += 1,
            Pause::StoreFailed | Pause::Stalled => self.stalls += 1,
        }
        self.total_ms = self.total_ms.saturating_add(span.get());
        if span.get() > self.longest_ms {
            (self.longest_ms, self.longest_until) = (span.get(), index);
        }
    }
}
