//! Who belongs to the mesh and who is there.

use types::limits::KEYS_PER_STEP;
use types::mesh::{ForwardSpec, KeyState, NodeState, Subject};
use types::{Hash, LinkId, NodeId};

use crate::draft::Draft;
use crate::effect::Effect;
use crate::event::NodeSpec;
use crate::record::{QuarantineEnd, Record, Refusal};
use crate::state::State;
use crate::state::keys::Slot;
use crate::{break_glass, recovery, rotation};

/// Longest address of a forward, in bytes.
const ADDRESS_LEN: usize = 255;

/// A session is up. Where one was up already, it takes its place.
pub(crate) fn up(draft: &mut Draft<'_>, id: &NodeId, session: Hash) {
    let Some(node) = draft.state.node(id).filter(|node| node.state != NodeState::Isolated) else {
        return draft.refuse(Refusal::NoSuchNode);
    };
    let since = node.since;
    rotation::end(draft, &Slot::session(id));
    draft.record(Record::NodeMoved { node: id.clone(), to: NodeState::Online, epoch: draft.state.epoch() });
    rotation::enter(draft, &Slot::session(id), session, None);
    tell_missed(draft, id, since);
    if draft.state.forwards_of(id).next().is_some() {
        draft.effect(Effect::Forwards(vec![id.clone()]));
    }
    draft.effect(Effect::Saes(vec![id.clone()]));
    recovery::ask_again(draft, id);
    draft.continue_at_once();
}

/// What a node may not have heard while it was away: activations, revocations, retirements.
fn tell_missed(draft: &mut Draft<'_>, id: &NodeId, since: types::Timestamp) {
    let state = draft.state;
    for slot in state.slots_of(id) {
        let Some(succession) = state.slot(&slot) else { continue };
        for (key_id, key) in succession.keys.iter().filter_map(|key| Some((*key, state.key(*key)?))) {
            let Some(holder) = key.holder(id) else { continue };
            match key.state {
                Some(KeyState::Revoked) if !holder.purged => draft.tell_purge(key_id, vec![id.clone()]),
                Some(KeyState::Active) if !holder.in_use && is_acknowledged(&slot) => {
                    draft.tell_activate_one(key_id, id, key.replaces);
                }
                Some(KeyState::Retired) if key.since >= since => draft.tell_retire(key_id, vec![id.clone()]),
                _ => {}
            }
        }
    }
}

/// Whether nodes are told to use keys of this slot.
fn is_acknowledged(slot: &Slot) -> bool {
    slot.key_type() == types::mesh::KeyType::MeshSession
}

/// A session is gone.
pub(crate) fn down(draft: &mut Draft<'_>, id: &NodeId) {
    let Some(node) = draft.state.node(id) else { return draft.refuse(Refusal::NoSuchNode) };
    if node.state != NodeState::Online {
        return;
    }
    draft.record(Record::NodeMoved { node: id.clone(), to: NodeState::Offline, epoch: draft.state.epoch() });
    rotation::end(draft, &Slot::session(id));
    recovery::touch(draft);
}

/// A node has cut another off.
pub(crate) fn isolation_seen(draft: &mut Draft<'_>, by: &NodeId, node: &NodeId, epoch: u64) {
    let state = draft.state;
    if state.node(by).is_none() || state.node(node).is_none() || epoch > state.epoch() {
        return draft.refuse(Refusal::NoSuchNode);
    }
    if state.is_isolated(by) || state.node(node).is_none_or(|node| epoch < node.epoch) {
        return;
    }
    let unseen = |incident: &crate::state::incident::Incident| {
        incident.isolates(node) && !incident.recovery.cut_off_by.contains(by)
    };
    if state.open_incidents().any(|(_, incident)| unseen(incident)) {
        draft.record(Record::IsolationSeen { by: by.clone(), node: node.clone(), epoch });
        recovery::touch(draft);
    }
}

/// Admits a node with its quantum links.
pub(crate) fn admit(draft: &mut Draft<'_>, spec: &NodeSpec, links: &[LinkId]) {
    if let Err(refusal) = check_admit(draft.state, spec) {
        return draft.refuse(refusal);
    }
    let other = |link: &LinkId| if *link.a() == spec.id { link.b().clone() } else { link.a().clone() };
    let fits = |link: &LinkId| link.has(&spec.id) && exists(draft.state, &other(link));
    if links.len() > KEYS_PER_STEP || !links.iter().all(fits) {
        return draft.refuse(Refusal::OutOfBounds);
    }
    draft.record(Record::NodeAdmitted { node: spec.clone(), links: links.to_vec() });
    draft.continue_at_once();
}

/// Why a node cannot be admitted: its name, or its identity, is another's.
pub(crate) fn check_admit(state: &State, spec: &NodeSpec) -> Result<(), Refusal> {
    if spec.id.is_hub() || state.node(&spec.id).is_some() {
        return Err(Refusal::NameTaken);
    }
    if state.nodes().values().any(|known| known.spec.identity == spec.identity) {
        return Err(Refusal::IdentityTaken);
    }
    Ok(())
}

fn exists(state: &State, node: &NodeId) -> bool {
    node.is_hub() || state.node(node).is_some()
}

/// Brings an isolated node back. It gets new keys; none of the old ones come back.
pub(crate) fn restore(draft: &mut Draft<'_>, id: &NodeId) {
    if draft.state.node(id).is_none_or(|node| node.state != NodeState::Isolated) {
        return draft.refuse(Refusal::NoSuchNode);
    }
    break_glass::end(draft, &Subject::Node(id.clone()), QuarantineEnd::Lifted, None);
    break_glass::readmit(draft, id, draft.state.epoch() + 1);
}

/// Whether a forward can be: two admitted nodes, two addresses.
pub(crate) fn forward_is_possible(state: &State, spec: &ForwardSpec) -> bool {
    let address = |text: &str| {
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        text.len() <= ADDRESS_LEN && matches!(port, Some(Ok(_)))
    };
    spec.node != spec.to
        && state.node(&spec.node).is_some()
        && state.node(&spec.to).is_some()
        && address(&spec.listen)
        && address(&spec.connect)
}
