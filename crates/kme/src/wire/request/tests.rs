use hyper::Method;

use super::{DecRequest, EncRequest, RequiredPath, Route};
use crate::config::Limits;
use crate::wire::{Command, Refusal};

fn enc(body: &str) -> Result<EncRequest, Refusal> {
    EncRequest::from_body(body.as_bytes(), &Limits::default())
}

fn enc_query(query: &str) -> Result<EncRequest, Refusal> {
    EncRequest::from_query(Some(query), &Limits::default())
}

#[test]
fn absent_members_have_defaults_and_unknown_ones_are_ignored() {
    let default = EncRequest { number: 1, size: 256, additional: vec![], path: RequiredPath::Any };
    for body in [
        "",
        " \r\n",
        "{}",
        r#"{"number":null,"size":null,"additional_slave_SAE_IDs":null,"extension_mandatory":null}"#,
        r#"{"additional_target_sae_ids":["x"],"key_ID":7}"#,
        r#"{"extension_mandatory":[],"extension_optional":[{"x":{"y":[1]}}],"additional_slave_SAE_IDs":null}"#,
        r#"{"extension_mandatory":[{}]}"#,
    ] {
        assert_eq!(enc(body), Ok(default.clone()), "{body}");
    }
    assert_eq!(EncRequest::from_query(None, &Limits::default()), Ok(default.clone()));
    assert_eq!(enc_query("foo=1&&number=1"), Ok(default));
    let wanted =
        EncRequest { number: 3, size: 1024, additional: vec!["c".parse().unwrap()], path: RequiredPath::Quantum };
    let body = r#"{"number":3,"size":1024,"additional_slave_SAE_IDs":["c","c"],"extension_mandatory":[{"qecnet_path":"qkd+kem"}]}"#;
    assert_eq!(enc(body), Ok(wanted));
    assert_eq!(enc_query("number=2&size=%36%34").unwrap().size, 64);
}

