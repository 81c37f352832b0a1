//! S1: whatever a peer says, at the bounds of what may be said, fits an entry of the log or is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where something is wrong

use std::sync::OnceLock;

use evidence::entry::Head;
use kernel::effect::Effect;
use kernel::event::{
    Command, Event, Genesis, KeyReceipt, KeyUsage, NodeSpec, OperatorSpec, Request, Settings, SignedRequest,
};
use kernel::record::{Principal, Record, Refusal};
use kernel::{Body, State, step};
use proptest::prelude::*;
use types::limits::{KEYS_PER_STEP, REQUEST_BODY_LEN};
use types::mesh::{Delivery, ForwardSpec, Function, KeyPath, KeyType, LinkReport, SaeRole, SignalKind, Subject};
use types::sae::{Handout, ID_LEN, KmeSpec, SaeId, SaeSpec};
use types::{
    ForwardId, Hash, IncidentId, KeyId, Label, LinkId, Millis, NodeId, OperatorId, RequestId, Timestamp, cbor,
};

/// More pairs a node than one event may name keys.
const NODES: usize = KEYS_PER_STEP + 4;
const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);
/// As long as a hybrid signature is.
const SIGNATURE: usize = 3_400;

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

/// Names are as long as names may be.
fn node(at: usize) -> NodeId {
    name(&format!("n{at:0>31}"))
}

fn operator(at: usize) -> OperatorId {
    name(&format!("o{at:0>31}"))
}

fn sae(at: usize) -> SaeId {
    name(&format!("{at:0>ID_LEN$}"))
}

fn hash(text: &str) -> Hash {
    Label::KEY_COMMITMENT.hash(&[text.as_bytes()])
}

fn links() -> Vec<LinkId> {
    (2..=NODES).map(|at| LinkId::new(node(1), node(at)).unwrap()).collect()
}

/// A boundary in which every pair with the first node waits for that node's word alone.
struct World {
    state: State,
    now: Timestamp,
}

impl World {
    fn feed(&mut self, event: Event) -> Vec<Effect> {
        let step = step(&self.state, &event, self.now);
        assert!(fits(&event, &step.records, self.now), "{event:?}");
        self.state.commit(&Body { rules: kernel::RULES, event, records: step.records }, self.now);
        step.effects
    }

