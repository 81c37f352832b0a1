//! What must hold after every step, each as a function with a name. The watch keeps its own books
//! from records alone; it trusts nothing that the state says of itself.

use std::collections::{BTreeMap, BTreeSet};

use evidence::Entry;
use kernel::effect::Effect;
use kernel::event::Event;
use kernel::key::{KeyEvent, Outcome, next};
use kernel::record::{Record, Response};
use kernel::{Body, State, Step};
use types::mesh::{KeyState, KeyType, NodeState};
use types::{Hash, KeyId, NodeId, Timestamp};

/// A key as its records tell it.
#[derive(Debug, Clone)]
struct Told {
    key_type: KeyType,
    participants: Vec<NodeId>,
    state: Option<KeyState>,
    confirmed: BTreeMap<NodeId, Hash>,
    was_revoked: bool,
}

/// The books of all invariants.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    keys: BTreeMap<KeyId, Told>,
    isolated: BTreeSet<NodeId>,
    pub(crate) longest_entry: usize,
    /// Leaves out what looks at every key after every step.
    pub(crate) light: bool,
}

impl Watch {
    pub(crate) fn step(&mut self, state: &State, event: &Event, step: &Step) {
        every_effect_has_a_record(step);
        refusals_change_nothing(step);
        for record in &step.records {
            self.record(record, event);
        }
        numbers_are_never_given_twice(state, step);
    }

    pub(crate) fn entry(&mut self, body: &Body, index: u64, at: Timestamp) {
        let entry = Entry { index, prev: Hash::ZERO, at, body: body.clone() };
        let sealed = entry.seal();
        let len = sealed.as_ref().map(|sealed| sealed.bytes().len());
        assert!(len.is_ok(), "an entry is too long: {:?}: {:?}", sealed.err(), body.event);
        self.longest_entry = self.longest_entry.max(len.unwrap_or_default());
    }

    pub(crate) fn state(&self, state: &State, event: &Event, step: &Step, now: Timestamp) {
        if !step.records.is_empty() && !self.light {
            self.the_state_agrees_with_the_records(state);
            self.never_two_active_keys_for_a_slot();
        }
        if *event == Event::Tick && !step.more {
            a_tick_leaves_nothing_due(state, now);
            if self.light {
                return;
            }
            self.an_isolated_node_takes_part_in_no_live_key();
        }
    }

    fn record(&mut self, record: &Record, event: &Event) {
        match record {
            Record::KeyWanted { key, key_type, participants, .. } => {
                let told = Told {
                    key_type: *key_type,
                    participants: participants.clone(),
                    state: None,
                    confirmed: BTreeMap::new(),
                    was_revoked: false,
                };
                assert!(self.keys.insert(*key, told).is_none(), "{key} was wanted twice");
            }
            Record::KeyAbandoned { key } => {
                let told = self.keys.remove(key).unwrap();
                assert_eq!(told.state, None, "KM-02: only what was never made leaves no record");
            }
            Record::KeyConfirmed { key, node, commitment, .. } => {
                let told = self.keys.get_mut(key).unwrap();
                assert!(told.participants.contains(node), "{node} confirms {key}, which it does not hold");
                told.confirmed.insert(node.clone(), *commitment);
            }
            Record::KeyMoved { key, from, to, .. } => self.moved(*key, *from, *to, event),
            Record::NodeMoved { node, to, .. } => {
                if *to == NodeState::Isolated {
                    self.isolated.insert(node.clone());
                } else if *to == NodeState::Offline {
                    self.isolated.remove(node);
                } else {
                    assert!(!self.isolated.contains(node), "{node} came back by itself");
                }
            }
            _ => {}
        }
    }

    fn moved(&mut self, key: KeyId, from: Option<KeyState>, to: KeyState, event: &Event) {
        let told = self.keys.get_mut(&key).unwrap();
        assert_eq!(told.state, from, "{key} moved from where it was not");
        no_transition_outside_the_grid(from, to);
        told.state = Some(to);
        match to {
            KeyState::Active => {
                activates_only_after_every_participant_confirmed(key, told);
                let isolated = told.participants.iter().find(|node| self.isolated.contains(*node));
                assert_eq!(isolated, None, "{key} is activated with an isolated node by {event:?}");
                revoked_never_returns(key, told);
            }
            KeyState::Revoked => told.was_revoked = true,
            KeyState::Rotating | KeyState::Retired => revoked_never_returns(key, told),
            KeyState::Generated | KeyState::Distributed | KeyState::Destroyed => {}
        }
    }

    fn never_two_active_keys_for_a_slot(&self) {
        let mut active = BTreeSet::new();
        for (key, told) in self.keys.iter().filter(|(_, told)| told.state == Some(KeyState::Active)) {
            let slot = (told.key_type, &told.participants);
            assert!(active.insert(slot), "{key} is the second ACTIVE key of {slot:?}");
        }
    }

    fn an_isolated_node_takes_part_in_no_live_key(&self) {
        let over = [Some(KeyState::Revoked), Some(KeyState::Destroyed)];
        for (key, told) in self.keys.iter().filter(|(_, told)| !over.contains(&told.state)) {
            let isolated = told.participants.iter().find(|node| self.isolated.contains(*node));
            assert_eq!(isolated, None, "{key} is {:?} and shared with an isolated node", told.state);
        }
    }

    fn the_state_agrees_with_the_records(&self, state: &State) {
        let lives = |told: &&Told| told.state != Some(KeyState::Destroyed);
        assert_eq!(state.keys().len(), self.keys.values().filter(lives).count());
        for (id, key) in state.keys() {
            assert_eq!(Some(key.state), self.keys.get(id).map(|told| told.state), "{id}");
        }
    }
}

