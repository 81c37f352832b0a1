//! What must hold at every step, whatever goes wrong. One function a promise.

use std::collections::BTreeMap;

use types::mesh::{KeyState, KeyType, NodeState};
use types::{Hash, KeyId, Millis, NodeId, limits};

use crate::hub::Hub;
use crate::node::Node;

/// A promise that was broken.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct Violation(String);

impl Violation {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// Everything that can be read off the hub alone.
///
/// # Errors
/// The first promise that is broken.
pub fn check(hub: &Hub) -> Result<(), Violation> {
    keys_in_use_were_confirmed_by_all(hub)?;
    a_pair_has_at_most_one_active_key(hub)?;
    an_isolated_node_holds_no_live_key(hub)?;
    an_entry_fits_its_tile(hub)
}

/// KM-04: a key protects traffic only after every participant proved that it holds it.
pub fn keys_in_use_were_confirmed_by_all(hub: &Hub) -> Result<(), Violation> {
    let pairs = hub.state().keys().iter().filter(|(_, key)| key.slot.key_type() == KeyType::MeshSession);
    for (id, key) in pairs {
        if key.is_live() && !key.confirmed_by_all() {
            return Err(Violation::new(format!("{id} of {:?} is in use and not confirmed by all", key.slot)));
        }
    }
    Ok(())
}

/// KM-01: one key of a pair is active; the one before it may still be rotating out.
pub fn a_pair_has_at_most_one_active_key(hub: &Hub) -> Result<(), Violation> {
    let mut active: BTreeMap<String, KeyId> = BTreeMap::new();
    for (id, key) in hub.state().keys() {
        if key.state == Some(KeyState::Active)
            && let Some(other) = active.insert(format!("{:?}", key.slot), *id)
        {
            return Err(Violation::new(format!("{other} and {id} are both active in {:?}", key.slot)));
        }
    }
    Ok(())
}

/// SM-02: what an isolated node took part in protects nothing any more.
pub fn an_isolated_node_holds_no_live_key(hub: &Hub) -> Result<(), Violation> {
    for (node, _) in hub.state().nodes().iter().filter(|(_, node)| node.state == NodeState::Isolated) {
        // A revocation of more keys than one step takes goes on in the steps that follow at once.
        let live =
            hub.state().keys_of(node).into_iter().filter(|id| hub.state().key(*id).is_some_and(|key| key.is_live()));
        let live: Vec<_> = live.collect();
        if !live.is_empty() && hub.state().nodes().len() < limits::KEYS_PER_STEP / 4 {
            return Err(Violation::new(format!("{node} is isolated and {live:?} are in use")));
        }
    }
    Ok(())
}

/// QT-10: every entry fits the 16-bit length of a tile.
pub fn an_entry_fits_its_tile(hub: &Hub) -> Result<(), Violation> {
    let len = hub.newest_entry_len();
    if len > limits::ENTRY_LEN {
        return Err(Violation::new(format!("an entry has {len} bytes")));
    }
    Ok(())
}

/// The state is a fold of the log: replaying gives the same bytes.
///
/// # Errors
/// [`Violation`].
pub fn replay_gives_the_same_state(hub: &Hub) -> Result<(), Violation> {
    if hub.replayed().encode() == hub.state().encode() {
        Ok(())
    } else {
        Err(Violation::new("replaying the log gives another state"))
    }
}

/// KM-04: whatever a node uses, every participant has confirmed, and both ends hold the same bytes.
///
/// # Errors
/// [`Violation`].
pub fn no_node_uses_what_was_never_confirmed(hub: &Hub, nodes: &BTreeMap<NodeId, Node>) -> Result<(), Violation> {
    let mut contents: BTreeMap<KeyId, Hash> = BTreeMap::new();
    for (id, node) in nodes {
        for (key, content) in node.in_use() {
            if let Some(known) = hub.state().key(key)
                && matches!(known.state, None | Some(KeyState::Generated | KeyState::Distributed))
                && !known.is_staged()
            {
                return Err(Violation::new(format!("{id} uses {key}, which was never confirmed")));
            }
            if *contents.entry(key).or_insert(content) != content {
                return Err(Violation::new(format!("the ends of {key} hold different bytes")));
            }
        }
    }
    Ok(())
}

/// Liveness, once nothing goes wrong any more: every pair of nodes that are not isolated has a key
/// in use at both ends, and one in reserve (KM-12).
///
/// # Errors
/// [`Violation`].
pub fn every_sound_pair_is_keyed(hub: &Hub, nodes: &BTreeMap<NodeId, Node>) -> Result<(), Violation> {
    let state = hub.state();
    let sound: Vec<&NodeId> =
        state.nodes().iter().filter(|(_, node)| node.state == NodeState::Online).map(|(id, _)| id).collect();
    for (at, a) in sound.iter().enumerate() {
        for b in &sound[at + 1..] {
            let slot = kernel::state::keys::Slot::pair(a, b)
                .ok_or_else(|| Violation::new("a node cannot be paired with itself"))?;
            let Some((current, key)) = state.current(&slot) else {
                return Err(Violation::new(format!("{slot:?} has no key in use")));
            };
            let used = |node: &NodeId| nodes.get(node).is_some_and(|node| node.in_use().any(|(id, _)| id == current));
            if !key.in_use_by_all() || !used(a) || !used(b) {
                return Err(Violation::new(format!("{current} of {slot:?} is not in use at both ends")));
            }
            // A reserve is on its way for at most a distribution's time after a rotation.
            let young = state.clock().since(key.since) < Millis::from_secs(2);
            if !young && !state.upcoming(&slot).is_some_and(|(_, next)| next.is_staged()) {
                return Err(Violation::new(format!("{slot:?} has no key in reserve")));
            }
        }
    }
    Ok(())
}
