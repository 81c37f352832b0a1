//! When keys and slots are due for something, in one ordered index: a tick looks at what is due
//! and at nothing else.

use std::collections::BTreeSet;

use types::mesh::{KeyState, KeyType, NodeState};
use types::{KeyId, Millis, NodeId, Timestamp};

use super::State;
use super::keys::{Key, Slot, Succession};
use crate::record::Cause;

/// The moment that is always past: due at once.
const AT_ONCE: Timestamp = Timestamp::from_millis(0);

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Work {
    /// A key: its time-out, its overlap or its retention is over, or it must go.
    Key(KeyId),
    /// A slot: it wants a key, or its key has had its time.
    Slot(Slot),
}

/// Everything that is due some day, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct DueIndex(BTreeSet<(Timestamp, Work)>);

impl DueIndex {
    fn replace(&mut self, work: Work, old: Option<Timestamp>, new: Option<Timestamp>) {
        if old == new {
            return;
        }
        if let Some(at) = old {
            self.0.remove(&(at, work.clone()));
        }
        if let Some(at) = new {
            self.0.insert((at, work));
        }
    }
}

impl State {
    /// What is due at `now`, the longest overdue first.
    pub(crate) fn due(&self, now: Timestamp) -> impl Iterator<Item = &Work> {
        self.due.0.iter().take_while(move |(at, _)| *at <= now).map(|(_, work)| work)
    }

    /// When the next key, slot or quarantine is due; held requests and grants are not counted.
    pub fn next_due(&self) -> Option<Timestamp> {
        let lapses = self.quarantines.active().values().map(|one| one.until);
        self.due.0.first().map(|(at, _)| *at).into_iter().chain(lapses).min()
    }

    /// Brings the index up to date with a slot and every key in it.
    pub(super) fn reindex(&mut self, slot: &Slot) {
        let Some(succession) = self.slots.get(slot) else { return };
        let keys: Vec<KeyId> = succession.keys.iter().copied().collect();
        for id in keys {
            self.reindex_key(id);
        }
        self.reindex_slot(slot);
    }

    pub(super) fn reindex_key(&mut self, id: KeyId) {
        let Some(key) = self.keys.get(&id) else { return };
        let new = self.key_due(key);
        let old = key.due;
        if let Some(key) = self.keys.get_mut(&id) {
            key.due = new;
        }
        self.due.replace(Work::Key(id), old, new);
    }

    pub(super) fn reindex_slot(&mut self, slot: &Slot) {
        let Some(succession) = self.slots.get(slot) else { return };
        let new = self.slot_due(slot, succession);
        let old = succession.due;
        if let Some(succession) = self.slots.get_mut(slot) {
            succession.due = new;
        }
        self.due.replace(Work::Slot(slot.clone()), old, new);
    }

    /// Takes a key that is no more out of the index.
    pub(super) fn unindex_key(&mut self, id: KeyId, due: Option<Timestamp>) {
        self.due.replace(Work::Key(id), due, None);
    }

    fn key_due(&self, key: &Key) -> Option<Timestamp> {
        let settings = &self.boundary.as_ref()?.settings;
        let state = key.state;
        if state == Some(KeyState::Revoked) {
            return self.is_purged(key).then_some(AT_ONCE);
        }
        if self.any_isolated(&key.slot) {
            return Some(AT_ONCE);
        }
        match state {
            None | Some(KeyState::Generated) => Some(key.since + settings.distribution_timeout),
            Some(KeyState::Distributed) if key.is_staged() => None,
            Some(KeyState::Distributed) => Some(key.since + settings.distribution_timeout),
            Some(KeyState::Active | KeyState::Revoked | KeyState::Destroyed) => None,
            Some(KeyState::Rotating) => key.replaced_at.map(|at| at + settings.overlap),
            Some(KeyState::Retired) => Some(key.since + settings.retention),
        }
    }

