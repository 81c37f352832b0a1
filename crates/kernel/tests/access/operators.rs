//! Who may act, and for how long: added, renewed, replaced and removed by two people (S15), and why
//! what is critical is asked for (U3).

use kernel::event::{Command, Event, Genesis, NodeSpec, OperatorCard, Settings};
use kernel::operators::{LIFE, LONGEST_LIFE, NOTICE};
use kernel::policy::DEFAULT_POLICY;
use kernel::record::{Record, Refusal};
use kernel::{State, step};
use types::mesh::{SignalKind, Subject};
use types::{Hash, Millis, OperatorId, Timestamp};

use crate::{World, boundary, grant_in, held_in, name, person, refusal, restore};

fn card(id: &str, groups: &[&str], key: &str) -> OperatorCard {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    OperatorCard { id: name(id), groups, identity: key.into(), life: LIFE }
}

impl World {
    /// Asks, has another approve, and asks again until it is done.
    fn agreed(&mut self, asker: &str, approver: &str, command: &Command) -> Vec<Record> {
        let asked = self.ask(asker, command.clone());
        let held = held_in(&asked).unwrap_or_else(|| panic!("nothing held in {asked:?}"));
        assert!(refusal(&self.approve(approver, held)).is_none());
        let grant = self.granted(asker, command.clone());
        self.present(asker, command.clone(), grant)
    }
}

/// S15: nobody brings another person in alone, and who was brought in acts.
#[test]
fn s15_operators_are_added_by_two_people() {
    let mut world = World::new();
    let add = Command::AddOperator { card: card("op6", &["duty", "operators"], "key 6") };
    assert!(grant_in(&world.ask("op1", add.clone())).is_none(), "one person alone");
    assert!(grant_in(&world.ask("op1", add.clone())).is_none(), "nor by asking twice");
    assert!(refusal(&world.ask("op6", Command::Read { what: "status".to_owned() })).is_some());
    let done = world.agreed("op2", "op1", &add);
    assert!(done.iter().any(|record| matches!(record, Record::OperatorAdded { .. })), "{done:?}");
    assert_eq!(refusal(&world.ask("op6", Command::Read { what: "status".to_owned() })), None);
    assert_eq!(refusal(&world.ask("op1", add)), Some(Refusal::NameTaken));
}

/// S15: an identity is one person's, in the founding and ever after.
#[test]
fn s15_the_same_identity_twice_is_refused() {
    let mut world = World::new();
    for key in ["op1", "op3"] {
        let twin = Command::AddOperator { card: card("op6", &["duty"], key) };
        assert_eq!(refusal(&world.ask("op1", twin)), Some(Refusal::IdentityTaken));
    }
    let replace = Command::ReplaceOperator { card: card("op3", &["operators"], "second key") };
    world.agreed("op1", "op2", &replace);
    let back = Command::ReplaceOperator { card: card("op3", &["operators"], "op3") };
    assert_eq!(refusal(&world.ask("op1", back)), Some(Refusal::IdentityTaken), "a key that was replaced stays so");

    let founders = |second: &str| {
        let mut pair = vec![person("op1", &["duty"]), person("op2", &["duty"])];
        pair[1].identity = second.into();
        let now = Timestamp::from_millis(1_790_000_000_000);
        let genesis = Genesis {
            boundary: boundary(),
            settings: Settings::default(),
            policy: DEFAULT_POLICY.to_owned(),
            operators: pair,
            nodes: vec![],
            links: vec![],
            salt: Hash::ZERO,
            audit_key: Hash::ZERO,
        };
        step(&State::default(), &Event::Create(Box::new(genesis)), now).records
    };
    assert_eq!(refusal(&founders("op1")), Some(Refusal::IdentityTaken));
    assert_eq!(refusal(&founders("op2")), None);
}

/// A node is admitted once, under one name.
#[test]
fn s15_a_node_admitted_twice_is_refused() {
    let mut world = World::new();
    let known = world.state.node(&name("n1")).unwrap().spec.clone();
    let twin = NodeSpec { id: name("n8"), ..known.clone() };
    let admit = |node| Command::AdmitNode { node, links: vec![] };
    assert_eq!(refusal(&world.ask("op1", admit(known))), Some(Refusal::NameTaken));
    assert_eq!(refusal(&world.ask("op1", admit(twin))), Some(Refusal::IdentityTaken));
}

/// S15: a key ends; two weeks before, an incident says so; a renewal settles it.
#[test]
fn s15_a_key_that_expired_is_refused_by_name_and_announced_before() {
    let mut world = World::new();
    let look = || Command::Read { what: "status".to_owned() };
    world.wait(Millis::from_days(90 - 14));
    let told = world.tick();
    let announced = |records: &[Record]| {
        let is_expiry =
            |record: &&Record| matches!(record, Record::IncidentOpened { kind: SignalKind::CredentialExpiry, .. });
        records.iter().filter(is_expiry).count()
    };
    assert_eq!(announced(&told), 5, "{told:?}");
    assert_eq!(announced(&world.tick()), 0, "once");
    for id in ["op1", "op2"] {
        let renew = Command::RenewOperator { id: name(id), life: LIFE };
        let (asker, approver) = if id == "op1" { ("op1", "op2") } else { ("op2", "op1") };
        let done = world.agreed(asker, approver, &renew);
        assert!(done.iter().any(|record| matches!(record, Record::IncidentSettled { .. })), "{done:?}");
    }
    world.wait(NOTICE);
    assert_eq!(refusal(&world.ask("op3", look())), Some(Refusal::KeyExpired), "before any tick, too");
    assert_eq!(refusal(&world.ask("op1", look())), None);
    world.tick();
    assert!(world.state.operator(&name("op3")).unwrap().expired);
    let forever = Command::RenewOperator { id: name("op3"), life: Millis::new(LONGEST_LIFE.get() + 1) };
    assert_eq!(refusal(&world.ask("op1", forever)), Some(Refusal::OutOfBounds));
}

