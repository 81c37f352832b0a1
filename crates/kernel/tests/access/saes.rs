//! Applications: who may have keys is decided on a grant; what they were given is counted once.

use kernel::effect::Effect;
use kernel::event::{Command, Event};
use kernel::record::{Record, Refusal};
use kernel::step;
use types::mesh::{Exchange, Groups, KeyPath, SaeRole};
use types::sae::{Handout, KmeSpec, SaeSpec};
use types::{Hash, NodeId};

use crate::{World, decision, detected, name, refusal};
use kernel::policy::DEFAULT_POLICY;

fn spec(id: &str, node: &str) -> SaeSpec {
    let fingerprint = types::Label::IDENTITY.hash(&[id.as_bytes()]);
    SaeSpec { id: name(id), node: name(node), fingerprint, slaves: None, quota_bps: None, groups: Groups::Preferred }
}

fn add(world: &mut World, spec: SaeSpec) -> Vec<Record> {
    let command = Command::AddSae { spec };
    let grant = world.granted("op1", command.clone());
    world.present("op1", command, grant)
}

fn handout(keys: u8) -> Handout {
    let mut handout = Handout {
        role: SaeRole::Master,
        master: name("a1"),
        slaves: vec![name("b1")],
        size: 256,
        path: KeyPath::QkdKem,
        requests: 0,
        keys: 0,
        since: types::Timestamp::from_millis(1),
        digest: Hash::ZERO,
        named: vec![],
        exchange: Exchange::Hybrid,
    };
    (0..keys).for_each(|key| handout.add(&[Hash::new([key; 32])]));
    handout
}

fn account(number: u64, handouts: Vec<Handout>) -> Event {
    Event::HandedOut { node: name("n1"), number, handouts, gap: None }
}

/// Nodes that are told of the SAEs by what `event` leads to.
fn told(world: &World, event: &Event) -> Vec<NodeId> {
    let effects = step(&world.state, event, world.now).effects;
    let told = effects.into_iter().filter_map(|effect| match effect {
        Effect::Saes(nodes) => Some(nodes),
        _ => None,
    });
    told.flatten().collect()
}

/// KM-08 SM-04: only duty, on a grant, says who is given keys; operators may take them away, auditors nothing.
#[test]
fn who_is_given_keys_is_decided_on_a_grant() {
    let mut world = World::new();
    for (operator, permitted) in [("op3", false), ("op4", false), ("op5", true)] {
        let records = world.ask(operator, Command::AddSae { spec: spec("a1", "n1") });
        assert_eq!(decision(&records).unwrap().0, permitted, "{operator}");
        assert!(world.state.saes().is_empty());
    }
    assert!(add(&mut world, spec("a1", "n1")).contains(&Record::SaeAdded { spec: spec("a1", "n1") }));
    assert!(!decision(&world.ask("op4", Command::RemoveSae { id: name("a1") })).unwrap().0);
    assert!(world.ask("op3", Command::RemoveSae { id: name("a1") }).contains(&Record::SaeRemoved { id: name("a1") }));
    assert_eq!(refusal(&world.ask("op3", Command::RemoveSae { id: name("a1") })), Some(Refusal::NoSuchSae));
}

/// What cannot be carried out is not granted: names and certificates are of one SAE, nodes exist.
#[test]
fn a_sae_that_cannot_be_is_refused_before_it_is_granted() {
    let mut world = World::new();
    add(&mut world, spec("a1", "n1"));
    let same_certificate = SaeSpec { id: name("a2"), ..spec("a1", "n1") };
    let unsorted = SaeSpec { slaves: Some(vec![name("c"), name("b")]), ..spec("a3", "n1") };
    let no_rate = SaeSpec { quota_bps: Some(0), ..spec("a3", "n1") };
    for (bad, wanted) in [
        (spec("a1", "n2"), Refusal::NameTaken),
        (same_certificate, Refusal::NameTaken),
        (spec("a3", "n9"), Refusal::NoSuchNode),
        (unsorted, Refusal::OutOfBounds),
        (no_rate, Refusal::OutOfBounds),
    ] {
        assert_eq!(refusal(&world.ask("op1", Command::AddSae { spec: bad })), Some(wanted));
    }
}

