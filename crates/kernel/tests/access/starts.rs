//! Starts of hub and nodes: what an earlier state of a store could give again is void (S7).

use kernel::event::Event;
use kernel::record::{Record, Refusal};
use types::mesh::{Exchange, KeyPath, SaeRole, SignalKind, Subject};
use types::sae::Handout;
use types::{Hash, Millis, NodeId};

use crate::grants::admit;
use crate::{World, is_carried_out, name, refusal};

fn start(number: u8) -> Hash {
    Hash::new([number; 32])
}

fn node_started(at: u8, earlier: &[u8], account: u64) -> Event {
    let earlier = earlier.iter().map(|number| start(*number)).collect();
    Event::NodeStarted { node: name("n1"), start: start(at), earlier, account: Some(account), unknown: false }
}

/// Who is named by an incident of a store that was put back.
fn rewound(records: &[Record]) -> Option<Subject> {
    records.iter().find_map(|record| match record {
        Record::IncidentOpened { subject, kind: SignalKind::StoreRewound, .. } => Some(subject.clone()),
        _ => None,
    })
}

/// S7: a grant given before a start of the hub carries nothing out after it, and neither does a request that was
/// signed before it, whether or not the log knows that it was used.
#[test]
fn s7_grants_and_requests_of_before_a_start_are_void() {
    let mut world = World::new();
    let grant = world.granted("op1", admit("n9"));
    let unused = world.request("op1", admit("n9"), Some(grant));
    // The log is put back to here. What follows happened, and the log does not know it.
    world.wait(Millis::from_secs(1));
    assert!(world.happen(Event::HubStarted { start: start(1) }).contains(&Record::HubStarted { start: start(1) }));
    let again = world.send(unused);
    assert_eq!(refusal(&again), Some(Refusal::Stale));
    let presented = world.present("op1", admit("n9"), grant);
    assert!(!is_carried_out(&presented) && refusal(&presented) == Some(Refusal::BadGrant), "{presented:?}");
    let fresh = world.granted("op1", admit("n9"));
    assert!(is_carried_out(&world.present("op1", admit("n9"), fresh)), "what is asked for after it works");
}

/// S7: a node whose store is a copy of an earlier state names another start than the log knows, or an account below
/// the last: an incident names it. One that starts again and again, also unheard, is at peace.
#[test]
fn s7_a_node_that_was_put_back_is_named() {
    let mut world = World::new();
    for (at, earlier, account) in [(1, &[][..], 0), (2, &[1], 0), (4, &[2, 3], 0), (4, &[2, 3], 0)] {
        let records = world.happen(node_started(at, earlier, account));
        assert_eq!(rewound(&records), None, "start {at}: {records:?}");
    }
    let mut handout = Handout {
        role: SaeRole::Master,
        master: name("a1"),
        slaves: vec![name("b1")],
        size: 256,
        path: KeyPath::QkdKem,
        requests: 0,
        keys: 0,
        since: world.now,
        digest: Hash::ZERO,
        named: vec![],
        exchange: Exchange::Hybrid,
    };
    handout.add(&[start(9)]);
    world.happen(Event::HandedOut { node: name("n1"), number: 70, handouts: vec![handout], gap: None });
    assert_eq!(rewound(&world.happen(node_started(5, &[4], 70))), None);

    let named = Some(Subject::Node(name("n1")));
    for copy in [node_started(6, &[2, 3], 70), node_started(6, &[5], 69)] {
        let mut world = World { state: world.state.clone(), ..world };
        let records = world.happen(copy);
        assert_eq!(rewound(&records), named, "{records:?}");
        assert!(records.iter().any(|record| matches!(record, Record::NodeStarted { rewound: true, .. })));
    }
}

/// S7: where it is the log that was put back, the hub is named and not the node that knows more than the log; a node
/// alone does not make that certain.
#[test]
fn s7_a_hub_that_was_put_back_is_named() {
    let mut world = World::new();
    world.happen(node_started(1, &[], 0));
    let ahead = Event::NodeStarted {
        node: name("n1"),
        start: start(3),
        earlier: vec![start(2)],
        account: Some(0),
        unknown: true,
    };
    let records = world.happen(ahead);
    assert_eq!(rewound(&records), Some(Subject::Node(NodeId::hub())));
    assert!(records.iter().any(|record| matches!(record, Record::NodeStarted { rewound: false, .. })));
    let stranger =
        Event::NodeStarted { node: name("n77"), start: start(3), earlier: vec![], account: None, unknown: true };
    assert_eq!(refusal(&world.happen(stranger)), Some(Refusal::NoSuchNode));
}
