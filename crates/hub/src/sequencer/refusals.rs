//! What was refused and not kept, counted by its source: whoever is refused a thousand times a second leaves one
//! small entry in ten.

use std::collections::BTreeMap;

use kernel::event::Event;
use kernel::ingress::COALESCED;
use kernel::record::{Principal, Record, Refusal};
use types::Timestamp;

/// Counts of refused events by source. A source is an operator or a node of the boundary, or the hub itself,
/// so there are no more of them than of those.
#[derive(Default)]
pub(super) struct Refusals(BTreeMap<Principal, Tally>);

struct Tally {
    told: Option<Timestamp>,
    refusal: Refusal,
    count: u64,
    bytes: u64,
}

impl Refusals {
    /// Counts one refused event of `bytes` bytes.
    pub(super) fn add(&mut self, source: Principal, refusal: Refusal, bytes: usize) {
        let fresh = Tally { told: None, refusal: refusal.clone(), count: 0, bytes: 0 };
        let tally = self.0.entry(source).or_insert(fresh);
        if tally.count == 0 || tally.refusal != Refusal::TooLarge {
            tally.refusal = refusal;
        }
        tally.count += 1;
        tally.bytes = tally.bytes.saturating_add(bytes as u64);
    }

    /// Takes the counts that are due: at once for a source that was not counted lately, else once in
    /// [`COALESCED`].
    pub(super) fn due(&mut self, now: Timestamp) -> Vec<Event> {
        self.0.retain(|_, tally| tally.count > 0 || tally.told.is_some_and(|told| now < told + COALESCED));
        let due = self
            .0
            .iter_mut()
            .filter(|(_, tally)| tally.count > 0 && tally.told.is_none_or(|told| now >= told + COALESCED));
        due.map(|(source, tally)| {
            tally.told = Some(now);
            let (count, bytes) = (std::mem::take(&mut tally.count), std::mem::take(&mut tally.bytes));
            Event::Refusals { source: source.clone(), refusal: tally.refusal.clone(), count, bytes }
        })
        .collect()
    }
}

/// The refusal of a step that is counted instead of kept: a node's that decided nothing else, and that of a
/// request which is no request of now: anyone who holds a copy of it can send it.
pub(super) fn counted(event: &Event, records: &[Record], idle: bool) -> Option<Refusal> {
    let [Record::Refused(refusal)] = records else { return None };
    let counts = match (event, event.source()) {
        (Event::Request(_), _) => matches!(refusal, Refusal::Stale | Refusal::Replayed | Refusal::UnknownOperator),
        (_, Principal::Node(_)) => idle,
        _ => false,
    };
    counts.then(|| refusal.clone())
}

#[cfg(test)]
mod tests {
    use kernel::event::Event;
    use kernel::record::{Principal, Refusal};
    use types::{Millis, Timestamp};

    use super::Refusals;

    #[test]
    fn refusals_are_counted_once_in_a_while_by_source() {
        let (one, other) = (Principal::Node("n1".parse().unwrap()), Principal::Node("n2".parse().unwrap()));
        let mut refusals = Refusals::default();
        let mut at = Timestamp::from_millis(1_000);
        refusals.add(one.clone(), Refusal::NoSuchKey, 10);
        assert_eq!(refusals.due(at).len(), 1, "the first is told at once");
        for _ in 0..1_000 {
            refusals.add(one.clone(), Refusal::TooLarge, 10);
            refusals.add(one.clone(), Refusal::NoSuchKey, 10);
            at = at + Millis::new(1);
            assert!(refusals.due(at).is_empty());
        }
        refusals.add(other.clone(), Refusal::NoSuchKey, 7);
        let told = refusals.due(at);
        assert_eq!(told, [Event::Refusals { source: other, refusal: Refusal::NoSuchKey, count: 1, bytes: 7 }]);
        at = at + Millis::from_secs(10);
        let told = refusals.due(at);
        assert_eq!(told, [Event::Refusals { source: one, refusal: Refusal::TooLarge, count: 2_000, bytes: 20_000 }]);
        assert!(refusals.due(at + Millis::from_secs(10)).is_empty() && refusals.0.is_empty());
    }
}