#[test]
fn refusals_have_the_texts_of_the_standard() {
    let message = |body: &str| enc(body).unwrap_err().to_string();
    for size in ["1", "63", "257", "1025"] {
        assert_eq!(message(&format!(r#"{{"size":{size}}}"#)), "size shall be a multiple of 8");
    }
    assert_eq!(enc_query("size=257").unwrap_err(), Refusal::SizeNotBytes);
    for size in ["0", "56", "1032", "18446744073709551608"] {
        assert_eq!(message(&format!(r#"{{"size":{size}}}"#)), "size shall be from 64 to 1024 bits");
    }
    for number in ["0", "129", "18446744073709551615"] {
        assert_eq!(message(&format!(r#"{{"number":{number}}}"#)), "number shall be from 1 to 128");
    }
    let mandatory = r#"{"extension_mandatory":[{"qecnet_path":"any"},{"abc":1}]}"#;
    assert_eq!(message(mandatory), "not all extension_mandatory parameters are supported");
    let details = enc(mandatory).unwrap_err().body().details.unwrap();
    assert_eq!(details[0]["extension_mandatory_unsupported"], "abc");
    let unmet = r#"{"extension_mandatory":[{"qecnet_path":"teleport"}]}"#;
    assert_eq!(message(unmet), "not all extension_mandatory request options could be met");
    let limits = Limits { refuse_unhandled_optional: true, ..Limits::default() };
    let optional = EncRequest::from_body(br#"{"extension_optional":[{"x":1}]}"#, &limits).unwrap_err();
    assert_eq!(optional.to_string(), "not all extension_optional request options handled");
    assert_eq!(Refusal::KeysNotFound.to_string(), "one or more keys specified are not found on KME");
    let many: Vec<String> = (0..9).map(|n| format!(r#""s{n}""#)).collect();
    let many = enc(&format!(r#"{{"additional_slave_SAE_IDs":[{}]}}"#, many.join(","))).unwrap_err();
    assert_eq!(many, Refusal::TooManySlaves { max: 8 });
}

#[test]
fn malformed_bodies_are_refused() {
    for body in [
        "{",
        "null",
        "[]",
        "[1,256]",
        "\"x\"",
        "{}{}",
        r#"{"number":-1}"#,
        r#"{"number":1.5}"#,
        r#"{"number":"1"}"#,
        r#"{"size":true}"#,
        r#"{"number":1,"number":2}"#,
        r#"{"additional_slave_SAE_IDs":"c"}"#,
        r#"{"additional_slave_SAE_IDs":["a/b"]}"#,
        r#"{"additional_slave_SAE_IDs":[]}"#,
        r#"{"additional_slave_SAE_IDs":[""]}"#,
        r#"{"extension_mandatory":{"a":1}}"#,
        r#"{"extension_mandatory":["a"]}"#,
        "\u{feff}{}",
    ] {
        assert!(matches!(enc(body), Err(Refusal::Malformed(_))), "{body}: {:?}", enc(body));
    }
    let deep = "[".repeat(10_000);
    assert!(matches!(enc(&format!(r#"{{"x":{deep}"#)), Err(Refusal::Malformed(_))));
    for query in ["number=x", "size=", "number=1&number=1", "number=%zz", "extension_mandatory=1"] {
        assert!(matches!(enc_query(query), Err(Refusal::Malformed(_))), "{query}");
    }
}

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";

#[test]
fn key_ids_are_read_strictly() {
    let dec = |body: &str| DecRequest::from_body(body.as_bytes(), &Limits::default());
    let good = format!(r#"{{"key_IDs":[{{"key_ID":"{ID}","key_ID_extension":{{}}}}],"key_IDs_extension":1}}"#);
    assert_eq!(dec(&good).unwrap().ids, [ID.parse().unwrap()]);
    let twice = format!(r#"{{"key_IDs":[{{"key_ID":"{ID}"}},{{"key_ID":"{}"}}]}}"#, ID.to_uppercase());
    let many = format!(r#"{{"key_IDs":[{}]}}"#, vec![format!(r#"{{"key_ID":"{ID}"}}"#); 129].join(","));
    for bad in ["", "{}", r#"{"key_IDs":[]}"#, r#"{"key_IDs":[{"key_ID":"1"}]}"#, r#"{"key_IDs":["x"]}"#, &twice, &many]
    {
        assert!(matches!(dec(bad), Err(Refusal::Malformed(_))), "{bad}");
    }
    let query = |query: &str| DecRequest::from_query(Some(query), &Limits::default());
    assert_eq!(query(&format!("key_ID={ID}")).unwrap().ids.len(), 1);
    for bad in ["", "key_ID=", "key_ID=1", &format!("key_ID={ID}&key_ID={ID}")] {
        assert!(matches!(query(bad), Err(Refusal::Malformed(_))), "{bad}");
    }
}

#[test]
fn only_the_routes_of_the_standard_exist() {
    let route = |method: &str, path: &str| Route::of(&Method::from_bytes(method.as_bytes()).unwrap(), path);
    let found = route("GET", "/api/v1/keys/sae%3A1/status").unwrap();
    assert_eq!((found.command, found.sae.as_str(), found.by_post), (Command::Status, "sae:1", false));
    assert!(route("POST", "/api/v1/keys/s/enc_keys").unwrap().by_post);
    assert_eq!(route("GET", "/api/v1/keys/s/dec_keys").unwrap().command, Command::DecKeys);
    for (method, path) in [
        ("POST", "/api/v1/keys/s/status"),
        ("PUT", "/api/v1/keys/s/enc_keys"),
        ("DELETE", "/api/v1/keys/s/dec_keys"),
        ("GET", "/"),
        ("GET", "/api/v1/keys/s"),
        ("GET", "/api/v1/keys/s/enc_keys/"),
        ("GET", "/api/v2/keys/s/status"),
        ("GET", "/api/v1/keys//status"),
        ("GET", "/api/v1/keys/a%2Fb/status"),
        ("GET", "/api/v1/keys/%ff/status"),
        ("GET", "/api/v1/keys/../keys/s/status"),
    ] {
        let refused = route(method, path).unwrap_err();
        assert_eq!(refused.status().as_u16(), 400, "{method} {path}");
    }
}
