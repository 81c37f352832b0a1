//! Stopping and starting, and disks that are put back: nothing is given out twice.

use std::collections::BTreeSet;
use std::path::Path;

use kme::client::ClientError;

use crate::fixture::{Site, Weather, World, config, refusal, sae, until};

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Everything the two were ever given.
#[derive(Default)]
struct Seen {
    ids: BTreeSet<String>,
    keys: BTreeSet<Vec<u8>>,
    fetched: BTreeSet<String>,
}

impl Seen {
    /// `number` keys to `a1` for `b1`: none is one of before, by name or by bytes.
    async fn master(&mut self, ka: &Site, number: u32) -> Vec<String> {
        let given = ka.client("a1").enc_keys(&sae("b1"), number, 256).await.unwrap();
        for key in &given {
            assert!(self.ids.insert(key.id.clone()), "the name of a key again: {}", key.id);
            assert!(self.keys.insert(key.key.expose().to_vec()), "the same key again");
        }
        given.into_iter().map(|key| key.id).collect()
    }

    /// `b1` asks for each by its name.
    async fn slave(&mut self, kb: &Site, ids: &[String]) -> usize {
        let mut got = 0;
        for id in ids {
            match kb.client("b1").dec_keys(&sae("a1"), std::slice::from_ref(id)).await {
                Ok(_) => {
                    assert!(self.fetched.insert(id.clone()), "fetched twice: {id}");
                    got += 1;
                }
                Err(ClientError::Refused { status: 400, .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        got
    }
}

/// S7: the stores of one KME, of the other, and of both at once are copied while they run, keys are used, and the
/// copies are put back: no name of a key and no key is given to the master again, and none to the slave.
#[tokio::test(flavor = "multi_thread")]
async fn s7_a_store_put_back_gives_no_key_again() {
    for restored in [&["ka"][..], &["kb"], &["ka", "kb"], &[]] {
        let world = World::new();
        let (ka, kb) = world.pair().await;
        let mut seen = Seen::default();
        let first = seen.master(&ka, 3).await;
        until("the pool is filled", || ka.stored("a1", "b1") >= 16).await;
        for site in ["ka", "kb"] {
            copy(&world.path(site), &world.path(&format!("{site}.copy")));
        }
        let used = seen.master(&ka, 12).await;
        assert_eq!(seen.slave(&kb, &used[..6]).await, 6);
        ka.stop().await;
        kb.crash().await;
        for site in restored {
            copy(&world.path(&format!("{site}.copy")), &world.path(site));
        }
        let (ka, kb) = world.pair().await;
        // Old names, used and unused: what a store that was put back does not know to be fetched it gives to nobody.
        for ids in [&first, &used] {
            seen.slave(&kb, ids).await;
        }
        let fresh = seen.master(&ka, 48).await;
        assert_eq!(seen.slave(&kb, &fresh).await, 48, "{restored:?}: keys of this start are at both ends");
    }
}

/// S7: the slave's KME starts anew while the master's goes on: what it lost is given to no master, and what is given
/// can be fetched. So it is the other way round, where in addition what was given before can still be fetched.
#[tokio::test(flavor = "multi_thread")]
async fn s7_stock_of_an_earlier_start_of_either_end_is_dropped() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let mut seen = Seen::default();
    let before = seen.master(&ka, 4).await;
    until("the pool is filled", || ka.stored("a1", "b1") >= 16).await;
    kb.crash().await;
    let kb = world.start(config("kb")).await;
    kb.kme.greet(&"ka".parse().unwrap()).await;
    let ids = seen.master(&ka, 8).await;
    assert_eq!(seen.slave(&kb, &ids).await, 8);
    assert_eq!(seen.slave(&kb, &before).await, 0, "of an earlier start of the slave's KME");

    let kept = seen.master(&ka, 4).await;
    ka.crash().await;
    let ka = world.start(config("ka")).await;
    let ids = seen.master(&ka, 8).await;
    assert_eq!(seen.slave(&kb, &ids).await, 8);
    assert_eq!(seen.slave(&kb, &kept).await, 4, "the slave's KME ran on: it knows what was fetched");
    assert_eq!(seen.slave(&kb, &kept).await, 0);
}

/// A crash repeats nothing, however often, and whatever was on its way.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_repeats_no_key() {
    let world = World::new();
    let mut seen = Seen::default();
    let kb = world.start(config("kb")).await;
    for round in 0..6 {
        let ka = world.start(config("ka")).await;
        for _ in 0..7 {
            let ids = seen.master(&ka, 1).await;
            assert_eq!(seen.slave(&kb, &ids).await, 1);
        }
        if round % 2 == 1 {
            world.weather(Weather::AnswersLost);
            until("the pool is used up", || ka.stored("a1", "b1") < 200).await;
        }
        ka.crash().await;
        world.weather(Weather::Fair);
    }
}

/// S7: shared keys that waited for additional slaves are gone with the start of their KME, and of no other.
#[tokio::test(flavor = "multi_thread")]
async fn s7_shared_keys_of_an_earlier_start_are_given_to_nobody() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let kc = world.start(config("kc")).await;
    let body = Some(r#"{"additional_slave_SAE_IDs":["c1","b2"]}"#.to_owned());
    let answer = ka.client("a1").call(hyper::Method::POST, "b1/enc_keys", body).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let id = [answer["keys"][0]["key_ID"].as_str().unwrap().to_owned()];
    let first = kb.client("b2").dec_keys(&sae("a1"), &id).await.unwrap();
    kb.crash().await;
    let kb = world.start(config("kb")).await;
    let last = kc.client("c1").dec_keys(&sae("a1"), &id).await.unwrap();
    assert_eq!(first[0].key.expose(), last[0].key.expose());
    for slave in ["b1", "b2"] {
        assert_eq!(refusal(kb.client(slave).dec_keys(&sae("a1"), &id).await).0, 400, "{slave}");
    }
}

/// S7: a KME that is held back gives nothing to a master and nothing to a slave, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn s7_a_kme_that_is_held_back_gives_nothing() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let mut seen = Seen::default();
    let ids = seen.master(&ka, 1).await;
    for site in [&ka, &kb] {
        site.kme.hold();
    }
    let (status, message) = refusal(ka.client("a1").enc_keys(&sae("b1"), 1, 256).await);
    assert!(status == 503 && message.contains("waits for the hub"), "{status} {message}");
    assert_eq!(refusal(kb.client("b1").dec_keys(&sae("a1"), &ids).await).0, 503);
    for site in [&ka, &kb] {
        site.kme.release();
    }
    assert_eq!(seen.slave(&kb, &ids).await, 1);
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