    fn slot_due(&self, slot: &Slot, succession: &Succession) -> Option<Timestamp> {
        if self.any_isolated(slot) {
            return None;
        }
        let current = succession.current.and_then(|id| self.keys.get(&id));
        if succession.order.is_some_and(|order| order.revokes(slot)) && current.is_some() {
            return Some(AT_ONCE);
        }
        if !self.all_online(slot) {
            return None;
        }
        let next = succession.next.and_then(|id| self.keys.get(&id));
        let active = current.filter(|key| key.state == Some(KeyState::Active));
        let ordered = succession.order.is_some();
        if next.is_some_and(Key::is_staged) && (active.is_none() || ordered) {
            return Some(AT_ONCE);
        }
        let rotation = match active {
            Some(_) if ordered => Some(AT_ONCE),
            Some(key) => self.life(slot.key_type()).map(|life| key.since + life),
            None => None,
        };
        let wanted = (next.is_none() && Self::wants(slot.key_type(), current)).then_some(succession.retry_at);
        match (rotation, wanted) {
            (Some(rotation), Some(wanted)) => Some(rotation.min(wanted)),
            (one, other) => one.or(other),
        }
    }

    /// Whether a slot of this kind asks for a key by itself, given the key it uses.
    pub(crate) fn wants(key_type: KeyType, current: Option<&Key>) -> bool {
        match key_type {
            // one in use and one staged, always (KM-12)
            KeyType::MeshSession => true,
            KeyType::SovereignMaster => current.is_none_or(|key| key.state == Some(KeyState::Rotating)),
            // made outside: known by their fingerprint from admission or creation on
            KeyType::NodeIdentity | KeyType::AuditSigning => current.is_none(),
            // made by what they belong to
            KeyType::QkdTransport | KeyType::EphemeralSession => false,
        }
    }

    /// How long a key of this kind is used before its rotation; `None` where something else ends it.
    pub fn life(&self, key_type: KeyType) -> Option<Millis> {
        let settings = &self.boundary.as_ref()?.settings;
        match key_type {
            KeyType::SovereignMaster => Some(settings.master_life),
            KeyType::MeshSession => Some(settings.refresh),
            KeyType::NodeIdentity => Some(settings.identity_life),
            KeyType::AuditSigning => Some(settings.audit_life),
            KeyType::QkdTransport | KeyType::EphemeralSession => None,
        }
    }

    /// Whether a node is cut off.
    pub fn is_isolated(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|node| node.state == NodeState::Isolated)
    }

    /// Whether a participant can be reached; the hub always can.
    pub(crate) fn is_online(&self, node: &NodeId) -> bool {
        node.is_hub() || self.nodes.get(node).is_some_and(|node| node.state == NodeState::Online)
    }

    pub(crate) fn any_isolated(&self, slot: &Slot) -> bool {
        slot.participants().iter().any(|node| self.is_isolated(node))
    }

    /// Whether a slot's participants can take and use keys. A fingerprint needs nobody's presence.
    pub(crate) fn all_online(&self, slot: &Slot) -> bool {
        match slot.key_type() {
            KeyType::NodeIdentity | KeyType::AuditSigning => true,
            _ => slot.participants().iter().all(|node| self.is_online(node)),
        }
    }

    /// Whether everyone who must erase a revoked key has. An isolated node is not asked: nothing
    /// it says counts. A revoked identity stays on the books until its node is restored.
    pub(crate) fn is_purged(&self, key: &Key) -> bool {
        let mut held = key.slot.participants().iter().zip(&key.holders);
        match key.slot.key_type() {
            KeyType::NodeIdentity => held.all(|(node, _)| !self.is_isolated(node)),
            _ => held.all(|(node, holder)| holder.purged || self.is_isolated(node)),
        }
    }
}

impl super::keys::Order {
    /// Whether the key in use is revoked first (KM-12); part of a recovery, it is replaced with
    /// overlap, so that the traffic of pairs that were not hit never stops. The master key always
    /// has an overlap: what it wraps is wrapped anew before it goes.
    pub(crate) fn revokes(&self, slot: &Slot) -> bool {
        slot.key_type() == KeyType::MeshSession && self.cause == Cause::Emergency && self.incident.is_none()
    }
}
