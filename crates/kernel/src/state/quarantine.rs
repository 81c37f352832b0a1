//! What one person cut off for a while (break-glass), and how much each node has signalled of late.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use types::mesh::Subject;
use types::{IncidentId, Millis, NodeId, OperatorId, Timestamp};

use super::apply_incident::WINDOW;
use super::table;

/// How long a quarantine lasts that nobody confirms.
pub const QUARANTINE: Millis = Millis::from_secs(15 * 60);

/// A night: the span in which one person may break the glass [`PER_NIGHT`] times.
pub const NIGHT: Millis = Millis::from_hours(12);

/// How often one person may break the glass in a [`NIGHT`].
pub const PER_NIGHT: usize = 3;

/// Most signals of one node that are noted within the correlation's window.
pub(crate) const SIGNALS_PER_SOURCE: usize = 8;

/// How long a node is not heard that signals too much; doubled each time, up to an hour.
const MUTED: Millis = Millis::from_secs(60);

/// A node that was heard without fault for so long begins anew.
const FORGIVEN: Millis = Millis::from_hours(1);

/// Something under quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Quarantine {
    /// The incident that tells everybody.
    #[n(0)]
    pub incident: IncidentId,
    /// Who broke the glass.
    #[n(1)]
    pub by: OperatorId,
    /// When it lapses.
    #[n(2)]
    pub until: Timestamp,
}

/// Everything under quarantine, and who broke the glass when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Quarantines {
    #[n(0)]
    #[cbor(with = "table")]
    active: BTreeMap<Subject, Quarantine>,
    #[n(1)]
    #[cbor(with = "table")]
    broken: BTreeMap<OperatorId, Vec<Timestamp>>,
}

impl Quarantines {
    /// Everything under quarantine.
    pub fn active(&self) -> &BTreeMap<Subject, Quarantine> {
        &self.active
    }

    /// What an incident put under quarantine.
    pub fn of_incident(&self, incident: IncidentId) -> Option<(&Subject, &Quarantine)> {
        self.active.iter().find(|(_, one)| one.incident == incident)
    }

    /// Whether `by` may break the glass at `now`: nothing of theirs is under quarantine, and they have not
    /// done so [`PER_NIGHT`] times in a [`NIGHT`].
    pub fn may_break(&self, by: &OperatorId, now: Timestamp) -> bool {
        let times = self.broken.get(by).map_or(&[][..], Vec::as_slice);
        let recent = times.iter().filter(|at| **at + NIGHT > now).count();
        recent < PER_NIGHT && self.active.values().all(|one| one.by != *by)
    }

    pub(super) fn begin(&mut self, subject: &Subject, quarantine: Quarantine, at: Timestamp) {
        let times = self.broken.entry(quarantine.by.clone()).or_default();
        times.retain(|earlier| *earlier + NIGHT > at);
        times.push(at);
        self.active.insert(subject.clone(), quarantine);
    }

    pub(super) fn end(&mut self, subject: &Subject) {
        self.active.remove(subject);
    }
}

/// What a node has signalled of late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
struct Heard {
    #[n(0)]
    times: Vec<Timestamp>,
    #[n(1)]
    strikes: u32,
    #[n(2)]
    muted: Timestamp,
}

/// How much each node has signalled of late.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Voices {
    #[n(0)]
    #[cbor(with = "table")]
    heard: BTreeMap<NodeId, Heard>,
}

impl Voices {
    pub(crate) fn is_muted(&self, source: &NodeId, now: Timestamp) -> bool {
        self.heard.get(source).is_some_and(|heard| now < heard.muted)
    }

    /// How many of its signals were noted within the window.
    pub(crate) fn recent(&self, source: &NodeId, now: Timestamp) -> usize {
        let times = self.heard.get(source).map_or(&[][..], |heard| heard.times.as_slice());
        times.iter().filter(|at| **at + WINDOW > now).count()
    }

    /// How often it was muted before, and until when it would be now.
    pub(crate) fn next_mute(&self, source: &NodeId, now: Timestamp) -> (u32, Timestamp) {
        let heard = self.heard.get(source).filter(|heard| heard.muted + FORGIVEN > now);
        let strikes = heard.map_or(0, |heard| heard.strikes);
        let span = MUTED.get().saturating_mul(1 << strikes.min(8)).min(FORGIVEN.get());
        (strikes, now + Millis::new(span))
    }

    pub(super) fn hear(&mut self, source: &NodeId, at: Timestamp) {
        let heard = self.heard.entry(source.clone()).or_default();
        heard.times.retain(|earlier| *earlier + WINDOW > at);
        if heard.times.len() < SIGNALS_PER_SOURCE {
            heard.times.push(at);
        }
    }

    pub(super) fn mute(&mut self, source: &NodeId, until: Timestamp, at: Timestamp) {
        let heard = self.heard.entry(source.clone()).or_default();
        heard.strikes = if heard.muted + FORGIVEN > at { heard.strikes.saturating_add(1) } else { 1 };
        heard.muted = until;
        heard.times.clear();
    }
}
