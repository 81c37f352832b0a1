//! Who gets which keys, and what is noted of it.

use hyper::Method;
use kme::config::SaeConfig;
use kme::note::DeliveryKind;
use kme::peer::KeyPath;

use crate::fixture::{World, config, refusal, sae};

const GONE: &str = "one or more keys specified are not found on KME";
const DENIED: &str = "this SAE is not entitled to the keys specified";

fn ids(keys: &[kme::client::ReceivedKey]) -> Vec<String> {
    keys.iter().map(|key| key.id.clone()).collect()
}

/// KM-04, KM-08: equal keys at both ends, once each, with a note at each end that holds no key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_delivered_once_to_each_end_and_noted() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let (master, slave) = (ka.client("a1"), kb.client("b1"));
    let given = master.enc_keys(&sae("b1"), 3, 256).await.unwrap();
    let got = slave.dec_keys(&sae("a1"), &ids(&given)).await.unwrap();
    assert!(given.iter().zip(&got).all(|(a, b)| a.id == b.id && a.key.expose() == b.key.expose()));
    assert_eq!(refusal(slave.dec_keys(&sae("a1"), &ids(&given)).await), (400, GONE.to_owned()));
    let (made, fetched) = (ka.notes.0.lock().unwrap().clone(), kb.notes.0.lock().unwrap().clone());
    assert_eq!((made.len(), fetched.len()), (1, 1));
    assert_eq!((made[0].kind, fetched[0].kind), (DeliveryKind::Master, DeliveryKind::Slave));
    assert_eq!((made[0].size, made[0].path, made[0].keys.len()), (256, KeyPath::QkdKem, 3));
    assert_eq!(made[0].keys, fetched[0].keys);
    assert_eq!((made[0].master.as_str(), made[0].slaves[0].as_str()), ("a1", "b1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_slave_named_is_entitled() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let given = ka.client("a1").enc_keys(&sae("b1"), 1, 256).await.unwrap();
    let of_others = ka.client("a1").enc_keys(&sae("b2"), 1, 256).await.unwrap();
    // Another SAE of the same KME, who knows the identifier.
    assert_eq!(refusal(kb.client("b2").dec_keys(&sae("a1"), &ids(&given)).await), (401, DENIED.to_owned()));
    // One key of one's own does not help.
    let mixed = [ids(&given), ids(&of_others)].concat();
    assert_eq!(refusal(kb.client("b2").dec_keys(&sae("a1"), &mixed).await), (401, DENIED.to_owned()));
    // The master's own KME has no slave's side of it.
    assert_eq!(refusal(ka.client("a2").dec_keys(&sae("a1"), &ids(&given)).await), (400, GONE.to_owned()));
    // Another master's name does not fit the key.
    assert_eq!(refusal(kb.client("b1").dec_keys(&sae("a2"), &ids(&given)).await), (400, GONE.to_owned()));
    // None of this consumed anything.
    assert_eq!(kb.client("b1").dec_keys(&sae("a1"), &ids(&given)).await.unwrap().len(), 1);
    assert_eq!(kb.client("b2").dec_keys(&sae("a1"), &ids(&of_others)).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_saes_of_one_kme_share_keys() {
    let world = World::new();
    let ka = world.start(config("ka")).await;
    let given = ka.client("a1").enc_keys(&sae("a2"), 4, 64).await.unwrap();
    let got = ka.client("a2").dec_keys(&sae("a1"), &ids(&given)).await.unwrap();
    assert!(given.iter().zip(&got).all(|(a, b)| a.key.expose() == b.key.expose()));
    assert_eq!(refusal(ka.client("a2").dec_keys(&sae("a1"), &ids(&given)).await), (400, GONE.to_owned()));
    assert_eq!(refusal(ka.client("a1").dec_keys(&sae("a1"), &ids(&given)).await).0, 401);
}

/// Multicast: every slave gets the same key once, at three KMEs.
#[tokio::test(flavor = "multi_thread")]
async fn additional_slaves_get_the_same_key_once_each() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let kc = world.start(config("kc")).await;
    let body = r#"{"number":2,"additional_slave_SAE_IDs":["b2","c1","a2"]}"#.to_owned();
    let answer = ka.client("a1").call(Method::POST, "b1/enc_keys", Some(body)).await.unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&answer).unwrap();
    let keys = answer["keys"].as_array().unwrap();
    let ids: Vec<String> = keys.iter().map(|key| key["key_ID"].as_str().unwrap().to_owned()).collect();
    for (site, slave) in [(&kb, "b1"), (&kb, "b2"), (&kc, "c1"), (&ka, "a2")] {
        let client = site.client(slave);
        let got = client.dec_keys(&sae("a1"), &ids).await.unwrap();
        for (key, got) in keys.iter().zip(&got) {
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.encode(got.key.expose());
            assert_eq!(key["key"], text, "{slave}");
        }
        // Once b2 has its copies, its KME only knows the sheet of b1, which is not for b2.
        let refused = if slave == "b2" { (401, DENIED.to_owned()) } else { (400, GONE.to_owned()) };
        assert_eq!(refusal(client.dec_keys(&sae("a1"), &ids).await), refused, "{slave}");
    }
    let slaves: Vec<_> = ka.notes.0.lock().unwrap()[0].slaves.iter().map(ToString::to_string).collect();
    assert_eq!(slaves, ["b1", "b2", "c1", "a2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_reaches_only_the_slaves_it_may() {
    let world = World::new();
    let mut narrow = config("ka");
    narrow.saes[0].slaves = Some([sae("b1")].into());
    let ka = world.start(narrow).await;
    let _kb = world.start(config("kb")).await;
    let client = ka.client("a1");
    client.enc_keys(&sae("b1"), 1, 256).await.unwrap();
    assert_eq!(refusal(client.enc_keys(&sae("b2"), 1, 256).await).0, 401);
    assert_eq!(refusal(client.status(&sae("b2")).await).0, 401);
    let body = Some(r#"{"additional_slave_SAE_IDs":["b2"]}"#.to_owned());
    assert_eq!(refusal(client.call(Method::POST, "b1/enc_keys", body).await).0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_stops_one_sae_and_no_other() {
    let world = World::new();
    let mut metered = config("ka");
    metered.limits.quota_burst = 1_024;
    metered.saes[0].quota_bps = Some(1);
    let ka = world.start(metered).await;
    let (greedy, other) = (ka.client("a1"), ka.client("a2"));
    greedy.enc_keys(&sae("a2"), 4, 256).await.unwrap();
    let refused = refusal(greedy.enc_keys(&sae("a2"), 1, 256).await);
    assert_eq!(refused, (503, "the quota of this SAE is used up: try again later".to_owned()));
    other.enc_keys(&sae("a1"), 100, 256).await.unwrap();
}

/// SM-03: who the caller is comes from its certificate: URI, or what the configuration says.
#[tokio::test(flavor = "multi_thread")]
async fn a_sae_is_known_by_uri_common_name_or_fingerprint() {
    let world = World::new();
    let ka = world.start(config("ka")).await;
    let stranger = ka.credential("stranger");
    let url = format!("https://{}", ka.address);
    let settings = kme::client::ClientSettings {
        url,
        authority: stranger.authority.clone(),
        certificate: stranger.certificate.clone(),
        key: stranger.key,
    };
    let client = kme::client::Client::new(&settings, std::time::Duration::from_secs(20)).unwrap();
    let refused = refusal(client.status(&sae("a2")).await);
    assert_eq!(refused, (401, "the certificate does not name a SAE of this KME".to_owned()));
    // On the same connection: the directory changes, and the SAE is known from the next request on.
    let mut by_name = config("ka");
    by_name.saes.push(SaeConfig { common_names: vec!["stranger".to_owned()], ..SaeConfig::new(sae("s1")) });
    ka.kme.set_saes(&by_name).unwrap();
    assert_eq!(client.status(&sae("a2")).await.unwrap().master_SAE_ID, "s1");
    let pem = std::fs::read(&stranger.certificate).unwrap();
    let der = <rustls_pki_types::CertificateDer<'_> as rustls_pki_types::pem::PemObject>::from_pem_slice(&pem).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let mut by_print = config("ka");
    let fingerprint = types::Hash::new(digest.as_ref().try_into().unwrap());
    by_print.saes.push(SaeConfig { fingerprints: vec![fingerprint], ..SaeConfig::new(sae("s2")) });
    ka.kme.set_saes(&by_print).unwrap();
    assert_eq!(client.status(&sae("a2")).await.unwrap().master_SAE_ID, "s2");
    ka.kme.set_saes(&config("ka")).unwrap();
    assert_eq!(refusal(client.status(&sae("a2")).await).0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_authority_makes_no_connection() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let mut foreign = kb.settings("b1");
    foreign.url = format!("https://{}", ka.address);
    foreign.authority = ka.settings("a1").authority;
    let client = kme::client::Client::new(&foreign, std::time::Duration::from_secs(20)).unwrap();
    let error = client.status(&sae("a2")).await.unwrap_err();
    assert!(!matches!(error, kme::client::ClientError::Refused { .. }), "{error}");
}

/// SM-06d: sheets that were used up are erased from both vaults.
#[tokio::test(flavor = "multi_thread")]
async fn sheets_used_up_are_erased_at_both_ends() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let (master, slave) = (ka.client("a1"), kb.client("b1"));
    let mut first = Vec::new();
    for round in 0..40 {
        let given = master.enc_keys(&sae("b1"), 16, 256).await.unwrap();
        slave.dec_keys(&sae("a1"), &ids(&given)).await.unwrap();
        if round == 0 {
            first = ka.sheets().await;
            assert!(!first.is_empty());
        }
    }
    loop {
        let left = [ka.sheets().await, kb.sheets().await].concat();
        if !left.iter().any(|sheet| first.contains(sheet)) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// SM-06d: what was delivered leaves the vault, while the rest of its sheet lives on.
#[tokio::test(flavor = "multi_thread")]
async fn delivered_keys_leave_the_vault() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let given = ka.client("a1").enc_keys(&sae("b1"), 2, 256).await.unwrap();
    kb.client("b1").dec_keys(&sae("a1"), &ids(&given)).await.unwrap();
    for site in [&ka, &kb] {
        for key in &given {
            while site.vault_holds(key.key.expose()).await {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }
    assert!(!ka.sheets().await.is_empty());
}
