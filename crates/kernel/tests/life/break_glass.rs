//! Break-glass: one person, a quarter of an hour, everybody told (S5); and what a single word weighs.

use kernel::effect::Effect;
use kernel::event::{Command, Event, Settings};
use kernel::record::{QuarantineEnd, Record, Refusal};
use kernel::sentinel::classify::{CONFIRMED_PPM, Voice, combined_ppm, weight};
use kernel::sentinel::{MOST_INCIDENTS, classify};
use kernel::state::incident::IncidentState;
use types::mesh::{NodeState, Severity, SignalKind, Subject};
use types::{IncidentId, Millis, OperatorId};

use crate::grid::golden;
use crate::world::{World, node, pair};

const QUARTER: Millis = Millis::from_secs(15 * 60);

fn glass(subject: Subject) -> Command {
    Command::BreakGlass { subject }
}

fn n2() -> Subject {
    Subject::Node(node(2))
}

fn person(name: &str) -> OperatorId {
    name.parse().unwrap()
}

fn state_of_n2(world: &World) -> NodeState {
    world.state.node(&node(2)).unwrap().state
}

fn broken() -> (World, IncidentId) {
    let mut world = World::keyed(4, Settings::default());
    let step = world.send("op1", &glass(n2()), None);
    let told = step.records.iter().find_map(|record| match record {
        Record::Quarantined { incident, subject, by, until } => {
            assert_eq!((subject, by, *until), (&n2(), &person("op1"), world.now + QUARTER));
            Some(*incident)
        }
        _ => None,
    });
    assert!(matches!(step.effects[0], Effect::Isolate { .. }), "{:?}", step.effects);
    world.settle();
    (world, told.unwrap())
}

fn refused(records: &[Record], why: &Refusal) -> bool {
    records.contains(&Record::Refused(why.clone()))
}

/// S5: what one person cut off comes back by itself, with new keys, and a review is owed by another.
#[test]
fn s5_a_quarantine_lapses_by_itself() {
    let (mut world, incident) = broken();
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    let told = world.state.attention(world.now);
    assert_eq!((told.isolated, told.quarantined.len()), (vec![node(2)], 1));
    let review = Command::ReviewIncident { incident, note: String::new() };
    assert!(refused(&world.send("op2", &review, None).records, &Refusal::NotSettled));
    world.pass(Millis::from_secs(15 * 60 - 1), Millis::from_secs(30));
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    assert!(world.state.next_due().is_some_and(|due| due <= world.now + Millis::from_secs(1)));
    world.now = world.now + Millis::from_secs(1);
    world.settle();
    assert_eq!(state_of_n2(&world), NodeState::Offline);
    let ended = Record::QuarantineEnded { subject: n2(), how: QuarantineEnd::Lapsed, by: None };
    assert!(world.records().any(|record| *record == ended));
    assert_eq!(world.state.attention(world.now).reviews_owed, 1);
    world.now = world.now + Millis::from_secs(1);
    assert!(refused(&world.send("op1", &review, None).records, &Refusal::OwnAct), "not by who did it");
    assert!(!refused(&world.send("op2", &review, None).records, &Refusal::OwnAct));
    assert_eq!(world.state.attention(world.now).reviews_owed, 0);
    world.up(2);
    world.settle();
    assert!(world.in_use(&pair(1, 2)).is_some());
    world.assert_replays();
}

/// S5: a second person makes it lasting; never the first, nor the one whose credential it is.
#[test]
fn s5_a_second_person_confirms_a_quarantine() {
    let (mut world, incident) = broken();
    let confirm = Command::ConfirmBreakGlass { incident };
    assert!(refused(&world.send("op1", &confirm, None).records, &Refusal::OwnAct));
    world.now = world.now + Millis::from_secs(1);
    world.send("op2", &confirm, None);
    world.settle();
    world.pass(Millis::from_secs(16 * 60), Millis::from_secs(60));
    assert_eq!(state_of_n2(&world), NodeState::Isolated, "for good");
    assert_eq!(world.state.incident(incident).unwrap().state, IncidentState::Settled, "recovered, all six steps");
    world.assert_replays();
}

