//! From a made key to a key in use at every participant, and what its participants report of it.

use std::collections::BTreeSet;

use types::limits::KEYS_PER_STEP;
use types::mesh::{Delivery, KeyState, KeyType, SignalKind, Subject};
use types::{KeyId, NodeId};

use crate::draft::Draft;
use crate::event::{KeyReceipt, KeyUsage};
use crate::key::KeyEvent;
use crate::record::{Cause, Principal, Record, Refusal};
use crate::state::keys::Key;
use crate::{recovery, rotation, sentinel};

/// Longest reason of a failure, in bytes.
const REASON_LEN: usize = 512;

/// Fewest frames that did not verify, in one report on one key, that speak for an attack.
const SUSPICIOUS_FAILURES: u64 = 8;

fn in_bounds(draft: &mut Draft<'_>, count: usize, reason: &str) -> bool {
    let fits = count <= KEYS_PER_STEP && reason.len() <= REASON_LEN;
    if !fits {
        draft.refuse(Refusal::OutOfBounds);
    }
    fits
}

/// Keys named by an event that are there, each once.
fn known<'s>(draft: &Draft<'s>, keys: &[KeyId]) -> Vec<(KeyId, &'s Key)> {
    let unique: BTreeSet<KeyId> = keys.iter().copied().collect();
    unique.into_iter().filter_map(|id| Some((id, draft.state.key(id)?))).collect()
}

fn in_state(key: &Key, states: &[KeyState]) -> bool {
    key.state.is_some_and(|state| states.contains(&state))
}

pub(crate) fn made(draft: &mut Draft<'_>, keys: &[KeyId]) {
    if !in_bounds(draft, keys.len(), "") {
        return;
    }
    let known = known(draft, keys);
    for (id, key) in &known {
        if draft.transition(*id, KeyEvent::Made, Cause::Schedule) {
            draft.deliver(*id, key);
        }
    }
    let wanted: BTreeSet<KeyId> = known.into_iter().map(|(id, _)| id).collect();
    let unwanted: BTreeSet<KeyId> = keys.iter().copied().filter(|id| !wanted.contains(id)).collect();
    if !unwanted.is_empty() {
        draft.refuse(Refusal::NoSuchKey);
        unwanted.into_iter().for_each(|id| draft.tell_erase_share(id));
    }
}

pub(crate) fn make_failed(draft: &mut Draft<'_>, keys: &[KeyId], reason: &str) {
    if !in_bounds(draft, keys.len(), reason) {
        return;
    }
    let mut failed = false;
    for (id, key) in known(draft, keys) {
        if key.state.is_none() {
            failed |= draft.transition(id, KeyEvent::MakeFailed, Cause::DistributionFailure);
        }
    }
    if failed {
        let hub = NodeId::hub();
        let (subject, kind) = (Subject::Node(hub.clone()), SignalKind::GenerationFailure);
        sentinel::note(draft, &Principal::Node(hub), &subject, kind, 950_000);
    }
}

pub(crate) fn delivered(draft: &mut Draft<'_>, node: &NodeId, delivery: Delivery, keys: &[KeyId]) {
    if !in_bounds(draft, keys.len(), "") {
        return;
    }
    let mut sent = known(draft, keys);
    sent.retain(|(_, key)| {
        let fresh = key.holder(node).is_some_and(|holder| holder.delivery.is_none());
        fresh && key.state == Some(KeyState::Generated)
    });
    if sent.is_empty() {
        return;
    }
    let ids = sent.iter().map(|(id, _)| *id).collect();
    draft.record(Record::KeysDelivered { node: node.clone(), delivery, keys: ids });
    for (id, key) in sent {
        let others = key.slot.participants().iter().zip(&key.holders).filter(|(one, _)| *one != node);
        if others.map(|(_, holder)| holder.delivery).all(|delivery| delivery.is_some()) {
            draft.transition(id, KeyEvent::Sent, Cause::Schedule);
            if key.confirmed_by_all() {
                staged(draft, id, key);
            }
        }
    }
    fell_back(draft, node, delivery);
}