    /// Carries effects out as far as the hub does, and every node but the first answers.
    fn carry_out(&mut self, effects: Vec<Effect>) {
        let mut effects = std::collections::VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            match effect {
                Effect::Make(orders) => {
                    let keys = orders.iter().map(|order| order.key).collect();
                    effects.extend(self.feed(Event::Made { keys }));
                }
                Effect::Deliver(orders) => {
                    let keys: Vec<KeyId> = orders.iter().map(|order| order.key).collect();
                    for at in 1..=NODES {
                        let held = |key: &KeyId| self.state.key(*key).is_some_and(|key| key.slot.has(&node(at)));
                        let mine: Vec<KeyId> = keys.iter().copied().filter(held).collect();
                        if mine.is_empty() {
                            continue;
                        }
                        let delivered =
                            Event::Delivered { node: node(at), delivery: Delivery::Kem, keys: mine.clone() };
                        effects.extend(self.feed(delivered));
                        if at > 1 {
                            let receipts = mine.into_iter().map(receipt).collect();
                            effects.extend(self.feed(Event::Receipts { node: node(at), receipts }));
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        loop {
            let before = self.state.numbers();
            let tick = step(&self.state, &Event::Tick, self.now);
            let (more, effects) = (tick.more, self.feed(Event::Tick));
            self.carry_out(effects);
            if !more && before == self.state.numbers() {
                return;
            }
        }
    }

    fn new() -> Self {
        let person = |at| OperatorSpec {
            id: operator(at),
            groups: vec!["duty".to_owned(), "operators".to_owned()],
            identity: vec![at as u8],
            expires: Timestamp::from_millis(u64::MAX),
        };
        let spec = |at| NodeSpec { id: node(at), function: Function::Defense, identity: hash(&at.to_string()) };
        let genesis = Genesis {
            boundary: name("site"),
            settings: Settings::default(),
            policy: kernel::policy::DEFAULT_POLICY.to_owned(),
            operators: (1..=3).map(person).collect(),
            nodes: vec![spec(1)],
            links: vec![],
            salt: Hash::ZERO,
            audit_key: Hash::ZERO,
        };
        let mut world = Self { state: State::default(), now: START };
        world.feed(Event::Create(Box::new(genesis)));
        // as an operator admits them, for a founding entry has no room for so many
        for at in 2..=NODES {
            let record = Record::NodeAdmitted { node: spec(at), links: links()[at - 2..at - 1].to_vec() };
            world.state.apply(&record);
        }
        // only the first node's pairs matter here: the others come up after it, one at a time, and go again
        world.feed(Event::NodeUp { node: node(1), session: hash("1") });
        for at in 2..=NODES {
            world.feed(Event::NodeUp { node: node(at), session: hash(&at.to_string()) });
            world.settle();
            world.feed(Event::NodeDown { node: node(at) });
        }
        (2..=NODES).for_each(|at| drop(world.feed(Event::NodeUp { node: node(at), session: hash("again") })));
        world
    }
}

fn receipt(key: KeyId) -> KeyReceipt {
    KeyReceipt { key, commitment: hash(&key.to_string()), mixed: Some(Delivery::Kem) }
}

fn fits(event: &Event, records: &[Record], at: Timestamp) -> bool {
    let body = Body { rules: kernel::RULES, event: event.clone(), records: records.to_vec() };
    let late = Head { size: u64::MAX, ..Head::EMPTY };
    late.next(at, body).seal().is_ok()
}

/// The boundary before the first node's word, and after it.
fn states() -> &'static [State; 2] {
    static STATES: OnceLock<[State; 2]> = OnceLock::new();
    STATES.get_or_init(|| {
        let mut world = World::new();
        let before = world.state.clone();
        let mine = before.keys_of(&node(1));
        assert!(mine.len() > KEYS_PER_STEP, "{}", mine.len());
        for keys in mine.chunks(KEYS_PER_STEP) {
            let receipts = keys.iter().copied().map(receipt).collect();
            world.feed(Event::Receipts { node: node(1), receipts });
        }
        let tick = world.feed(Event::Tick);
        drop(tick);
        for keys in mine.chunks(KEYS_PER_STEP) {
            for at in 1..=NODES {
                let held = |key: &KeyId| world.state.key(*key).is_some_and(|key| key.slot.has(&node(at)));
                let keys: Vec<KeyId> = keys.iter().copied().filter(held).collect();
                world.feed(Event::Activated { node: node(at), keys });
            }
        }
        [before, world.state]
    })
}

/// How many of something: often none, one or all that may be.
fn count(most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), Just(most), Just(most + 1), 0..=most]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), any::<u64>()]
}

fn text(most: usize) -> impl Strategy<Value = String> {
    (count(most), prop_oneof![Just("x"), Just("\u{1d538}")]).prop_map(move |(len, one)| one.repeat(len / one.len()))
}

fn subject() -> impl Strategy<Value = Subject> {
    prop_oneof![
        (1..=NODES + 1).prop_map(|at| Subject::Node(node(at))),
        Just(Subject::Node(NodeId::hub())),
        (2..=NODES).prop_map(|at| Subject::Link(LinkId::new(node(1), node(at)).unwrap())),
        (1..4_usize).prop_map(|at| Subject::Operator(operator(at))),
        (0..600_u64).prop_map(|at| Subject::Key(KeyId::new(at))),
    ]
}

fn confidence() -> impl Strategy<Value = u32> {
    prop_oneof![Just(1_000_000), Just(999_000), Just(950_000), any::<u32>(), 0..=1_000_000_u32]
}

