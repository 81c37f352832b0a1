//! Looking at a state.

use std::collections::BTreeMap;

use types::mesh::{ForwardSpec, KeyState, KeyType, NodeState};
use types::{BoundaryId, ForwardId, Hash, IncidentId, KeyId, LinkId, NodeId, OperatorId, Timestamp};

use super::incident::{Incident, IncidentState, Noted};
use super::keys::{Key, Slot, Succession};
use super::mesh::{Boundary, Link, Node, Operator};
use super::quarantine::{Quarantines, Voices};
use super::{Numbers, State};
use crate::access::Access;
use crate::event::Settings;
use crate::policy::PolicySet;
use types::mesh::Subject;

impl State {
    /// Time of the last entry.
    pub fn clock(&self) -> Timestamp {
        self.clock
    }

    /// What the boundary is; `None` before its first entry.
    pub fn boundary(&self) -> Option<&Boundary> {
        self.boundary.as_ref()
    }

    /// Name of the boundary; `None` before its first entry.
    pub fn id(&self) -> Option<&BoundaryId> {
        self.boundary.as_ref().map(|boundary| &boundary.id)
    }

    /// Timing of keys and mesh; `None` before the first entry.
    pub fn settings(&self) -> Option<&Settings> {
        self.boundary.as_ref().map(|boundary| &boundary.settings)
    }

    /// The policies in force. Where there are none, nothing is allowed.
    pub fn policies(&self) -> Option<&PolicySet> {
        self.policies.as_deref()
    }

    /// The policies in force, to decide beside the sequencer.
    pub fn shared_policies(&self) -> Option<std::sync::Arc<PolicySet>> {
        self.policies.clone()
    }

    /// Hash of the policies in force.
    pub fn policy_hash(&self) -> Option<Hash> {
        self.policies.as_ref().map(|policies| policies.hash())
    }

    /// Whether assisted mode is on (SM-09).
    pub fn assisted(&self) -> bool {
        self.assisted
    }

    /// The revocation epoch: it grows with every isolation and every restoration.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Held requests, grants and spent nonces.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// The numbers to give out next.
    pub fn numbers(&self) -> Numbers {
        self.next
    }

    /// Every operator.
    pub fn operators(&self) -> &BTreeMap<OperatorId, Operator> {
        &self.operators
    }

    /// An operator.
    pub fn operator(&self, id: &OperatorId) -> Option<&Operator> {
        self.operators.get(id)
    }

    /// Every admitted node.
    pub fn nodes(&self) -> &BTreeMap<NodeId, Node> {
        &self.nodes
    }

    /// A node.
    pub fn node(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id)
    }

    /// Admitted nodes that are not isolated: those that may be talked to.
    pub fn roster(&self) -> impl Iterator<Item = &NodeId> {
        self.nodes.iter().filter(|(_, node)| node.state != NodeState::Isolated).map(|(id, _)| id)
    }

    /// Every quantum link.
    pub fn links(&self) -> &BTreeMap<LinkId, Link> {
        &self.links
    }

    /// A quantum link.
    pub fn link(&self, id: &LinkId) -> Option<&Link> {
        self.links.get(id)
    }

    /// Every key that is not destroyed, wanted ones included.
    pub fn keys(&self) -> &BTreeMap<KeyId, Key> {
        &self.keys
    }

    /// A key that is not destroyed.
    pub fn key(&self, id: KeyId) -> Option<&Key> {
        self.keys.get(&id)
    }

    /// How many keys of each type were destroyed.
    pub fn destroyed(&self) -> &BTreeMap<KeyType, u64> {
        &self.destroyed
    }

    /// Every slot and its keys.
    pub fn slots(&self) -> &BTreeMap<Slot, Succession> {
        &self.slots
    }

    /// The keys of a slot.
    pub fn slot(&self, slot: &Slot) -> Option<&Succession> {
        self.slots.get(slot)
    }

    /// The key in use in a slot.
    pub fn current(&self, slot: &Slot) -> Option<(KeyId, &Key)> {
        let id = self.slots.get(slot)?.current?;
        Some((id, self.keys.get(&id)?))
    }

    /// The key that will replace the one in use in a slot.
    pub fn upcoming(&self, slot: &Slot) -> Option<(KeyId, &Key)> {
        let id = self.slots.get(slot)?.next?;
        Some((id, self.keys.get(&id)?))
    }

    /// Every key that `node` takes part in and may still hold: neither revoked nor destroyed.
    pub fn keys_of(&self, node: &NodeId) -> Vec<KeyId> {
        let slots = self.slots_of(node);
        let keys = slots.iter().filter_map(|slot| self.slots.get(slot)).flat_map(|succession| &succession.keys);
        let held =
            |id: &&KeyId| self.keys.get(*id).is_some_and(|key| !matches!(key.state, None | Some(KeyState::Revoked)));
        keys.filter(held).copied().collect()
    }

    /// Every incident.
    pub fn incidents(&self) -> &BTreeMap<IncidentId, Incident> {
        &self.incidents
    }

    /// An incident.
    pub fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.incidents.get(&id)
    }

    /// Incidents that are under way.
    pub fn open_incidents(&self) -> impl Iterator<Item = (IncidentId, &Incident)> {
        self.incidents.iter().filter(|(_, incident)| incident.state == IncidentState::Open).map(|(id, one)| (*id, one))
    }

    /// Signals about a subject within the correlation's window.
    pub(crate) fn noted(&self, subject: &Subject) -> &[Noted] {
        self.noted.get(subject).map_or(&[], Vec::as_slice)
    }

    /// What is under quarantine, and who broke the glass when.
    pub fn quarantines(&self) -> &Quarantines {
        &self.quarantines
    }

    pub(crate) fn voices(&self) -> &Voices {
        &self.voices
    }

    /// Whether an operator's requests are taken: known, neither revoked nor under quarantine.
    pub fn in_good_standing(&self, id: &OperatorId) -> bool {
        let known = self.operators.get(id).is_some_and(Operator::is_in_good_standing);
        known && !self.quarantines.active().contains_key(&Subject::Operator(id.clone()))
    }

    /// Every forward.
    pub fn forwards(&self) -> &BTreeMap<ForwardId, ForwardSpec> {
        &self.forwards
    }

    /// A forward.
    pub fn forward(&self, id: ForwardId) -> Option<&ForwardSpec> {
        self.forwards.get(&id)
    }

    /// The forwards that `node` takes part in.
    pub fn forwards_of<'a>(&'a self, node: &'a NodeId) -> impl Iterator<Item = (ForwardId, &'a ForwardSpec)> {
        self.forwards
            .iter()
            .filter(move |(_, spec)| spec.node == *node || spec.to == *node)
            .map(|(id, spec)| (*id, spec))
    }
}
