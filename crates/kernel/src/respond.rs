//! The engine's responses (SM-08): what an incident calls for, what policy says, carrying it out.

use types::limits::KEYS_PER_STEP;
use types::mesh::{KeyState, KeyType, NodeState, Severity, SignalKind, Subject};
use types::{Hash, IncidentId, KeyId, Label, NodeId, OperatorId, cbor};

use crate::access;
use crate::draft::Draft;
use crate::effect::Effect;
use crate::policy::{Action, Actor, Facts, Permit, Request, Resource};
use crate::record::{Cause, QuarantineEnd, Record, RecoveryStep, Refusal, Response};
use crate::sentinel::{self, node_ref, permitted};
use crate::state::incident::{Incident, IncidentState, ResponseState};
use crate::state::keys::Slot;
use crate::{break_glass, rotation, saes};

/// What an incident calls for, in the order it is done: first what stops it, then a closer look.
pub(crate) fn responses(draft: &Draft<'_>, incident: &Incident) -> Vec<Response> {
    let mut responses = defences(draft, incident);
    responses.extend(closer_looks(draft, incident));
    responses
}

/// From MEDIUM on the nodes concerned are watched, and one that behaves strangely proves anew who it
/// is (SM-07c, SM-10). Who is cut off is neither.
fn closer_looks(draft: &Draft<'_>, incident: &Incident) -> Vec<Response> {
    if incident.severity < Severity::Medium {
        return Vec::new();
    }
    let concerned: Vec<&NodeId> = match &incident.subject {
        Subject::Node(node) => vec![node],
        Subject::Link(link) => vec![link.a(), link.b()],
        Subject::Key(id) => {
            draft.state.key(*id).map(|key| key.slot.participants().iter().collect()).unwrap_or_default()
        }
        Subject::Operator(_) => Vec::new(),
    };
    let watched = concerned.into_iter().filter(|node| !node.is_hub() && !draft.is_isolated(node));
    let mut responses: Vec<Response> = watched.map(|node| Response::Watch(node.clone())).collect();
    match &incident.subject {
        // who is confirmed to be compromised is cut off, not watched
        Subject::Node(_) if incident.severity == Severity::Critical => responses.clear(),
        Subject::Node(node) if !responses.is_empty() => responses.push(Response::Reauthenticate(node.clone())),
        _ => {}
    }
    responses
}

fn defences(draft: &Draft<'_>, incident: &Incident) -> Vec<Response> {
    let critical = incident.severity == Severity::Critical;
    match &incident.subject {
        Subject::Node(node) if node.is_hub() => critical.then_some(Response::RotateKeys).into_iter().collect(),
        Subject::Node(node) => of_node(draft, node, incident),
        Subject::Operator(id) => critical.then(|| Response::RevokeOperator(id.clone())).into_iter().collect(),
        Subject::Key(id) => match draft.state.key(*id).map(|key| &key.slot) {
            // whoever knows a node's identity can be that node
            Some(slot) if slot.key_type() == KeyType::NodeIdentity && critical => {
                slot.participants().iter().flat_map(|node| of_node(draft, node, incident)).collect()
            }
            // a compromised key: the mesh; a suspicious one that the hub makes: its own pair, triggered
            // (KM-11), so that a participant's word reaches no further
            _ if critical => vec![Response::RotateKeys],
            Some(slot) if incident.severity == Severity::High && slot.is_made_here() => vec![Response::RotateKeys],
            _ => Vec::new(),
        },
        Subject::Link(_) => Vec::new(),
    }
}

/// A node that is cut off already calls for nothing more; one under quarantine does, since that lapses.
fn of_node(draft: &Draft<'_>, node: &NodeId, incident: &Incident) -> Vec<Response> {
    if draft.is_isolated_for_good(node) || incident.severity < Severity::High {
        return Vec::new();
    }
    let moves = incident.kind == SignalKind::LateralMovement;
    let mut responses: Vec<Response> = moves.then(|| Response::Reroute(node.clone())).into_iter().collect();
    if incident.severity == Severity::Critical {
        responses.extend([Response::IsolateNode(node.clone()), Response::RotateKeys]);
    }
    responses
}

/// Digest of a response, to which its decision and its approvals are bound.
pub fn response_digest(incident: IncidentId, response: &Response) -> Hash {
    Label::COMMAND.hash(&[b"response", &incident.get().to_be_bytes(), &cbor::to_vec(response)])
}

/// Digest of a node's signal, to which its decision is bound.
pub fn signal_digest(subject: &Subject, kind: SignalKind) -> Hash {
    Label::COMMAND.hash(&[b"signal", &cbor::to_vec(subject), kind.as_str().as_bytes()])
}

