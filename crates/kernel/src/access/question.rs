//! From a command to the question policy is asked.

use types::mesh::{ForwardSpec, Groups, Subject};
use types::sae::SaeSpec;
use types::{BoundaryId, Hash, IncidentId, Label, NodeId, OperatorId, RequestId, cbor};

use crate::draft::Draft;
use crate::event::{Command, Request};
use crate::policy::{self, Action, Actor, Facts, NodeRef, Resource};
use crate::record::{Principal, Refusal};
use crate::sentinel::classify::{self, Voice};
use crate::{break_glass, commands, mesh, operators, respond, saes, sentinel};

/// Digest of a command as this operator asks for it in this boundary. Grants and approvals are bound
/// to it: another boundary, person or detail is another digest.
pub fn command_digest(boundary: &BoundaryId, operator: &OperatorId, command: &Command) -> Hash {
    let parts: [&[u8]; 4] =
        [b"command", boundary.as_str().as_bytes(), operator.as_str().as_bytes(), &cbor::to_vec(command)];
    Label::COMMAND.hash(&parts)
}

/// What policy is asked for a command.
pub(super) struct Question {
    /// Whether the operator may.
    pub(super) operator: policy::Request,
    /// Whether the listening node of a forward may, too.
    pub(super) node: Option<policy::Request>,
}

/// The question for a request whose operator is known. Refused where what it names does not exist.
pub(super) fn question(draft: &Draft<'_>, request: &Request) -> Result<Question, Refusal> {
    let operator = draft.state.operator(&request.operator).ok_or(Refusal::UnknownOperator)?;
    let (action, resource, facts) = about(draft, &request.operator, &request.command)?;
    let ask = |actor, action, resource, facts| policy::Request {
        actor,
        action,
        resource,
        now: draft.now,
        assisted: draft.state.assisted(),
        facts,
    };
    let node = match (&request.command, &resource) {
        (Command::AddForward { .. }, Resource::Forward { from, .. }) => {
            Some(ask(Actor::Node(from.clone()), Action::NodeForward, resource.clone(), Facts::None))
        }
        _ => None,
    };
    let actor =
        Actor::Operator { id: request.operator.clone(), groups: operator.groups.clone(), revoked: operator.revoked };
    Ok(Question { operator: ask(actor, action, resource, facts), node })
}

fn about(draft: &Draft<'_>, asker: &OperatorId, command: &Command) -> Result<(Action, Resource, Facts), Refusal> {
    let boundary = || draft.state.id().cloned().map(Resource::Boundary).ok_or(Refusal::WrongBoundary);
    // Nobody shall approve what cannot be carried out.
    let person =
        |action, id, checked: Result<(), Refusal>| checked.map(|()| (action, operator(draft, id), Facts::None));
    Ok(match command {
        Command::Read { what } => (Action::Read, boundary()?, Facts::Read(what.clone())),
        Command::OpenConsole => (Action::OpenConsole, boundary()?, Facts::None),
        Command::ExportAudit => (Action::ExportAudit, boundary()?, Facts::None),
        Command::SetAssisted { on } => (Action::SetAssisted, boundary()?, Facts::On(*on)),
        Command::AdmitNode { node, .. } => {
            mesh::check_admit(draft.state, node)?;
            let node = NodeRef { id: node.id.clone(), function: Some(node.function), isolated: false };
            (Action::AdmitNode, Resource::Node(node), Facts::None)
        }
        Command::RestoreNode { node } => (Action::RestoreNode, to_restore(draft, node)?, Facts::None),
        Command::RotateKeys { key_type, emergency } => {
            let action = if *emergency { Action::RotateEmergency } else { Action::Rotate };
            let resource = key_type.map_or_else(boundary, |key_type| Ok(Resource::KeyType(key_type)))?;
            (action, resource, Facts::None)
        }
        Command::ReviewIncident { incident, .. } => {
            let severity = draft.state.incident(*incident).ok_or(Refusal::NoSuchIncident)?.severity;
            (Action::ReviewIncident, Resource::Incident { id: *incident, severity }, Facts::None)
        }
        Command::Signal { subject, kind } => {
            sentinel::known(draft.state, subject)?;
            let resource = sentinel::resource(draft, subject).ok_or(Refusal::OutOfBounds)?;
            let confidence_ppm = classify::weight(Voice::Operator, *kind);
            (Action::Signal, resource, Facts::Signal { kind: *kind, confidence_ppm })
        }
        Command::IsolateNode { node } => (Action::IsolateNode, to_isolate(draft, node)?, Facts::None),
        Command::BreakGlass { subject } => (Action::BreakGlass, to_quarantine(draft, asker, subject)?, Facts::None),
        Command::ConfirmBreakGlass { incident } => {
            (Action::ConfirmBreakGlass, under_quarantine(draft, *incident)?, Facts::None)
        }
        Command::AddForward { spec } => (Action::AddForward, forward(draft, spec)?, Facts::None),
        Command::RemoveForward { id } => {
            let spec = draft.state.forward(*id).ok_or(Refusal::NoSuchForward)?;
            (Action::RemoveForward, forward(draft, spec)?, Facts::None)
        }
        Command::AddSae { spec } => {
            saes::check(draft, spec)?;
            (Action::AddSae, sae(draft, spec)?, Facts::Hybrid(spec.groups == Groups::Hybrid))
        }
        Command::RemoveSae { id } => {
            let known = draft.state.sae(id).ok_or(Refusal::NoSuchSae)?;
            (Action::RemoveSae, sae(draft, &known.spec)?, Facts::None)
        }
        Command::RenewSae { id, fingerprint } => {
            saes::check_renew(draft, id, fingerprint)?;
            let known = draft.state.sae(id).ok_or(Refusal::NoSuchSae)?;
            (Action::RenewSae, sae(draft, &known.spec)?, Facts::None)
        }
        Command::AddOperator { card } => person(Action::AddOperator, &card.id, operators::check_add(draft, card))?,
        Command::RenewOperator { id, life } => {
            person(Action::RenewOperator, id, operators::check_renew(draft, id, *life))?
        }
        Command::ReplaceOperator { card } => {
            person(Action::ReplaceOperator, &card.id, operators::check_replace(draft, card))?
        }
        Command::RemoveOperator { id } => person(Action::RemoveOperator, id, operators::check_remove(draft, id))?,
        Command::ActivateRules { version } => {
            commands::check_rules(draft, *version)?;
            (Action::ActivateRules, boundary()?, Facts::None)
        }
        Command::Approve { request, .. } => (Action::Approve, held(draft, *request)?, Facts::None),
        Command::Deny { request, .. } => (Action::Deny, held(draft, *request)?, Facts::None),
    })
}

