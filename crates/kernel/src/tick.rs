//! What time brings: everything that is due, in order, up to the bound of a step.

use types::mesh::{KeyState, KeyType, SignalKind, Subject};
use types::{KeyId, NodeId};

use crate::draft::Draft;
use crate::key::KeyEvent;
use crate::record::{Cause, Principal};
use crate::state::due::Work;
use crate::state::keys::{Key, Slot};
use crate::{access, break_glass, operators, recovery, rotation, sentinel};

pub(crate) fn tick(draft: &mut Draft<'_>) {
    access::expire(draft);
    break_glass::lapse(draft);
    operators::tend(draft);
    let state = draft.state;
    for work in state.due(draft.now) {
        if !draft.spend() {
            break;
        }
        match work {
            Work::Key(id) => {
                if let Some(key) = state.key(*id) {
                    key_due(draft, *id, key);
                }
            }
            Work::Slot(slot) => slot_due(draft, slot),
        }
    }
    recovery::advance(draft);
}

fn key_due(draft: &mut Draft<'_>, id: KeyId, key: &Key) {
    let slot = &key.slot;
    if key.state == Some(KeyState::Revoked) {
        draft.transition(id, KeyEvent::PurgedEverywhere, Cause::Purged);
        return;
    }
    if draft.state.any_isolated(slot) {
        rotation::withdraw(draft, id, slot);
        return;
    }
    match key.state {
        None => {
            draft.transition(id, KeyEvent::MakeFailed, Cause::DistributionFailure);
        }
        Some(KeyState::Generated | KeyState::Distributed) => {
            rotation::fail(draft, id, slot);
            overdue(draft, key);
        }
        Some(KeyState::Rotating) => {
            if draft.transition(id, KeyEvent::Retire, Cause::OverlapElapsed) {
                draft.tell_retire(id, slot.participants().to_vec());
            }
        }
        Some(KeyState::Retired) => {
            if draft.transition(id, KeyEvent::Expire, Cause::RetentionElapsed) {
                draft.tell_destroy(id, slot);
            }
        }
        Some(KeyState::Active | KeyState::Revoked | KeyState::Destroyed) => {}
    }
}

/// A distribution that ran out of time points at whoever did not answer; more surely each time.
fn overdue(draft: &mut Draft<'_>, key: &Key) {
    let failures = draft.state.slot(&key.slot).map_or(0, |succession| succession.failures);
    let subject = rotation::laggard(key).unwrap_or_else(NodeId::hub);
    if !draft.state.is_online(&subject) {
        // it is away, or cut off: that it does not answer says nothing of it
        return;
    }
    let confidence = sentinel::distribution_confidence(failures);
    let hub = Principal::Node(NodeId::hub());
    sentinel::note(draft, &hub, &Subject::Node(subject), SignalKind::DistributionFailure, confidence);
}

fn slot_due(draft: &mut Draft<'_>, slot: &Slot) {
    let state = draft.state;
    let Some(succession) = state.slot(slot) else { return };
    let order = succession.order;
    if order.is_some_and(|order| order.revokes(slot)) {
        rotation::revoke_slot(draft, slot);
        return;
    }
    let (current, next) = (state.current(slot), state.upcoming(slot));
    let active = current.filter(|(_, key)| key.state == Some(KeyState::Active));
    let over = |(_, key): (KeyId, &Key)| state.life(slot.key_type()).is_some_and(|life| key.since + life <= draft.now);
    let staged = next.is_some_and(|(_, key)| key.is_staged());
    if let Some(order) = order {
        rotation::rotate(draft, slot, order.cause);
    } else if active.is_some_and(over) {
        renew(draft, slot);
    } else if staged {
        let cause = current.map_or(Cause::Schedule, |(_, key)| key.cause);
        rotation::rotate(draft, slot, cause);
    } else if next.is_none() {
        first(draft, slot);
    }
}

/// A key had its time. What the kernel cannot have made anew stays in use, and someone is told.
fn renew(draft: &mut Draft<'_>, slot: &Slot) {
    rotation::rotate(draft, slot, Cause::Schedule);
    if let (KeyType::NodeIdentity | KeyType::AuditSigning, Some((id, _))) = (slot.key_type(), draft.state.current(slot))
    {
        let hub = Principal::Node(NodeId::hub());
        sentinel::note(draft, &hub, &Subject::Key(id), SignalKind::Telemetry, 1_000_000);
    }
}

fn first(draft: &mut Draft<'_>, slot: &Slot) {
    let Some(boundary) = draft.state.boundary() else { return };
    match slot.key_type() {
        KeyType::AuditSigning => {
            rotation::enter(draft, slot, boundary.audit_key, None);
        }
        KeyType::NodeIdentity => {
            let node = slot.participants().first().and_then(|node| draft.state.node(node));
            if let Some(node) = node {
                rotation::enter(draft, slot, node.spec.identity, None);
            }
        }
        KeyType::MeshSession | KeyType::SovereignMaster => {
            draft.want(slot, Cause::Schedule);
        }
        KeyType::QkdTransport | KeyType::EphemeralSession => {}
    }
}