/// Responds to an incident that was opened or raised in this step.
pub(crate) fn answer(draft: &mut Draft<'_>, id: IncidentId) {
    let Some(incident) = draft.incident(id).cloned() else { return };
    let responses = responses(draft, &incident);
    if incident.severity == Severity::Critical && !responses.is_empty() {
        recovery_step(draft, id, RecoveryStep::Detect, format!("{} confirmed: {}", incident.kind, incident.subject));
    }
    for response in responses {
        // what replaced the keys of one pair is done again for the whole mesh once it is confirmed
        let again = response == Response::RotateKeys
            && draft.state.incident(id).is_some_and(|before| before.severity < incident.severity);
        if incident.responses.get(&response) == Some(&ResponseState::Done) && !again {
            continue;
        }
        let Some(asked) = request(draft, &incident, &response) else { continue };
        match permitted(draft, &asked, response_digest(id, &response)) {
            Some(permit) if permit.obligations().is_immediate() => {
                run_response(draft, permit, id, &response);
            }
            Some(permit) => access::hold_response(draft, id, &response, &permit),
            None => draft.record(Record::ResponseWithheld { incident: id, response }),
        }
    }
}

/// The question to policy whether the engine may respond so.
pub(crate) fn request(draft: &Draft<'_>, incident: &Incident, response: &Response) -> Option<Request> {
    let (action, resource) = match response {
        Response::RotateKeys => (Action::RespondRotateKeys, Resource::Boundary(draft.state.id()?.clone())),
        Response::IsolateNode(node) => (Action::RespondIsolateNode, Resource::Node(node_ref(draft, node)?)),
        Response::Reroute(node) => (Action::RespondReroute, Resource::Node(node_ref(draft, node)?)),
        Response::Watch(node) => (Action::RespondWatch, Resource::Node(node_ref(draft, node)?)),
        Response::Reauthenticate(node) => (Action::RespondReauthenticate, Resource::Node(node_ref(draft, node)?)),
        Response::RevokeOperator(id) => {
            let revoked = draft.state.operator(id)?.revoked;
            (Action::RespondRevokeOperator, Resource::Operator { id: id.clone(), revoked })
        }
    };
    Some(Request {
        actor: Actor::Engine,
        action,
        resource,
        now: draft.now,
        assisted: draft.state.assisted(),
        facts: Facts::Severity(incident.severity),
    })
}

/// Carries a response out: at once where policy says so, or when its approvals are complete. The
/// permit is spent on it. `false` where there is nothing left to carry out.
pub(crate) fn run_response(draft: &mut Draft<'_>, permit: Permit, id: IncidentId, response: &Response) -> bool {
    drop(permit);
    carry_out(draft, id, response)
}

/// Does what the engine does on a confirmed compromise because two people say so, in assisted mode too.
/// The permit is spent on it.
pub(crate) fn by_order(draft: &mut Draft<'_>, permit: Permit, by: &OperatorId, subject: &Subject, kind: SignalKind) {
    drop(permit);
    if let Err(refusal) = can_be_cut_off(draft, subject) {
        return draft.refuse(refusal);
    }
    let Some((id, _)) = sentinel::incident_about(draft, subject, kind, Severity::Critical) else {
        return draft.refuse(Refusal::OutOfBounds);
    };
    let Some(incident) = draft.incident(id).cloned() else { return };
    recovery_step(draft, id, RecoveryStep::Detect, format!("ordered by {by} and a second person: {subject}"));
    let wanted = defences(draft, &incident);
    break_glass::end(draft, subject, QuarantineEnd::Confirmed, Some(by.clone()));
    for response in wanted {
        carry_out(draft, id, &response);
        let held = draft.state.access().held().iter();
        let same = held.filter(|(_, held)| held.response.as_ref() == Some(&(id, response.clone())));
        let ids: Vec<_> = same.map(|(request, _)| *request).collect();
        ids.into_iter().for_each(|request| draft.record(Record::HeldDone { request }));
    }
}

/// Whether there is anything to cut off for good.
pub(crate) fn can_be_cut_off(draft: &Draft<'_>, subject: &Subject) -> Result<(), Refusal> {
    match subject {
        Subject::Node(node) if draft.state.node(node).is_none() || draft.is_isolated_for_good(node) => {
            Err(Refusal::NoSuchNode)
        }
        Subject::Operator(id) if draft.state.operator(id).is_none_or(|operator| operator.revoked) => {
            Err(Refusal::UnknownOperator)
        }
        _ => Ok(()),
    }
}

