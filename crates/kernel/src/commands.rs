//! What operators ask for, carried out. Only with a permit: policy allowed it, and where a grant was
//! needed it was presented.

use types::OperatorId;
use types::mesh::{ForwardSpec, KeyType, SignalKind, Subject};
use types::{ForwardId, IncidentId};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::event::Command;
use crate::policy::Permit;
use crate::record::{Cause, Record, Refusal};
use crate::state::incident::IncidentState;
use crate::{break_glass, mesh, operators, respond, saes, sentinel};

/// Longest finding of a review, and longest word of a read, in bytes.
const NOTE_LEN: usize = 2_048;

/// Carries out a permitted command. The permit is spent on it.
pub(crate) fn execute(draft: &mut Draft<'_>, permit: Permit, operator: &OperatorId, command: &Command) {
    match command {
        Command::IsolateNode { node } => {
            let subject = Subject::Node(node.clone());
            return respond::by_order(draft, permit, operator, &subject, SignalKind::NodeCompromise);
        }
        Command::BreakGlass { subject } => return break_glass::begin(draft, permit, operator, subject),
        Command::ConfirmBreakGlass { incident } => return break_glass::confirm(draft, permit, operator, *incident),
        _ => drop(permit),
    }
    match command {
        Command::Read { what } => serve(draft, operator, what),
        Command::OpenConsole => serve(draft, operator, "console"),
        Command::ExportAudit => serve(draft, operator, "audit"),
        Command::AdmitNode { node, links } => mesh::admit(draft, node, links),
        Command::RestoreNode { node } => mesh::restore(draft, node),
        Command::RotateKeys { key_type, emergency } => rotate(draft, *key_type, *emergency),
        Command::ReviewIncident { incident, note } => review(draft, operator, *incident, note),
        Command::Signal { subject, kind } => signal(draft, operator, subject, *kind),
        Command::SetAssisted { on } => {
            if draft.state.assisted() != *on {
                draft.record(Record::AssistedSet { on: *on });
            }
        }
        Command::AddForward { spec } => add_forward(draft, spec),
        Command::RemoveForward { id } => remove_forward(draft, *id),
        Command::AddSae { spec } => saes::add(draft, spec),
        Command::RenewSae { id, fingerprint } => saes::renew(draft, id, fingerprint),
        Command::RemoveSae { id } => saes::remove(draft, id),
        Command::AddOperator { card } => operators::add(draft, card),
        Command::RenewOperator { id, life } => operators::renew(draft, id, *life),
        Command::ReplaceOperator { card } => operators::replace(draft, card),
        Command::RemoveOperator { id } => operators::remove(draft, id),
        // carried out above, with their permit
        Command::IsolateNode { .. } | Command::BreakGlass { .. } | Command::ConfirmBreakGlass { .. } => {}
        Command::ActivateRules { version } => activate_rules(draft, *version),
        // decided on with the held request they name, not carried out as commands
        Command::Approve { .. } | Command::Deny { .. } => draft.refuse(Refusal::NoSuchRequest),
    }
}

/// The version after the one in force. Nothing leads back: what was decided by the later rules would have to be
/// decided otherwise. Whether a build knows it is no matter of the rules, or a build that does not would replay
/// this very step otherwise: a hub refuses to be asked for one that it does not know.
fn activate_rules(draft: &mut Draft<'_>, version: u16) {
    match check_rules(draft, version) {
        Ok(()) => draft.record(Record::RulesActivated { version }),
        Err(refusal) => draft.refuse(refusal),
    }
}

/// Why a version of the rules cannot come into force.
pub(crate) fn check_rules(draft: &Draft<'_>, version: u16) -> Result<(), Refusal> {
    if draft.state.rules().checked_add(1) == Some(version) { Ok(()) } else { Err(Refusal::OutOfBounds) }
}

fn serve(draft: &mut Draft<'_>, operator: &OperatorId, what: &str) {
    if what.len() > NOTE_LEN {
        return draft.refuse(Refusal::OutOfBounds);
    }
    draft.record(Record::Served { operator: operator.clone(), what: what.to_owned() });
}

fn rotate(draft: &mut Draft<'_>, key_type: Option<KeyType>, emergency: bool) {
    match key_type {
        None | Some(KeyType::MeshSession | KeyType::SovereignMaster) => {}
        // replaced where they are made: with the node, the session, the link or the pins
        Some(KeyType::QkdTransport | KeyType::NodeIdentity | KeyType::AuditSigning | KeyType::EphemeralSession) => {
            return draft.refuse(Refusal::OutOfBounds);
        }
    }
    let cause = if emergency { Cause::Emergency } else { Cause::Trigger };
    draft.record(Record::RotationOrdered { key_type, cause, incident: None });
    respond::rotate_slots(draft, key_type, cause, emergency);
}

fn review(draft: &mut Draft<'_>, operator: &OperatorId, id: IncidentId, note: &str) {
    let Some(incident) = draft.state.incident(id).filter(|incident| incident.state != IncidentState::Reviewed) else {
        return draft.refuse(Refusal::NoSuchIncident);
    };
    if !incident.is_decided() || draft.state.quarantines().of_incident(id).is_some() {
        return draft.refuse(Refusal::NotSettled);
    }
    if incident.broken_by.as_ref() == Some(operator) {
        return draft.refuse(Refusal::OwnAct);
    }
    if note.len() > NOTE_LEN {
        return draft.refuse(Refusal::OutOfBounds);
    }
    draft.record(Record::IncidentReviewed { incident: id, by: operator.clone(), note: note.to_owned() });
}

fn signal(draft: &mut Draft<'_>, operator: &OperatorId, subject: &Subject, kind: SignalKind) {
    match sentinel::known(draft.state, subject) {
        Ok(()) => sentinel::say(draft, operator, subject, kind),
        Err(refusal) => draft.refuse(refusal),
    }
}

fn add_forward(draft: &mut Draft<'_>, spec: &ForwardSpec) {
    if !mesh::forward_is_possible(draft.state, spec) {
        return draft.refuse(Refusal::NoSuchForward);
    }
    if draft.state.forwards().values().any(|other| other.node == spec.node && other.listen == spec.listen) {
        return draft.refuse(Refusal::NameTaken);
    }
    let id = draft.next_forward();
    draft.record(Record::ForwardAdded { id, spec: spec.clone() });
    draft.effect(Effect::Forwards(vec![spec.node.clone(), spec.to.clone()]));
}

fn remove_forward(draft: &mut Draft<'_>, id: ForwardId) {
    let Some(spec) = draft.state.forward(id) else { return draft.refuse(Refusal::NoSuchForward) };
    draft.record(Record::ForwardRemoved { id });
    draft.effect(Effect::Forwards(vec![spec.node.clone(), spec.to.clone()]));
}
