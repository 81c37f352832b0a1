//! The fold over signals, incidents and recoveries.

use std::collections::{BTreeMap, BTreeSet};

use types::mesh::{KeyType, NodeState, Severity, SignalKind, Subject};
use types::{IncidentId, Millis, OperatorId};

use super::incident::{Incident, IncidentState, Noted, Recovery, ResponseState, Review, Unproven};
use super::quarantine::Quarantine;
use super::{HeldResponse, State};
use crate::record::{Principal, Record, RecoveryStep, Response};

/// How long a signal counts for correlation (SM-10).
pub(crate) const WINDOW: Millis = Millis::from_secs(60);

/// How long an operator's word does: people take longer to look.
const WINDOW_OF_PEOPLE: Millis = Millis::from_secs(15 * 60);

/// How long a signal of `source` counts for correlation.
pub(crate) const fn window(source: &Principal) -> Millis {
    match source {
        Principal::Operator(_) => WINDOW_OF_PEOPLE,
        Principal::Engine | Principal::Node(_) => WINDOW,
    }
}

/// Most reviewed incidents that stay in the state; the log keeps them all.
pub(crate) const REVIEWED_KEPT: usize = 32;

/// Most signals about one subject that are remembered.
pub(crate) const REMEMBERED: usize = 16;

impl State {
    #[allow(clippy::too_many_lines, reason = "one short arm a record, and nothing between them")]
    pub(super) fn apply_incident(&mut self, record: &Record) {
        match record {
            Record::SignalNoted { source, subject, kind, confidence_ppm, severity } => {
                let noted = Noted {
                    source: source.clone(),
                    kind: *kind,
                    confidence_ppm: *confidence_ppm,
                    severity: *severity,
                    at: self.clock,
                };
                self.note(subject, noted);
            }
            Record::IncidentOpened { incident, subject, kind, severity } => {
                self.open(*incident, subject, *kind, *severity);
            }
            Record::IncidentPruned { incident } => {
                self.incidents.remove(incident);
            }
            Record::Quarantined { incident, subject, by, until } => {
                let quarantine = Quarantine { incident: *incident, by: by.clone(), until: *until };
                self.quarantines.begin(subject, quarantine, self.clock);
                self.with_incident(*incident, |incident| incident.broken_by = Some(by.clone()));
            }
            Record::QuarantineEnded { subject, .. } => self.quarantines.end(subject),
            Record::SourceMuted { source, until } => self.voices.mute(source, *until, self.clock),
            Record::IncidentRaised { incident, severity } => {
                self.with_incident(*incident, |incident| incident.severity = *severity);
            }
            Record::Recovery { incident, step, .. } => {
                let now = self.clock;
                self.with_incident(*incident, |incident| {
                    incident.recovery.steps.entry(*step).or_insert(now);
                    if *step == RecoveryStep::Report {
                        incident.settle();
                    }
                });
                if *step == RecoveryStep::Report {
                    self.end_rekey(*incident);
                }
            }
            Record::Responded { incident, response } => self.respond(*incident, response, Some(ResponseState::Done)),
            Record::ResponseWithheld { incident, response } => {
                self.respond(*incident, response, Some(ResponseState::Withheld));
            }
            Record::IncidentSettled { incident } => self.with_incident(*incident, Incident::settle),
            Record::IncidentReviewed { incident, by, note } => {
                let review = Review { by: by.clone(), note: note.clone(), at: self.clock };
                self.with_incident(*incident, |incident| {
                    incident.state = IncidentState::Reviewed;
                    incident.review = Some(review);
                });
                self.forget_reviewed();
            }
            Record::IsolationSeen { by, node, .. } => {
                let about = |incident: &&mut Incident| incident.isolates(node);
                for incident in self.incidents.values_mut().filter(about) {
                    incident.recovery.cut_off_by.insert(by.clone());
                }
            }
            Record::VerifyOrdered { incident } => {
                let keys = self.provable();
                self.with_incident(*incident, |incident| incident.recovery.unproven = Some(Unproven { keys }));
            }
            Record::KeysProven { incident, node, keys } => self.with_incident(*incident, |incident| {
                let Some(unproven) = &mut incident.recovery.unproven else { return };
                if let Some(of_node) = unproven.keys.get_mut(node) {
                    keys.iter().for_each(|key| {
                        of_node.remove(key);
                    });
                }
                unproven.keys.retain(|_, keys| !keys.is_empty());
            }),
            Record::Held { request, response, .. } => {
                self.next.request = self.next.request.max(request.get().saturating_add(1));
                if let Some((incident, response)) = response {
                    self.respond(*incident, response, Some(ResponseState::Held));
                    let held = HeldResponse { incident: *incident, response: response.clone() };
                    self.held_responses.insert(*request, held);
                }
            }
            Record::HeldEnded { request, .. } => {
                if let Some(held) = self.held_responses.remove(request) {
                    self.respond(held.incident, &held.response, None);
                }
            }
            Record::HeldDone { request } => {
                self.held_responses.remove(request);
            }
            _ => {}
        }
    }

