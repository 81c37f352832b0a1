//! No single hand, at the hub's own listeners: what one operator or one node asks for or says, and what
//! it takes to have it done.

use adversary::{
    Connected, Deployment, HostileNode, Running, incidents, nodes, read, replay, start, until, until_keyed,
};
use api::view::{ApprovalView, StatusView, View};
use api::{Client, Reply};
use hub::Hub;
use kernel::event::Command;
use kernel::record::{Principal, Record, RecoveryStep};
use session::mesh::NodeMessage;
use types::NodeId;
use types::mesh::{NodeState, SignalKind, Subject};

struct Mesh {
    deployment: Deployment,
    hub: Hub,
    running: Vec<Running>,
}

impl Mesh {
    async fn start(nodes: usize) -> Self {
        let deployment = Deployment::new(nodes);
        let hub = deployment.start().await;
        let running = deployment.nodes.iter().map(start).collect();
        let mesh = Self { deployment, hub, running };
        until_keyed(&mesh.client("op1"), nodes - 1).await;
        mesh
    }

    fn client(&self, operator: &str) -> Client {
        self.deployment.client(&self.hub, operator)
    }

    async fn stop(self) {
        for node in self.running {
            node.stop().await;
        }
        self.hub.stop().await;
    }
}

fn name(node: &str) -> NodeId {
    node.parse().unwrap()
}

fn compromised(node: &str) -> Command {
    Command::Signal { subject: Subject::Node(name(node)), kind: SignalKind::NodeCompromise }
}

async fn done(client: &Client, command: Command) {
    assert!(matches!(client.run(command).await.unwrap(), Reply::Done(_)));
}

async fn by_two(first: &Client, second: &Client, command: Command) {
    let Reply::Held(held) = first.run(command.clone()).await.unwrap() else { panic!("one person suffices") };
    done(second, Command::Approve { request: held.request, digest: held.digest }).await;
    done(first, command).await;
}

async fn state_of(client: &Client, node: &str) -> NodeState {
    nodes(client).await.into_iter().find(|one| one.id == name(node)).unwrap().state
}

async fn waiting(client: &Client) -> Vec<ApprovalView> {
    let View::Approvals(held) = read(client, "approvals").await else { panic!("no approvals") };
    held.into_iter().filter(|held| held.by == Principal::Engine).collect()
}

async fn status(client: &Client) -> StatusView {
    let View::Status(status) = read(client, "status").await else { panic!("no status") };
    *status
}

/// S4, SM-04, SM-09: a response that waits is neither reviewed away nor approved by those on whose word it
/// stands; what is recorded as done was done.
#[tokio::test(flavor = "multi_thread")]
async fn s4_one_person_voids_no_response_that_waits() {
    let mesh = Mesh::start(3).await;
    let (one, two, plain) = (mesh.client("op1"), mesh.client("op2"), mesh.client("plain"));
    by_two(&one, &two, Command::SetAssisted { on: true }).await;
    done(&plain, compromised("n3")).await;
    done(&one, compromised("n3")).await;
    let held = waiting(&two).await;
    assert_eq!(held.len(), 2, "isolation and new keys wait: {held:?}");
    let incident = incidents(&two).await.into_iter().find(|one| one.open).unwrap().id;
    for reviewer in [&one, &two, &plain] {
        let review = Command::ReviewIncident { incident, note: "nothing to see".to_owned() };
        assert!(reviewer.run(review).await.is_err(), "reviewed away");
    }
    for request in &held {
        let approve = || Command::Approve { request: request.request, digest: request.digest };
        assert!(one.run(approve()).await.is_err(), "approved on its own word");
        let deny = Command::Deny { request: request.request, digest: request.digest };
        assert!(matches!(one.run(deny).await.unwrap(), Reply::Held(_)), "denied alone");
        done(&two, approve()).await;
    }
    until("the node is isolated", || async { state_of(&two, "n3").await == NodeState::Isolated }).await;
    until("the recovery is complete", || async {
        incidents(&two).await.iter().any(|incident| incident.recovery.last() == Some(&RecoveryStep::Report))
    })
    .await;
    done(&two, Command::ReviewIncident { incident, note: "drill".to_owned() }).await;
    let mut apart = 0;
    replay(&mesh.deployment, &two, |entry| {
        let records = &entry.body.records;
        let is_done = records.iter().any(|record| matches!(record, Record::HeldDone { .. }));
        let engine = records.iter().any(|record| matches!(record, Record::Responded { .. }));
        let granted = records.iter().any(|record| matches!(record, Record::Granted { .. }));
        apart += usize::from(is_done && !engine && !granted);
    })
    .await;
    assert_eq!(apart, 0, "recorded as done without being done");
    mesh.stop().await;
}

