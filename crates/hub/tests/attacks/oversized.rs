//! S1: what does not fit an entry of the log stops nobody but who sent it.

use std::time::Duration;

use adversary::{Deployment, replay, until};
use hyper::Method;
use kernel::event::{Command, Event};
use kernel::record::{Principal, Record, Refusal};
use session::Channel;
use session::mesh::NodeMessage;
use types::limits::{ENTRY_LEN, NODE_MESSAGE_LEN, REQUEST_BODY_LEN};
use types::mesh::{KeyPath, SaeRole, SignalKind, Subject};
use types::sae::{Handout, ID_LEN, NAMED_KEYS, RECEIVERS, SaeId};
use types::{Hash, IncidentId, KeyId, Timestamp, cbor};

use crate::view::{answered, counted, name, size};

fn sae(number: usize) -> SaeId {
    name(&format!("{number:0>ID_LEN$}"))
}

/// The largest sum of keys that agrees with itself.
fn handout() -> Handout {
    let mut handout = Handout {
        role: SaeRole::Master,
        master: sae(1),
        slaves: (0..RECEIVERS).map(sae).collect(),
        size: u32::MAX,
        path: KeyPath::QkdKem,
        requests: 0,
        keys: 0,
        since: Timestamp::from_millis(u64::MAX),
        digest: Hash::ZERO,
        named: vec![],
        exchange: types::mesh::Exchange::Classical,
    };
    let evidence: Vec<Hash> = (0..NAMED_KEYS).map(|key| Hash::new([key as u8; 32])).collect();
    handout.add(&evidence);
    handout
}

/// 406 accounts of the size that once stopped the hub for 200 s.
#[tokio::test(flavor = "multi_thread")]
async fn s1_accounts_that_fit_no_entry_cost_their_node_its_session_and_nobody_else_anything() {
    let deployment = Deployment::new(2);
    let hub = deployment.start().await;
    let hostile = deployment.hostile_node(1);
    let honest = deployment.hostile_operator(&hub, "op1");
    let mut connected = hostile.connect().await.unwrap();
    let handouts = vec![handout(); 8];
    let sent = cbor::to_vec(&handouts).len();
    assert!(2 * sent > ENTRY_LEN, "as event and as record they take {} bytes", 2 * sent);
    let flood = tokio::spawn(async move {
        for number in 1..=406 {
            let message = NodeMessage::HandedOut { number, handouts: handouts.clone(), gap: None };
            if connected.say(&message).await.is_err() {
                break;
            }
        }
        connected.until_cut().await;
    });
    let mut longest = Duration::ZERO;
    while !flood.is_finished() {
        longest = longest.max(answered(&honest).await);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    flood.await.unwrap();
    assert!(longest < Duration::from_secs(10), "an operator waited {longest:?}");
    // named, signalled, and small
    let client = deployment.client(&hub, "op1");
    let source = Principal::Node(name("n1"));
    let (mut told, mut suspected, mut kept) = (0, false, 0);
    replay(&deployment, &client, |entry| {
        told += u64::from(counted(&entry.body.event, &source) > 0);
        kept += u64::from(matches!(entry.body.event, Event::HandedOut { .. }));
        suspected |= entry.body.records.iter().any(|record| {
            matches!(record, Record::SignalNoted { subject: Subject::Node(node), kind: SignalKind::AuthFailure, .. }
                if node.as_str() == "n1")
        });
    })
    .await;
    assert!(told >= 1 && suspected, "{told} {suspected}");
    assert_eq!(kept, 0);
    // and it can be cut off as ever
    hub.stop().await;
}

/// A message beyond any honest one ends its session before it is read in.
#[tokio::test(flavor = "multi_thread")]
async fn s1_a_message_beyond_the_bound_ends_its_session() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let hostile = deployment.hostile_node(1);
    let honest = deployment.hostile_operator(&hub, "op1");
    for channel in [Channel::Bulk, Channel::Urgent] {
        let mut connected = hostile.connect().await.unwrap();
        let message = NodeMessage::Activated((0..40_000).map(|key| KeyId::new(u64::MAX - key)).collect());
        let message = cbor::to_vec(&message);
        assert!(message.len() > NODE_MESSAGE_LEN);
        // the hub may end the session while it is still being sent
        let _ = connected.say_bytes(channel, &message).await;
        tokio::time::timeout(Duration::from_secs(60), connected.until_cut()).await.unwrap();
    }
    answered(&honest).await;
    hub.stop().await;
}

/// The note that did the same, with an operator's key and whatever policy says.
#[tokio::test(flavor = "multi_thread")]
async fn s1_a_request_is_bounded_where_it_comes_in() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let (hostile, honest) = (deployment.hostile_operator(&hub, "nobody"), deployment.hostile_operator(&hub, "op1"));
    let note = |len| Command::ReviewIncident { incident: IncidentId::new(1), note: "x".repeat(len) };
    let before = size(&hub).await;
    for _ in 0..5 {
        // the answer may be lost while the body is still being sent
        if let Ok(answer) = hostile.ask(note(66_000)).await {
            assert_eq!((answer.status, answer.word().as_str()), (413, "too-large"));
        }
        answered(&honest).await;
    }
    let asked = 5;
    until("only what was asked honestly is recorded", || async {
        let grown = size(&hub).await - before;
        assert!(grown <= asked + 10, "{grown}");
        grown >= asked
    })
    .await;
    // what is just within the bound is refused by the kernel, or by policy, and recorded
    let longest = REQUEST_BODY_LEN - 4_096;
    for operator in [&hostile, &honest] {
        let answer = operator.ask(note(longest)).await.unwrap();
        assert!([400, 403, 404].contains(&answer.status), "{}", answer.status);
    }
    let bytes = vec![7; REQUEST_BODY_LEN + 1];
    let answer = hostile.exchange(Method::POST, api::routes::REQUESTS, &[], bytes).await;
    assert!(answer.is_err() || answer.unwrap().status == 413);
    answered(&honest).await;
    hub.stop().await;
}

/// Should an event pass every bound and still fit no entry, it is dropped alone, its source is named, and its
/// asker is told.
#[tokio::test(flavor = "multi_thread")]
async fn s1_an_event_that_fits_no_entry_is_dropped_alone() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let operator = deployment.hostile_operator(&hub, "op1");
    let note = Command::ReviewIncident { incident: IncidentId::new(1), note: "x".repeat(66_000) };
    let (large, small) = (operator.sign(note), operator.sign(crate::view::status()));
    let handle = hub.handle();
    let (large, small) =
        tokio::join!(handle.request(Event::Request(Box::new(large))), handle.request(Event::Request(Box::new(small))));
    let error = large.unwrap_err();
    assert!(matches!(error, hub::sequencer::SubmitError::TooLarge { len } if len > ENTRY_LEN), "{error}");
    assert!(small.is_ok(), "what came with it is recorded");
    let client = deployment.client(&hub, "op2");
    let mut named = Vec::new();
    replay(&deployment, &client, |entry| {
        named.extend(entry.body.records.iter().find_map(|record| match record {
            Record::RefusalsCounted { source, refusal: Refusal::TooLarge, count } => Some((source.clone(), *count)),
            _ => None,
        }));
    })
    .await;
    assert_eq!(named, [(Principal::Operator(name("op1")), 1)]);
    hub.stop().await;
}
