//! What people look at: a state as plain values with a JSON form.

use std::collections::BTreeMap;

use serde::Serialize;
use types::mesh::{Delivery, Function, KeyState, KeyType, NodeState, Severity, SignalKind, Subject};
use types::{BoundaryId, Hash, IncidentId, KeyId, LinkId, NodeId, OperatorId, Timestamp};

use crate::record::{Cause, RecoveryStep, Response};
use crate::state::State;
use crate::state::incident::{Incident, IncidentState, ResponseState, Review};
use crate::state::keys::{Key, Usage};
use crate::state::mesh::Link;

/// `status --json` without the log's head, which the hub adds as `log`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// The boundary.
    pub boundary: Option<BoundaryId>,
    /// Every admitted node.
    pub nodes: Vec<NodeStatus>,
    /// Every quantum link.
    pub links: Vec<LinkStatus>,
    /// Keys, counted.
    pub keys: KeyCounts,
    /// Incidents, counted.
    pub incidents: IncidentCounts,
    /// Whether assisted mode is on.
    pub assisted: bool,
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

/// A link in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LinkDetail {
    /// The line.
    #[serde(flatten)]
    pub line: LinkStatus,
    /// Whether its bits may be used.
    pub usable: bool,
    /// Sifted key rate in bits per second.
    pub sifted_bps: u32,
    /// Blocks that became key.
    pub blocks: u64,
    /// Blocks that were discarded.
    pub discarded: u64,
    /// When its ends reported last; `None` before the first report.
    pub reported: Option<Timestamp>,
}

/// A key in full; its material is nowhere near.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyDetail {
    /// Its number.
    pub id: KeyId,
    /// Its kind.
    #[serde(rename = "type")]
    pub key_type: KeyType,
    /// Where it stands; `None` while it is wanted and not made.
    pub state: Option<KeyState>,
    /// Why.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
    /// Whether it is confirmed by all and waits for its use.
    pub staged: bool,
    /// Who holds it, and what each did.
    pub participants: Vec<HolderStatus>,
    /// The commitment its participants proved.
    pub commitment: Option<Hash>,
    /// What protected the part its participants mixed in.
    pub mixed: Option<Delivery>,
    /// The key it replaced.
    pub replaces: Option<KeyId>,
    /// Frames sealed and opened.
    pub frames: u64,
    /// Bytes sealed and opened.
    pub bytes: u64,
    /// Frames that did not verify.
    pub failures: u64,
}

/// A participant of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HolderStatus {
    /// Who.
    pub node: NodeId,
    /// Under what it was sent.
    pub delivery: Option<Delivery>,
    /// Whether it proved that it holds the key.
    pub confirmed: bool,
    /// Whether it acknowledged to use it.
    pub in_use: bool,
    /// Whether it erased the revoked key.
    pub purged: bool,
}

/// An incident in full.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct IncidentDetail {
    /// Its number.
    pub id: IncidentId,
    /// What it is about.
    pub subject: Subject,
    /// What was noticed first.
    pub kind: SignalKind,
    /// Its class.
    pub severity: Severity,
    /// Where it stands.
    pub state: IncidentState,
    /// When it began.
    pub opened: Timestamp,
    /// What the engine did.
    pub responses: Vec<ResponseStatus>,
    /// The recovery steps done, and when.
    pub recovery: Vec<StepStatus>,
    /// The review.
    pub review: Option<Review>,
}

/// A response and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ResponseStatus {
    /// The response.
    pub response: Response,
    /// What became of it.
    pub state: ResponseState,
}

/// A recovery step that is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepStatus {
    /// The step.
    pub step: RecoveryStep,
    /// When.
    pub at: Timestamp,
}

/// An operator in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OperatorStatus {
    /// The name.
    pub id: OperatorId,
    /// Groups it is in.
    pub groups: Vec<String>,
    /// Whether its credential is revoked.
    pub revoked: bool,
}

fn fraction(ppm: u32) -> f64 {
    f64::from(ppm) / 1e6
}

