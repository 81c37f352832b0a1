//! Two real nodes, and a hub played by the test.
#![allow(clippy::unwrap_used, clippy::panic)] // a test may stop at a surprise, in its parts too

mod party;

use std::time::Duration;

use party::{Deployment, free_address, node};
use session::mesh::{Forward, HubMessage, NodeMessage};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use types::mesh::{Delivery, ForwardSpec};
use types::{ForwardId, KeyId};

/// A service that sends back what it gets; its address.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = tcp.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

/// Connects through a forward, which may be a moment from listening or from its key.
async fn through(listen: &str) -> TcpStream {
    for _ in 0..200 {
        if let Ok(mut tcp) = TcpStream::connect(listen).await {
            let mut byte = [0];
            let back = tokio::time::timeout(party::WAIT, async {
                tcp.write_all(b"?").await.is_ok() && tcp.read_exact(&mut byte).await.is_ok()
            });
            if back.await.unwrap() {
                return tcp;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nothing comes through {listen}");
}

async fn refused(listen: &str) {
    let come = async {
        // The node may reset the connection before it is seen as made.
        let mut tcp = TcpStream::connect(listen).await?;
        tcp.write_all(b"?").await?;
        tcp.read_u8().await
    };
    let came = tokio::time::timeout(party::WAIT, come).await.unwrap().is_ok();
    assert!(!came, "something came through {listen}");
}

/// Both nodes with a forward from `n1` to an echo service behind `n2`, at epoch 1 and without keys.
async fn two(fibres: &[(&str, &str)]) -> (Deployment, String, HubMessage) {
    let connect = echo().await;
    two_with(fibres, connect.clone(), &[connect.as_str()]).await
}

/// As [`two`], with a forward to `connect` and a list of `n2`'s own of where forwards may end.
async fn two_with(fibres: &[(&str, &str)], connect: String, allowed: &[&str]) -> (Deployment, String, HubMessage) {
    let mut all = Deployment::new(&["n1", "n2"], fibres).await;
    all.node("n2").config.allow_connect = allowed.iter().map(|one| one.parse().unwrap()).collect();
    all.start_all().await;
    let listen = free_address();
    let spec = ForwardSpec { node: node("n1"), listen: listen.clone(), to: node("n2"), connect };
    let forwards = HubMessage::Forwards(vec![Forward { id: ForwardId::new(1), spec }]);
    all.hub.both("prekeys", |message| matches!(message, NodeMessage::Prekey(_))).await;
    for (name, peer) in [("n1", "n2"), ("n2", "n1")] {
        all.hub.roster(name, &[peer], 1, &[]).await;
        all.hub.bulk(name, forwards.clone()).await;
    }
    (all, listen, forwards)
}

/// KM-04, KM-06, KM-09, SM-06b: over fibres to the hub and between the nodes, keys come under pad
/// and KEM, are mixed with bits of the pair's own, confirmed equal, activated, and rotated under
/// traffic of which no byte is lost.
#[tokio::test(flavor = "multi_thread")]
async fn keys_are_mixed_and_rotated_under_traffic() {
    let (mut all, listen, _) = two(&[("n1", "n2"), ("hub", "n1")]).await;
    let hub = &mut all.hub;
    let mut reports = hub.links[&node("n1")].subscribe();
    tokio::time::timeout(party::WAIT, reports.wait_for(|report| report.usable)).await.unwrap().unwrap();
    hub.next("a usable link", |peer, message| match message {
        NodeMessage::Links(list) => {
            let pair = list.into_iter().find(|report| report.link.to_string() == "n1~n2");
            pair.filter(|report| *peer == node("n2") && report.usable && report.pool_bits > 4_096).map(drop)
        }
        _ => None,
    })
    .await;

    hub.deliver(1, true).await;
    let [one, two] = hub.receipts(1).await;
    assert_eq!(one, two);
    assert_eq!(one.mixed, Some(Delivery::QkdKem));
    hub.activate(1, None).await;
    let (mut read, mut write) = through(&listen).await.into_split();

    const LEN: usize = 16 * 1024 * 1024;
    let data: Vec<u8> = (0..LEN).map(|at| (at * 31 % 251) as u8).collect();
    let sent = Sha256::digest(&data);
    let writer = tokio::spawn(async move {
        for chunk in data.chunks(256 * 1024) {
            write.write_all(chunk).await.unwrap();
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        write.shutdown().await.unwrap();
    });
    let reader = tokio::spawn(async move {
        let mut back = Vec::new();
        read.read_to_end(&mut back).await.unwrap();
        back
    });
    for key in 2..6 {
        hub.deliver(key, true).await;
        let [one, two] = hub.receipts(key).await;
        assert_eq!(one, two);
        hub.activate(key, Some(key - 1)).await;
        for name in ["n1", "n2"] {
            hub.bulk(name, HubMessage::Retire(vec![KeyId::new(key - 1)])).await;
            hub.bulk(name, HubMessage::Destroy(vec![KeyId::new(key - 1)])).await;
        }
    }
    writer.await.unwrap();
    assert_eq!(Sha256::digest(reader.await.unwrap()), sent);
    hub.next("use of the last key", |_, message| match message {
        NodeMessage::Use(list) => list.iter().any(|used| used.key.get() >= 1 && used.frames > 0).then_some(()),
        _ => None,
    })
    .await;
}

/// SM-02: the hub falls silent after a node was cut off; the pair changes to its reserve by itself and
/// its stream goes on. A hub that is back hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pair_renews_its_key_while_the_hub_is_away() {
    let (mut all, listen, _) = two(&[("n1", "n2")]).await;
    for key in [1, 2] {
        all.hub.deliver(key, true).await;
        all.hub.receipts(key).await;
    }
    all.hub.activate(1, None).await;
    let mut stream = through(&listen).await;
    for name in ["n1", "n2"] {
        all.hub.isolate(name, "n3", 2).await;
    }
    all.hub.both("isolations", |message| matches!(message, NodeMessage::Isolated { epoch: 2, .. })).await;
    all.hub.hang_up();
    // whoever redials says at once what it uses
    let uses = |peer: &types::NodeId, message| match message {
        NodeMessage::Activated(keys) if keys.contains(&KeyId::new(2)) => Some(peer.clone()),
        _ => None,
    };
    let one = all.hub.next("word of the reserve", uses).await;
    let other =
        all.hub.next("word of the other", |peer, message| uses(peer, message).filter(|peer| *peer != one)).await;
    assert_ne!(one, other);
    stream.write_all(b"!").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'!');
}

/// KM-01, KM-07, KM-12: a node that is killed comes back with the same keys; one that the hub no
/// longer knows is erased; a purge cuts streams, is answered, and leaves nothing to come back to.
#[tokio::test(flavor = "multi_thread")]
async fn keys_outlive_a_kill_and_not_a_purge() {
    let (mut all, listen, forwards) = two(&[]).await;
    for key in [1, 2] {
        all.hub.deliver(key, false).await;
        let [one, two] = all.hub.receipts(key).await;
        assert_eq!((one.commitment, one.mixed), (two.commitment, None));
    }
    all.hub.activate(1, None).await;
    through(&listen).await;
    all.hub.urgent("n1", HubMessage::Verify(vec![KeyId::new(1)])).await;
    let receipt = |key: u64| {
        move |peer: &types::NodeId, message| match message {
            NodeMessage::Receipts(list) if *peer == node("n1") => list.into_iter().find(|one| one.key.get() == key),
            _ => None,
        }
    };
    let before = all.hub.next("a proof", receipt(1)).await;

    all.node("n1").kill();
    all.node("n1").start().await;
    all.hub.up("n1").await;
    all.hub.roster("n1", &["n2"], 1, &[1]).await;
    all.hub.bulk("n1", forwards.clone()).await;
    all.hub.urgent("n1", HubMessage::Verify(vec![KeyId::new(1), KeyId::new(2)])).await;
    assert_eq!(all.hub.next("a proof", receipt(1)).await, before);
    let missing = |peer: &types::NodeId, message| match message {
        NodeMessage::Failed { keys, .. } if *peer == node("n1") => Some(keys),
        _ => None,
    };
    assert_eq!(all.hub.next("a refusal", missing).await, [KeyId::new(2)]);

    let mut stream = through(&listen).await;
    for name in ["n1", "n2"] {
        all.hub.urgent(name, HubMessage::Purge(vec![KeyId::new(1)])).await;
    }
    all.hub
        .both("purges", |message| matches!(message, NodeMessage::Purged(keys) if keys.contains(&KeyId::new(1))))
        .await;
    assert!(stream.read_u8().await.is_err());
    refused(&listen).await;
    all.node("n1").kill();
    all.node("n1").start().await;
    all.hub.up("n1").await;
    all.hub.urgent("n1", HubMessage::Verify(vec![KeyId::new(1)])).await;
    assert_eq!(all.hub.next("a refusal", missing).await, [KeyId::new(1)]);
}

/// SM-02: a node that is cut off loses its streams and keys at once, is refused, and stays so over a
/// restart without the hub and against replays of older messages; it comes back by a new epoch.
#[tokio::test(flavor = "multi_thread")]
async fn an_isolated_peer_stays_out() {
    let (mut all, listen, forwards) = two(&[]).await;
    all.hub.deliver(1, false).await;
    all.hub.receipts(1).await;
    all.hub.activate(1, None).await;
    let mut stream = through(&listen).await;
    all.hub.isolate("n2", "n1", 5).await;
    let isolated = |peer: &types::NodeId, message| match message {
        NodeMessage::Isolated { node, epoch } => Some((peer.clone(), node, epoch)),
        _ => None,
    };
    assert_eq!(all.hub.next("isolation", isolated).await, (node("n2"), node("n1"), 5));
    assert!(stream.read_u8().await.is_err());
    refused(&listen).await;

    all.node("n2").kill();
    all.node("n2").start().await;
    all.hub.up("n2").await;
    all.hub.readmit("n2", &["n1", "n2"], 4).await;
    all.hub.roster("n2", &["n1"], 4, &[1]).await;
    all.hub.bulk("n2", forwards).await;
    all.hub.urgent("n2", HubMessage::Verify(vec![KeyId::new(1)])).await;
    let failed = |_: &types::NodeId, message| match message {
        NodeMessage::Failed { keys, .. } => Some(keys),
        _ => None,
    };
    assert_eq!(all.hub.next("a refusal", failed).await, [KeyId::new(1)]);
    refused(&listen).await;

    all.hub.readmit("n2", &["n1", "n2"], 6).await;
    all.hub.deliver(3, false).await;
    all.hub.receipts(3).await;
    all.hub.activate(3, None).await;
    through(&listen).await;
}

/// S15: what the boundary grants ends only where the node's own list allows, this machine's own services and its
/// metadata address not excepted; and the hub hears of it.
#[tokio::test(flavor = "multi_thread")]
async fn s15_a_forward_ends_only_where_the_node_allows() {
    let (inside, allowed) = (echo().await, echo().await);
    let (mut all, listen, _) = two_with(&[], inside.clone(), &[allowed.as_str(), "169.254.169.253:80"]).await;
    let failed = |_: &types::NodeId, message| match message {
        NodeMessage::ForwardFailed { id, reason } => Some((id, reason)),
        _ => None,
    };
    let (id, reason) = all.hub.next("a failed forward", failed).await;
    assert!(id == ForwardId::new(1) && reason.contains("allow_connect"), "{reason}");
    all.hub.deliver(1, false).await;
    all.hub.receipts(1).await;
    all.hub.activate(1, None).await;
    refused(&listen).await;

    let at = |id: u64, connect: &str, listen: &str| {
        let spec =
            ForwardSpec { node: node("n1"), listen: listen.to_owned(), to: node("n2"), connect: connect.to_owned() };
        Forward { id: ForwardId::new(id), spec }
    };
    let port = inside.rsplit_once(':').unwrap().1.to_owned();
    let (named, mapped, metadata) = (free_address(), free_address(), free_address());
    let open = free_address();
    let list = vec![
        at(1, &inside, &listen),
        at(2, &format!("localhost:{port}"), &named),
        at(3, &format!("[::ffff:127.0.0.1]:{port}"), &mapped),
        at(4, "169.254.169.254:80", &metadata),
        at(5, &allowed, &open),
    ];
    for name in ["n1", "n2"] {
        all.hub.bulk(name, HubMessage::Forwards(list.clone())).await;
    }
    through(&open).await;
    for listen in [&listen, &named, &mapped, &metadata] {
        refused(listen).await;
    }
}