/// S4: break-glass stands in no way of the engine: what it confirms meanwhile stays cut off.
#[test]
fn s4_a_quarantine_does_not_undo_what_the_engine_confirms() {
    let (mut world, incident) = broken();
    world.compromise(2);
    world.settle();
    assert!(world.state.quarantines().active().is_empty());
    assert!(world.state.incident(incident).unwrap().isolates(&node(2)));
    world.pass(Millis::from_secs(16 * 60), Millis::from_secs(60));
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    world.assert_replays();
}

/// S5: three times in twelve hours, one at a time, and only for who is on duty.
#[test]
fn s5_the_glass_is_broken_three_times_a_night() {
    let mut world = World::keyed(4, Settings::default());
    for n in [1, 2, 3] {
        let step = world.send("op1", &glass(Subject::Node(node(n))), None);
        assert!(step.records.iter().any(|record| matches!(record, Record::Quarantined { .. })), "{n}");
        let other = world.send("op1", &glass(Subject::Node(node(4))), None);
        assert!(refused(&other.records, &Refusal::GlassSpent), "one at a time");
        world.pass(QUARTER, Millis::from_secs(60));
    }
    let fourth = world.send("op1", &glass(n2()), None);
    assert!(refused(&fourth.records, &Refusal::GlassSpent));
    world.pass(Millis::from_hours(12), Millis::from_secs(600));
    let next = world.send("op1", &glass(n2()), None);
    assert!(next.records.iter().any(|record| matches!(record, Record::Quarantined { .. })), "another night");
    world.assert_replays();
}

/// S4: a credential under quarantine asks for nothing, and still approves what the engine asks for:
/// nobody blocks a response by cutting off who would approve it.
#[test]
fn s4_a_credential_under_quarantine_still_approves_the_engine() {
    let mut world = World::keyed(4, Settings::default());
    world.command(&Command::SetAssisted { on: true });
    world.compromise(2);
    let held: Vec<_> = world.state.access().held().iter().map(|(id, held)| (*id, held.digest)).collect();
    assert_eq!(held.len(), 2);
    world.send("op1", &glass(Subject::Operator(person("op2"))), None);
    let read = Command::Read { what: "status".to_owned() };
    assert_eq!(world.send("op2", &read, None).records, [Record::Refused(Refusal::Quarantined)]);
    world.send("op2", &Command::Approve { request: held[0].0, digest: held[0].1 }, None);
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    world.pass(QUARTER, Millis::from_secs(60));
    assert!(world.state.in_good_standing(&person("op2")));
    world.assert_replays();
}

/// S4: silence voids nothing: what nobody decided on is asked for again, and again.
#[test]
fn s4_a_response_that_waits_too_long_is_asked_for_again() {
    let mut world = World::keyed(4, Settings::default());
    world.command(&Command::SetAssisted { on: true });
    world.compromise(2);
    let first: Vec<_> = world.state.access().held().keys().copied().collect();
    world.pass(Millis::from_hours(3), Millis::from_secs(600));
    let held: Vec<_> = world.state.access().held().iter().map(|(id, held)| (*id, held.digest)).collect();
    assert!(held.len() == 2 && !first.contains(&held[0].0), "{held:?}");
    for operator in ["op1", "op2", "op3"] {
        let incident = *world.state.incidents().keys().next().unwrap();
        let review = Command::ReviewIncident { incident, note: "nothing".to_owned() };
        assert!(refused(&world.send(operator, &review, None).records, &Refusal::NotSettled));
        world.now = world.now + Millis::new(1);
    }
    for (request, digest) in held {
        world.send("op2", &Command::Approve { request, digest }, None);
        world.now = world.now + Millis::new(1);
    }
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    world.assert_replays();
}

/// S5: no word confirms anything by itself, whoever speaks; two that speak of a compromise do.
#[test]
fn s5_no_single_word_is_confirmation() {
    let mut text = format!("{:22} {:>8} {:>8} {:>8}", "", "own", "witness", "operator");
    for kind in SignalKind::ALL {
        text += &format!("\n{:22}", kind.as_str());
        for voice in Voice::ALL {
            let ppm = weight(*voice, *kind);
            assert!(ppm < CONFIRMED_PPM && classify::severity(*kind, ppm) < Severity::Critical, "{kind}");
            text += &format!(" {ppm:>8}");
        }
    }
    golden("signal-weights.txt", &(text + "\n"));
    let compromise = |voice| weight(voice, SignalKind::NodeCompromise);
    for (one, two) in [(Voice::Operator, Voice::Operator), (Voice::Operator, Voice::Own), (Voice::Witness, Voice::Own)]
    {
        assert!(combined_ppm([compromise(one), compromise(two)].into_iter()) >= CONFIRMED_PPM);
    }
}

