//! How keys of a slot succeed each other: staging, activation, rotation, revocation.

use types::mesh::{Delivery, KeyState, KeyType};
use types::{Hash, KeyId, NodeId};

use crate::draft::Draft;
use crate::key::KeyEvent;
use crate::record::{Cause, Record};
use crate::state::keys::{Key, Slot};

/// Puts a staged key in use and asks for the one after it.
pub(crate) fn activate(draft: &mut Draft<'_>, slot: &Slot, id: KeyId, cause: Cause) {
    if !draft.transition(id, KeyEvent::Activate, cause) {
        return;
    }
    let replaces = draft.state.current(slot).map(|(id, _)| id).filter(|id| draft.is_live(*id));
    draft.tell_activate(id, slot, replaces);
    if slot.key_type() == KeyType::MeshSession && draft.state.all_online(slot) {
        draft.want(slot, Cause::Schedule);
    }
}

/// Begins the rotation of a slot, and completes it where the replacement is staged. The key in use
/// stays in use until the replacement is, and through the overlap (KM-06).
pub(crate) fn rotate(draft: &mut Draft<'_>, slot: &Slot, cause: Cause) {
    if let Some((id, key)) = draft.state.current(slot)
        && key.state == Some(KeyState::Active)
    {
        draft.transition(id, KeyEvent::Replace, cause);
    }
    bring(draft, slot, cause);
}

/// Activates the staged key of a slot; where there is none on its way, asks for one.
pub(crate) fn bring(draft: &mut Draft<'_>, slot: &Slot, cause: Cause) {
    match draft.state.upcoming(slot) {
        Some((id, key)) if key.is_staged() => activate(draft, slot, id, cause),
        Some(_) => {}
        None if !matches!(slot.key_type(), KeyType::MeshSession | KeyType::SovereignMaster) => {}
        None if draft.state.all_online(slot) => {
            draft.want(slot, cause);
        }
        None => {}
    }
}

/// Takes a key out of the world because an adversary may know it: out of use and purged where it
/// is live, destroyed where it is on its way or archived.
pub(crate) fn withdraw(draft: &mut Draft<'_>, id: KeyId, slot: &Slot) -> bool {
    match draft.key_state(id) {
        None | Some(Some(KeyState::Revoked | KeyState::Destroyed)) => false,
        Some(None) => draft.transition(id, KeyEvent::MakeFailed, Cause::Emergency),
        Some(Some(KeyState::Generated | KeyState::Distributed)) => fail(draft, id, slot),
        Some(Some(KeyState::Active | KeyState::Rotating)) => {
            let moved = draft.transition(id, KeyEvent::Compromised, Cause::Emergency);
            let nodes = draft.remaining(slot);
            if moved && !nodes.is_empty() {
                draft.tell_purge(id, nodes);
            }
            moved
        }
        Some(Some(KeyState::Retired)) => {
            let moved = draft.transition(id, KeyEvent::Compromised, Cause::Emergency);
            if moved {
                draft.tell_destroy(id, slot);
            }
            moved
        }
    }
}

/// Ends a distribution without success: the key is destroyed, its slot asks for another (KM-02).
pub(crate) fn fail(draft: &mut Draft<'_>, id: KeyId, slot: &Slot) -> bool {
    let moved = draft.transition(id, KeyEvent::DistributionFailed, Cause::DistributionFailure);
    if moved {
        draft.tell_destroy(id, slot);
    }
    moved
}

/// Revokes every live key of a slot, the one in use last, then brings the staged one in use (KM-12).
/// Where a step has no room for all of them, the order stands until the one in use is revoked.
pub(crate) fn revoke_slot(draft: &mut Draft<'_>, slot: &Slot) {
    let current = draft.state.current(slot).map(|(id, _)| id);
    let mut keys = live_keys(draft, slot);
    keys.sort_by_key(|id| (Some(*id) == current, *id));
    for (at, id) in keys.into_iter().enumerate() {
        if at > 0 && !draft.spend() {
            return;
        }
        withdraw(draft, id, slot);
    }
    if draft.state.all_online(slot) {
        bring(draft, slot, Cause::Emergency);
    }
}

pub(crate) fn live_keys(draft: &Draft<'_>, slot: &Slot) -> Vec<KeyId> {
    let keys = draft.state.slot(slot).map(|succession| succession.keys.iter().copied());
    keys.into_iter().flatten().filter(|id| draft.is_live(*id)).collect()
}

/// Records the whole way of a key that its participants hold already, proven by `commitment`: an
/// identity, the log's signing key, the keys of a session that is up, the bits of a quantum link.
pub(crate) fn enter(draft: &mut Draft<'_>, slot: &Slot, commitment: Hash, mixed: Option<Delivery>) -> KeyId {
    let key = draft.want_known(slot, Cause::Schedule);
    draft.transition(key, KeyEvent::Made, Cause::Schedule);
    draft.transition(key, KeyEvent::Sent, Cause::Schedule);
    for node in slot.participants() {
        draft.record(Record::KeyConfirmed { key, node: node.clone(), commitment, mixed });
    }
    draft.transition(key, KeyEvent::Activate, Cause::Confirmed);
    key
}

/// Ends a key whose session or link is gone, along the drawn way and at once.
pub(crate) fn end(draft: &mut Draft<'_>, slot: &Slot) {
    for id in live_keys(draft, slot) {
        draft.transition(id, KeyEvent::Replace, Cause::Ended);
        draft.transition(id, KeyEvent::Retire, Cause::Ended);
        draft.transition(id, KeyEvent::Expire, Cause::Ended);
    }
}

/// The participant a failed distribution points at: the first that did not confirm.
pub(crate) fn laggard(key: &Key) -> Option<NodeId> {
    let mut held = key.slot.participants().iter().zip(&key.holders);
    held.find(|(node, holder)| !holder.confirmed && !node.is_hub()).map(|(node, _)| node.clone())
}