fn carry_out(draft: &mut Draft<'_>, id: IncidentId, response: &Response) -> bool {
    let Some(incident) = draft.incident(id).cloned() else { return false };
    if incident.state == IncidentState::Reviewed {
        return false;
    }
    match response {
        Response::IsolateNode(node) => return isolate(draft, id, node),
        Response::RotateKeys => rotate(draft, id, &incident),
        Response::Reroute(node) => reroute(draft, id, node),
        Response::Watch(node) => {
            draft.record(responded(id, response));
            draft.effect(Effect::Watch(vec![node.clone()]));
        }
        Response::Reauthenticate(node) => {
            draft.record(responded(id, response));
            draft.effect(Effect::Reauthenticate(node.clone()));
        }
        Response::RevokeOperator(operator) => {
            draft.record(responded(id, response));
            break_glass::end(draft, &Subject::Operator(operator.clone()), QuarantineEnd::Confirmed, None);
            if draft.state.operator(operator).is_some_and(|operator| !operator.revoked) {
                draft.record(Record::OperatorRevoked { operator: operator.clone() });
                access::end_all_of(draft, operator);
                draft.effect(Effect::CutOperator(operator.clone()));
            }
            let summary = format!("credential of operator {operator} revoked");
            recovery_step(draft, id, RecoveryStep::Revoke, summary);
            recovery_step(draft, id, RecoveryStep::Report, "no key is known to the operator".to_owned());
        }
    }
    true
}

fn responded(incident: IncidentId, response: &Response) -> Record {
    Record::Responded { incident, response: response.clone() }
}

fn recovery_step(draft: &mut Draft<'_>, incident: IncidentId, step: RecoveryStep, summary: String) {
    let done = draft.incident(incident).is_some_and(|incident| incident.recovery.steps.contains_key(&step));
    if !done {
        draft.record(Record::Recovery { incident, step, summary });
    }
}

/// Cuts a node off and revokes every key it shares (SM-02, SM-08b). Live keys come first; what
/// does not fit this step is due at once.
///
/// A node under quarantine is moved again, so that all nodes confirm it for this incident.
fn isolate(draft: &mut Draft<'_>, id: IncidentId, node: &NodeId) -> bool {
    let Some(known) = draft.state.node(node) else { return false };
    draft.record(responded(id, &Response::IsolateNode(node.clone())));
    let subject = Subject::Node(node.clone());
    let for_a_while = draft.state.quarantines().active().contains_key(&subject);
    if !draft.is_cut_off_here(node) && (known.state != NodeState::Isolated || for_a_while) {
        break_glass::end(draft, &subject, QuarantineEnd::Confirmed, None);
        let epoch = draft.state.epoch() + 1;
        draft.cut_off(node);
        draft.record(Record::NodeMoved { node: node.clone(), to: NodeState::Isolated, epoch });
        draft.effect(Effect::Isolate { node: node.clone(), epoch });
        saes::tell(draft);
    }
    recovery_step(draft, id, RecoveryStep::Isolate, format!("node {node} removed from the mesh"));
    let mut keys: Vec<(bool, KeyId, Slot)> = Vec::new();
    for slot in draft.state.slots_of(node) {
        let Some(succession) = draft.state.slot(&slot) else { continue };
        let held = succession.keys.iter().filter(|key| draft.key_state(**key) != Some(Some(KeyState::Revoked)));
        keys.extend(held.map(|key| (!draft.is_live(*key), *key, slot.clone())));
    }
    keys.sort_by_key(|(idle, key, _)| (*idle, *key));
    let total = keys.len();
    // half of the step is left for the keys of those that remain
    let now: Vec<_> = keys.into_iter().take(KEYS_PER_STEP / 2).collect();
    let mut revoked = 0;
    for (_, key, slot) in now {
        if !draft.spend() {
            break;
        }
        revoked += usize::from(rotation::withdraw(draft, key, &slot));
    }
    if revoked < total {
        draft.continue_at_once();
    }
    let summary = format!("{total} keys of node {node} revoked, {revoked} of them in this entry");
    recovery_step(draft, id, RecoveryStep::Revoke, summary);
    true
}

