//! S2: what a node says costs the hub no more than it is worth.

use std::time::{Duration, Instant};

use adversary::{Connected, Deployment, incidents, replay, until};
use kernel::event::Event;
use kernel::record::{Principal, Record};
use session::mesh::{KeyUse, NodeMessage};
use types::limits::NODE_MESSAGE_LEN;
use types::mesh::{LinkFigures, LinkReport, SignalKind, Subject};
use types::{KeyId, LinkId, NodeId, cbor};

use crate::view::{answered, counted, look, name, resident, size};

fn report(link: LinkId) -> LinkReport {
    LinkReport {
        link,
        qber_ppm: 0,
        qber_upper_ppm: 0,
        secret_bps: 0,
        sifted_bps: 0,
        pool_bits: 0,
        blocks: 0,
        discarded: 0,
        usable: false,
        figures: LinkFigures::default(),
    }
}

/// Links that nobody has, measured by `n1`: `n1` has the larger name of each.
fn invented(from: usize, count: usize) -> NodeMessage {
    let link = |at: usize| LinkId::new(name(&format!("a{at}")), name("n1")).unwrap();
    NodeMessage::Links((from..from + count).map(|at| report(link(at))).collect())
}

/// Reads what the hub says, so that its queue to this node never runs over.
async fn say_until_cut(mut connected: Connected, message: &NodeMessage, most: usize) {
    for _ in 0..most {
        tokio::select! {
            sent = connected.say(message) => if sent.is_err() { return },
            () = tokio::time::sleep(Duration::from_secs(5)) => return,
        }
        while let Ok(Ok(_)) = tokio::time::timeout(Duration::from_millis(1), connected.hear()).await {}
    }
}

/// 300,000 links in 6 messages took 210 MB for good.
#[tokio::test(flavor = "multi_thread")]
async fn s2_invented_links_take_no_memory() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let hostile = deployment.hostile_node(1);
    let honest = deployment.hostile_operator(&hub, "op1");
    answered(&honest).await;
    let large: Vec<Vec<u8>> = (0..6).map(|at| cbor::to_vec(&invented(at * 50_000, 50_000))).collect();
    let small: Vec<Vec<u8>> = (0..6).map(|at| cbor::to_vec(&invented(at * 3_000, 3_000))).collect();
    assert!(large.iter().all(|message| message.len() > NODE_MESSAGE_LEN));
    assert!(small.iter().all(|message| message.len() <= NODE_MESSAGE_LEN && message.len() > NODE_MESSAGE_LEN / 3));
    let before = resident();
    for message in large {
        let mut connected = hostile.connect().await.unwrap();
        // the hub may end the session while it is being sent
        let _ = connected.say_bytes(session::Channel::Bulk, &message).await;
        tokio::time::timeout(Duration::from_secs(60), connected.until_cut()).await.unwrap();
    }
    let connected = hostile.connect().await.unwrap();
    for message in &small {
        connected.say_bytes(session::Channel::Bulk, message).await.unwrap();
    }
    answered(&honest).await;
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MB", grown >> 20);
    tokio::time::sleep(Duration::from_secs(6)).await; // links are passed on every five seconds
    assert_eq!(look(&hub, |state| state.links().len()).await, 0);
    let client = deployment.client(&hub, "op1");
    replay(&deployment, &client, |entry| assert!(!matches!(entry.body.event, Event::Links(_)))).await;
    hub.stop().await;
}

/// A key that `node` has a part in.
async fn key_of(hub: &hub::Hub, node: &str) -> KeyId {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let node: NodeId = name(node);
        let mine =
            look(hub, move |state| state.keys().iter().find(|(_, key)| key.holder(&node).is_some()).map(|(id, _)| *id));
        if let Some(key) = mine.await {
            return key;
        }
        assert!(Instant::now() < deadline, "the pair has no key");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One message that names one key 50,000 times made 200 entries.
#[tokio::test(flavor = "multi_thread")]
async fn s2_a_key_named_again_and_again_is_counted_once() {
    let deployment = Deployment::new(2);
    let hub = deployment.start().await;
    let running = adversary::start(&deployment.nodes[1]);
    let connected = deployment.hostile_node(1).connect().await.unwrap();
    let key = key_of(&hub, "n1").await;
    let used = |frames| KeyUse { key, frames, bytes: 1, failures: 0 };
    let message = NodeMessage::Use((0..20_000).map(|_| used(1)).collect());
    assert!(cbor::to_vec(&message).len() <= NODE_MESSAGE_LEN);
    connected.say(&message).await.unwrap();
    // and keys that it has no part in, more than one event may name
    let foreign = (0..10_000).map(|at| KeyUse { key: KeyId::new(1_000_000 + at), ..used(1) });
    connected.say(&NodeMessage::Use(foreign.collect())).await.unwrap();
    connected.say(&NodeMessage::Use(vec![used(77)])).await.unwrap();
    let client = deployment.client(&hub, "op1");
    until("the last is recorded", || async {
        let mut last = false;
        let mut entries = 0;
        replay(&deployment, &client, |entry| {
            if let Event::Usage { node, keys } = &entry.body.event
                && node.as_str() == "n1"
            {
                entries += 1;
                last |= keys.iter().any(|used| used.frames == 77);
            }
        })
        .await;
        assert!(entries <= 2, "{entries} entries");
        last
    })
    .await;
    running.stop().await;
    hub.stop().await;
}

/// A thousand refusals of one node are one small entry in ten seconds, and an incident.
#[tokio::test(flavor = "multi_thread")]
async fn s2_refusals_are_counted_not_kept() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let connected = deployment.hostile_node(1).connect().await.unwrap();
    let client = deployment.client(&hub, "op1");
    let (before, start) = (size(&hub).await, Instant::now());
    let message = NodeMessage::Signal { subject: Subject::Node(name("nobody")), kind: SignalKind::NodeCompromise };
    let source = Principal::Node(name("n1"));
    tokio::time::timeout(Duration::from_secs(60), say_until_cut(connected, &message, 900)).await.unwrap();
    let told = std::sync::atomic::AtomicU64::new(0);
    until("they are counted", || async {
        let (mut counts, mut all, mut kept) = (0, 0, 0);
        replay(&deployment, &client, |entry| {
            let count = counted(&entry.body.event, &source);
            (counts, all) = (counts + u64::from(count > 0), all + count);
            kept += u64::from(matches!(entry.body.event, Event::Signal { .. }));
            kept += u64::from(entry.body.records.iter().any(|record| matches!(record, Record::Refused(_))));
        })
        .await;
        assert_eq!(kept, 0);
        assert!(counts <= 2 + start.elapsed().as_secs() / 10, "{counts}");
        told.store(all, std::sync::atomic::Ordering::Relaxed);
        all >= 600
    })
    .await;
    let grown = size(&hub).await - before;
    assert!(grown < 200, "{told:?} refusals are {grown} entries, those of this test's own reads among them");
    let noticed = incidents(&client).await;
    assert!(noticed.iter().any(|incident| format!("{incident:?}").contains("n1")), "{noticed:?}");
    hub.stop().await;
}
