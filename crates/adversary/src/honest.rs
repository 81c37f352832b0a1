//! Honest parts of a deployment, and what is to be seen of them from outside.

use std::time::Duration;

use api::client::ExportReply;
use api::view::{IncidentView, NodeView, View};
use api::{Client, Outcome, Reply};
use evidence::bundle::{Audit, Item};
use kernel::State;
use kernel::event::Command;
use node::NodeConfig;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use types::mesh::{KeyState, NodeState};

use crate::Deployment;

/// How long a condition may take to come true before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A node as it ships, in a task.
#[derive(Debug)]
pub struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), node::NodeError>>,
}

/// Runs a node as it ships.
pub fn start(config: &NodeConfig) -> Running {
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(node::run(config.clone(), async move {
        let _ = stopped.await;
    }));
    Running { stop, task }
}

impl Running {
    /// Stops it in good order.
    pub async fn stop(self) {
        let _ = self.stop.send(());
        self.task.await.unwrap().unwrap();
    }
}

/// One view, as an operator reads it.
pub async fn read(client: &Client, what: &str) -> View {
    let Reply::Done(done) = client.run(Command::Read { what: what.to_owned() }).await.unwrap() else { panic!("held") };
    let Outcome::View(view) = done.outcome else { panic!("no view") };
    *view
}

/// The nodes, as an operator reads them.
pub async fn nodes(client: &Client) -> Vec<NodeView> {
    let View::Nodes(nodes) = read(client, "nodes").await else { panic!("no nodes") };
    nodes
}

/// The incidents, as an operator reads them.
pub async fn incidents(client: &Client) -> Vec<IncidentView> {
    let View::Incidents(incidents) = read(client, "incidents").await else { panic!("no incidents") };
    incidents
}

/// Waits until `holds`, at most two minutes.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came true: {what}");
}

/// Waits until each online node shares a key with `peers` others.
pub async fn until_keyed(client: &Client, peers: usize) {
    until("every node shares a key with every other", || async {
        let nodes = nodes(client).await;
        let online: Vec<_> = nodes.iter().filter(|node| node.state == NodeState::Online).collect();
        online.len() == peers + 1 && online.iter().all(|node| node.keyed.len() == peers)
    })
    .await;
}

/// Keys that have come and gone: the number of the newest tells how far rotation is.
pub async fn newest_active(client: &Client) -> u64 {
    let View::Keys(keys) = read(client, "keys").await else { panic!("no keys") };
    let active = keys.iter().filter(|key| key.state == Some(KeyState::Active) && key.participants.len() == 2);
    active.map(|key| key.id.get()).max().unwrap_or(0)
}

/// Every entry of the exported log, stepped again, decides the same (QT-10). `see` is shown each.
pub async fn replay(
    deployment: &Deployment,
    client: &Client,
    mut see: impl FnMut(&evidence::Entry<kernel::Body>),
) -> State {
    let policy = client.config().policy().unwrap();
    let pins = client.founding().await.unwrap().pins(deployment.config.boundary.clone(), policy);
    let mut bundle = Vec::new();
    let ExportReply::Exported(_) = client.export(&mut bundle).await.unwrap() else { panic!("held") };
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
