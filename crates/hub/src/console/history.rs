//! The last measurements of each link, for plots. Kept in memory only: the log has them all.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use api::view::{LinkSample, fraction};
use types::mesh::{LinkReport, Protocol};
use types::{LinkId, Timestamp};

/// Measurements kept for a link.
const KEPT: usize = 60;

/// The last measurements of each link.
#[derive(Debug, Default)]
pub(crate) struct History(Mutex<BTreeMap<LinkId, VecDeque<LinkSample>>>);

impl History {
    /// Adds what was measured.
    pub(crate) fn add(&self, reports: &[LinkReport], at: Timestamp) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for report in reports {
            let samples = links.entry(report.link.clone()).or_default();
            if samples.len() == KEPT {
                samples.pop_front();
            }
            let entangled = report.figures.protocol.is_some_and(Protocol::is_entangled);
            samples.push_back(LinkSample {
                at,
                qber: fraction(report.qber_ppm),
                s: entangled.then_some(f64::from(report.figures.s_milli) / 1e3),
                secret_bps: report.secret_bps,
            });
        }
    }

    /// What was measured on `link`, oldest first.
    pub(crate) fn of(&self, link: &LinkId) -> Vec<LinkSample> {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.get(link).map(|samples| samples.iter().copied().collect()).unwrap_or_default()
    }
}
