//! The hub's clock jumps back while nodes are connected.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hub::{Hub, system_time};
use kernel::event::{Command, Event};
use types::Millis;
use types::mesh::SignalKind;

use adversary::{Deployment, newest_active, replay, start, until, until_keyed};

/// KM-01, QT-10: an hour back. Entries keep their order and nothing stops; one signal tells of it.
/// Nothing comes due meanwhile, and keys rotate again once the clock is right. The log replays.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_back_loses_nothing() {
    let deployment = Deployment::new(2);
    let behind = Arc::new(AtomicU64::new(0));
    let late = Arc::clone(&behind);
    let time = Arc::new(move || system_time() - Millis::new(late.load(Ordering::Relaxed)));
    let hub = Hub::start_at(deployment.config.clone(), time).await.unwrap();
    let running: Vec<_> = deployment.nodes.iter().map(start).collect();
    let client = deployment.client(&hub, "op1");
    until_keyed(&client, 1).await;
    let keyed = newest_active(&client).await;

    let entries = || async { hub.handle().look(|look| (look.tree.size(), look.state.clock())).await.unwrap() };
    let (size, at) = entries().await;
    behind.store(Millis::from_hours(1).get(), Ordering::Relaxed);
    for _ in 0..10 {
        client.run(Command::Read { what: "status".to_owned() }).await.unwrap();
    }
    let (grown, stood) = entries().await;
    assert!(grown >= size + 10, "what is asked is recorded");
    assert!(stood >= at && stood.since(at) < Millis::from_secs(30), "the time of the log stands: {at:?} and {stood:?}");

    behind.store(0, Ordering::Relaxed);
    until("keys rotate again", || async { newest_active(&client).await > keyed + 2 }).await;
    until_keyed(&client, 1).await;
    let mut told = 0;
    let state = replay(&deployment, &client, |entry| {
        told += usize::from(matches!(entry.body.event, Event::Detected { kind: SignalKind::ClockRegressed, .. }));
    })
    .await;
    assert_eq!(told, 1, "one signal for one jump");
    assert_eq!(state.nodes().len(), 2);
    for node in running {
        node.stop().await;
    }
    hub.stop().await;
}
