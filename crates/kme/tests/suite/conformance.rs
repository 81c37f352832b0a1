//! Every message and code of ETSI GS QKD 014, over real HTTPS.

use hyper::Method;
use kme::peer::KeyPath;

use crate::fixture::{World, config, refusal, sae};

/// KM-04: what one site gives to the master, the other gives to the slave, once.
#[tokio::test(flavor = "multi_thread")]
async fn status_has_every_member_with_true_values() {
    let world = World::new();
    let (ka, _kb) = world.pair().await;
    let (client, slave) = (ka.client("a1"), sae("b1"));
    client.enc_keys(&slave, 1, 256).await.unwrap();
    let body = client.call(Method::GET, "b1/status", None).await.unwrap();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
    for (member, value) in
        [("source_KME_ID", "ka"), ("target_KME_ID", "kb"), ("master_SAE_ID", "a1"), ("slave_SAE_ID", "b1")]
    {
        assert_eq!(status[member], value);
    }
    for (member, value) in [
        ("key_size", 256),
        ("max_key_count", 256),
        ("max_key_per_request", 128),
        ("max_key_size", 1024),
        ("min_key_size", 64),
        ("max_SAE_ID_count", 8),
    ] {
        assert_eq!(status[member], value, "{member}");
    }
    assert!(status["stored_key_count"].as_u64().unwrap() > 0);
    assert_eq!(status.as_object().unwrap().len(), 11);
    // Both SAEs here: one KME is source and target.
    assert_eq!(client.status(&sae("a2")).await.unwrap().target_KME_ID, "ka");
}

