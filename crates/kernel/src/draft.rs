//! A step under construction: the state it starts from and what it decided so far.
//!
//! The state is only read. What a later decision of the same step must know of an earlier one
//! (which state a key moved to, which node was cut off) is kept here beside the records.

use std::collections::{BTreeMap, BTreeSet};

use types::limits::KEYS_PER_STEP;
use types::mesh::{KeyState, KeyType, SignalKind, Subject};
use types::{ForwardId, GrantId, IncidentId, KeyId, NodeId, RequestId, Timestamp};

use crate::effect::{Effect, KeyOrder};
use crate::key::{self, KeyEvent, Outcome};
use crate::record::{Cause, Record, Refusal};
use crate::state::Numbers;
use crate::state::State;
use crate::state::incident::Incident;
use crate::state::keys::{Key, Slot};
use crate::step::Step;

type ForNodes = Vec<(KeyId, Vec<NodeId>)>;

/// A step under construction.
#[derive(Debug)]
pub struct Draft<'a> {
    /// The state the step starts from.
    pub state: &'a State,
    /// The time of the step, never before the state's clock.
    pub now: Timestamp,
    records: Vec<Record>,
    next: Numbers,
    moved: BTreeMap<KeyId, Option<KeyState>>,
    isolated: BTreeSet<NodeId>,
    pub(crate) noted: BTreeSet<(Subject, SignalKind)>,
    pub(crate) opened: BTreeMap<IncidentId, Incident>,
    pub(crate) pruned: BTreeSet<IncidentId>,
    /// Quarantines that end in this step.
    pub(crate) ended: BTreeSet<Subject>,
    /// Signals of a node, not of the hub, that this step noted; and whether it was muted for them.
    pub(crate) spoken: usize,
    pub(crate) muted: bool,
    budget: usize,
    more: bool,
    urgent: Vec<Effect>,
    other: Vec<Effect>,
    purge: ForNodes,
    destroy: ForNodes,
    retire: ForNodes,
    activate: Vec<(KeyId, Vec<NodeId>, Option<KeyId>)>,
    make: Vec<KeyOrder>,
    deliver: Vec<KeyOrder>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(state: &'a State, now: Timestamp) -> Self {
        Self {
            state,
            now,
            records: Vec::new(),
            next: state.numbers(),
            moved: BTreeMap::new(),
            isolated: BTreeSet::new(),
            noted: BTreeSet::new(),
            opened: BTreeMap::new(),
            pruned: BTreeSet::new(),
            ended: BTreeSet::new(),
            spoken: 0,
            muted: false,
            budget: KEYS_PER_STEP,
            more: false,
            urgent: Vec::new(),
            other: Vec::new(),
            purge: Vec::new(),
            destroy: Vec::new(),
            retire: Vec::new(),
            activate: Vec::new(),
            make: Vec::new(),
            deliver: Vec::new(),
        }
    }

    /// Adds a record.
    pub fn record(&mut self, record: Record) {
        self.records.push(record);
    }

    /// Records that the event is refused.
    pub fn refuse(&mut self, refusal: Refusal) {
        self.record(Record::Refused(refusal));
    }

    /// What was decided so far.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// Adds an effect of the records of this step. Cutting off and erasing go before all else.
    pub fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Isolate { .. } | Effect::Purge(_) | Effect::CutOperator(_) => self.urgent.push(effect),
            other => self.other.push(other),
        }
    }

    /// Asks for a tick right after this step.
    pub fn continue_at_once(&mut self) {
        self.more = true;
    }

    /// The number of the next held request.
    pub fn next_request(&mut self) -> RequestId {
        RequestId::new(count(&mut self.next.request))
    }

    /// The number of the next grant.
    pub fn next_grant(&mut self) -> GrantId {
        GrantId::new(count(&mut self.next.grant))
    }

    pub(crate) fn next_incident(&mut self) -> IncidentId {
        IncidentId::new(count(&mut self.next.incident))
    }

    pub(crate) fn next_forward(&mut self) -> ForwardId {
        ForwardId::new(count(&mut self.next.forward))
    }

    /// An incident with what this step decided on it, where it is open or was opened here.
    pub(crate) fn incident(&self, id: IncidentId) -> Option<&Incident> {
        self.opened.get(&id).or_else(|| self.state.incident(id))
    }

    /// Takes one key's worth of this step's work; `false` where none is left, and a tick goes on.
    pub(crate) fn spend(&mut self) -> bool {
        if self.budget == 0 {
            self.more = true;
            return false;
        }
        self.budget -= 1;
        true
    }

    pub(crate) fn cut_off(&mut self, node: &NodeId) {
        self.isolated.insert(node.clone());
    }

    /// Whether a node is isolated once this step is applied.
    pub(crate) fn is_isolated(&self, node: &NodeId) -> bool {
        self.isolated.contains(node) || self.state.is_isolated(node)
    }

    /// Whether this step cuts the node off.
    pub(crate) fn is_cut_off_here(&self, node: &NodeId) -> bool {
        self.isolated.contains(node)
    }

    /// Whether a node is cut off and no quarantine will give it back.
    pub(crate) fn is_isolated_for_good(&self, node: &NodeId) -> bool {
        let subject = Subject::Node(node.clone());
        let given_back = self.state.quarantines().active().contains_key(&subject) && !self.ended.contains(&subject);
        self.is_isolated(node) && !given_back
    }

    pub(crate) fn any_isolated(&self, slot: &Slot) -> bool {
        slot.participants().iter().any(|node| self.is_isolated(node))
    }

    /// Where a key stands after what this step decided; `None` where there is no such key,
    /// `Some(None)` where it is wanted and not made.
    pub(crate) fn key_state(&self, id: KeyId) -> Option<Option<KeyState>> {
        match self.moved.get(&id) {
            Some(state) => Some(*state),
            None => self.state.key(id).map(|key| key.state),
        }
    }

    pub(crate) fn is_live(&self, id: KeyId) -> bool {
        matches!(self.key_state(id), Some(Some(KeyState::Active | KeyState::Rotating)))
    }

    /// Moves a key as drawn in the grid; `false`, and no record, where it is not drawn.
    pub(crate) fn transition(&mut self, id: KeyId, event: KeyEvent, cause: Cause) -> bool {
        let Some(from) = self.key_state(id) else { return false };
        match key::next(from, event) {
            Outcome::To(to) => {
                self.moved.insert(id, Some(to));
                self.record(Record::KeyMoved { key: id, from, to, cause });
                true
            }
            Outcome::NoRecord => {
                self.moved.insert(id, Some(KeyState::Destroyed));
                self.record(Record::KeyAbandoned { key: id });
                true
            }
            Outcome::Refused => false,
        }
    }

    /// Asks for a key whose material exists elsewhere already.
    pub(crate) fn want_known(&mut self, slot: &Slot, cause: Cause) -> KeyId {
        let key = KeyId::new(count(&mut self.next.key));
        self.moved.insert(key, None);
        self.record(Record::KeyWanted {
            key,
            key_type: slot.key_type(),
            participants: slot.participants().to_vec(),
            cause,
        });
        key
    }

    /// Asks the hub to make a key.
    pub(crate) fn want(&mut self, slot: &Slot, cause: Cause) -> KeyId {
        let key = self.want_known(slot, cause);
        let order = self.key_order(key, slot);
        self.make.push(order);
        key
    }

    fn key_order(&self, key: KeyId, slot: &Slot) -> KeyOrder {
        let ends = slot.ends().filter(|_| slot.key_type() == KeyType::MeshSession);
        KeyOrder {
            key,
            key_type: slot.key_type(),
            participants: slot.participants().to_vec(),
            mix: ends.is_some_and(|link| self.state.link(&link).is_some()),
        }
    }

    pub(crate) fn deliver(&mut self, id: KeyId, key: &Key) {
        let order = self.key_order(id, &key.slot);
        self.deliver.push(order);
    }

    pub(crate) fn tell_activate(&mut self, id: KeyId, slot: &Slot, replaces: Option<KeyId>) {
        if slot.key_type() == KeyType::SovereignMaster {
            self.other.push(Effect::Rewrap { key: id, replaces });
        } else {
            self.activate.push((id, slot.participants().to_vec(), replaces));
        }
    }

    pub(crate) fn tell_activate_one(&mut self, id: KeyId, node: &NodeId, replaces: Option<KeyId>) {
        self.activate.push((id, vec![node.clone()], replaces));
    }

    pub(crate) fn tell_retire(&mut self, id: KeyId, nodes: Vec<NodeId>) {
        self.retire.push((id, nodes));
    }

    pub(crate) fn tell_purge(&mut self, id: KeyId, nodes: Vec<NodeId>) {
        self.purge.push((id, nodes));
    }

    /// Erasing reaches everyone who may hold the key and still belongs to the mesh.
    pub(crate) fn tell_destroy(&mut self, id: KeyId, slot: &Slot) {
        let nodes = self.remaining(slot);
        self.destroy.push((id, nodes));
    }

    /// A share that was made for a key that is wanted no more.
    pub(crate) fn tell_erase_share(&mut self, id: KeyId) {
        self.destroy.push((id, Vec::new()));
    }

    pub(crate) fn remaining(&self, slot: &Slot) -> Vec<NodeId> {
        slot.participants().iter().filter(|node| !self.is_isolated(node)).cloned().collect()
    }

    /// The step. Without records there are no effects.
    pub(crate) fn finish(self) -> Step {
        if self.records.is_empty() {
            return Step { more: self.more, ..Step::default() };
        }
        let mut effects = self.urgent;
        let mut add = |some: bool, effect: Effect| {
            if some {
                effects.push(effect);
            }
        };
        add(!self.purge.is_empty(), Effect::Purge(self.purge));
        add(!self.activate.is_empty(), Effect::Activate(self.activate));
        add(!self.deliver.is_empty(), Effect::Deliver(self.deliver));
        add(!self.make.is_empty(), Effect::Make(self.make));
        add(!self.retire.is_empty(), Effect::Retire(self.retire));
        add(!self.destroy.is_empty(), Effect::Destroy(self.destroy));
        effects.extend(self.other);
        Step { records: self.records, effects, more: self.more }
    }
}

fn count(next: &mut u64) -> u64 {
    let number = *next;
    *next = next.saturating_add(1);
    number
}
