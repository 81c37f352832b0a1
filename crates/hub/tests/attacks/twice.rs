//! What there must be one of: a hub of a store, a session pair of a node, a node of a name.

use std::time::Duration;

use adversary::{Deployment, replay, until};
use api::client::ExportReply;
use hub::{Hub, StartError};
use kernel::event::{Command, Event, NodeSpec};
use kernel::record::Record;
use session::mesh::NodeMessage;
use types::NodeId;
use types::mesh::{Function, NodeState};

use crate::view::{answered, look, name};

/// A second hub on the same store says so and stops; the first does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn s2_a_second_hub_on_one_store_does_not_start() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let operator = deployment.hostile_operator(&hub, "op1");
    answered(&operator).await;
    let mut elsewhere = deployment.config.clone();
    elsewhere.listen = "127.0.0.1:0".parse().unwrap();
    elsewhere.mesh_listen = "127.0.0.1:0".parse().unwrap();
    for config in [deployment.config.clone(), elsewhere] {
        let error = Hub::start(config).await.expect_err("there are two hubs on one store");
        assert!(matches!(error, StartError::Store(_) | StartError::Listen { .. }), "{error}");
    }
    answered(&operator).await;
    let client = deployment.client(&hub, "op1");
    replay(&deployment, &client, |_| {}).await;
    hub.stop().await;
}

/// A node that comes a second time, as its thief or as itself, takes the place of the first: there is never more
/// than one. A name that is taken is not admitted again, whatever its identity.
#[tokio::test(flavor = "multi_thread")]
async fn s2_a_node_is_there_once() {
    let deployment = Deployment::new(1);
    let hub = deployment.start().await;
    let node: NodeId = name("n1");
    let online = || {
        let node = node.clone();
        look(&hub, move |state| state.node(&node).is_some_and(|node| node.state == NodeState::Online))
    };
    let mut first = deployment.hostile_node(1).connect().await.unwrap();
    until("the first is up", online).await;
    let second = deployment.hostile_node(1).connect().await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), first.until_cut()).await.unwrap();
    until("the second is up", online).await;
    second.say(&NodeMessage::Activated(vec![])).await.unwrap();
    for identity in [deployment.config.nodes[0].identity, types::Hash::new([9; 32])] {
        let again = NodeSpec { id: node.clone(), function: Function::Grid, identity };
        let operator = deployment.client(&hub, "op1");
        let refused = operator.run(Command::AdmitNode { node: again, links: vec![] }).await;
        assert!(!matches!(refused, Ok(api::Reply::Done(_))), "{refused:?}");
    }
    let mut admitted = 0;
    replay(&deployment, &deployment.client(&hub, "op1"), |entry| {
        admitted += entry.body.records.iter().filter(|one| matches!(one, Record::NodeAdmitted { .. })).count();
    })
    .await;
    assert_eq!(admitted, 0, "the founding node is the only one");
    hub.stop().await;
}

/// An export that is taken while a node floods the hub ends, and replays.
#[tokio::test(flavor = "multi_thread")]
async fn s2_an_export_during_a_flood_holds() {
    let deployment = Deployment::new(2);
    let hub = deployment.start().await;
    let connected = deployment.hostile_node(1).connect().await.unwrap();
    let flood = tokio::spawn(async move {
        let mut at = 0_u64;
        loop {
            at += 1;
            let kme =
                types::sae::KmeSpec { url: format!("https://127.0.0.1:{}", at % 60_000), authority: "x".repeat(8_000) };
            if connected.say(&NodeMessage::KmeUp(kme)).await.is_err() {
                return at;
            }
        }
    });
    let client = deployment.client(&hub, "op1");
    until("the flood is in the log", || async { hub.handle().look(|look| look.tree.size()).await.unwrap() > 40 }).await;
    let mut kept = 0;
    replay(&deployment, &client, |entry| kept += u64::from(matches!(entry.body.event, Event::KmeUp { .. }))).await;
    assert!(kept > 10);
    let mut bundle = Vec::new();
    let ExportReply::Exported(_) = client.export(&mut bundle).await.unwrap() else { panic!("held") };
    flood.abort();
    hub.stop().await;
}