#[tokio::test(flavor = "multi_thread")]
async fn get_and_post_forms_give_keys_of_the_sizes_asked_for() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let (master, slave) = (ka.client("a1"), kb.client("b1"));
    let forms = [
        (Method::GET, "b1/enc_keys", None, 1, 32),
        (Method::GET, "b1/enc_keys?number=2&size=64", None, 2, 8),
        (Method::GET, "b1/enc_keys?size=1024", None, 1, 128),
        (Method::POST, "b1/enc_keys", Some(""), 1, 32),
        (Method::POST, "b1/enc_keys", Some("{}"), 1, 32),
        (Method::POST, "b1/enc_keys", Some(r#"{"number":128,"size":72}"#), 128, 9),
        (Method::POST, "b1/enc_keys", Some(r#"{"number":null,"size":512,"unknown":[]}"#), 1, 64),
    ];
    for (method, path, body, number, len) in forms {
        let answer = master.call(method, path, body.map(str::to_owned)).await.unwrap();
        let given: serde_json::Value = serde_json::from_slice(&answer).unwrap();
        let keys = given["keys"].as_array().unwrap();
        assert_eq!(keys.len(), number, "{path}");
        let ids: Vec<String> = keys.iter().map(|key| key["key_ID"].as_str().unwrap().to_owned()).collect();
        let got = slave.dec_keys(&sae("a1"), &ids).await.unwrap();
        for (key, got) in keys.iter().zip(&got) {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD.decode(key["key"].as_str().unwrap()).unwrap();
            assert_eq!(bytes.len(), len);
            assert_eq!(bytes, got.key.expose());
        }
    }
    let id = &master.enc_keys(&sae("b1"), 1, 256).await.unwrap()[0].id;
    let one = slave.call(Method::GET, &format!("a1/dec_keys?key_ID={id}"), None).await.unwrap();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&one).unwrap()["keys"][0]["key_ID"], **id);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_have_their_codes_and_a_message() {
    let world = World::new();
    let (ka, kb) = world.pair().await;
    let (master, slave) = (ka.client("a1"), kb.client("b1"));
    let unknown = r#"{"key_IDs":[{"key_ID":"00000000-0000-4000-8000-000000000000"}]}"#;
    let cases: [(Method, &str, Option<&str>, u16, &str); 14] = [
        (Method::POST, "b1/enc_keys", Some(r#"{"size":257}"#), 400, "size shall be a multiple of 8"),
        (Method::GET, "b1/enc_keys?size=257", None, 400, "size shall be a multiple of 8"),
        (Method::POST, "b1/enc_keys", Some(r#"{"size":4096}"#), 400, "size shall be from 64 to 1024 bits"),
        (Method::POST, "b1/enc_keys", Some(r#"{"number":0}"#), 400, "number shall be from 1 to 128"),
        (Method::POST, "b1/enc_keys", Some("{"), 400, "the body shall be a key request in JSON"),
        (
            Method::POST,
            "b1/enc_keys",
            Some(r#"{"extension_mandatory":[{"abc":1}]}"#),
            400,
            "not all extension_mandatory parameters are supported",
        ),
        (
            Method::POST,
            "b1/enc_keys",
            Some(r#"{"extension_mandatory":[{"qecnet_path":"x"}]}"#),
            400,
            "not all extension_mandatory request options could be met",
        ),
        (Method::POST, "b1/dec_keys", Some(unknown), 400, "one or more keys specified are not found on KME"),
        (Method::POST, "b1/dec_keys", Some(""), 400, "key_IDs shall have at least one member"),
        (Method::GET, "nobody/status", None, 400, "the SAE `nobody` is not known to this KME"),
        (Method::GET, "nobody/enc_keys", None, 400, "the SAE `nobody` is not known to this KME"),
        (Method::GET, "a1/enc_keys", None, 400, "the slave shall be another SAE than the master"),
        (Method::POST, "b1/status", Some(""), 400, "no such method"),
        (Method::DELETE, "b1/enc_keys", None, 400, "no such method"),
    ];
    for (method, path, body, status, message) in cases {
        let refused = refusal(master.call(method, path, body.map(str::to_owned)).await);
        assert_eq!(refused.0, status, "{path} {body:?}");
        assert!(refused.1.starts_with(message), "{path} {body:?}: {}", refused.1);
    }
    // Nothing of all this took a key, or hurt the connection.
    let keys = master.enc_keys(&sae("b1"), 2, 256).await.unwrap();
    let ids: Vec<String> = keys.iter().map(|key| key.id.clone()).collect();
    // One unknown key among known ones: nothing is delivered, and nothing consumed.
    let mut mixed = ids.clone();
    mixed.push("00000000-0000-4000-8000-000000000000".to_owned());
    let refused = refusal(slave.dec_keys(&sae("a1"), &mixed).await);
    assert_eq!(refused, (400, "one or more keys specified are not found on KME".to_owned()));
    assert_eq!(slave.dec_keys(&sae("a1"), &ids).await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_extension_is_an_error_where_so_configured() {
    let world = World::new();
    let mut strict = config("ka");
    strict.limits.refuse_unhandled_optional = true;
    let ka = world.start(strict).await;
    let body = r#"{"extension_optional":[{"hint":1}]}"#.to_owned();
    let refused = refusal(ka.client("a1").call(Method::POST, "a2/enc_keys", Some(body)).await);
    assert_eq!(refused, (400, "not all extension_optional request options handled".to_owned()));
}

/// KM-08: a master that insists on quantum bits is never silently given others.
#[tokio::test(flavor = "multi_thread")]
async fn a_mandatory_path_is_met_or_refused() {
    let world = World::new();
    let (ka, _kb) = world.pair().await;
    let master = ka.client("a1");
    let body = || Some(r#"{"extension_mandatory":[{"qecnet_path":"qkd+kem"}]}"#.to_owned());
    master.call(Method::POST, "b1/enc_keys", body()).await.unwrap();
    *world.bits.path.lock().unwrap() = KeyPath::Kem;
    master.enc_keys(&sae("b2"), 1, 256).await.unwrap();
    let refused = refusal(master.call(Method::POST, "b2/enc_keys", body()).await);
    assert_eq!(refused, (400, "not all extension_mandatory request options could be met".to_owned()));
    let notes = ka.notes.0.lock().unwrap();
    assert_eq!(notes.iter().map(|note| note.path).collect::<Vec<_>>(), [KeyPath::QkdKem, KeyPath::Kem]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_longer_than_usual_by_configuration() {
    let world = World::new();
    let mut large = config("ka");
    large.limits.max_key_size = 8_192;
    let (ka, kb) = (world.start(large).await, world.start(config("kb")).await);
    let given = ka.client("a1").enc_keys(&sae("b1"), 3, 8_192).await.unwrap();
    let ids: Vec<String> = given.iter().map(|key| key.id.clone()).collect();
    let got = kb.client("b1").dec_keys(&sae("a1"), &ids).await.unwrap();
    assert!(given.iter().zip(&got).all(|(a, b)| a.key.expose() == b.key.expose() && a.key.expose().len() == 1_024));
}