/// S15: what ended with a key cannot be approved with it.
#[test]
fn s15_an_expired_key_approves_nothing() {
    let mut world = World::new();
    world.isolate_n2();
    let renew = Command::RenewOperator { id: name("op1"), life: Millis::from_days(180) };
    world.agreed("op1", "op2", &renew);
    world.wait(Millis::new(LIFE.get() - 60_000));
    let held = world.held("op1", restore("n2"));
    world.approve("op2", held);
    world.wait(Millis::from_secs(90));
    world.tick();
    assert!(grant_in(&world.ask("op1", restore("n2"))).is_none(), "the approver is no more in good standing");
}

/// S15: a replaced key is cut, with all that was open under it.
#[test]
fn s15_a_replaced_operator_loses_what_was_open() {
    let mut world = World::new();
    world.isolate_n2();
    let held = world.held("op2", restore("n2"));
    let replace = Command::ReplaceOperator { card: card("op2", &["duty", "operators"], "second key") };
    let done = world.agreed("op1", "op5", &replace);
    assert!(done.contains(&Record::HeldEnded { request: held.0, by: None }), "{done:?}");
    assert_eq!(world.state.operator(&name("op2")).unwrap().identity, b"second key");
    let revoked = world.revoke("op2");
    assert!(!revoked.is_empty());
    let back = Command::ReplaceOperator { card: card("op2", &["duty", "operators"], "third key") };
    world.agreed("op1", "op5", &back);
    assert!(world.state.operator(&name("op2")).unwrap().is_in_good_standing(), "by two people, with another key");
}

/// S15: approvals can always still be given.
#[test]
fn s15_the_last_two_of_a_group_stay() {
    let mut world = World::new();
    let remove = |id: &str| Command::RemoveOperator { id: name::<OperatorId>(id) };
    world.agreed("op1", "op2", &remove("op3"));
    world.agreed("op1", "op2", &remove("op5"));
    assert!(world.state.operator(&name("op5")).is_none());
    for id in ["op1", "op2"] {
        assert_eq!(refusal(&world.ask("op1", remove(id))), Some(Refusal::TooFewApprovers));
        let demote = Command::ReplaceOperator { card: card(id, &["operators"], "other key") };
        assert_eq!(refusal(&world.ask("op1", demote)), Some(Refusal::TooFewApprovers));
    }
    assert_eq!(refusal(&world.ask("op1", remove("op9"))), Some(Refusal::NoSuchOperator));
}

/// U3: whoever asks for what is critical says why, in words that stay on their line.
#[test]
fn u3_what_is_critical_needs_a_reason() {
    let mut world = World::new();
    world.isolate_n2();
    for reason in ["", "   "] {
        let mut request = world.request("op1", restore("n2"), None);
        request.reason = reason.to_owned();
        assert_eq!(refusal(&world.send(request)), Some(Refusal::NoReason));
    }
    for reason in ["why\u{1b}[2Jnot".to_owned(), "a\nb".to_owned(), "x".repeat(513)] {
        let mut request = world.request("op1", restore("n2"), None);
        request.reason = reason;
        assert_eq!(refusal(&world.send(request)), Some(Refusal::OutOfBounds));
    }
    let mut request = world.request("op1", Command::Read { what: "status".to_owned() }, None);
    request.reason = String::new();
    assert_eq!(refusal(&world.send(request)), None, "looking needs none");
    let asked = world.ask("op1", restore("n2"));
    let (request, _) = held_in(&asked).unwrap();
    let held = &world.state.access().held()[&request];
    let signed = held.asked.as_ref().unwrap();
    assert_eq!((signed.request.reason.as_str(), &signed.request.command), ("a drill", &restore("n2")));
    assert_eq!(held.policies, ["duty-restore"]);
    let subject = Subject::Operator(name("op1"));
    assert!(world.state.incidents().values().all(|one| one.subject != subject), "no burst of denials");
}

/// H11: the next version of the rules comes into force by two people, no other does, and a build that does
/// not know it takes no more steps.
#[test]
fn h11_the_next_version_of_the_rules_comes_by_two_hands_and_no_other_does() {
    let mut world = World::new();
    let next = kernel::RULES + 1;
    assert_eq!(world.state.rules(), kernel::RULES);
    for version in [0, kernel::RULES, next + 1, u16::MAX] {
        let asked = world.ask("op1", Command::ActivateRules { version });
        assert_eq!(refusal(&asked), Some(Refusal::OutOfBounds), "version {version}");
        assert!(held_in(&asked).is_none() && grant_in(&asked).is_none());
    }
    let activate = Command::ActivateRules { version: next };
    assert!(grant_in(&world.ask("op1", activate.clone())).is_none(), "one person alone");
    let done = world.agreed("op2", "op1", &activate);
    assert!(done.contains(&Record::RulesActivated { version: next }), "{done:?}");
    assert_eq!(world.state.rules(), next);
    let step = step(&world.state, &Event::Tick, world.now + Millis::from_days(400));
    assert!(step.records.is_empty() && step.effects.is_empty() && !step.more);
    assert!(kernel::step_by(kernel::RULES, &world.state, &Event::Tick, world.now).is_some());
}