/// S5: one operator, whatever it signals or orders, cuts nobody off for good; a second source does. U4: the
/// status says at once that a node is cut off.
#[tokio::test(flavor = "multi_thread")]
async fn s5_one_operator_cuts_nobody_off_for_good() {
    let mesh = Mesh::start(3).await;
    let (one, two) = (mesh.client("op1"), mesh.client("op2"));
    for kind in SignalKind::ALL {
        done(&one, Command::Signal { subject: Subject::Node(name("n3")), kind: *kind }).await;
    }
    let order = Command::IsolateNode { node: name("n3") };
    assert!(matches!(one.run(order).await.unwrap(), Reply::Held(_)));
    let emergency = Command::RotateKeys { key_type: None, emergency: true };
    assert!(matches!(one.run(emergency).await.unwrap(), Reply::Held(_)));
    assert_ne!(state_of(&one, "n3").await, NodeState::Isolated);
    done(&two, compromised("n3")).await;
    until("the node is isolated", || async { state_of(&one, "n3").await == NodeState::Isolated }).await;
    let told = status(&one).await.attention;
    assert_eq!(told.isolated, [name("n3")]);
    assert_eq!(told.approvals_waiting, 2);
    until("a review is owed", || async { status(&one).await.attention.reviews_owed == 1 }).await;
    mesh.stop().await;
}

/// S5: break-glass is told to everybody, not confirmed by who did it, and made lasting by another.
#[tokio::test(flavor = "multi_thread")]
async fn s5_break_glass_takes_another_to_last() {
    let mesh = Mesh::start(3).await;
    let (one, two, plain) = (mesh.client("op1"), mesh.client("op2"), mesh.client("plain"));
    let subject = || Subject::Node(name("n3"));
    assert!(plain.run(Command::BreakGlass { subject: subject() }).await.is_err(), "not on duty");
    done(&one, Command::BreakGlass { subject: subject() }).await;
    assert_eq!(state_of(&one, "n3").await, NodeState::Isolated);
    let told = status(&two).await.attention;
    assert_eq!(told.quarantined.len(), 1);
    let incident = told.quarantined[0].incident;
    assert!(one.run(Command::BreakGlass { subject: Subject::Node(name("n2")) }).await.is_err(), "one at a time");
    assert!(one.run(Command::ConfirmBreakGlass { incident }).await.is_err(), "confirmed alone");
    done(&two, Command::ConfirmBreakGlass { incident }).await;
    until("its recovery is complete", || async {
        incidents(&two).await.iter().any(|one| one.id == incident && one.recovery.len() == 6)
    })
    .await;
    assert!(status(&two).await.attention.quarantined.is_empty());

    // a credential under quarantine asks for nothing and is cut off from what it looks at
    done(&two, Command::BreakGlass { subject: Subject::Operator("plain".parse().unwrap()) }).await;
    assert!(plain.run(Command::Read { what: "status".to_owned() }).await.is_err());
    replay(&mesh.deployment, &two, |_| {}).await;
    mesh.stop().await;
}

/// Says of every key the node takes part in, and in every way it may, that somebody else knows it.
async fn cry_wolf(client: &Client, hostile: &HostileNode, connected: &mut Connected) {
    let View::Keys(keys) = read(client, "keys").await else { panic!("no keys") };
    let own = keys.into_iter().filter(|key| key.participants.contains(&name("n1")));
    for key in own {
        for kind in [SignalKind::KeyCompromise, SignalKind::KeyMismatch, SignalKind::Replay] {
            let message = NodeMessage::Signal { subject: Subject::Key(key.id), kind };
            if connected.say(&message).await.is_err() {
                // cut, or asked to prove anew who it is: it comes back
                if let Ok(again) = hostile.connect().await {
                    *connected = again;
                }
                return;
            }
        }
    }
}

/// S9: an admitted node that says again and again that its keys are known rotates no mesh, opens few
/// incidents, and becomes the subject of one.
#[tokio::test(flavor = "multi_thread")]
async fn s9_a_node_that_cries_wolf_reaches_its_own_pairs_alone() {
    let deployment = Deployment::new(4);
    let hub = deployment.start().await;
    let running: Vec<_> = deployment.nodes[1..].iter().map(start).collect();
    let client = deployment.client(&hub, "op1");
    until_keyed(&client, 2).await;
    let hostile = HostileNode::new(&deployment.nodes[0]);
    let n1 = Subject::Node(name("n1"));
    let mut connected = hostile.connect().await.unwrap();
    // each round says the same of what is new, so that it takes a few
    for round in 0.. {
        cry_wolf(&client, &hostile, &mut connected).await;
        if incidents(&client).await.iter().any(|one| one.subject == n1) {
            break;
        }
        assert!(round < 200, "it is never the subject of an incident itself");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    let (mut orders, mut incidents_opened) = (0, 0);
    replay(&deployment, &client, |entry| {
        for record in &entry.body.records {
            orders += usize::from(matches!(record, Record::RotationOrdered { .. }));
            incidents_opened += usize::from(matches!(record, Record::IncidentOpened { .. }));
        }
    })
    .await;
    assert_eq!(orders, 0, "the mesh rotates on no node's word");
    assert!(incidents_opened <= 12, "{incidents_opened}");
    for node in running {
        node.stop().await;
    }
    hub.stop().await;
}
