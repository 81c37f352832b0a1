//! The last steps of a recovery (KM-13): VERIFY once every remaining node confirmed what it had to
//! do, REPORT once each proved the keys it uses now.

use types::mesh::{KeyState, NodeState, Subject};
use types::{IncidentId, KeyId, NodeId, Timestamp};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::record::{Record, RecoveryStep, Response};
use crate::state::State;
use crate::state::incident::{Incident, ResponseState, Unproven};

fn under_way(state: &State) -> impl Iterator<Item = (IncidentId, &Incident)> {
    state.open_incidents().filter(|(_, incident)| incident.recovery.is_under_way())
}

/// An acknowledgement came in: what it completes is seen by the tick that follows.
pub(crate) fn touch(draft: &mut Draft<'_>) {
    if under_way(draft.state).next().is_some() {
        draft.continue_at_once();
    }
}

/// Takes every recovery that is ready to its next step.
pub(crate) fn advance(draft: &mut Draft<'_>) {
    let state = draft.state;
    for (id, incident) in under_way(state) {
        match &incident.recovery.unproven {
            None if confirmed(state, id, incident) => verify(draft, id),
            None => {}
            Some(unproven) if outstanding(state, unproven).next().is_none() => report(draft, id, incident),
            Some(_) => {}
        }
    }
}

fn verify(draft: &mut Draft<'_>, id: IncidentId) {
    let keys = draft.state.provable();
    draft.record(Record::VerifyOrdered { incident: id });
    let keys = keys.into_iter().map(|(node, keys)| (node, keys.into_iter().collect())).collect();
    draft.effect(Effect::Verify { incident: id, keys });
    // where nobody is left to prove anything, the tick that follows reports
    draft.continue_at_once();
}

fn report(draft: &mut Draft<'_>, id: IncidentId, incident: &Incident) {
    let online = draft.state.nodes().values().filter(|node| node.state == NodeState::Online).count();
    let summary = format!("{online} remaining nodes proved the keys they use");
    draft.record(Record::Recovery { incident: id, step: RecoveryStep::Verify, summary });
    let since = incident.recovery.steps.get(&RecoveryStep::Detect).copied().unwrap_or(incident.opened);
    let summary = format!("{} recovered in {} ms", incident.subject, draft.now.since(since).get());
    draft.record(Record::Recovery { incident: id, step: RecoveryStep::Report, summary });
}

/// Whether every remaining node that can be reached purged what was revoked, cut off who was
/// isolated, and uses the new keys.
fn confirmed(state: &State, id: IncidentId, incident: &Incident) -> bool {
    let waits_for_key = |incident: Option<IncidentId>| incident.is_some_and(|other| other >= id);
    let rekeyed = state
        .slots()
        .iter()
        .filter(|(_, succession)| waits_for_key(succession.rekey))
        .all(|(slot, _)| state.any_isolated(slot) || !state.all_online(slot));
    rekeyed && isolations(incident).all(|(node, at)| cut_off(state, incident, node, at)) && key_gone(state, incident)
}

fn isolations(incident: &Incident) -> impl Iterator<Item = (&NodeId, Timestamp)> {
    let at = incident.recovery.steps.get(&RecoveryStep::Isolate).copied().unwrap_or(incident.opened);
    incident.responses.iter().filter_map(move |(response, state)| match (response, state) {
        (Response::IsolateNode(node), ResponseState::Done) => Some((node, at)),
        _ => None,
    })
}

fn cut_off(state: &State, incident: &Incident, node: &NodeId, at: Timestamp) -> bool {
    if !state.is_isolated(node) {
        // restored meanwhile: nothing is left to confirm
        return true;
    }
    // a node that connected later learned it from the roster
    let told = state.nodes().iter().filter(|(_, one)| one.state == NodeState::Online && one.since <= at);
    let acknowledged = told.map(|(id, _)| id).all(|id| incident.recovery.cut_off_by.contains(id));
    acknowledged
        && state.slots_of(node).iter().filter_map(|slot| state.slot(slot)).all(|succession| {
            succession.keys.iter().filter_map(|id| state.key(*id)).all(|key| purged_by_reachable(state, key))
        })
}

fn purged_by_reachable(state: &State, key: &crate::state::keys::Key) -> bool {
    let reachable = |node: &NodeId| !state.is_isolated(node) && state.is_online(node);
    let mut held = key.slot.participants().iter().zip(&key.holders);
    key.state == Some(KeyState::Revoked) && held.all(|(node, holder)| holder.purged || !reachable(node))
}

fn key_gone(state: &State, incident: &Incident) -> bool {
    let Subject::Key(key) = &incident.subject else { return true };
    state.key(*key).is_none_or(|key| key.state != Some(KeyState::Revoked) || purged_by_reachable(state, key))
}

/// What reachable nodes have yet to prove of keys that are still in use.
fn outstanding<'s>(state: &'s State, unproven: &'s Unproven) -> impl Iterator<Item = (&'s NodeId, KeyId)> {
    let keys = unproven.keys.iter().filter(|(node, _)| state.is_online(node) && !state.is_isolated(node));
    let keys = keys.flat_map(|(node, keys)| keys.iter().map(move |key| (node, *key)));
    keys.filter(|(_, key)| state.key(*key).is_some_and(crate::state::keys::Key::is_live))
}

/// A node proved keys in use: whatever recovery waits for them has them.
pub(crate) fn proven(draft: &mut Draft<'_>, node: &NodeId, keys: &[KeyId]) {
    let state = draft.state;
    for (id, incident) in under_way(state) {
        let Some(awaited) = incident.recovery.unproven.as_ref().and_then(|unproven| unproven.keys.get(node)) else {
            continue;
        };
        let keys: Vec<KeyId> = keys.iter().copied().filter(|key| awaited.contains(key)).collect();
        if !keys.is_empty() {
            draft.record(Record::KeysProven { incident: id, node: node.clone(), keys });
            draft.continue_at_once();
        }
    }
}

/// Asks a node that came back what it has yet to prove.
pub(crate) fn ask_again(draft: &mut Draft<'_>, node: &NodeId) {
    let state = draft.state;
    for (id, incident) in under_way(state) {
        let awaited = incident.recovery.unproven.as_ref().and_then(|unproven| unproven.keys.get(node));
        let live = |key: &&KeyId| state.key(**key).is_some_and(crate::state::keys::Key::is_live);
        let keys: Vec<KeyId> = awaited.into_iter().flatten().filter(live).copied().collect();
        if !keys.is_empty() {
            draft.effect(Effect::Verify { incident: id, keys: vec![(node.clone(), keys)] });
        }
    }
}
