//! Another KME, or the supply, is down: nothing is burnt, nobody waits for ever.

use hyper::Method;

use crate::fixture::{Weather, World, config, refusal, sae, until};

const DOWN: &str = "the KME of a slave SAE cannot be reached: try again later";
const EMPTY: &str = "no keys are available now for this pair of SAEs: try again later";

fn quick(id: &str) -> kme::config::KmeConfig {
    let mut config = config(id);
    config.timing.fill_wait = types::Millis::new(500);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_both_ends_hold_outlive_an_outage_and_no_bits_are_burnt() {
    let world = World::new();
    let (ka, kb) = (world.start(quick("ka")).await, world.start(quick("kb")).await);
    let (master, slave) = (ka.client("a1"), kb.client("b1"));
    let first = master.enc_keys(&sae("b1"), 1, 256).await.unwrap();
    let mut delivered = 1;
    until("the pool is filled", || ka.stored("a1", "b1") >= 15).await;
    for weather in [Weather::Unreachable, Weather::MessagesLost, Weather::AnswersLost] {
        world.weather(weather);
        // What both hold is still given out.
        while ka.stored("a1", "b1") > 0 {
            let given = master.enc_keys(&sae("b1"), 1, 256).await.unwrap();
            slave.dec_keys(&sae("a1"), &[given[0].id.clone()]).await.unwrap();
            delivered += 1;
        }
        assert_eq!(refusal(master.enc_keys(&sae("b1"), 1, 256).await), (503, DOWN.to_owned()));
        // However often it is tried, one sheet of bits is drawn, and kept.
        let drawn = world.bits.drawn();
        assert_eq!(refusal(master.enc_keys(&sae("b1"), 1, 256).await), (503, DOWN.to_owned()));
        assert_eq!(world.bits.drawn(), drawn, "{weather:?}");
        world.weather(Weather::Fair);
        let given = master.enc_keys(&sae("b1"), 1, 256).await.unwrap();
        let got = kb.client("b1").dec_keys(&sae("a1"), &[given[0].id.clone()]).await.unwrap();
        assert_eq!(got[0].key.expose(), given[0].key.expose());
        delivered += 1;
        // Every bit drawn is in a key delivered, or in the pool: nothing is burnt.
        let drawn = || world.bits.drawn();
        until("all bits are accounted for", || drawn() == delivered + ka.stored("a1", "b1")).await;
    }
    kb.client("b1").dec_keys(&sae("a1"), &[first[0].id.clone()]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_supply_is_503_and_recovers() {
    let world = World::new();
    world.bits.leave(0);
    let (ka, _kb) = (world.start(quick("ka")).await, world.start(quick("kb")).await);
    assert_eq!(refusal(ka.client("a1").enc_keys(&sae("b1"), 1, 256).await), (503, EMPTY.to_owned()));
    assert_eq!(ka.client("a1").status(&sae("b1")).await.unwrap().stored_key_count, 0);
    world.bits.leave(usize::MAX);
    ka.client("a1").enc_keys(&sae("b1"), 1, 256).await.unwrap();
}

/// A multicast reservation returns when a slave's KME does not confirm, and no copy stays that could be fetched.
#[tokio::test(flavor = "multi_thread")]
async fn a_reservation_returns_when_a_slaves_kme_is_down() {
    let world = World::new();
    let (ka, kb) = (world.start(quick("ka")).await, world.start(quick("kb")).await);
    let kc = world.start(quick("kc")).await;
    let master = ka.client("a1");
    let first = master.enc_keys(&sae("b1"), 1, 256).await.unwrap();
    kb.client("b1").dec_keys(&sae("a1"), &[first[0].id.clone()]).await.unwrap();
    let stored = world.freeze(&ka, 1).await;
    let shared = || Some(r#"{"number":4,"additional_slave_SAE_IDs":["c1","b2"]}"#.to_owned());
    world.weather(Weather::Unreachable);
    assert_eq!(refusal(master.call(Method::POST, "b1/enc_keys", shared()).await), (503, DOWN.to_owned()));
    assert_eq!(ka.stored("a1", "b1"), stored, "what was not sent returns at once");
    // Sent, and not confirmed: copies may lie at the other KMEs, and return once those destroyed them.
    world.weather(Weather::SharesUnanswered);
    assert_eq!(refusal(master.call(Method::POST, "b1/enc_keys", shared()).await), (503, DOWN.to_owned()));
    assert_eq!(ka.stored("a1", "b1"), stored - 4, "what may lie elsewhere is set aside");
    world.weather(Weather::Fair);
    until("what was set aside returns", || ka.stored("a1", "b1") == stored).await;
    let given = master.enc_keys(&sae("b1"), 4, 256).await.unwrap();
    let ids: Vec<String> = given.iter().map(|key| key.id.clone()).collect();
    assert_eq!(refusal(kc.client("c1").dec_keys(&sae("a1"), &ids).await).0, 400, "a copy outlived its reservation");
    assert_eq!(kb.client("b1").dec_keys(&sae("a1"), &ids).await.unwrap().len(), 4);
    // And with all up it goes through.
    let answer = master.call(Method::POST, "b1/enc_keys", shared()).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let id = answer["keys"][0]["key_ID"].as_str().unwrap().to_owned();
    assert_eq!(kc.client("c1").dec_keys(&sae("a1"), &[id]).await.unwrap().len(), 1);
}

/// One pair's outage is not another's.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_one_kme_leaves_other_pairs_alone() {
    let world = World::new();
    let ka = world.start(quick("ka")).await;
    let master = ka.client("a1");
    assert_eq!(refusal(master.enc_keys(&sae("b1"), 1, 256).await), (503, DOWN.to_owned()));
    let (other, waiting) = (ka.client("a2"), ka.client("a1"));
    let b1 = sae("b1");
    let stuck = waiting.enc_keys(&b1, 1, 256);
    let a1 = sae("a1");
    let free = other.enc_keys(&a1, 1, 256);
    let (stuck, free) = tokio::join!(stuck, free);
    assert_eq!(refusal(stuck), (503, DOWN.to_owned()));
    free.unwrap();
}

/// A KME accepts sheets only from the KME that serves the master, and only for its own SAEs.
#[tokio::test(flavor = "multi_thread")]
async fn a_kme_speaks_only_for_its_own_saes() {
    use kme::peer::{KeyPath, Material, Offer, PeerAnswer, PeerMessage};
    let world = World::new();
    let kb = world.start(config("kb")).await;
    let mine = types::Hash::new([5; 32]);
    let started = kb.kme.receive(&"ka".parse().unwrap(), PeerMessage::Started(mine)).await;
    let PeerAnswer::Start(start) = started else { panic!("{started:?}") };
    let offer = |tag: [u8; 8], master: &str, slave: &str, units: u16, bytes: usize, id_key: usize| {
        let to_start = if tag[7] == 9 { mine } else { start };
        let tag = minicbor::to_vec(u64::from_be_bytes(tag)).unwrap();
        PeerMessage::Offer(Offer {
            tag: minicbor::decode(&tag).unwrap(),
            master: sae(master),
            slave: sae(slave),
            units,
            id_key: kme::RawBits::new(vec![1; id_key]),
            material: Material::Carried(kme::RawBits::new(vec![2; bytes])),
            path: KeyPath::Kem,
            from_start: mine,
            to_start,
        })
    };
    let tag = [0, 0, 1, 2, 3, 4, 5, 6];
    let cases = [
        ("ka", offer(tag, "c1", "b1", 4, 32, 32), PeerAnswer::NotServed),
        ("kc", offer(tag, "a1", "b1", 4, 32, 32), PeerAnswer::NotServed),
        ("ka", offer(tag, "a1", "c1", 4, 32, 32), PeerAnswer::NotServed),
        ("ka", offer(tag, "b1", "b2", 4, 32, 32), PeerAnswer::NotServed),
        ("ka", offer(tag, "a1", "b1", 4, 31, 32), PeerAnswer::Malformed),
        ("ka", offer(tag, "a1", "b1", 4, 32, 31), PeerAnswer::Malformed),
        ("ka", offer(tag, "a1", "b1", 0, 0, 32), PeerAnswer::Malformed),
        ("ka", offer(tag, "a1", "b1", 4_097, 8 * 4_097, 32), PeerAnswer::Malformed),
        ("ka", offer([0, 0, 1, 2, 3, 4, 5, 9], "a1", "b1", 4, 32, 32), PeerAnswer::Start(start)),
        ("ka", offer(tag, "a1", "b1", 4, 32, 32), PeerAnswer::Done),
        ("ka", offer(tag, "a1", "b1", 4, 32, 32), PeerAnswer::Done),
        ("ka", offer(tag, "a1", "b2", 4, 32, 32), PeerAnswer::TagTaken),
        ("ka", offer(tag, "a1", "b1", 8, 64, 32), PeerAnswer::TagTaken),
    ];
    for (number, (from, message, answer)) in cases.into_iter().enumerate() {
        assert_eq!(kb.kme.receive(&from.parse().unwrap(), message).await, answer, "case {number}");
    }
}
