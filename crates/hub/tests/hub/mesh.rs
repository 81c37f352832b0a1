//! A hub and its nodes, end to end, in one process: keyed, rotated, recovered, proven.

use adversary::{Deployment, incidents, newest_active, nodes, replay, start, until, until_keyed};
use api::Reply;
use kernel::event::Command;
use kernel::record::RecoveryStep;
use types::mesh::{NodeState, SignalKind, Subject};

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
    let signal = Command::Signal { subject: Subject::Node(n3.clone()), kind: SignalKind::NodeCompromise };
    for client in [&one, &two] {
        assert!(matches!(client.run(signal.clone()).await.unwrap(), Reply::Done(_)), "two sources confirm it");
    }
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