fn activates_only_after_every_participant_confirmed(key: KeyId, told: &Told) {
    let commitments: BTreeSet<&Hash> = told.confirmed.values().collect();
    assert_eq!(told.confirmed.len(), told.participants.len(), "KM-04: {key} is used before all confirmed");
    assert_eq!(commitments.len(), 1, "KM-04: the participants of {key} hold different keys");
}

fn revoked_never_returns(key: KeyId, told: &Told) {
    assert!(!told.was_revoked, "KM-01: {key} was revoked and came back");
}

fn no_transition_outside_the_grid(from: Option<KeyState>, to: KeyState) {
    let drawn = KeyEvent::ALL.iter().any(|event| next(from, *event) == Outcome::To(to));
    assert!(drawn, "KM-01: {from:?} to {to:?} is not drawn");
}

fn a_tick_leaves_nothing_due(state: &State, now: Timestamp) {
    let late = state.next_due().filter(|due| *due <= now.max(state.clock()));
    assert_eq!(late, None, "a tick is over and something is still due");
}

fn refusals_change_nothing(step: &Step) {
    let refusals = step.records.iter().filter(|record| matches!(record, Record::Refused(_))).count();
    let notes = |record: &Record| {
        matches!(record, Record::SignalNoted { .. } | Record::IncidentOpened { .. } | Record::NonceSpent { .. })
            || matches!(record, Record::KeyMoved { to: KeyState::Generated, .. })
            || matches!(record, Record::Decided(_) | Record::GrantUsed { .. })
    };
    if refusals > 0 {
        let others = step.records.iter().filter(|record| !matches!(record, Record::Refused(_)));
        assert!(others.clone().all(notes), "a refused event had consequences: {:?}", step.records);
    }
}

fn numbers_are_never_given_twice(state: &State, step: &Step) {
    for record in &step.records {
        if let Record::KeyWanted { key, .. } = record {
            assert!(key.get() >= state.numbers().key, "{key} was given before");
        }
    }
}

/// SM-08e: an effect starts only from a record of its own step that speaks of it.
fn every_effect_has_a_record(step: &Step) {
    let moved = |key: &KeyId, states: &[KeyState]| {
        step.records
            .iter()
            .any(|record| matches!(record, Record::KeyMoved { key: one, to, .. } if one == key && states.contains(to)))
    };
    let has = |wanted: &dyn Fn(&Record) -> bool| step.records.iter().any(wanted);
    let responded =
        |record: &Record, wanted: &Response| matches!(record, Record::Responded { response, .. } if response == wanted);
    let reconnected = has(&|record| matches!(record, Record::NodeMoved { to: NodeState::Online, .. }));
    for effect in &step.effects {
        let evidenced = match effect {
            Effect::Make(orders) => orders
                .iter()
                .all(|order| has(&|record| matches!(record, Record::KeyWanted { key, .. } if *key == order.key))),
            Effect::Deliver(orders) => orders.iter().all(|order| moved(&order.key, &[KeyState::Generated])),
            Effect::Activate(keys) => keys.iter().all(|(key, ..)| reconnected || moved(key, &[KeyState::Active])),
            Effect::Rewrap { key, .. } => moved(key, &[KeyState::Active]),
            Effect::Retire(keys) => keys.iter().all(|(key, _)| reconnected || moved(key, &[KeyState::Retired])),
            Effect::Destroy(keys) => keys.iter().all(|(key, _)| {
                moved(key, &[KeyState::Destroyed]) || has(&|record| matches!(record, Record::Refused(_)))
            }),
            Effect::Purge(keys) => keys.iter().all(|(key, _)| reconnected || moved(key, &[KeyState::Revoked])),
            Effect::Isolate { node, .. } => has(
                &|record| matches!(record, Record::NodeMoved { node: one, to: NodeState::Isolated, .. } if one == node),
            ),
            Effect::Readmit { node, .. } => has(
                &|record| matches!(record, Record::NodeMoved { node: one, to: NodeState::Offline, .. } if one == node),
            ),
            Effect::Verify { incident, .. } => {
                reconnected
                    || has(&|record| matches!(record, Record::VerifyOrdered { incident: one } if one == incident))
            }
            Effect::Forwards(_) => {
                reconnected
                    || has(&|record| matches!(record, Record::ForwardAdded { .. } | Record::ForwardRemoved { .. }))
            }
            Effect::Saes(_) => {
                reconnected
                    || has(&|record| matches!(record, Record::SaeAdded { .. } | Record::SaeRemoved { .. }))
                    || has(&|record| matches!(record, Record::NodeMoved { .. }))
            }
            Effect::HandoutsKept { number, .. } => has(&|record| {
                matches!(record, Record::HandedOut { number: one, .. } if one == number)
                    || matches!(record, Record::Refused(_))
            }),
            Effect::Standing(node) => {
                has(&|record| matches!(record, Record::NodeStarted { node: one, .. } if one == node))
            }
            Effect::Watch(nodes) => {
                nodes.iter().all(|node| has(&|record| responded(record, &Response::Watch(node.clone()))))
            }
            Effect::Reauthenticate(node) => has(&|record| responded(record, &Response::Reauthenticate(node.clone()))),
            Effect::CutOperator(operator) => {
                let subject = types::mesh::Subject::Operator(operator.clone());
                has(&|record| matches!(record, Record::OperatorRevoked { operator: one } if one == operator))
                    || has(&|record| matches!(record, Record::Quarantined { subject: one, .. } if *one == subject))
            }
        };
        assert!(evidenced, "no record speaks of {effect:?}");
    }
}
