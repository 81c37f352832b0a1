//! Who is cut off is cut off everywhere: shipped nodes over real sockets, with a hub and peers that say only what a
//! test has them say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adversary::{Deployment, HostileNode, LyingHub};
use link::LinkSection;
use node::{Node, NodeConfig};
use session::mesh::HubMessage;
use session::{Channel, HandshakeError, Refusal, Session, SignedRoster, WallClock};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use types::{Millis, NodeId, Timestamp};

const PATIENCE: Duration = Duration::from_secs(60);

fn id(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn all(names: &[&str]) -> Vec<NodeId> {
    names.iter().map(|name| id(name)).collect()
}

/// The way from a node to its hub, which can be cut for good.
struct Way(AbortHandle);

impl Way {
    async fn to(hub: &str) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, hub) = (listener.local_addr().unwrap().to_string(), hub.to_owned());
        let task = tokio::spawn(async move {
            let mut carried = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                let hub = hub.clone();
                carried.spawn(async move {
                    if let Ok(mut far) = TcpStream::connect(hub).await {
                        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                    }
                });
            }
        });
        (Self(task.abort_handle()), address)
    }

    fn cut(&self) {
        self.0.abort();
    }
}

/// Brings `node` up with `roster`; both of its sessions.
async fn welcome(hub: &mut LyingHub, node: &str, roster: &SignedRoster) -> (Session, Session) {
    loop {
        let (urgent, bulk) = tokio::time::timeout(PATIENCE, hub.pair()).await.unwrap();
        if *urgent.peer() == id(node) {
            let message = HubMessage::Roster { roster: roster.clone(), keys: Vec::new(), life: None };
            LyingHub::say(&urgent, &message).await;
            return (urgent, bulk);
        }
    }
}

async fn call(peer: &HostileNode, node: &NodeConfig) -> Result<Session, HandshakeError> {
    peer.dial(&node.node, &node.listen, Channel::Stream).await
}