    fn with_incident(&mut self, id: IncidentId, change: impl FnOnce(&mut Incident)) {
        if let Some(incident) = self.incidents.get_mut(&id) {
            change(incident);
        }
    }

    fn note(&mut self, subject: &Subject, noted: Noted) {
        let now = self.clock;
        self.noted.retain(|_, list| {
            list.retain(|one| one.at + window(&one.source) >= now);
            !list.is_empty()
        });
        match &noted.source {
            Principal::Node(node) if !node.is_hub() => self.voices.hear(node, now),
            Principal::Operator(operator) => {
                for incident in self.incidents.values_mut().filter(|one| one.subject == *subject) {
                    incident.signalled_by.insert(operator.clone());
                }
            }
            Principal::Node(_) | Principal::Engine => {}
        }
        let list = self.noted.entry(subject.clone()).or_default();
        list.retain(|one| one.source != noted.source || one.kind != noted.kind);
        if list.len() >= REMEMBERED {
            list.remove(most_talkative(list));
        }
        list.push(noted);
    }

    /// The log keeps what was reviewed; the state only the last of it.
    fn forget_reviewed(&mut self) {
        let reviewed = |(_, one): &(&IncidentId, &Incident)| one.state == IncidentState::Reviewed;
        let ids: Vec<IncidentId> = self.incidents.iter().filter(reviewed).map(|(id, _)| *id).collect();
        for id in ids.iter().take(ids.len().saturating_sub(REVIEWED_KEPT)) {
            self.incidents.remove(id);
        }
    }

    fn open(&mut self, id: IncidentId, subject: &Subject, kind: SignalKind, severity: Severity) {
        self.next.incident = self.next.incident.max(id.get().saturating_add(1));
        let incident = Incident {
            subject: subject.clone(),
            kind,
            severity,
            state: IncidentState::Open,
            opened: self.clock,
            responses: BTreeMap::new(),
            recovery: Recovery::default(),
            review: None,
            signalled_by: self.operators_that_said(subject),
            broken_by: None,
        };
        self.incidents.insert(id, incident);
    }

    /// Operators whose word about a subject counts at this moment.
    fn operators_that_said(&self, subject: &Subject) -> BTreeSet<OperatorId> {
        let said = self.noted.get(subject).into_iter().flatten();
        let operator = |noted: &Noted| match &noted.source {
            Principal::Operator(operator) => Some(operator.clone()),
            Principal::Engine | Principal::Node(_) => None,
        };
        said.filter_map(operator).collect()
    }

    fn respond(&mut self, id: IncidentId, response: &Response, state: Option<ResponseState>) {
        self.with_incident(id, |incident| match state {
            Some(state) => {
                incident.responses.insert(response.clone(), state);
            }
            None => {
                incident.responses.remove(response);
            }
        });
    }

    fn end_rekey(&mut self, id: IncidentId) {
        for succession in self.slots.values_mut().filter(|succession| succession.rekey == Some(id)) {
            succession.rekey = None;
        }
    }

    /// The keys in use that every reachable node can be asked to prove.
    pub(crate) fn provable(&self) -> BTreeMap<types::NodeId, std::collections::BTreeSet<types::KeyId>> {
        let mut by_node: BTreeMap<_, std::collections::BTreeSet<_>> = BTreeMap::new();
        let online = |node: &&types::NodeId| self.nodes.get(*node).is_some_and(|node| node.state == NodeState::Online);
        for (slot, succession) in &self.slots {
            if slot.key_type() != KeyType::MeshSession || self.any_isolated(slot) {
                continue;
            }
            let Some(current) = succession.current else { continue };
            for node in slot.participants().iter().filter(online) {
                by_node.entry(node.clone()).or_default().insert(current);
            }
        }
        by_node
    }
}

/// Where the oldest signal of the source with the most of them is, so that nobody drives another's
/// word out by talking.
fn most_talkative(list: &[Noted]) -> usize {
    let of = |source: &Principal| list.iter().filter(|one| one.source == *source).count();
    let most = list.iter().map(|one| of(&one.source)).max().unwrap_or(0);
    list.iter().position(|one| of(&one.source) == most).unwrap_or(0)
}

impl Incident {
    fn settle(&mut self) {
        if self.state == IncidentState::Open {
            self.state = IncidentState::Settled;
        }
    }

    /// Whether cutting off `node` was a response to it.
    pub fn isolates(&self, node: &types::NodeId) -> bool {
        self.responses.get(&Response::IsolateNode(node.clone())) == Some(&ResponseState::Done)
    }
}
