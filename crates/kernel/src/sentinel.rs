//! Detect, classify, decide: from signals to incidents to the engine's responses (SM-08 to SM-10).

pub mod classify;

use types::mesh::{Severity, SignalKind, Subject};
use types::{IncidentId, Millis, NodeId};

use crate::draft::Draft;
use crate::policy::{self, Action, Actor, Decision, Facts, NodeRef, Request, Resource};
use crate::record::{Principal, Record, Refusal, Response};
use crate::respond;
use crate::state::State;
use crate::state::incident::{Incident, IncidentState, Noted, ResponseState};
use classify::{combined_ppm, severity};

/// No second entry for the same signal within this span: repeats say nothing new.
const COOLDOWN: Millis = Millis::from_secs(10);

/// Most signals one step takes in, so that its entry stays within bounds; what persists comes again.
const SIGNALS_PER_STEP: usize = 32;

/// The most a node can be sure of when it speaks of others, in parts per million: one node in an
/// adversary's hands must not be able to have the rest cut off. Two such nodes agreeing, the hub's
/// own detectors and operators can confirm.
const WITNESS_CEILING_PPM: u32 = 999_000;

/// A signal from a node or from the hub's own detectors.
pub(crate) fn from_node(
    draft: &mut Draft<'_>,
    source: &NodeId,
    subject: &Subject,
    kind: SignalKind,
    confidence_ppm: u32,
) {
    if confidence_ppm > classify::CERTAIN_PPM {
        return draft.refuse(Refusal::OutOfBounds);
    }
    if let Err(refusal) = known(draft.state, subject) {
        return draft.refuse(refusal);
    }
    let principal = Principal::Node(source.clone());
    if source.is_hub() {
        return note(draft, &principal, subject, kind, confidence_ppm);
    }
    let Some(node) = node_ref(draft, source).filter(|node| !node.isolated) else {
        return draft.refuse(Refusal::NoSuchNode);
    };
    let own = own(draft.state, source, subject);
    let confidence_ppm = confidence_ppm.min(if own { classify::CERTAIN_PPM } else { WITNESS_CEILING_PPM });
    let (hub, about) = (Principal::Node(NodeId::hub()), Subject::Node(source.clone()));
    let denied = |draft: &Draft<'_>| absorbed(draft, &hub, &about, SignalKind::DenialBurst, Severity::Low);
    if absorbed(draft, &principal, subject, kind, severity(kind, confidence_ppm)) || denied(draft) {
        return;
    }
    let Some(resource) = resource(draft, subject) else { return draft.refuse(Refusal::OutOfBounds) };
    let facts = Facts::Signal { kind, confidence_ppm };
    let asked = Request {
        actor: Actor::Node(node),
        action: Action::NodeSignal,
        resource,
        now: draft.now,
        assisted: draft.state.assisted(),
        facts,
    };
    match permitted(draft, &asked, respond::signal_digest(subject, kind, confidence_ppm)) {
        Some(_) => note(draft, &principal, subject, kind, confidence_ppm),
        // and it is not asked again for a while: a node must not be able to fill the log
        None => note(draft, &hub, &about, SignalKind::DenialBurst, 300_000),
    }
}

/// Asks policy and records its answer; the permit where it is one.
pub(crate) fn permitted(draft: &mut Draft<'_>, asked: &Request, digest: types::Hash) -> Option<policy::Permit> {
    let policies = draft.state.policies()?;
    let decision = policy::decide(policies, asked);
    draft.record(Record::Decided(decision.record(policies, asked, digest)));
    match decision {
        Decision::Permit(permit) => Some(permit),
        Decision::Deny { .. } => None,
    }
}

/// Whether what a signal is about exists.
pub(crate) fn known(state: &State, subject: &Subject) -> Result<(), Refusal> {
    let (exists, refusal) = match subject {
        Subject::Node(node) => (node.is_hub() || state.node(node).is_some(), Refusal::NoSuchNode),
        Subject::Link(link) => (state.link(link).is_some(), Refusal::NoSuchNode),
        Subject::Operator(operator) => (state.operator(operator).is_some(), Refusal::UnknownOperator),
        Subject::Key(key) => (state.key(*key).is_some(), Refusal::NoSuchKey),
    };
    if exists { Ok(()) } else { Err(refusal) }
}

fn own(state: &State, source: &NodeId, subject: &Subject) -> bool {
    match subject {
        Subject::Node(node) => node == source,
        Subject::Key(key) => state.key(*key).is_some_and(|key| key.slot.has(source)),
        Subject::Link(link) => link.has(source),
        Subject::Operator(_) => false,
    }
}

/// How sure a failed distribution speaks of its participant, after so many failures in a row.
pub(crate) const fn distribution_confidence(failures: u32) -> u32 {
    if failures >= 4 { 950_000 } else { 300_000 }
}

fn absorbed(draft: &Draft<'_>, source: &Principal, subject: &Subject, kind: SignalKind, severity: Severity) -> bool {
    if draft.noted.contains(&(subject.clone(), kind)) {
        return true;
    }
    let repeats = |noted: &Noted| {
        noted.source == *source && noted.kind == kind && noted.severity >= severity && noted.at + COOLDOWN > draft.now
    };
    draft.state.noted(subject).iter().any(repeats)
}