/// Calls until `wanted` holds of what comes of it.
async fn until(
    peer: &HostileNode,
    node: &NodeConfig,
    wanted: impl Fn(&Result<Session, HandshakeError>) -> bool,
) -> Result<Session, HandshakeError> {
    let work = async {
        loop {
            let came = call(peer, node).await;
            if wanted(&came) {
                return came;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, work).await.expect("what was wanted never came")
}

fn refused(came: &Result<Session, HandshakeError>, why: Refusal) -> bool {
    matches!(came, Err(HandshakeError::Refused(reason)) if *reason == why)
}

/// S13: `n1` missed that `n3` is cut off, since its way to the hub was down, and goes on taking its sessions. The
/// first peer that knows tells it, in the handshake, before that session is up; from that moment `n3` is refused.
#[tokio::test(flavor = "multi_thread")]
async fn s13_a_missed_isolation_is_learned_from_any_peer() {
    let deployment = Deployment::new(3);
    let mut hub = LyingHub::start(&deployment).await;
    let (way, address) = Way::to(&deployment.config.mesh_listen.to_string()).await;
    let mut config = deployment.nodes[0].clone();
    config.hub = address;
    let node = Node::start(config.clone()).await.unwrap();
    let before = hub.issue_roster(1, all(&["n1", "n2", "n3"]), Vec::new());
    let _sessions = welcome(&mut hub, "n1", &before).await;
    let (knowing, cut_off) = (deployment.hostile_node(2), deployment.hostile_node(3));
    until(&cut_off, &config, Result::is_ok).await.unwrap();

    way.cut();
    let after = hub.issue_roster(2, all(&["n1", "n2"]), all(&["n3"]));
    call(&cut_off, &config).await.expect("nobody has told n1 yet");
    knowing.endpoint().book().take(after).unwrap();
    call(&knowing, &config).await.expect("a peer in good standing is taken");
    assert!(refused(&call(&cut_off, &config).await, Refusal::NotAdmitted));

    // showing the roster of before changes nothing, and neither does a restart without the hub
    cut_off.endpoint().book().take(before).unwrap();
    assert!(call(&cut_off, &config).await.is_err());
    node.stop().await;
    let node = Node::start(config.clone()).await.unwrap();
    assert!(refused(&call(&cut_off, &config).await, Refusal::NotAdmitted));
    node.stop().await;
}

/// S13: two shipped nodes with a link: the one that knows tells the other over the session that is up.
#[tokio::test(flavor = "multi_thread")]
async fn s13_neighbours_pass_an_isolation_on() {
    let deployment = Deployment::new(3);
    let mut hub = LyingHub::start(&deployment).await;
    let (way, address) = Way::to(&deployment.config.mesh_listen.to_string()).await;
    let (mut one, mut two) = (deployment.nodes[0].clone(), deployment.nodes[1].clone());
    one.hub = address;
    // a fibre that is dark: the link session is up all the same
    let link = |peer: &str| LinkSection {
        peer: id(peer),
        fibre: "127.0.0.1:1".to_owned(),
        kme: None,
        params: link::ParamsSection::default(),
    };
    (one.links, two.links) = (vec![link("n2")], vec![link("n1")]);
    let before = hub.issue_roster(1, all(&["n1", "n2", "n3"]), Vec::new());
    let (first, second) = (Node::start(one.clone()).await.unwrap(), Node::start(two).await.unwrap());
    let cut_off = deployment.hostile_node(3);
    let (mut urgent, mut kept) = (None, None);
    for _ in 0..2 {
        let (session, bulk) = tokio::time::timeout(PATIENCE, hub.pair()).await.unwrap();
        let message = HubMessage::Roster { roster: before.clone(), keys: Vec::new(), life: None };
        LyingHub::say(&session, &message).await;
        if *session.peer() == id("n2") {
            urgent = Some((session, bulk));
        } else {
            // they end with the way to the hub
            kept = Some((session, bulk));
        }
    }
    until(&cut_off, &one, Result::is_ok).await.unwrap();
    way.cut();
    let roster = hub.issue_roster(2, all(&["n1", "n2"]), all(&["n3"]));
    let (session, _bulk) = urgent.unwrap();
    LyingHub::say(&session, &HubMessage::Isolate { node: id("n3"), epoch: 2, roster }).await;
    until(&cut_off, &one, |came| refused(came, Refusal::NotAdmitted)).await.unwrap_err();
    drop(kept);
    first.stop().await;
    second.stop().await;
}

/// A clock that a test turns.
fn clock() -> (Arc<AtomicU64>, WallClock) {
    let now = Arc::new(AtomicU64::new(hub::system_time().as_millis()));
    let turned = Arc::clone(&now);
    (now, Arc::new(move || Timestamp::from_millis(turned.load(Ordering::Relaxed))))
}

const YEAR: u64 = 365 * 24 * 3_600_000;

/// S13: a node whose newest roster is too old says nothing to peers, whatever its own clock says, until one of them
/// shows a younger one; who is cut off has none to show.
#[tokio::test(flavor = "multi_thread")]
async fn s13_an_old_roster_opens_nothing_and_no_clock_revives_it() {
    let deployment = Deployment::new(3);
    let mut hub = LyingHub::start(&deployment).await;
    let (way, address) = Way::to(&deployment.config.mesh_listen.to_string()).await;
    let mut config = deployment.nodes[0].clone();
    config.hub = address;
    config.timing.roster = node::config::Span(Millis::from_secs(4));
    let (now, wall) = clock();
    let node = Node::start_at(config.clone(), Arc::clone(&wall)).await.unwrap();
    let old = hub.issue_roster(1, all(&["n1", "n2", "n3"]), Vec::new());
    let _sessions = welcome(&mut hub, "n1", &old).await;
    let (peer, cut_off) = (deployment.hostile_node(2), deployment.hostile_node(3));
    until(&peer, &config, Result::is_ok).await.unwrap();
    way.cut();
    let _ = until(&peer, &config, |came| refused(came, Refusal::Stale)).await;

    let real = now.load(Ordering::Relaxed);
    for jumped in [real - YEAR, real + YEAR] {
        now.store(jumped, Ordering::Relaxed);
        assert!(refused(&call(&peer, &config).await, Refusal::Stale), "no clock revives it");
    }
    cut_off.endpoint().book().take(old).unwrap();
    assert!(refused(&call(&cut_off, &config).await, Refusal::Stale));

    // in lasting absence of the hub a restart does not help either
    node.stop().await;
    let node = Node::start_at(config.clone(), wall).await.unwrap();
    let later = Instant::now() + PATIENCE;
    while call(&peer, &config).await.is_ok() {
        assert!(Instant::now() < later);
    }
    let fresh = hub.issue_roster(2, all(&["n1", "n2"]), all(&["n3"]));
    peer.endpoint().book().take(fresh).unwrap();
    call(&peer, &config).await.expect("whoever shows a younger roster is spoken to");
    assert!(refused(&call(&cut_off, &config).await, Refusal::NotAdmitted));
    node.stop().await;
}

/// Bad input: a node's clock jumps by a year either way while it runs. Its roster stays as young as it is, sessions
/// open in both directions, and the hub is reached.
#[tokio::test(flavor = "multi_thread")]
async fn s13_a_clock_that_jumps_kills_no_fresh_roster() {
    let deployment = Deployment::new(2);
    let mut hub = LyingHub::start(&deployment).await;
    let config = deployment.nodes[0].clone();
    let (now, wall) = clock();
    let real = now.load(Ordering::Relaxed);
    let node = Node::start_at(config.clone(), wall).await.unwrap();
    let roster = hub.issue_roster(1, all(&["n1", "n2"]), Vec::new());
    let mut sessions = welcome(&mut hub, "n1", &roster).await;
    let peer = deployment.hostile_node(2);
    until(&peer, &config, Result::is_ok).await.unwrap();
    for jumped in [real + YEAR, real - YEAR, real] {
        now.store(jumped, Ordering::Relaxed);
        call(&peer, &config).await.expect("a peer is taken");
        // the node dials its hub anew, by whatever clock
        drop(sessions);
        sessions = welcome(&mut hub, "n1", &roster).await;
    }
    node.stop().await;
}
