//! Detect, classify, decide: from signals to incidents to the engine's responses (SM-08 to SM-10).

pub mod classify;

use types::mesh::{Severity, SignalKind, Subject};
use types::{IncidentId, Millis, NodeId, OperatorId};

use crate::draft::Draft;
use crate::policy::{self, Action, Actor, Decision, Facts, NodeRef, Request, Resource};
use crate::record::{Principal, Record, Refusal, Response};
use crate::respond;
use crate::state::State;
use crate::state::incident::{Incident, IncidentState, Noted, ResponseState};
use crate::state::quarantine::SIGNALS_PER_SOURCE;
use classify::{Voice, combined_ppm, severity};

/// So often a node may signal too much and be thought unlucky; from then on it is a strong indicator.
const STRIKES_OF_CHANCE: u32 = 2;

/// No second entry for the same signal within this span: repeats say nothing new.
const COOLDOWN: Millis = Millis::from_secs(10);

/// Most signals one step takes in, so that its entry stays within bounds; what persists comes again.
const SIGNALS_PER_STEP: usize = 32;

/// Most incidents in the state. Beyond, a new one takes the place of the least.
pub const MOST_INCIDENTS: usize = 512;

/// How many of them only confirmed compromises and what two people order can take: no single source brings those
/// about, so none can fill the state against them.
const FOR_CRITICAL: usize = 64;

/// For so long after two people brought a node back, its neighbours may still refuse it: they hear of
/// it one after the other.
const HOMECOMING: Millis = Millis::from_secs(60);

/// What a detector of the hub noticed.
pub(crate) fn detected(draft: &mut Draft<'_>, subject: &Subject, kind: SignalKind, confidence_ppm: u32) {
    if confidence_ppm > classify::CERTAIN_PPM {
        return draft.refuse(Refusal::OutOfBounds);
    }
    match known(draft.state, subject) {
        Ok(()) => note(draft, &Principal::Node(NodeId::hub()), subject, kind, confidence_ppm),
        Err(refusal) => draft.refuse(refusal),
    }
}

/// An operator's word: evidence like any other, and never enough by itself.
pub(crate) fn say(draft: &mut Draft<'_>, operator: &OperatorId, subject: &Subject, kind: SignalKind) {
    let weight = classify::weight(Voice::Operator, kind);
    note(draft, &Principal::Operator(operator.clone()), subject, kind, weight);
}