/// Takes a signal in: notes it, classifies it, opens or raises its incident, responds.
/// Repeats within the cool-down leave no trace.
pub(crate) fn note(
    draft: &mut Draft<'_>,
    source: &Principal,
    subject: &Subject,
    kind: SignalKind,
    confidence_ppm: u32,
) {
    let own = severity(kind, confidence_ppm);
    if absorbed(draft, source, subject, kind, own) || draft.noted.len() >= SIGNALS_PER_STEP {
        return;
    }
    draft.noted.insert((subject.clone(), kind));
    draft.record(Record::SignalNoted {
        source: source.clone(),
        subject: subject.clone(),
        kind,
        confidence_ppm,
        severity: own,
    });
    let severity = correlate(draft, source, subject, own, confidence_ppm);
    let (id, before) = match open_incident(draft.state, subject, kind, severity) {
        Some((id, incident)) => (id, Some(incident)),
        None if own >= Severity::Medium => (draft.next_incident(), None),
        None => return,
    };
    match before {
        Some(incident) if incident.severity >= severity => return,
        Some(_) => draft.record(Record::IncidentRaised { incident: id, severity }),
        None => {
            let subject = subject.clone();
            draft.record(Record::IncidentOpened { incident: id, subject, kind, severity });
        }
    }
    let begun = Incident::begun(before, subject, kind, severity, draft.now);
    draft.opened.insert(id, begun);
    respond::answer(draft, id);
}

/// HIGH signals from different sources about one subject: the chance that all of them are false is
/// the product of the chances that each is. Below 1 in 10,000 the compromise is confirmed.
fn correlate(draft: &Draft<'_>, source: &Principal, subject: &Subject, own: Severity, confidence_ppm: u32) -> Severity {
    if own != Severity::High || matches!(subject, Subject::Link(_)) {
        return own;
    }
    let mut strongest = std::collections::BTreeMap::from([(source, confidence_ppm)]);
    let window = crate::state::WINDOW;
    let earlier = draft.state.noted(subject).iter();
    for noted in earlier.filter(|noted| noted.severity == Severity::High && noted.at + window >= draft.now) {
        let best = strongest.entry(&noted.source).or_default();
        *best = noted.confidence_ppm.max(*best);
    }
    let confirmed = strongest.len() > 1 && combined_ppm(strongest.into_values()) >= classify::CONFIRMED_PPM;
    if confirmed { Severity::Critical } else { own }
}

/// The open incident that takes a signal in: of the same kind, or, for a confirmed compromise and
/// for links, any about the same subject. A node that came back after it was cut off is answered
/// anew: what was done before is undone.
fn open_incident<'s>(
    state: &'s State,
    subject: &Subject,
    kind: SignalKind,
    severity: Severity,
) -> Option<(IncidentId, &'s Incident)> {
    let any_kind = severity == Severity::Critical || matches!(subject, Subject::Link(_));
    let takes_in = |one: &Incident| one.subject == *subject && (one.kind == kind || any_kind) && !undone(state, one);
    state.open_incidents().find(|(_, one)| takes_in(one))
}

/// Whether operators restored a node that this incident had cut off.
fn undone(state: &State, incident: &Incident) -> bool {
    let isolations = incident.responses.iter().filter(|(_, done)| **done == ResponseState::Done);
    isolations
        .into_iter()
        .any(|(response, _)| matches!(response, Response::IsolateNode(node) if !state.is_isolated(node)))
}

impl Incident {
    fn begun(
        before: Option<&Self>,
        subject: &Subject,
        kind: SignalKind,
        severity: Severity,
        opened: types::Timestamp,
    ) -> Self {
        match before {
            Some(before) => Self { severity, ..before.clone() },
            None => Self {
                subject: subject.clone(),
                kind,
                severity,
                state: IncidentState::Open,
                opened,
                responses: std::collections::BTreeMap::new(),
                recovery: crate::state::incident::Recovery::default(),
                review: None,
            },
        }
    }
}

/// A node as policy sees it, with what this step decided on it.
pub(crate) fn node_ref(draft: &Draft<'_>, id: &NodeId) -> Option<NodeRef> {
    let function = if id.is_hub() { None } else { Some(draft.state.node(id)?.spec.function) };
    Some(NodeRef { id: id.clone(), function, isolated: draft.is_isolated(id) })
}

/// A subject as policy sees it.
pub(crate) fn resource(draft: &Draft<'_>, subject: &Subject) -> Option<Resource> {
    Some(match subject {
        Subject::Node(node) => Resource::Node(node_ref(draft, node)?),
        Subject::Link(link) => Resource::Link(link.clone()),
        Subject::Operator(id) => Resource::Operator { id: id.clone(), revoked: draft.state.operator(id)?.revoked },
        Subject::Key(id) => {
            let participants = draft.state.key(*id)?.slot.participants().to_vec();
            Resource::Key { id: *id, participants }
        }
    })
}
