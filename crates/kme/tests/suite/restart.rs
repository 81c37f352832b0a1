//! Stopping and starting: nothing is delivered twice, and a clean stop loses nothing.

use std::collections::BTreeSet;

use crate::fixture::{Weather, World, config, refusal, sae, until};

/// KM-02, KM-05: a pool survives a clean stop to the last key.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_stop_keeps_every_key() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let given = ka.client("a1").enc_keys(&sae("b1"), 3, 256).await.unwrap();
    let stored = world.freeze(&ka, 3).await;
    ka.stop().await;
    kb.stop().await;
    let (ka, kb) = world.pair().await;
    assert_eq!(ka.stored("a1", "b1"), stored);
    let ids: Vec<String> = given.iter().map(|key| key.id.clone()).collect();
    let got = kb.client("b1").dec_keys(&sae("a1"), &ids).await.unwrap();
    assert!(given.iter().zip(&got).all(|(a, b)| a.key.expose() == b.key.expose()));
    kb.stop().await;
    let kb = world.start(config("kb")).await;
    assert_eq!(refusal(kb.client("b1").dec_keys(&sae("a1"), &ids).await).0, 400, "delivered again after a restart");
}

/// A crash loses at most a lease, and repeats nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_repeats_no_key() {
    let world = World::new();
    let mut seen = BTreeSet::new();
    let kb = world.start(config("kb")).await;
    let mut most_lost = 0;
    for _ in 0..6 {
        let ka = world.start(config("ka")).await;
        let client = ka.client("a1");
        for _ in 0..7 {
            let given = client.enc_keys(&sae("b1"), 1, 256).await.unwrap();
            assert!(seen.insert(given[0].key.expose().to_vec()), "the same key again");
            let got = kb.client("b1").dec_keys(&sae("a1"), &[given[0].id.clone()]).await.unwrap();
            assert_eq!(got[0].key.expose(), given[0].key.expose());
        }
        until("the pool is filled", || ka.stored("a1", "b1") >= 8).await;
        world.weather(Weather::Unreachable);
        let stored = ka.stored("a1", "b1");
        ka.crash().await;
        let ka = world.start(config("ka")).await;
        most_lost = most_lost.max(stored.saturating_sub(ka.stored("a1", "b1")));
        ka.crash().await;
        world.weather(Weather::Fair);
    }
    assert!(most_lost <= 4, "a crash lost {most_lost} keys, more than the lease of 4");
}

/// A sheet that was not confirmed when the KME stopped is offered again, not drawn again.
#[tokio::test(flavor = "multi_thread")]
async fn unconfirmed_sheets_survive_a_crash() {
    let world = World::new();
    world.weather(Weather::AnswersLost);
    let mut quick = config("ka");
    quick.timing.fill_wait = types::Millis::new(200);
    let (ka, kb) = (world.start(quick.clone()).await, world.start(config("kb")).await);
    assert_eq!(refusal(ka.client("a1").enc_keys(&sae("b1"), 1, 256).await).0, 503);
    ka.crash().await;
    world.weather(Weather::Fair);
    world.bits.leave(0);
    let ka = world.start(quick).await;
    let given = ka.client("a1").enc_keys(&sae("b1"), 1, 256).await.unwrap();
    let got = kb.client("b1").dec_keys(&sae("a1"), &[given[0].id.clone()]).await.unwrap();
    assert_eq!(got[0].key.expose(), given[0].key.expose());
}

/// Shared keys that wait for additional slaves survive too.
#[tokio::test(flavor = "multi_thread")]
async fn shared_keys_survive_a_restart() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let kc = world.start(config("kc")).await;
    let body = Some(r#"{"additional_slave_SAE_IDs":["c1","b2"]}"#.to_owned());
    let answer = ka.client("a1").call(hyper::Method::POST, "b1/enc_keys", body).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let id = [answer["keys"][0]["key_ID"].as_str().unwrap().to_owned()];
    let first = kb.client("b2").dec_keys(&sae("a1"), &id).await.unwrap();
    kc.crash().await;
    kb.crash().await;
    let (kb, kc) = (world.start(config("kb")).await, world.start(config("kc")).await);
    let last = kc.client("c1").dec_keys(&sae("a1"), &id).await.unwrap();
    assert_eq!(first[0].key.expose(), last[0].key.expose());
    assert_eq!(refusal(kb.client("b2").dec_keys(&sae("a1"), &id).await).0, 401, "delivered again after a restart");
    assert_eq!(kb.client("b1").dec_keys(&sae("a1"), &id).await.unwrap().len(), 1);
}

/// Requests that come while the KME stops are refused, not half done.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_kme_refuses() {
    let world = World::new();
    let ka = world.start(config("ka")).await;
    let client = ka.client("a1");
    client.enc_keys(&sae("a2"), 1, 256).await.unwrap();
    ka.kme.close().await;
    assert_eq!(refusal(client.enc_keys(&sae("a2"), 1, 256).await), (503, "key data access error".to_owned()));
}
