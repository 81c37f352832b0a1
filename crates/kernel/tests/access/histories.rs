//! What holds in any history of requests, honest or not: checked entry by entry against a model that
//! knows only the records, as an outsider does.

use std::collections::{BTreeMap, BTreeSet};

use kernel::State;
use kernel::access::FRESHNESS;
use kernel::event::{Command, Request};
use kernel::record::{Principal, Record, Refusal};
use proptest::prelude::*;
use types::mesh::NodeState;
use types::{GrantId, Hash, Millis, OperatorId, RequestId, Timestamp};

use crate::{World, assist, compromised, digest_of, name, restore};

const PEOPLE: &[&str] = &["op1", "op2", "op3", "op4", "op5", "nobody"];

#[derive(Debug, Clone)]
enum Act {
    Ask { by: usize, command: usize, grant: Option<u64>, age: u64 },
    Approve { by: usize, request: u64, of: usize, approve: bool },
    Replay(usize),
    Wait(u64),
    Tick,
}

fn commands() -> Vec<Command> {
    vec![
        restore("n2"),
        restore("n1"),
        assist(),
        Command::SetAssisted { on: false },
        compromised("n2"),
        Command::Read { what: "status".to_owned() },
        Command::RotateKeys { key_type: None, emergency: true },
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let by = || 0..PEOPLE.len();
    prop_oneof![
        6 => (by(), 0..7_usize, prop::option::of(1..6_u64), prop_oneof![9 => Just(0), 1 => 0..70_000_u64])
            .prop_map(|(by, command, grant, age)| Act::Ask { by, command, grant, age }),
        4 => (by(), 1..5_u64, 0..4_usize, prop::bool::weighted(0.9))
            .prop_map(|(by, request, of, approve)| Act::Approve { by, request, of, approve }),
        1 => (0..40_usize).prop_map(Act::Replay),
        1 => prop_oneof![0..5_000_u64, 50_000..130_000_u64].prop_map(Act::Wait),
        1 => Just(Act::Tick),
    ]
}

/// An act that carries a story on: ask for the return of a node, approve it, present the grant.
fn story() -> impl Strategy<Value = Vec<Act>> {
    let ask = |by, command, grant| Act::Ask { by, command, grant, age: 0 };
    prop_oneof![
        prop::collection::vec(act(), 1..4),
        Just(vec![
            ask(2, 4, None),
            ask(1, 4, None),
            ask(0, 0, None),
            Act::Approve { by: 1, request: 1, of: 0, approve: true }
        ]),
        (1..5_u64).prop_map(move |grant| vec![ask(0, 0, None), ask(0, 0, Some(grant))]),
        (1..5_u64, 1..5_u64).prop_map(move |(request, grant)| {
            let approve = Act::Approve { by: 0, request, of: 0, approve: true };
            vec![ask(1, 2, None), approve, ask(1, 2, None), ask(1, 2, Some(grant))]
        }),
    ]
}

struct Granted {
    operator: OperatorId,
    digest: Hash,
    expires: Timestamp,
    approved_by: BTreeSet<OperatorId>,
}

/// What an outsider learns from the records alone.
#[derive(Default)]
struct Model {
    grants: BTreeMap<GrantId, Granted>,
    held: BTreeMap<RequestId, (Principal, Hash, BTreeSet<OperatorId>)>,
    nonces: BTreeSet<(OperatorId, Hash)>,
}

impl Model {
    fn check(&mut self, before: &State, request: &Request, now: Timestamp, records: &[Record]) {
        if let [Record::Refused(Refusal::UnknownOperator | Refusal::Stale | Refusal::Replayed)] = records {
            return;
        }
        let first = Record::NonceSpent { operator: request.operator.clone(), nonce: request.nonce, at: request.at };
        assert_eq!(records.first(), Some(&first), "whatever is taken spends its nonce first");
        assert!(self.nonces.insert((request.operator.clone(), request.nonce)), "a nonce is spent once");
        assert!(now <= request.at + FRESHNESS && request.at <= now + FRESHNESS);
        assert!(!before.operator(&request.operator).unwrap().revoked, "the revoked are not heard");
        let digest = digest_of(request.operator.as_str(), &request.command);
        let mut used = None;
        let mut permitted = false;
        for record in records {
            match record {
                Record::Decided(decision) if decision.principal == Principal::Operator(request.operator.clone()) => {
                    assert_eq!(decision.digest, digest);
                    permitted = decision.permit;
                }
                Record::GrantUsed { grant } => {
                    assert!(permitted, "policy is asked before a grant is used");
                    let granted = self.grants.remove(grant).expect("used once, and given before");
                    assert!(granted.operator == request.operator && granted.digest == digest && now < granted.expires);
                    used = Some(granted);
                }
                Record::NodeMoved { to: NodeState::Offline, .. } => {
                    let granted = used.as_ref().expect("a node comes back on a grant");
                    let others = granted.approved_by.iter().filter(|one| **one != request.operator);
                    assert!(others.count() >= 1, "two people");
                }
                Record::AssistedSet { .. } | Record::RotationOrdered { incident: None, .. } => {
                    assert!(used.is_some(), "critical: on a grant");
                }
                other => self.learn(other, request, digest, permitted, now),
            }
        }
    }

    fn learn(&mut self, record: &Record, request: &Request, asked: Hash, permitted: bool, now: Timestamp) {
        match record {
            Record::Granted { grant, operator, digest, expires } => {
                assert!(permitted && *operator == request.operator && *digest == asked && *expires > now);
                let by = Principal::Operator(operator.clone());
                let held = self.held.values().find(|(who, what, _)| *who == by && what == digest);
                let approved_by = held.map(|(_, _, approved_by)| approved_by.clone()).unwrap_or_default();
                let granted = Granted { operator: operator.clone(), digest: *digest, expires: *expires, approved_by };
                assert!(self.grants.insert(*grant, granted).is_none(), "a number is given once");
            }
            Record::GrantExpired { grant } => {
                self.grants.remove(grant);
            }
            Record::Held { request, by, digest, .. } => {
                assert!(permitted);
                assert!(self.held.insert(*request, (by.clone(), *digest, BTreeSet::new())).is_none());
            }
            Record::Approved { request: id, by } => {
                assert!(permitted && *by == request.operator);
                let Command::Approve { request: named, digest } = &request.command else { panic!("{request:?}") };
                let (asker, held, approved_by) = self.held.get_mut(id).unwrap();
                assert!(named == id && digest == held, "what was approved is what was held");
                assert_ne!(*asker, Principal::Operator(by.clone()), "nobody approves an own request");
                assert!(approved_by.insert(by.clone()), "nobody approves twice");
            }
            Record::HeldEnded { request, .. } | Record::HeldDone { request } => {
                self.held.remove(request);
            }
            _ => {}
        }
    }
}

fn resolve(world: &mut World, sent: &[Request], act: &Act) -> Option<Request> {
    Some(match act {
        Act::Ask { by, command, grant, age } => {
            let command = commands()[*command].clone();
            let mut request = world.request(PEOPLE[*by], command, grant.map(GrantId::new));
            request.at = request.at - Millis::new(*age);
            request
        }
        Act::Approve { by, request, of, approve } => {
            let request = RequestId::new(*request);
            let shown = world.state.access().held().get(&request).map(|held| held.digest);
            let digest = shown.filter(|_| *of < 3).unwrap_or_else(|| digest_of("op1", &commands()[*of]));
            let command =
                if *approve { Command::Approve { request, digest } } else { Command::Deny { request, digest } };
            world.request(PEOPLE[*by], command, None)
        }
        Act::Replay(index) => sent.get(*index)?.clone(),
        Act::Wait(_) | Act::Tick => return None,
    })
}

fn live(acts: &[Act]) -> (World, Vec<Record>) {
    let mut world = World::new();
    let mut model = Model::default();
    let mut sent = Vec::new();
    let mut all = Vec::new();
    for act in acts {
        if let Act::Wait(millis) = act {
            world.wait(Millis::new(*millis));
        } else if let Some(request) = resolve(&mut world, &sent, act) {
            let before = world.state.clone();
            let records = world.send(request.clone());
            model.check(&before, &request, world.now, &records);
            sent.push(request);
            all.extend(records);
        } else if matches!(act, Act::Tick) {
            for record in world.tick() {
                match record {
                    Record::GrantExpired { grant } => assert!(model.grants.remove(&grant).is_some()),
                    Record::HeldEnded { request, .. } => assert!(model.held.remove(&request).is_some()),
                    _ => {}
                }
            }
        }
        let access = world.state.access();
        assert_eq!(access.grants().keys().collect::<Vec<_>>(), model.grants.keys().collect::<Vec<_>>());
        assert_eq!(access.held().keys().collect::<Vec<_>>(), model.held.keys().collect::<Vec<_>>());
    }
    (world, all)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// QT-09, SM-04, SM-07a: whatever is asked in whatever order, nothing critical happens without a
    /// decision, a grant of that person for that command, used once and in time, and a second person
    /// where an autonomous action is reversed.
    #[test]
    fn nothing_critical_happens_without_a_grant(stories in prop::collection::vec(story(), 1..16)) {
        let acts = stories.concat();
        let (world, records) = live(&acts);
        let (again, same) = live(&acts);
        prop_assert_eq!(records, same);
        prop_assert_eq!(world.state.hash(), again.state.hash());
        let snapshot = world.state.encode();
        let restored = State::decode(&snapshot).unwrap();
        prop_assert_eq!(restored.access(), world.state.access());
        prop_assert_eq!(restored.encode(), snapshot);
    }
}

/// The histories above do reach what they speak of.
#[test]
fn the_model_sees_a_node_come_back() {
    let ask = |by, command, grant| Act::Ask { by, command, grant, age: 0 };
    let acts = [
        ask(2, 4, None),
        ask(1, 4, None),
        ask(0, 0, None),
        Act::Approve { by: 1, request: 1, of: 0, approve: true },
        ask(0, 0, None),
        ask(0, 0, Some(1)),
    ];
    let (world, records) = live(&acts);
    assert!(records.contains(&Record::GrantUsed { grant: GrantId::new(1) }));
    assert_eq!(world.state.node(&name("n2")).unwrap().state, NodeState::Offline);
}
