//! A boundary at a glance, as plain values with a JSON form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use types::mesh::{Delivery, Function, KeyState, KeyType, NodeState, Subject};
use types::{BoundaryId, IncidentId, LinkId, NodeId, OperatorId, Timestamp};

use crate::state::State;
use crate::state::mesh::Link;
use crate::state::quarantine::Quarantine;

/// `status --json` without the log's head, which whoever holds the log adds as `log`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The boundary; `None` before its first entry.
    pub boundary: Option<BoundaryId>,
    /// Every admitted node.
    pub nodes: Vec<NodeStatus>,
    /// Every quantum link.
    pub links: Vec<LinkStatus>,
    /// Keys, counted.
    pub keys: KeyCounts,
    /// Incidents, counted.
    pub incidents: IncidentCounts,
    /// What waits for people.
    pub attention: Attention,
    /// Whether assisted mode is on.
    pub assisted: bool,
}

/// What waits for people: where anything is in it, the boundary is not at rest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attention {
    /// Nodes that are cut off, those under quarantine included.
    pub isolated: Vec<NodeId>,
    /// What one person cut off for a while by break-glass, and nobody confirmed yet.
    pub quarantined: Vec<QuarantineBrief>,
    /// Incidents whose response took something from somebody, which are over and not reviewed (SM-08e).
    pub reviews_owed: u64,
    /// Requests that wait for approvals.
    pub approvals_waiting: u64,
}

/// A quarantine in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineBrief {
    /// The node, or the operator whose credential it is.
    pub subject: Subject,
    /// Who broke the glass.
    pub by: OperatorId,
    /// When it lapses.
    pub until: Timestamp,
    /// Its incident.
    pub incident: IncidentId,
}

impl Attention {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A node in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Its name.
    pub id: NodeId,
    /// What it is for.
    pub function: Function,
    /// Where it stands.
    pub state: NodeState,
}

/// A link in one line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkStatus {
    /// The end that prepares.
    pub a: NodeId,
    /// The end that measures.
    pub b: NodeId,
    /// Error rate of the last block as a fraction; `None` before the first report.
    pub qber: Option<f64>,
    /// Upper confidence bound of the error rate as a fraction.
    pub qber_upper: Option<f64>,
    /// Secret key rate in bits per second.
    pub secret_bps: u32,
    /// Secret bits both ends hold.
    pub pool_bits: u64,
    /// What protects deliveries over it now.
    pub delivery: Delivery,
}

/// Keys, counted. Destroyed ones are counted since the boundary began.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyCounts {
    /// By where they stand.
    pub by_state: BTreeMap<KeyState, u64>,
    /// By kind, destroyed ones left out.
    pub by_type: BTreeMap<KeyType, u64>,
}

/// Incidents, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct IncidentCounts {
    /// Those under way.
    pub open: u64,
}

impl LinkStatus {
    fn new(id: &LinkId, link: &Link) -> Self {
        let report = link.report.as_ref();
        let fraction = |ppm: u32| f64::from(ppm) / 1e6;
        Self {
            a: id.a().clone(),
            b: id.b().clone(),
            qber: report.map(|report| fraction(report.qber_ppm)),
            qber_upper: report.map(|report| fraction(report.qber_upper_ppm)),
            secret_bps: report.map_or(0, |report| report.secret_bps),
            pool_bits: report.map_or(0, |report| report.pool_bits),
            delivery: link.delivery(),
        }
    }
}

fn quarantine_brief((subject, one): (&Subject, &Quarantine)) -> QuarantineBrief {
    QuarantineBrief { subject: subject.clone(), by: one.by.clone(), until: one.until, incident: one.incident }
}

impl State {
    /// The boundary at a glance.
    pub fn status(&self) -> Status {
        let nodes = self.nodes().iter();
        Status {
            boundary: self.id().cloned(),
            nodes: nodes
                .map(|(id, node)| NodeStatus { id: id.clone(), function: node.spec.function, state: node.state })
                .collect(),
            links: self.links().iter().map(|(id, link)| LinkStatus::new(id, link)).collect(),
            keys: self.key_counts(),
            incidents: IncidentCounts { open: self.open_incidents().count() as u64 },
            attention: self.attention(self.clock()),
            assisted: self.assisted(),
        }
    }

    /// What waits for people at `now`.
    pub fn attention(&self, now: Timestamp) -> Attention {
        let isolated = self.nodes().iter().filter(|(_, node)| node.state == NodeState::Isolated);
        Attention {
            isolated: isolated.map(|(id, _)| id.clone()).collect(),
            quarantined: self.quarantines().active().iter().map(quarantine_brief).collect(),
            reviews_owed: self.incidents().values().filter(|incident| incident.owes_review()).count() as u64,
            approvals_waiting: self.access().held().values().filter(|held| now < held.expires).count() as u64,
        }
    }

    /// Keys, counted. Wanted ones are not keys yet.
    pub fn key_counts(&self) -> KeyCounts {
        let mut counts = KeyCounts::default();
        for (state, key) in self.keys().values().filter_map(|key| Some((key.state?, key))) {
            *counts.by_state.entry(state).or_default() += 1;
            *counts.by_type.entry(key.slot.key_type()).or_default() += 1;
        }
        let destroyed = self.destroyed().values().sum();
        if destroyed > 0 {
            counts.by_state.insert(KeyState::Destroyed, destroyed);
        }
        counts
    }
}