/// Replaces keys (SM-08a). For a suspicious key, its pair's; for a confirmed compromise, the whole
/// mesh's: with overlap, from what is pre-staged, so that nobody else's traffic stops.
fn rotate(draft: &mut Draft<'_>, id: IncidentId, incident: &Incident) {
    draft.record(responded(id, &Response::RotateKeys));
    let key = match &incident.subject {
        Subject::Key(key) => draft.state.key(*key).map(|known| (*key, known.slot.clone())),
        _ => None,
    };
    if incident.severity < Severity::Critical {
        if let Some((_, slot)) = key.filter(|(_, slot)| !draft.any_isolated(slot)) {
            rotation::rotate(draft, &slot, Cause::Trigger);
        }
        return;
    }
    let order =
        Record::RotationOrdered { key_type: Some(KeyType::MeshSession), cause: Cause::Emergency, incident: Some(id) };
    if let Some((_, slot)) = key.as_ref().filter(|(_, slot)| slot.key_type() == KeyType::AuditSigning) {
        // verifiers pin it: its replacement comes with new pins, and the incident waits for people
        return rotation::rotate(draft, slot, Cause::Emergency);
    }
    // first, so that the slot of a compromised key fulfils it with its staged key
    draft.record(order);
    match (&incident.subject, key) {
        // its node was cut off first
        (_, Some((_, slot))) if slot.key_type() == KeyType::NodeIdentity => {}
        (_, Some((key, slot))) => compromised(draft, id, key, &slot),
        (Subject::Node(node), _) if node.is_hub() => {
            cut_nobody(draft, id, "the hub cannot be cut off from itself");
            let summary = "keys are replaced, not revoked, without a node to exclude".to_owned();
            recovery_step(draft, id, RecoveryStep::Revoke, summary);
        }
        (Subject::Key(_), None) => {
            cut_nobody(draft, id, "no node is implicated");
            recovery_step(draft, id, RecoveryStep::Revoke, "the key is destroyed already".to_owned());
        }
        _ => {}
    }
    rekey(draft, id);
}

fn cut_nobody(draft: &mut Draft<'_>, id: IncidentId, summary: &str) {
    recovery_step(draft, id, RecoveryStep::Isolate, summary.to_owned());
}

fn compromised(draft: &mut Draft<'_>, id: IncidentId, key: KeyId, slot: &Slot) {
    cut_nobody(draft, id, "no node is implicated: the channel of the key is cut with it");
    if slot.key_type() == KeyType::SovereignMaster {
        // what it wraps is wrapped anew before it goes
        rotation::rotate(draft, slot, Cause::Emergency);
    } else if slot.key_type() == KeyType::MeshSession && draft.is_live(key) {
        rotation::withdraw(draft, key, slot);
        rotation::revoke_slot(draft, slot);
    } else {
        rotation::withdraw(draft, key, slot);
    }
    recovery_step(draft, id, RecoveryStep::Revoke, format!("key {key} revoked at every participant"));
}

/// Begins with the ordered new keys of as many pairs as fit this step.
fn rekey(draft: &mut Draft<'_>, id: IncidentId) {
    let (begun, total) = rotate_slots(draft, Some(KeyType::MeshSession), Cause::Emergency, false);
    let summary = format!("new keys for {total} pairs ordered, {begun} of them in this entry");
    recovery_step(draft, id, RecoveryStep::ReKey, summary);
}

/// Begins the ordered rotation of as many slots as fit this step; ticks go on with the rest.
/// Returns how many were begun, and how many there are.
pub(crate) fn rotate_slots(
    draft: &mut Draft<'_>,
    key_type: Option<KeyType>,
    cause: Cause,
    revoke: bool,
) -> (usize, usize) {
    let state = draft.state;
    let (mut begun, mut total) = (0, 0);
    for slot in state.slots().keys().filter(|slot| crate::state::in_scope(key_type, slot)) {
        let Some((id, key)) = state.current(slot) else { continue };
        // what an earlier decision of this step moved is in hand already
        let untouched = draft.key_state(id) == Some(key.state);
        if draft.any_isolated(slot) || !untouched {
            continue;
        }
        let revoking = revoke && slot.key_type() == KeyType::MeshSession;
        let ready = revoking || (state.all_online(slot) && key.state == Some(KeyState::Active));
        if !ready {
            continue;
        }
        total += 1;
        if total > begun + 1 || !draft.spend() {
            continue;
        }
        begun += 1;
        if revoking { rotation::revoke_slot(draft, slot) } else { rotation::rotate(draft, slot, cause) }
    }
    (begun, total)
}

/// Takes a node's forwards out of the segment (SM-08c).
fn reroute(draft: &mut Draft<'_>, id: IncidentId, node: &NodeId) {
    draft.record(responded(id, &Response::Reroute(node.clone())));
    let mut told = std::collections::BTreeSet::new();
    for (forward, spec) in draft.state.forwards_of(node) {
        draft.record(Record::ForwardRemoved { id: forward });
        told.extend([spec.node.clone(), spec.to.clone()]);
    }
    told.retain(|one| !draft.is_isolated(one));
    if !told.is_empty() {
        draft.effect(Effect::Forwards(told.into_iter().collect()));
    }
}
