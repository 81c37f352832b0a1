//! What the node tells the hub without being asked: links, use of keys, and what it noticed.

use std::collections::BTreeMap;

use session::mesh::NodeMessage;
use tokio::time::{Duration, Instant};
use types::LinkId;
use types::mesh::{SignalKind, Subject};

use super::Agent;

/// The same signal is not told more often than this.
const SIGNAL_EVERY: Duration = Duration::from_secs(1);
/// Time between reports while the hub looks closely.
const WATCHED: Duration = Duration::from_secs(1);
/// Longest time the hub can ask for at once.
const WATCH_LIMIT: Duration = Duration::from_secs(3_600);
/// Different signals remembered.
const MAX_SIGNALS: usize = 1_024;

/// What was told last.
#[derive(Default)]
pub(super) struct Reported {
    usable: BTreeMap<LinkId, bool>,
    auth_failures: BTreeMap<LinkId, u64>,
    signals: BTreeMap<(Subject, SignalKind), Instant>,
}

impl Reported {
    /// A hub that is new knows nothing of the links.
    pub(super) fn begin(&mut self) {
        self.usable.clear();
    }
}

impl Agent {
    /// Tells at once of links that became usable or unusable, and of tags that did not verify.
    pub(super) fn look(&mut self) {
        let mut flipped = Vec::new();
        let mut forged = Vec::new();
        for link in self.parts.links.all() {
            let id = link.id().clone();
            let failures = link.auth_failures();
            if self.reported.auth_failures.insert(id.clone(), failures).unwrap_or(0) < failures {
                forged.push(id.clone());
            }
            let report = link.state();
            if *id.b() == self.parts.me && self.hub.is_some() {
                let before = self.reported.usable.insert(id, report.usable);
                if before != Some(report.usable) {
                    flipped.push(report);
                }
            }
        }
        if !flipped.is_empty() {
            self.tell(&NodeMessage::Links(flipped));
        }
        for id in forged {
            self.signal(Subject::Link(id), SignalKind::AuthFailure);
        }
    }

    /// The hub wants to see more for a while (SM-10).
    pub(super) fn watch(&mut self, span: Duration) {
        let now = Instant::now();
        let until = now + span.min(WATCH_LIMIT);
        self.watched_until = Some(self.watched_until.map_or(until, |before| before.max(until)));
        self.next_report = now;
    }

    /// Time between two reports.
    pub(super) fn report_every(&self) -> Duration {
        let watched = self.watched_until.is_some_and(|until| Instant::now() < until);
        if watched { self.parts.report.min(WATCHED) } else { self.parts.report }
    }

    /// Tells the figures of every link this node measures, and the use of its keys.
    pub(super) fn report(&mut self) {
        if self.hub.is_none() {
            return;
        }
        let links = self.parts.links.all();
        let measured = links.iter().filter(|link| *link.id().b() == self.parts.me).map(link::Link::state);
        let measured: Vec<_> = measured.collect();
        if !measured.is_empty() {
            self.tell(&NodeMessage::Links(measured));
        }
        let used: Vec<_> = self.parts.ring.held().filter_map(|key| key.take_use()).collect();
        if !used.is_empty() {
            self.tell(&NodeMessage::Use(used));
        }
    }

    /// Tells of something noticed, each kind about each subject once a second at most.
    pub(super) fn signal(&mut self, subject: Subject, kind: SignalKind) {
        let now = Instant::now();
        let signals = &mut self.reported.signals;
        signals.retain(|_, told| now.duration_since(*told) < SIGNAL_EVERY);
        if signals.len() >= MAX_SIGNALS || signals.contains_key(&(subject.clone(), kind)) {
            return;
        }
        signals.insert((subject.clone(), kind), now);
        self.tell(&NodeMessage::Signal { subject, kind });
    }
}
