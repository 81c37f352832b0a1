//! The fold over keys.

use types::mesh::{Delivery, KeyState, KeyType};
use types::{Hash, IncidentId, KeyId, Millis, NodeId};

use super::State;
use super::keys::{Holder, Key, Order, Slot};
use crate::event::KeyUsage;
use crate::record::Cause;

/// First wait after a failed distribution; it doubles with every further one.
const FIRST_RETRY: Millis = Millis::new(250);

/// Longest wait between two distributions to the same participants.
const LAST_RETRY: Millis = Millis::from_secs(60);

impl State {
    pub(super) fn want(&mut self, id: KeyId, slot: Slot, cause: Cause) {
        self.next.key = self.next.key.max(id.get().saturating_add(1));
        self.forget(id);
        let succession = self.slots.entry(slot.clone()).or_default();
        succession.next = Some(id);
        succession.keys.insert(id);
        // one name for the slot in memory, however many keys it has
        let slot = self.slots.get_key_value(&slot).map_or(slot, |(known, _)| known.clone());
        self.keys.insert(id, Key::wanted(slot.clone(), cause, self.clock));
        self.reindex_key(id);
        self.reindex_slot(&slot);
    }

    pub(super) fn abandon(&mut self, id: KeyId) {
        if let Some(slot) = self.forget(id) {
            self.fail(id, &slot);
            self.reindex_slot(&slot);
        }
    }

    pub(super) fn move_key(&mut self, id: KeyId, to: KeyState, cause: Cause) {
        let now = self.clock;
        let Some(key) = self.keys.get_mut(&id) else { return };
        (key.state, key.cause, key.since) = (Some(to), cause, now);
        let slot = key.slot.clone();
        match to {
            KeyState::Generated | KeyState::Distributed => {}
            KeyState::Active => self.succeed(id, &slot),
            KeyState::Rotating => self.begin(id, &slot),
            KeyState::Retired => self.vacate(id, &slot),
            KeyState::Revoked => {
                self.begin(id, &slot);
                self.vacate(id, &slot);
            }
            KeyState::Destroyed => {
                *self.destroyed.entry(slot.key_type()).or_default() += 1;
                self.forget(id);
                self.vacate(id, &slot);
                self.fail(id, &slot);
            }
        }
        self.reindex_key(id);
        self.reindex_slot(&slot);
    }

    /// A new key is in use; the one before is replaced.
    fn succeed(&mut self, id: KeyId, slot: &Slot) {
        let Some(succession) = self.slots.get_mut(slot) else { return };
        let before = succession.current.replace(id).filter(|before| *before != id);
        succession.next = succession.next.filter(|next| *next != id);
        (succession.order, succession.failures) = (None, 0);
        if let Some(key) = self.keys.get_mut(&id) {
            key.replaces = before;
        }
    }

    /// The ordered rotation has begun, where it is the key in use that moved.
    fn begin(&mut self, id: KeyId, slot: &Slot) {
        if let Some(succession) = self.slots.get_mut(slot)
            && succession.current == Some(id)
        {
            succession.order = None;
        }
    }

    fn vacate(&mut self, id: KeyId, slot: &Slot) {
        if let Some(succession) = self.slots.get_mut(slot) {
            succession.current = succession.current.filter(|current| *current != id);
        }
    }

    /// Where `id` was to be the next key of its slot, another is asked for after a while.
    fn fail(&mut self, id: KeyId, slot: &Slot) {
        let now = self.clock;
        let Some(succession) = self.slots.get_mut(slot) else { return };
        if succession.next != Some(id) {
            return;
        }
        let factor = 1u64.checked_shl(succession.failures.min(16)).unwrap_or(u64::MAX);
        let wait = FIRST_RETRY.get().saturating_mul(factor).min(LAST_RETRY.get());
        succession.next = None;
        succession.failures = succession.failures.saturating_add(1);
        succession.retry_at = now + Millis::new(wait);
    }