impl LinkStatus {
    fn new(id: &LinkId, link: &Link) -> Self {
        let report = link.report.as_ref();
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

impl LinkDetail {
    fn new(id: &LinkId, link: &Link) -> Self {
        let report = link.report.as_ref();
        Self {
            line: LinkStatus::new(id, link),
            usable: link.usable,
            sifted_bps: report.map_or(0, |report| report.sifted_bps),
            blocks: report.map_or(0, |report| report.blocks),
            discarded: report.map_or(0, |report| report.discarded),
            reported: report.map(|_| link.last),
        }
    }
}

impl KeyDetail {
    fn new(id: KeyId, key: &Key) -> Self {
        let Usage { frames, bytes, failures } = key.usage;
        let holders = key.slot.participants().iter().zip(&key.holders);
        Self {
            id,
            key_type: key.slot.key_type(),
            state: key.state,
            cause: key.cause,
            since: key.since,
            staged: key.is_staged(),
            participants: holders
                .map(|(node, holder)| HolderStatus {
                    node: node.clone(),
                    delivery: holder.delivery,
                    confirmed: holder.confirmed,
                    in_use: holder.in_use,
                    purged: holder.purged,
                })
                .collect(),
            commitment: key.commitment,
            mixed: key.mixed,
            replaces: key.replaces,
            frames,
            bytes,
            failures,
        }
    }
}

impl IncidentDetail {
    fn new(id: IncidentId, incident: &Incident) -> Self {
        let responses = incident.responses.iter();
        let steps = incident.recovery.steps.iter();
        Self {
            id,
            subject: incident.subject.clone(),
            kind: incident.kind,
            severity: incident.severity,
            state: incident.state,
            opened: incident.opened,
            responses: responses
                .map(|(response, state)| ResponseStatus { response: response.clone(), state: *state })
                .collect(),
            recovery: steps.map(|(step, at)| StepStatus { step: *step, at: *at }).collect(),
            review: incident.review.clone(),
        }
    }
}

impl State {
    /// The boundary at a glance.
    pub fn status(&self) -> Status {
        Status {
            boundary: self.id().cloned(),
            nodes: self.node_list(),
            links: self.links().iter().map(|(id, link)| LinkStatus::new(id, link)).collect(),
            keys: self.key_counts(),
            incidents: IncidentCounts { open: self.open_incidents().count() as u64 },
            assisted: self.assisted(),
        }
    }

    /// Every node in one line each.
    pub fn node_list(&self) -> Vec<NodeStatus> {
        let line = |(id, node): (&NodeId, &crate::state::mesh::Node)| NodeStatus {
            id: id.clone(),
            function: node.spec.function,
            state: node.state,
        };
        self.nodes().iter().map(line).collect()
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

    /// Every link in full.
    pub fn link_details(&self) -> Vec<LinkDetail> {
        self.links().iter().map(|(id, link)| LinkDetail::new(id, link)).collect()
    }

    /// One link in full.
    pub fn link_detail(&self, id: &LinkId) -> Option<LinkDetail> {
        self.link(id).map(|link| LinkDetail::new(id, link))
    }

    /// Keys in full, those of one type and state where these are given, in the order of their numbers.
    pub fn key_details(
        &self,
        key_type: Option<KeyType>,
        state: Option<KeyState>,
    ) -> impl Iterator<Item = KeyDetail> + '_ {
        let wanted = move |key: &Key| {
            key_type.is_none_or(|one| key.slot.key_type() == one) && state.is_none_or(|one| key.state == Some(one))
        };
        self.keys().iter().filter(move |(_, key)| wanted(key)).map(|(id, key)| KeyDetail::new(*id, key))
    }

    /// One key in full.
    pub fn key_detail(&self, id: KeyId) -> Option<KeyDetail> {
        self.key(id).map(|key| KeyDetail::new(id, key))
    }

    /// Every incident in full.
    pub fn incident_details(&self) -> Vec<IncidentDetail> {
        self.incidents().iter().map(|(id, incident)| IncidentDetail::new(*id, incident)).collect()
    }

    /// One incident in full.
    pub fn incident_detail(&self, id: IncidentId) -> Option<IncidentDetail> {
        self.incident(id).map(|incident| IncidentDetail::new(id, incident))
    }

    /// Every operator in one line each.
    pub fn operator_list(&self) -> Vec<OperatorStatus> {
        let line = |(id, operator): (&OperatorId, &crate::state::mesh::Operator)| OperatorStatus {
            id: id.clone(),
            groups: operator.groups.clone(),
            revoked: operator.revoked,
        };
        self.operators().iter().map(line).collect()
    }
}