/// A delivery without pad where there is a quantum link: the link could not give the bits.
fn fell_back(draft: &mut Draft<'_>, node: &NodeId, delivery: Delivery) {
    let Some(link) = types::LinkId::new(NodeId::hub(), node.clone()) else { return };
    let lacking = draft.state.link(&link).is_some_and(|link| link.proven);
    if delivery == Delivery::Kem && lacking {
        let hub = Principal::Node(NodeId::hub());
        sentinel::note(draft, &hub, &Subject::Link(link), SignalKind::PoolDry, 500_000);
    }
}

/// A key became staged: it goes in use at once where its slot waits for it.
fn staged(draft: &mut Draft<'_>, id: KeyId, key: &Key) {
    let slot = &key.slot;
    let Some(succession) = draft.state.slot(slot) else { return };
    if succession.next != Some(id) || !draft.state.all_online(slot) {
        return;
    }
    match (draft.state.current(slot), succession.order) {
        (None, _) => rotation::activate(draft, slot, id, Cause::Confirmed),
        (Some((_, old)), _) if old.state == Some(KeyState::Rotating) => {
            rotation::activate(draft, slot, id, old.cause);
        }
        (Some((old, _)), Some(order)) => {
            draft.transition(old, KeyEvent::Replace, order.cause);
            rotation::activate(draft, slot, id, order.cause);
        }
        (Some(_), None) => {}
    }
}

pub(crate) fn failed(draft: &mut Draft<'_>, node: &NodeId, keys: &[KeyId], reason: &str) {
    if !in_bounds(draft, keys.len(), reason) {
        return;
    }
    let mut worst = None;
    for (id, key) in known(draft, keys) {
        if key.holder(node).is_none() {
            continue;
        }
        let slot = &key.slot;
        let failures = draft.state.slot(slot).map_or(0, |succession| succession.failures);
        let acted = if in_state(key, &[KeyState::Generated, KeyState::Distributed]) {
            rotation::fail(draft, id, slot)
        } else if key.state == Some(KeyState::Active) && draft.state.current(slot).map(|(id, _)| id) == Some(id) {
            // a participant lost the key in use: another takes its place
            rotation::rotate(draft, slot, Cause::Trigger);
            true
        } else {
            false
        };
        if acted {
            worst = worst.max(Some(failures));
        }
    }
    if let Some(failures) = worst {
        let (hub, confidence) = (Principal::Node(NodeId::hub()), sentinel::distribution_confidence(failures));
        sentinel::note(draft, &hub, &Subject::Node(node.clone()), SignalKind::DistributionFailure, confidence);
    }
}

pub(crate) fn receipts(draft: &mut Draft<'_>, node: &NodeId, receipts: &[KeyReceipt]) {
    if !in_bounds(draft, receipts.len(), "") {
        return;
    }
    let foreign = |key: &Key| key.holder(node).is_none();
    if receipts.iter().filter_map(|receipt| draft.state.key(receipt.key)).any(foreign) {
        draft.refuse(Refusal::NoSuchKey);
        return;
    }
    let mut seen = BTreeSet::new();
    let mut proven = Vec::new();
    for receipt in receipts.iter().filter(|receipt| seen.insert(receipt.key)) {
        let Some(key) = draft.state.key(receipt.key) else { continue };
        let Some(holder) = key.holder(node) else { continue };
        let equal = key.commitment.is_none_or(|known| known == receipt.commitment);
        if in_state(key, &[KeyState::Active, KeyState::Rotating]) {
            if equal { proven.push(receipt.key) } else { unequal_in_use(draft, node, receipt.key) }
        } else if in_state(key, &[KeyState::Generated, KeyState::Distributed]) && !holder.confirmed {
            if equal { confirm(draft, node, key, receipt) } else { unequal(draft, node, key, receipt.key) }
        }
    }
    recovery::proven(draft, node, &proven);
}

fn confirm(draft: &mut Draft<'_>, node: &NodeId, key: &Key, receipt: &KeyReceipt) {
    let KeyReceipt { key: id, commitment, mixed } = receipt;
    draft.record(Record::KeyConfirmed { key: *id, node: node.clone(), commitment: *commitment, mixed: *mixed });
    let mut others = key.slot.participants().iter().zip(&key.holders).filter(|(one, _)| *one != node);
    // KM-04: in use only once every participant confirmed
    if key.state == Some(KeyState::Distributed) && others.all(|(_, holder)| holder.confirmed) {
        staged(draft, *id, key);
    }
}