/// A node's word: evidence like any other, and never enough by itself.
pub(crate) fn from_node(draft: &mut Draft<'_>, source: &NodeId, subject: &Subject, kind: SignalKind) {
    if let Err(refusal) = known(draft.state, subject) {
        return draft.refuse(refusal);
    }
    let Some(node) = node_ref(draft, source).filter(|node| !node.isolated && !source.is_hub()) else {
        return draft.refuse(Refusal::NoSuchNode);
    };
    let principal = Principal::Node(source.clone());
    let voice = if own(draft.state, source, subject) { Voice::Own } else { Voice::Witness };
    let confidence_ppm = classify::weight(voice, kind);
    let (hub, about) = (Principal::Node(NodeId::hub()), Subject::Node(source.clone()));
    let denied = |draft: &Draft<'_>| absorbed(draft, &hub, &about, SignalKind::DenialBurst, Severity::Low);
    if absorbed(draft, &principal, subject, kind, severity(kind, confidence_ppm)) || denied(draft) {
        return;
    }
    if !is_heard(draft, source) {
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
    match permitted(draft, &asked, respond::signal_digest(subject, kind)) {
        Some(_) => note(draft, &principal, subject, kind, confidence_ppm),
        // and it is not asked again for a while: a node must not be able to fill the log
        None => note(draft, &hub, &about, SignalKind::DenialBurst, classify::UNLIKELY_PPM),
    }
}

/// Whether a node's signals are taken in at this moment. One that signals too much is not heard for a
/// while, longer each time, and it counts against the node itself.
fn is_heard(draft: &mut Draft<'_>, source: &NodeId) -> bool {
    let voices = draft.state.voices();
    if draft.muted || voices.is_muted(source, draft.now) {
        return false;
    }
    if voices.recent(source, draft.now) + draft.spoken < SIGNALS_PER_SOURCE {
        return true;
    }
    let (strikes, until) = voices.next_mute(source, draft.now);
    draft.muted = true;
    draft.record(Record::SourceMuted { source: source.clone(), until });
    let weight = if strikes < STRIKES_OF_CHANCE { classify::LIKELY_PPM } else { classify::STRONG_PPM };
    let hub = Principal::Node(NodeId::hub());
    note(draft, &hub, &Subject::Node(source.clone()), SignalKind::DenialBurst, weight);
    false
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

/// Whether a node speaks of what is its own: itself, its keys, its links, its session with the hub.
fn own(state: &State, source: &NodeId, subject: &Subject) -> bool {
    match subject {
        Subject::Node(node) => node == source || node.is_hub(),
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
    if let Principal::Node(node) = source
        && !node.is_hub()
    {
        if !is_heard(draft, node) {
            return;
        }
        draft.spoken += 1;
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
    if own < Severity::Medium && open_incident(draft.state, subject, kind, severity).is_none() {
        return;
    }
    if is_expected(draft, subject, kind, severity) {
        return;
    }
    if let Some((id, Change::Opened | Change::Raised)) = incident_about(draft, subject, kind, severity) {
        respond::answer(draft, id);
    }
}

/// What became of the incident that takes a signal in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// There was none.
    Opened,
    /// It was less grave.
    Raised,
    /// It was as grave already.
    Stood,
}

/// The incident about a subject, opened or raised to `severity` where it is not so grave yet; `None`
/// where there is no room for one.
pub(crate) fn incident_about(
    draft: &mut Draft<'_>,
    subject: &Subject,
    kind: SignalKind,
    severity: Severity,
) -> Option<(IncidentId, Change)> {
    let begun = draft.opened.iter().find(|(_, one)| one.subject == *subject && one.severity >= severity);
    if let Some((id, _)) = begun {
        return Some((*id, Change::Stood));
    }
    let (id, before) = match open_incident(draft.state, subject, kind, severity) {
        Some((id, incident)) if incident.severity >= severity => return Some((id, Change::Stood)),
        Some((id, incident)) => {
            draft.record(Record::IncidentRaised { incident: id, severity });
            (id, Some(incident))
        }
        None => {
            make_room(draft, severity)?;
            let id = draft.next_incident();
            let subject = subject.clone();
            draft.record(Record::IncidentOpened { incident: id, subject, kind, severity });
            (id, None)
        }
    };
    let change = if before.is_some() { Change::Raised } else { Change::Opened };
    let begun = Incident::begun(before, subject, kind, severity, draft.now);
    draft.opened.insert(id, begun);
    Some((id, change))
}

/// Makes room for an incident. What was reviewed goes first, then the least grave that is decided;
/// nothing makes room for what is less grave than itself.
fn make_room(draft: &mut Draft<'_>, severity: Severity) -> Option<()> {
    let state = draft.state;
    let new = draft.opened.keys().filter(|id| state.incident(**id).is_none()).count();
    let places = MOST_INCIDENTS - if severity == Severity::Critical { 0 } else { FOR_CRITICAL };
    if state.incidents().len() + new < places + draft.pruned.len() {
        return Some(());
    }
    let goes = |id: &IncidentId, one: &Incident| {
        let reviewed = one.state == IncidentState::Reviewed;
        let spent = one.is_decided() && one.severity <= severity && state.quarantines().of_incident(*id).is_none();
        (reviewed || spent) && !draft.pruned.contains(id) && !draft.opened.contains_key(id)
    };
    let least = |one: &Incident| (one.state != IncidentState::Reviewed, one.severity, one.state == IncidentState::Open);
    let candidates = state.incidents().iter().filter(|(id, one)| goes(id, one));
    let incident = candidates.min_by_key(|(id, one)| (least(one), **id)).map(|(id, _)| *id)?;
    draft.pruned.insert(incident);
    draft.record(Record::IncidentPruned { incident });
    Some(())
}

/// Whether a signal is what a planned act looks like: a node that is cut off is refused by all others,
/// and for a moment after it was brought back by some of them.
fn is_expected(draft: &Draft<'_>, subject: &Subject, kind: SignalKind, severity: Severity) -> bool {
    let Subject::Node(node) = subject else { return false };
    let refused = matches!(
        kind,
        SignalKind::AuthFailure | SignalKind::Replay | SignalKind::KeyMismatch | SignalKind::DistributionFailure
    );
    let restored = draft.state.node(node).and_then(|node| node.restored);
    let home = restored.is_some_and(|at| at + HOMECOMING > draft.now) && severity <= Severity::Medium;
    refused && (home || draft.is_isolated(node))
}

/// HIGH signals from different sources about one subject: the chance that all of them are false is
/// the product of the chances that each is. Below 1 in 10,000 the compromise is confirmed.
fn correlate(draft: &Draft<'_>, source: &Principal, subject: &Subject, own: Severity, confidence_ppm: u32) -> Severity {
    if own != Severity::High || matches!(subject, Subject::Link(_)) {
        return own;
    }
    let mut strongest = std::collections::BTreeMap::from([(source, confidence_ppm)]);
    let earlier = draft.state.noted(subject).iter();
    let counts = |noted: &&Noted| noted.at + crate::state::window(&noted.source) >= draft.now;
    for noted in earlier.filter(|noted| noted.severity == Severity::High).filter(counts) {
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
                signalled_by: std::collections::BTreeSet::new(),
                broken_by: None,
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