/// S5: one operator's word opens an incident and cuts nobody off; a second operator's does.
#[test]
fn s5_one_operator_isolates_nobody() {
    let mut world = World::keyed(4, Settings::default());
    let signal = Command::Signal { subject: n2(), kind: SignalKind::NodeCompromise };
    for _ in 0..30 {
        world.send("op1", &signal, None);
        world.pass(Millis::from_secs(11), Millis::from_secs(11));
    }
    assert_eq!(state_of_n2(&world), NodeState::Online);
    assert_eq!(world.state.open_incidents().next().unwrap().1.severity, Severity::High);
    world.send("op2", &signal, None);
    assert_eq!(state_of_n2(&world), NodeState::Isolated);
    world.settle();
    // once two people brought it back, what was said before counts no more
    world.restore(2);
    world.settle();
    world.pass(Millis::from_secs(20), Millis::from_secs(20));
    world.send("op3", &signal, None);
    assert_eq!(state_of_n2(&world), NodeState::Online);
    world.assert_replays();
}

/// S5: an order of two people cuts a node off, in assisted mode too, with a recovery like any other.
#[test]
fn s5_two_people_isolate_a_node_by_order() {
    for assisted in [false, true] {
        let mut world = World::keyed(4, Settings::default());
        if assisted {
            world.command(&Command::SetAssisted { on: true });
            world.compromise(2);
        }
        let alone = world.send("op3", &Command::IsolateNode { node: node(2) }, None);
        assert!(alone.records.iter().any(|record| matches!(record, Record::Held { .. })));
        assert_eq!(state_of_n2(&world), NodeState::Online);
        world.now = world.now + Millis::from_secs(1);
        world.command(&Command::IsolateNode { node: node(2) });
        assert_eq!(state_of_n2(&world), NodeState::Isolated);
        world.settle();
        let waits = world.state.access().held().values().filter(|held| held.response.is_some()).count();
        assert_eq!(waits, 0, "what the engine asked for is done with it");
        assert!(world.state.incidents().values().all(|incident| incident.state == IncidentState::Settled));
        world.assert_replays();
    }
}

/// S9: a participant that says its keys are known has its own pairs re-keyed, is soon not heard any
/// more, and becomes the subject itself; the mesh does not rotate.
#[test]
fn s9_a_nodes_word_reaches_its_own_pairs_and_turns_against_it() {
    let mut world = World::keyed(5, Settings::default());
    let others: Vec<_> = [(2, 3), (3, 4), (4, 5)].map(|(x, y)| world.in_use(&pair(x, y)).unwrap().0).to_vec();
    let size = world.log.len();
    for _ in 0..100 {
        for peer in 2..=5 {
            let Some((key, _)) = world.in_use(&pair(1, peer)) else { continue };
            let (subject, kind) = (Subject::Key(key), SignalKind::KeyCompromise);
            world.feed(Event::Signal { source: node(1), subject, kind });
        }
        world.pass(Millis::new(500), Millis::new(500));
    }
    let order = world.records().any(|record| matches!(record, Record::RotationOrdered { .. }));
    assert!(!order, "the mesh does not rotate on a node's word");
    let untouched = [(2, 3), (3, 4), (4, 5)].map(|(x, y)| world.in_use(&pair(x, y)).unwrap().0).to_vec();
    assert_eq!(untouched, others);
    let muted = world.records().filter(|record| matches!(record, Record::SourceMuted { .. })).count();
    assert_eq!(muted, 1, "for a minute at first");
    let about_it = |record: &&Record| matches!(record, Record::SignalNoted { subject: Subject::Node(n), kind: SignalKind::DenialBurst, .. } if *n == node(1));
    assert!(world.records().any(|record| about_it(&record)));
    let said = world.records().filter(|r| matches!(r, Record::SignalNoted { subject: Subject::Key(_), .. })).count();
    assert!(said <= 9, "{said}");
    assert!(world.log.len() - size < 400, "{}", world.log.len() - size);
    world.assert_replays();
}