fn to_restore(draft: &Draft<'_>, node: &NodeId) -> Result<Resource, Refusal> {
    let isolated = sentinel::node_ref(draft, node).filter(|node| node.isolated);
    isolated.map(Resource::Node).ok_or(Refusal::NoSuchNode)
}

fn to_isolate(draft: &Draft<'_>, node: &NodeId) -> Result<Resource, Refusal> {
    respond::can_be_cut_off(draft, &Subject::Node(node.clone()))?;
    sentinel::node_ref(draft, node).map(Resource::Node).ok_or(Refusal::NoSuchNode)
}

fn to_quarantine(draft: &Draft<'_>, asker: &OperatorId, subject: &Subject) -> Result<Resource, Refusal> {
    break_glass::check(draft, asker, subject)?;
    sentinel::resource(draft, subject).ok_or(Refusal::OutOfBounds)
}

fn under_quarantine(draft: &Draft<'_>, incident: IncidentId) -> Result<Resource, Refusal> {
    let (subject, _) = draft.state.quarantines().of_incident(incident).ok_or(Refusal::NoQuarantine)?;
    sentinel::resource(draft, subject).ok_or(Refusal::OutOfBounds)
}

fn operator(draft: &Draft<'_>, id: &OperatorId) -> Resource {
    let revoked = draft.state.operator(id).is_some_and(|known| known.revoked);
    Resource::Operator { id: id.clone(), revoked }
}

fn forward(draft: &Draft<'_>, spec: &ForwardSpec) -> Result<Resource, Refusal> {
    let end = |node| sentinel::node_ref(draft, node).ok_or(Refusal::NoSuchForward);
    Ok(Resource::Forward { from: end(&spec.node)?, to: end(&spec.to)? })
}

fn sae(draft: &Draft<'_>, spec: &SaeSpec) -> Result<Resource, Refusal> {
    let node = sentinel::node_ref(draft, &spec.node).ok_or(Refusal::NoSuchNode)?;
    Ok(Resource::Sae { id: spec.id.clone(), node })
}

fn held(draft: &Draft<'_>, id: RequestId) -> Result<Resource, Refusal> {
    let held = draft.state.access().held().get(&id).ok_or(Refusal::NoSuchRequest)?;
    let asker = match &held.by {
        Principal::Operator(operator) => Some(operator.clone()),
        Principal::Engine | Principal::Node(_) => None,
    };
    Ok(Resource::Held { id, asker })
}