/// Two participants hold different keys. Either may be the one at fault.
fn unequal(draft: &mut Draft<'_>, node: &NodeId, key: &Key, id: KeyId) {
    rotation::fail(draft, id, &key.slot);
    let source = Principal::Node(NodeId::hub());
    sentinel::note(draft, &source, &Subject::Node(node.clone()), SignalKind::KeyMismatch, 500_000);
}

/// A participant proves another key than the one in use.
fn unequal_in_use(draft: &mut Draft<'_>, node: &NodeId, id: KeyId) {
    let source = Principal::Node(node.clone());
    sentinel::note(draft, &source, &Subject::Key(id), SignalKind::KeyMismatch, 999_000);
}

pub(crate) fn activated(draft: &mut Draft<'_>, node: &NodeId, keys: &[KeyId]) {
    if !in_bounds(draft, keys.len(), "") {
        return;
    }
    let mut used = known(draft, keys);
    used.retain(|(id, key)| {
        let unused = key.holder(node).is_some_and(|holder| !holder.in_use);
        unused && (key.is_live() || renewed(draft, *id, key))
    });
    if used.is_empty() {
        return;
    }
    let keys = used.into_iter().map(|(id, _)| id).collect();
    draft.record(Record::KeysInUse { node: node.clone(), keys });
    recovery::touch(draft);
}

/// A pair brought its reserve into use while the hub was away, which both had confirmed (SM-02).
fn renewed(draft: &mut Draft<'_>, id: KeyId, key: &Key) -> bool {
    let slot = &key.slot;
    let is_reserve = draft.state.upcoming(slot).is_some_and(|(upcoming, _)| upcoming == id);
    if slot.key_type() != KeyType::MeshSession || !is_reserve || !key.is_staged() || draft.state.any_isolated(slot) {
        return false;
    }
    rotation::rotate(draft, slot, Cause::Pair);
    true
}

pub(crate) fn purged(draft: &mut Draft<'_>, node: &NodeId, keys: &[KeyId]) {
    if !in_bounds(draft, keys.len(), "") || draft.state.is_isolated(node) {
        return;
    }
    let mut gone = known(draft, keys);
    gone.retain(|(_, key)| {
        key.state == Some(KeyState::Revoked) && key.holder(node).is_some_and(|holder| !holder.purged)
    });
    if gone.is_empty() {
        return;
    }
    let ids = gone.iter().map(|(id, _)| *id).collect();
    draft.record(Record::KeysPurged { node: node.clone(), keys: ids });
    for (id, key) in gone {
        let mut after = key.clone();
        if let Some(holder) = after.holder_mut(node) {
            holder.purged = true;
        }
        if draft.state.is_purged(&after) {
            draft.transition(id, KeyEvent::PurgedEverywhere, Cause::Purged);
        }
    }
    recovery::touch(draft);
}

pub(crate) fn used(draft: &mut Draft<'_>, node: &NodeId, keys: &[KeyUsage]) {
    if !in_bounds(draft, keys.len(), "") {
        return;
    }
    let mut seen = BTreeSet::new();
    if !keys.iter().all(|used| seen.insert(used.key)) {
        return draft.refuse(Refusal::OutOfBounds);
    }
    let counted: Vec<KeyUsage> = keys
        .iter()
        .filter(|used| draft.state.key(used.key).is_some_and(|key| key.holder(node).is_some()))
        .cloned()
        .collect();
    if counted.is_empty() {
        return;
    }
    let suspicious: Vec<KeyId> =
        counted.iter().filter(|used| used.failures >= SUSPICIOUS_FAILURES).map(|used| used.key).collect();
    draft.record(Record::KeysUsed { node: node.clone(), keys: counted });
    for id in suspicious {
        let source = Principal::Node(node.clone());
        sentinel::note(draft, &source, &Subject::Key(id), SignalKind::AuthFailure, 950_000);
    }
}