/// S9: the longer a node goes on, the longer it is not heard: a day of it is a handful of incidents.
#[test]
fn s9_a_node_that_goes_on_is_heard_ever_less() {
    let mut world = World::keyed(3, Settings { refresh: Millis::from_hours(48), ..Settings::default() });
    for _ in 0..8_640 {
        world.now = world.now + Millis::from_secs(10);
        for kind in [SignalKind::NodeCompromise, SignalKind::AuthFailure, SignalKind::Replay] {
            world.feed(Event::Signal { source: node(1), subject: Subject::Node(node(1)), kind });
        }
    }
    let noted = world.records().filter(|record| matches!(record, Record::SignalNoted { .. })).count();
    assert!(noted < 400, "{noted} of 25,920");
}

/// S9: the state holds so many incidents and no more, of those reviewed the last few; the log keeps all.
#[test]
fn s9_incidents_in_the_state_are_bounded() {
    let mut world = World::keyed(2, Settings::default());
    world.compromise(2);
    world.settle();
    let first = *world.state.incidents().keys().next().unwrap();
    let kinds = [SignalKind::AuthFailure, SignalKind::Replay, SignalKind::KeyMismatch, SignalKind::QberHigh];
    let keys: Vec<_> = world.state.keys().keys().copied().collect();
    for round in 0..400_u64 {
        for kind in kinds {
            world.now = world.now + Millis::from_secs(11);
            let key = keys[(round as usize) % keys.len()];
            let step = world.signal(Subject::Key(key), kind, 600_000);
            let opened = step.records.iter().find_map(|record| match record {
                Record::IncidentOpened { incident, .. } => Some(*incident),
                _ => None,
            });
            // a person reviews each second one, so that the next of its kind is another
            if let Some(incident) = opened
                && round % 2 == 0
            {
                world.send("op1", &Command::ReviewIncident { incident, note: String::new() }, None);
            }
        }
    }
    assert!(world.state.incidents().len() <= MOST_INCIDENTS, "{}", world.state.incidents().len());
    let reviewed = world.state.incidents().values().filter(|one| one.state == IncidentState::Reviewed).count();
    assert!(reviewed <= 32, "{reviewed}");
    assert!(world.state.incident(first).is_some(), "what is owed stays");
    world.assert_replays();
}

/// U4: a node that two people bring back, one that is stopped, and a mesh that starts raise no incident.
#[test]
fn u4_a_planned_act_raises_no_incident() {
    let mut world = World::keyed(3, Settings::default());
    let measure = |world: &mut World, seconds: u64, rate: u32| {
        for _ in 0..seconds {
            world.now = world.now + Millis::from_secs(1);
            world.report(node(1), node(2), 21_000, rate);
            world.report(types::NodeId::hub(), node(2), 21_000, rate);
            world.settle();
        }
    };
    measure(&mut world, 30, 4_000);
    assert_eq!(world.state.incidents().len(), 0);
    // stopped on purpose, for ten minutes: what its links lack says nothing
    world.down(2);
    measure(&mut world, 600, 0);
    assert_eq!(world.state.incidents().len(), 0, "{:?}", world.state.incidents());
    world.up(2);
    measure(&mut world, 150, 0);
    measure(&mut world, 20, 4_000);
    assert_eq!(world.state.incidents().len(), 0, "{:?}", world.state.incidents());
    // cut off, and brought back by two
    world.compromise(2);
    world.settle();
    world.pass(Millis::from_secs(300), Millis::from_secs(5));
    let refuses = |world: &mut World| {
        let (subject, kind) = (Subject::Node(node(2)), SignalKind::AuthFailure);
        world.feed(Event::Signal { source: node(1), subject: subject.clone(), kind });
        world.signal(subject, kind, 500_000);
    };
    refuses(&mut world);
    world.restore(2);
    refuses(&mut world);
    world.settle();
    measure(&mut world, 50, 0);
    measure(&mut world, 20, 4_000);
    assert_eq!(world.state.incidents().len(), 1, "the compromise itself: {:?}", world.state.incidents());
    // one that gives nothing although both ends are there is an incident all the same
    measure(&mut world, 200, 0);
    assert_eq!(world.state.incidents().len(), 3);
    world.assert_replays();
}
