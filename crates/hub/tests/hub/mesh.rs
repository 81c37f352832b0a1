//! A hub and its nodes, end to end, in one process: keyed, rotated, recovered, proven.

use std::time::Duration;

use api::client::ExportReply;
use api::view::{IncidentView, NodeView, View};
use api::{Client, Outcome, Reply};
use evidence::bundle::{Audit, Item};
use kernel::State;
use kernel::event::Command;
use kernel::record::RecoveryStep;
use node::NodeConfig;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use types::mesh::{KeyState, NodeState, SignalKind, Subject};

use crate::deployment::Deployment;

/// How long a condition may take to come true before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), node::NodeError>>,
}

pub(crate) fn start(config: &NodeConfig) -> Running {
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(node::run(config.clone(), async move {
        let _ = stopped.await;
    }));
    Running { stop, task }
}

impl Running {
    pub(crate) async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }
}

async fn read(client: &Client, what: &str) -> View {
    let Reply::Done(done) = client.run(Command::Read { what: what.to_owned() }).await.unwrap() else { panic!("held") };
    let Outcome::View(view) = done.outcome else { panic!("no view") };
    *view
}

async fn nodes(client: &Client) -> Vec<NodeView> {
    let View::Nodes(nodes) = read(client, "nodes").await else { panic!("no nodes") };
    nodes
}

async fn incidents(client: &Client) -> Vec<IncidentView> {
    let View::Incidents(incidents) = read(client, "incidents").await else { panic!("no incidents") };
    incidents
}

pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

pub(crate) async fn until_keyed(client: &Client, peers: usize) {
    until("every node shares a key with every other", || async {
        let nodes = nodes(client).await;
        let online: Vec<_> = nodes.iter().filter(|node| node.state == NodeState::Online).collect();
        online.len() == peers + 1 && online.iter().all(|node| node.keyed.len() == peers)
    })
    .await;
}

/// Keys that have come and gone: the number of the newest tells how far rotation is.
pub(crate) async fn newest_active(client: &Client) -> u64 {
    let View::Keys(keys) = read(client, "keys").await else { panic!("no keys") };
    let active = keys.iter().filter(|key| key.state == Some(KeyState::Active) && key.participants.len() == 2);
    active.map(|key| key.id.get()).max().unwrap_or(0)
}

/// Every entry of the exported log, stepped again, decides the same (QT-10).
pub(crate) async fn replay(
    deployment: &Deployment,
    client: &Client,
    mut see: impl FnMut(&evidence::Entry<kernel::Body>),
) -> State {
    let mut bundle = Vec::new();
    let ExportReply::Exported(_) = client.export(&mut bundle).await.unwrap() else { panic!("held") };
    let policy = client.config().policy().unwrap();
    let pins = evidence::Pins::new(deployment.config.boundary.clone(), policy);
    let mut audit = Audit::open(&bundle[..], &pins, api::client::verify_note).unwrap();
    let mut state = State::default();
    while let Some(item) = audit.next_item::<kernel::Body>().unwrap() {
        if let Item::Entry { entry, .. } = item {
            let step = kernel::step(&state, &entry.body.event, entry.at);
            assert_eq!(step.records, entry.body.records, "entry {}", entry.index);
            state.commit(&entry.body, entry.at);
            see(&entry);
        }
    }
    state
}

/// KM-01, KM-02, KM-04, KM-06, KM-10, KM-12, QT-10: three nodes reach active pair keys, rotate them, and
/// come back after the hub was stopped; the log replays.
#[tokio::test(flavor = "multi_thread")]
async fn a_mesh_keys_itself_rotates_and_survives_its_hub() {
    let deployment = Deployment::new(3);
    let hub = deployment.start().await;
    let running: Vec<_> = deployment.nodes.iter().map(start).collect();
    let client = deployment.client(&hub, "op1");
    until_keyed(&client, 2).await;
    let first = newest_active(&client).await;
    until("keys rotate", || async { newest_active(&client).await > first + 3 }).await;
    hub.stop().await;

    let hub = deployment.start().await;
    let client = deployment.client(&hub, "op1");
    until_keyed(&client, 2).await;
    let second = newest_active(&client).await;
    until("keys rotate after the restart", || async { newest_active(&client).await > second + 3 }).await;
    assert!(incidents(&client).await.iter().all(|incident| !incident.open), "{:?}", incidents(&client).await);
    let state = replay(&deployment, &client, |_| {}).await;
    assert_eq!(state.nodes().len(), 3);
    for node in running {
        node.stop().await;
    }
    hub.stop().await;
}

/// SM-02, SM-08a, SM-08b, KM-07, KM-13: a node found compromised is cut off, the others are keyed anew,
/// each of the six steps is recorded, and it comes back only by two people.
#[tokio::test(flavor = "multi_thread")]
async fn a_compromised_node_is_cut_off_and_comes_back_only_by_two_people() {
    let deployment = Deployment::new(3);
    let hub = deployment.start().await;
    let running: Vec<_> = deployment.nodes.iter().map(start).collect();
    let (one, two) = (deployment.client(&hub, "op1"), deployment.client(&hub, "op2"));
    until_keyed(&one, 2).await;
    let n3: types::NodeId = "n3".parse().unwrap();
    let signal = Command::Signal {
        subject: Subject::Node(n3.clone()),
        kind: SignalKind::NodeCompromise,
        confidence_ppm: 1_000_000,
    };
    assert!(matches!(one.run(signal).await.unwrap(), Reply::Done(_)));
    until("the node is isolated", || async {
        nodes(&one).await.iter().any(|node| node.id == n3 && node.state == NodeState::Isolated)
    })
    .await;
    until("the recovery is complete", || async {
        incidents(&one).await.iter().any(|incident| incident.recovery.last() == Some(&RecoveryStep::Report))
    })
    .await;
    until_keyed(&one, 1).await;

    let restore = Command::RestoreNode { node: n3.clone() };
    let Reply::Held(held) = one.run(restore.clone()).await.unwrap() else { panic!("not held") };
    let again = one.run(restore.clone()).await.unwrap();
    assert!(matches!(again, Reply::Held(again) if again.request == held.request));
    let verdict = Command::Approve { request: held.request, digest: held.digest };
    assert!(one.run(verdict.clone()).await.is_err(), "approved its own request");
    assert!(matches!(two.run(verdict).await.unwrap(), Reply::Done(_)));
    assert!(matches!(one.run(restore).await.unwrap(), Reply::Done(_)));
    until_keyed(&one, 2).await;
    replay(&deployment, &one, |_| {}).await;
    for node in running {
        node.stop().await;
    }
    hub.stop().await;
}