fn kind() -> impl Strategy<Value = SignalKind> {
    (0..SignalKind::ALL.len()).prop_map(|at| SignalKind::ALL[at])
}

fn handout() -> impl Strategy<Value = Handout> {
    (count(64), count(64), number()).prop_map(|(slaves, named, since)| {
        let mut handout = Handout {
            role: SaeRole::Master,
            master: sae(1),
            slaves: (0..slaves).map(sae).collect(),
            size: u32::MAX,
            path: KeyPath::QkdKem,
            requests: 0,
            keys: 0,
            since: Timestamp::from_millis(since),
            digest: Hash::ZERO,
            named: vec![],
            exchange: types::mesh::Exchange::Classical,
        };
        handout.add(&(0..named).map(|at| hash(&at.to_string())).collect::<Vec<_>>());
        handout
    })
}

fn reports() -> impl Strategy<Value = Event> {
    (count(kernel::channel::LINKS_PER_EVENT), any::<bool>(), number(), any::<u32>()).prop_map(
        |(count, usable, big, ppm)| {
            let report = |link: LinkId| LinkReport {
                link,
                qber_ppm: ppm,
                qber_upper_ppm: ppm,
                secret_bps: u32::MAX,
                sifted_bps: u32::MAX,
                pool_bits: big,
                blocks: big,
                discarded: big,
                usable,
                figures: types::mesh::LinkFigures::default(),
            };
            Event::Links(links().into_iter().take(count).map(report).collect())
        },
    )
}

/// Keys that the first node has a part in, or that nobody has.
fn keys() -> impl Strategy<Value = Vec<KeyId>> {
    (count(KEYS_PER_STEP), any::<bool>()).prop_map(|(count, own)| {
        let others = (0..count as u64).map(|at| KeyId::new(u64::MAX - at));
        if own { states()[0].keys_of(&node(1)).into_iter().take(count).collect() } else { others.collect() }
    })
}

fn said() -> impl Strategy<Value = Event> {
    let me = || node(1);
    prop_oneof![
        (keys(), any::<bool>()).prop_map(move |(keys, equal)| {
            let said = |key| if equal { receipt(key) } else { KeyReceipt { commitment: Hash::ZERO, ..receipt(key) } };
            Event::Receipts { node: me(), receipts: keys.into_iter().map(said).collect() }
        }),
        (keys(), text(800)).prop_map(move |(keys, reason)| Event::DeliveryFailed { node: me(), keys, reason }),
        keys().prop_map(move |keys| Event::Activated { node: me(), keys }),
        keys().prop_map(move |keys| Event::Purged { node: me(), keys }),
        (keys(), number()).prop_map(move |(keys, big)| {
            let used = |key| KeyUsage { key, frames: big, bytes: big, failures: big };
            Event::Usage { node: me(), keys: keys.into_iter().map(used).collect() }
        }),
        (1..=NODES, number()).prop_map(move |(at, epoch)| Event::IsolationConfirmed {
            by: me(),
            node: node(at),
            epoch
        }),
        (subject(), kind()).prop_map(move |(subject, kind)| Event::Signal { source: me(), subject, kind }),
        (subject(), kind(), confidence())
            .prop_map(move |(subject, kind, confidence_ppm)| { Event::Detected { subject, kind, confidence_ppm } }),
        (text(300), text(9_000)).prop_map(move |(url, authority)| {
            Event::KmeUp { node: me(), kme: KmeSpec { url: format!("https://{url}"), authority } }
        }),
        (number(), prop::collection::vec(handout(), 0..10), any::<bool>()).prop_map(move |(number, handouts, gap)| {
            Event::HandedOut { node: me(), number, handouts, gap: gap.then_some(START) }
        }),
        (number(), number(), any::<bool>()).prop_map(move |(count, bytes, large)| Event::Refusals {
            source: Principal::Node(me()),
            refusal: if large { Refusal::TooLarge } else { Refusal::NoSuchKey },
            count,
            bytes,
        }),
        reports(),
    ]
}

