//! Break-glass: one person on duty cuts a node or a credential off for a quarter of an hour.
//!
//! It opens an incident, so that everybody is told, and it lapses by itself. A second person who
//! confirms it, or a second source that speaks of the same, makes it lasting. It never stands in the
//! way of the engine: what it cut off can still be isolated or revoked, and a credential under
//! quarantine can still approve what the engine asks for.

use types::mesh::{NodeState, Severity, SignalKind, Subject};
use types::{IncidentId, NodeId, OperatorId};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::policy::Permit;
use crate::record::{QuarantineEnd, Record, Refusal};
use crate::state::incident::IncidentState;
use crate::state::quarantine::QUARANTINE;
use crate::{respond, saes, sentinel};

/// What is said of a subject that is cut off.
fn kind_of(subject: &Subject) -> Result<SignalKind, Refusal> {
    match subject {
        Subject::Node(_) => Ok(SignalKind::NodeCompromise),
        Subject::Operator(_) => Ok(SignalKind::UnauthorizedAccess),
        Subject::Link(_) | Subject::Key(_) => Err(Refusal::OutOfBounds),
    }
}

/// Why `by` cannot cut `subject` off now.
pub(crate) fn check(draft: &Draft<'_>, by: &OperatorId, subject: &Subject) -> Result<(), Refusal> {
    kind_of(subject)?;
    match subject {
        Subject::Node(node) if draft.state.node(node).is_none_or(|node| node.state == NodeState::Isolated) => {
            return Err(Refusal::NoSuchNode);
        }
        Subject::Operator(operator) if !draft.state.in_good_standing(operator) => {
            return Err(Refusal::UnknownOperator);
        }
        _ => {}
    }
    if draft.state.quarantines().may_break(by, draft.now) { Ok(()) } else { Err(Refusal::GlassSpent) }
}

/// Cuts a node or a credential off until it lapses or is confirmed. The permit is spent on it.
pub(crate) fn begin(draft: &mut Draft<'_>, permit: Permit, by: &OperatorId, subject: &Subject) {
    drop(permit);
    let kind = match check(draft, by, subject).and_then(|()| kind_of(subject)) {
        Ok(kind) => kind,
        Err(refusal) => return draft.refuse(refusal),
    };
    sentinel::say(draft, by, subject, kind);
    if lasting(draft, subject) {
        // somebody had said so before: the engine has answered
        return;
    }
    let Some((incident, _)) = sentinel::incident_about(draft, subject, kind, Severity::High) else {
        return draft.refuse(Refusal::OutOfBounds);
    };
    let until = draft.now + QUARANTINE;
    draft.record(Record::Quarantined { incident, subject: subject.clone(), by: by.clone(), until });
    match subject {
        Subject::Node(node) => cut_off(draft, node),
        Subject::Operator(operator) => draft.effect(Effect::CutOperator(operator.clone())),
        Subject::Link(_) | Subject::Key(_) => {}
    }
}

/// Whether this step cut the subject off for good.
fn lasting(draft: &Draft<'_>, subject: &Subject) -> bool {
    match subject {
        Subject::Node(node) => draft.is_isolated(node),
        Subject::Operator(operator) => {
            draft.records().contains(&Record::OperatorRevoked { operator: operator.clone() })
        }
        Subject::Link(_) | Subject::Key(_) => false,
    }
}

fn cut_off(draft: &mut Draft<'_>, node: &NodeId) {
    let epoch = draft.state.epoch() + 1;
    draft.cut_off(node);
    draft.record(Record::NodeMoved { node: node.clone(), to: NodeState::Isolated, epoch });
    draft.effect(Effect::Isolate { node: node.clone(), epoch });
    saes::tell(draft);
    draft.continue_at_once();
}

/// Makes a quarantine lasting, as a second person. The permit is spent on it.
pub(crate) fn confirm(draft: &mut Draft<'_>, permit: Permit, by: &OperatorId, incident: IncidentId) {
    let Some((subject, quarantine)) = draft.state.quarantines().of_incident(incident) else {
        return draft.refuse(Refusal::NoQuarantine);
    };
    if quarantine.by == *by || *subject == Subject::Operator(by.clone()) {
        return draft.refuse(Refusal::OwnAct);
    }
    match kind_of(subject) {
        Ok(kind) => respond::by_order(draft, permit, by, subject, kind),
        Err(refusal) => draft.refuse(refusal),
    }
}

/// Ends a quarantine, where there is one, in this step.
pub(crate) fn end(draft: &mut Draft<'_>, subject: &Subject, how: QuarantineEnd, by: Option<OperatorId>) {
    let Some(quarantine) = draft.state.quarantines().active().get(subject) else { return };
    if !draft.ended.insert(subject.clone()) {
        return;
    }
    draft.record(Record::QuarantineEnded { subject: subject.clone(), how, by });
    let incident = quarantine.incident;
    let open = draft.state.incident(incident).is_some_and(|one| one.state == IncidentState::Open);
    if how != QuarantineEnd::Confirmed && open {
        draft.record(Record::IncidentSettled { incident });
    }
}

/// Gives back what nobody confirmed in time.
pub(crate) fn lapse(draft: &mut Draft<'_>) {
    let state = draft.state;
    let mut epoch = state.epoch();
    for (subject, quarantine) in state.quarantines().active() {
        if draft.now < quarantine.until {
            continue;
        }
        end(draft, subject, QuarantineEnd::Lapsed, None);
        if let Subject::Node(node) = subject
            && state.is_isolated(node)
        {
            epoch += 1;
            readmit(draft, node, epoch);
        }
    }
}

/// Lets a node that was cut off connect again. It gets new keys; none of the old ones come back.
pub(crate) fn readmit(draft: &mut Draft<'_>, node: &NodeId, epoch: u64) {
    draft.record(Record::NodeMoved { node: node.clone(), to: NodeState::Offline, epoch });
    draft.effect(Effect::Readmit { node: node.clone(), epoch });
    saes::tell(draft);
    draft.continue_at_once();
}