/// KM-08: an account counts once, however often it comes; one that contradicts itself not at all.
#[test]
fn what_was_given_is_counted_once() {
    let mut world = World::new();
    add(&mut world, spec("a1", "n1"));
    assert!(matches!(world.happen(account(7, vec![handout(3)]))[..], [Record::HandedOut { number: 7, .. }]));
    for again in [account(7, vec![handout(3)]), account(6, vec![handout(9)])] {
        let acknowledged = step(&world.state, &again, world.now).effects;
        assert!(matches!(acknowledged[..], [Effect::HandoutsKept { .. }]), "so that it is not sent for ever");
        assert_eq!(refusal(&world.happen(again)), Some(Refusal::Replayed));
    }
    assert_eq!(world.state.sae(&name("a1")).unwrap().as_master, 3);
    let mut false_count = handout(3);
    false_count.keys = 30;
    let mut false_digest = handout(3);
    false_digest.digest = Hash::ZERO;
    for bad in [vec![], vec![false_digest], vec![false_count]] {
        assert_eq!(refusal(&world.happen(account(8, bad))), Some(Refusal::OutOfBounds));
    }
    assert_eq!(refusal(&world.happen(account(8, vec![handout(1); 9]))), Some(Refusal::TooLarge));
    let gap = Some(types::Timestamp::from_millis(5));
    let silent = Event::HandedOut { node: name("n1"), number: 8, handouts: vec![], gap };
    assert!(matches!(world.happen(silent)[..], [Record::HandedOut { gap: Some(_), .. }]), "an unclean end is told");
    world.happen(account(9, vec![handout(100)]));
    assert_eq!(world.state.sae(&name("a1")).unwrap().as_master, 103);
}

/// KM-08 SM-02: a node that is cut off serves nobody, and nobody is served with what is there.
#[test]
fn saes_of_an_isolated_node_are_not_served() {
    let mut world = World::new();
    add(&mut world, spec("a1", "n1"));
    add(&mut world, spec("b1", "n2"));
    let kme = KmeSpec { url: "https://127.0.0.1:1".to_owned(), authority: "PEM".to_owned() };
    world.happen(Event::KmeUp { node: name("n2"), kme: kme.clone() });
    assert!(world.happen(Event::KmeUp { node: name("n2"), kme: kme.clone() }).is_empty(), "known already");
    let event = detected("n2");
    assert_eq!(told(&world, &event), [name::<NodeId>("n1"), name("n5")]);
    world.happen(event);
    assert_eq!(world.state.served_saes().map(|spec| spec.id.as_str()).collect::<Vec<_>>(), ["a1"]);
    assert_eq!(refusal(&world.happen(Event::KmeUp { node: name("n2"), kme })), Some(Refusal::NoSuchNode));
}

/// S15: policy can demand that applications are served over hybrid key exchange alone.
#[test]
fn s15_policy_may_demand_hybrid_key_exchange_of_applications() {
    let demand = "@id(\"hybrid-alone\") forbid (principal, action == Action::\"add_sae\", resource) \
                  unless { context.hybrid };";
    let mut world = World::under(&format!("{DEFAULT_POLICY}\n{demand}\n"));
    let add = |groups| Command::AddSae { spec: SaeSpec { groups, ..spec("a1", "n1") } };
    let denied = world.ask("op1", add(Groups::Preferred));
    assert_eq!(decision(&denied), Some((false, vec!["hybrid-alone".to_owned()])));
    let grant = world.granted("op1", add(Groups::Hybrid));
    world.present("op1", add(Groups::Hybrid), grant);
    assert_eq!(world.state.sae(&name("a1")).unwrap().spec.groups, Groups::Hybrid);
}

/// S15: a renewed application is known by its new certificate alone, and keeps its account.
#[test]
fn s15_an_application_is_renewed_and_keeps_its_account() {
    let mut world = World::new();
    for id in ["a1", "a2"] {
        let add = Command::AddSae { spec: spec(id, "n1") };
        let grant = world.granted("op1", add.clone());
        world.present("op1", add, grant);
    }
    world.happen(account(1, vec![handout(3)]));
    let before = world.state.sae(&name("a1")).unwrap().clone();
    let renew = |fingerprint| Command::RenewSae { id: name("a1"), fingerprint };
    let fresh = Hash::new([77; 32]);
    assert_eq!(refusal(&world.ask("op1", renew(spec("a2", "n1").fingerprint))), Some(Refusal::NameTaken));
    let grant = world.granted("op1", renew(fresh));
    world.present("op1", renew(fresh), grant);
    let after = world.state.sae(&name("a1")).unwrap();
    assert_eq!((after.spec.fingerprint, after.as_master, after.since), (fresh, 3, before.since));
    let repeated = world.ask("op1", renew(fresh));
    assert_eq!(refusal(&repeated), None, "the command may be repeated");
    let stranger = Command::RenewSae { id: name("a9"), fingerprint: fresh };
    assert_eq!(refusal(&world.ask("op1", stranger)), Some(Refusal::NoSuchSae));
}
