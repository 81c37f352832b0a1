//! The fold over signals, incidents and recoveries.

use std::collections::BTreeMap;

use types::mesh::{KeyType, NodeState, Severity, SignalKind, Subject};
use types::{IncidentId, Millis};

use super::incident::{Incident, IncidentState, Noted, Recovery, ResponseState, Review, Unproven};
use super::{HeldResponse, State};
use crate::record::{Record, RecoveryStep, Response};

/// How long a signal counts for correlation (SM-10).
pub(crate) const WINDOW: Millis = Millis::from_secs(60);

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
            list.retain(|one| one.at + WINDOW >= now);
            !list.is_empty()
        });
        let list = self.noted.entry(subject.clone()).or_default();
        if list.len() >= REMEMBERED {
            list.remove(0);
        }
        list.push(noted);
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
        };
        self.incidents.insert(id, incident);
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