    fn forget(&mut self, id: KeyId) -> Option<Slot> {
        let key = self.keys.remove(&id)?;
        self.unindex_key(id, key.due);
        if let Some(succession) = self.slots.get_mut(&key.slot) {
            succession.keys.remove(&id);
        }
        Some(key.slot)
    }

    pub(super) fn each_holder(&mut self, node: &NodeId, keys: &[KeyId], change: impl Fn(&mut Holder)) {
        for id in keys {
            if let Some(holder) = self.keys.get_mut(id).and_then(|key| key.holder_mut(node)) {
                change(holder);
                self.reindex_key(*id);
            }
        }
    }

    pub(super) fn confirm(&mut self, id: KeyId, node: &NodeId, commitment: Hash, mixed: Option<Delivery>) {
        let Some(key) = self.keys.get_mut(&id) else { return };
        let Some(holder) = key.holder_mut(node) else { return };
        holder.confirmed = true;
        key.commitment = Some(commitment);
        key.mixed = key.mixed.max(mixed);
        let slot = key.slot.clone();
        if key.is_staged()
            && let Some(succession) = self.slots.get_mut(&slot)
        {
            succession.failures = 0;
        }
        self.reindex_key(id);
        self.reindex_slot(&slot);
    }

    pub(super) fn use_keys(&mut self, node: &NodeId, keys: &[KeyId]) {
        for id in keys {
            let Some(key) = self.keys.get_mut(id) else { continue };
            let Some(holder) = key.holder_mut(node) else { continue };
            holder.in_use = true;
            if !key.in_use_by_all() {
                continue;
            }
            let (slot, mut replaced) = (key.slot.clone(), key.replaces);
            if let Some(succession) = self.slots.get_mut(&slot)
                && succession.current == Some(*id)
                && succession.order.is_none()
            {
                succession.rekey = None;
            }
            // Where rotations follow each other faster than they are acknowledged, a key in use
            // everywhere ends all before it.
            while let Some(old) = replaced.and_then(|old| self.keys.get_mut(&old).map(|key| (old, key))) {
                let (old, key) = old;
                if key.replaced_at.is_some() {
                    break;
                }
                key.replaced_at = Some(self.clock);
                replaced = key.replaces;
                self.reindex_key(old);
            }
        }
    }

    pub(super) fn count_usage(&mut self, keys: &[KeyUsage]) {
        for used in keys {
            if let Some(key) = self.keys.get_mut(&used.key) {
                key.usage.frames = key.usage.frames.saturating_add(used.frames);
                key.usage.bytes = key.usage.bytes.saturating_add(used.bytes);
                key.usage.failures = key.usage.failures.saturating_add(used.failures);
            }
        }
    }

    pub(super) fn order(&mut self, key_type: Option<KeyType>, cause: Cause, incident: Option<IncidentId>) {
        let order = Order { cause, incident };
        let slots: Vec<Slot> = self.slots.keys().filter(|slot| in_scope(key_type, slot)).cloned().collect();
        for slot in slots {
            if self.any_isolated(&slot) {
                continue;
            }
            let current = self.slots.get(&slot).and_then(|succession| succession.current);
            let state = current.and_then(|id| self.keys.get(&id)).and_then(|key| key.state);
            let Some(succession) = self.slots.get_mut(&slot) else { continue };
            // where a rotation is under way already, the key it brings is the fresh one
            let waits = state == Some(KeyState::Active) || (state.is_some() && order.revokes(&slot));
            if waits {
                succession.order = Some(order);
            }
            if slot.key_type() == KeyType::MeshSession && incident.is_some() {
                succession.rekey = incident;
            }
            self.reindex_slot(&slot);
        }
    }
}

/// Whether an ordered rotation is about this slot.
pub(crate) fn in_scope(key_type: Option<KeyType>, slot: &Slot) -> bool {
    match key_type {
        Some(wanted) => slot.key_type() == wanted,
        None => matches!(slot.key_type(), KeyType::MeshSession | KeyType::SovereignMaster),
    }
}
