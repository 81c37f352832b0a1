//! S3: who holds a copy of a signed request, as every export does, can do nothing with it.

use std::sync::Arc;

use adversary::{Deployment, Outsider, replay};
use kernel::event::{Command, Event};
use kernel::record::Record;
use tokio::task::JoinSet;
use types::mesh::SignalKind;
use types::{Hash, Millis, OperatorId};

use crate::view::{answered, name, size, status};

/// What the log holds of one operator: its requests, and signals of replays.
async fn of(deployment: &Deployment, hub: &hub::Hub, operator: &str) -> (usize, usize) {
    let operator: OperatorId = name(operator);
    let (mut requests, mut signals) = (0, 0);
    replay(deployment, &deployment.client(hub, "op2"), |entry| {
        requests +=
            usize::from(matches!(&entry.body.event, Event::Request(signed) if signed.request.operator == operator));
        let told = entry.body.records.iter();
        signals += told.filter(|one| matches!(one, Record::SignalNoted { kind: SignalKind::Replay, .. })).count();
    })
    .await;
    (requests, signals)
}

/// 960 entries in 1.7 s, and no key was needed.
#[tokio::test(flavor = "multi_thread")]
async fn s3_a_request_made_before_or_long_ago_leaves_no_entry() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let operator = deployment.hostile_operator(&hub, "op1");
    let once = operator.sign(status());
    assert_eq!(operator.send(&once).await.unwrap().status, 200);
    let nonce = |byte: u8| Hash::new([byte; 32]);
    let stale = operator.sign_at(status(), hub::system_time() - Millis::from_secs(226), nonce(1));
    let early = operator.sign_at(status(), hub::system_time() + Millis::from_hours(1), nonce(2));
    let outsider = deployment.hostile_operator(&hub, "nobody").from(Outsider::at(9));
    let (before, start) = (size(&hub).await, std::time::Instant::now());
    let old = [&once, &stale, &early];
    for at in 0..300 {
        let answer = outsider.send(old[at % old.len()]).await.unwrap();
        assert_eq!((answer.status, answer.word().as_str()), (410, "replayed"));
    }
    let grown = size(&hub).await - before;
    assert!(grown <= 2 + start.elapsed().as_secs() / 5, "{grown} entries");
    let (requests, signals) = of(&deployment, &hub, "op1").await;
    assert_eq!(requests, 1, "only the one that was made in time, once");
    assert!((1..=1 + start.elapsed().as_secs() as usize / 10).contains(&signals), "{signals} signals");
    // two at the same moment: one counts
    let same = operator.sign(Command::OpenConsole);
    let (one, two) = tokio::join!(operator.send(&same), operator.send(&same));
    let mut statuses = [one.unwrap().status, two.unwrap().status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 410]);
    assert_eq!(of(&deployment, &hub, "op1").await.0, 2);
    hub.stop().await;
}

/// An operator, or an address, that asks without end is told to wait, and nobody else is.
#[tokio::test(flavor = "multi_thread")]
async fn s3_who_asks_too_often_waits_alone() {
    let deployment = Deployment::new(0);
    let hub = deployment.start().await;
    let greedy = Arc::new(deployment.hostile_operator(&hub, "op1").from(Outsider::at(7)));
    let modest = deployment.hostile_operator(&hub, "op2");
    let (mut waits, mut asked) = (0, 0);
    let start = std::time::Instant::now();
    while waits < 20 {
        let mut batch = JoinSet::new();
        for _ in 0..16 {
            let greedy = Arc::clone(&greedy);
            batch.spawn(async move { greedy.ask(status()).await.map_or(0, |answer| answer.status) });
        }
        let answers = batch.join_all().await;
        asked += answers.len();
        waits += answers.iter().filter(|status| **status == 429).count();
        assert!(answers.iter().all(|status| [200, 429].contains(status)), "{answers:?}");
        assert!(asked < 20_000, "never told to wait");
    }
    let bound = 400 + 60 * start.elapsed().as_secs() as usize + 60;
    assert!(asked - waits <= bound, "{asked} asked, {waits} told to wait in {:?}", start.elapsed());
    for _ in 0..20 {
        answered(&modest).await;
    }
    hub.stop().await;
}