fn asked() -> impl Strategy<Value = Event> {
    let command = prop_oneof![
        text(12_000).prop_map(|what| Command::Read { what }),
        count(180).prop_map(|count| Command::AdmitNode {
            node: NodeSpec { id: node(0), function: Function::Grid, identity: Hash::ZERO },
            links: (1..=count).map(|at| LinkId::new(node(0), node(at)).unwrap()).collect(),
        }),
        (1..=NODES).prop_map(|at| Command::RestoreNode { node: node(at) }),
        any::<bool>().prop_map(|emergency| Command::RotateKeys { key_type: None, emergency }),
        any::<bool>().prop_map(|emergency| Command::RotateKeys { key_type: Some(KeyType::MeshSession), emergency }),
        text(12_000).prop_map(|note| Command::ReviewIncident { incident: IncidentId::new(1), note }),
        (subject(), kind()).prop_map(|(subject, kind)| Command::Signal { subject, kind }),
        (1..=NODES).prop_map(|at| Command::IsolateNode { node: node(at) }),
        subject().prop_map(|subject| Command::BreakGlass { subject }),
        number().prop_map(|id| Command::ConfirmBreakGlass { incident: IncidentId::new(id) }),
        any::<bool>().prop_map(|on| Command::SetAssisted { on }),
        (text(6_000), text(6_000)).prop_map(|(listen, connect)| Command::AddForward {
            spec: ForwardSpec { node: node(1), listen, to: node(2), connect },
        }),
        number().prop_map(|id| Command::RemoveForward { id: ForwardId::new(id) }),
        number().prop_map(|id| Command::Approve { request: RequestId::new(id), digest: Hash::ZERO }),
        number().prop_map(|id| Command::Deny { request: RequestId::new(id), digest: Hash::ZERO }),
        Just(Command::OpenConsole),
        Just(Command::ExportAudit),
        (count(130), number()).prop_map(|(slaves, quota)| Command::AddSae {
            spec: SaeSpec {
                id: sae(0),
                node: node(1),
                fingerprint: Hash::ZERO,
                slaves: Some((1..=slaves).map(sae).collect()),
                quota_bps: Some(quota),
                groups: types::mesh::Groups::Preferred,
            },
        }),
        Just(Command::RemoveSae { id: sae(0) }),
    ];
    let rest = (1..4_usize, any::<[u8; 32]>(), text(520));
    (command, rest).prop_filter_map("beyond the bound of a request", |(command, (who, nonce, reason))| {
        let request = Request {
            boundary: name("site"),
            operator: operator(who),
            nonce: Hash::new(nonce),
            at: START,
            grant: None,
            reason,
            command,
        };
        let signed = SignedRequest { request, signature: vec![7; SIGNATURE] };
        let within = cbor::to_vec(&signed).len() <= REQUEST_BODY_LEN;
        within.then(|| Event::Request(Box::new(signed)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn s1_whatever_a_peer_says_fits_an_entry_or_is_refused(event in prop_oneof![2 => said(), 1 => asked()], late in 0..2_usize) {
        let state = &states()[late];
        let now = state.clock().max(START);
        let first = step(state, &event, now);
        let refused = first.records.iter().all(|record| matches!(record, Record::Refused(_)));
        prop_assert!(refused || fits(&event, &first.records, now), "{} records: {event:?}", first.records.len());
        if refused {
            return Ok(());
        }
        // and so does what is due after it
        let mut state = state.clone();
        state.commit(&Body { rules: kernel::RULES, event, records: first.records }, now);
        for _ in 0..4 {
            let tick = step(&state, &Event::Tick, now + Millis::new(1));
            prop_assert!(fits(&Event::Tick, &tick.records, now));
            state.commit(&Body { rules: kernel::RULES, event: Event::Tick, records: tick.records }, now);
        }
    }
}
