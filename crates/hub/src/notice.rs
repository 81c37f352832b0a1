//! What the hub itself notices, told to the kernel as signals: at most one of a kind about a subject
//! in ten seconds, so that nobody fills the log by being refused.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kernel::event::Event;
use types::mesh::{SignalKind, Subject};

use crate::sequencer::Handle;

const PAUSE: Duration = Duration::from_secs(10);
/// Most subjects remembered; beyond, everything is forgotten at once.
const MOST: usize = 4_096;

/// Tells the kernel what the hub notices.
#[derive(Debug)]
pub(crate) struct Notices {
    handle: Handle,
    told: Mutex<BTreeMap<(Subject, SignalKind), Instant>>,
}

impl Notices {
    pub(crate) fn new(handle: Handle) -> Self {
        Self { handle, told: Mutex::default() }
    }

    fn is_due(&self, subject: &Subject, kind: SignalKind) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if told.get(&(subject.clone(), kind)).is_some_and(|last| now.duration_since(*last) < PAUSE) {
            return false;
        }
        if told.len() >= MOST {
            told.clear();
        }
        told.insert((subject.clone(), kind), now);
        true
    }

    /// Tells it, unless it was told a moment ago.
    pub(crate) async fn tell(&self, subject: Subject, kind: SignalKind, confidence_ppm: u32) {
        if self.is_due(&subject, kind) {
            tracing::warn!(%subject, %kind, "noticed");
            let event = Event::Detected { subject, kind, confidence_ppm };
            // Where the sequencer has stopped, there is nobody left to tell.
            let _ = self.handle.report(event).await;
        }
    }
}
