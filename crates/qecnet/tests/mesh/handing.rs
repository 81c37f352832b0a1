//! Applications are given keys: two of them at two nodes, by the clients they have already.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::deployment::{Mesh, Ran, assert_holds, qaudit, run, wait};

/// An application with its files, and where it is served.
pub(crate) struct Sae {
    name: String,
    url: String,
    certificate: String,
    key: String,
    cacert: String,
}

impl Sae {
    /// Adds the application to the mesh.
    #[track_caller]
    fn add(mesh: &Mesh, name: &str, node: &str, more: &[&str]) -> Self {
        let mut arguments = vec!["sae", "add", name, "--node", node];
        arguments.extend(more);
        let added = mesh.read(&arguments);
        let text = |member: &str| added[member].as_str().unwrap().to_owned();
        let (name, url) = (name.to_owned(), text("url"));
        Self { name, url, certificate: text("certificate"), key: text("key"), cacert: text("cacert") }
    }

    /// Takes the application away: it is refused on its next request, in the handshake, since nobody vouches for its
    /// certificate any more, or with 401 on a connection that was open.
    fn remove(&self, mesh: &Mesh) {
        mesh.cli(&["sae", "remove", &self.name]).expect(0);
        wait("the node knows it", || [0, 401].contains(&self.curl("a1/status", None).0).then_some(()));
    }

    /// One request by curl: the status and the JSON answer.
    fn curl(&self, path: &str, body: Option<&str>) -> (u16, Value) {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        command.args(["--cacert", &self.cacert, "--cert", &self.certificate, "--key", &self.key]);
        if let Some(body) = body {
            command.args(["--header", "content-type: application/json", "--data", body]);
        }
        let output = command.arg(format!("{}/api/v1/keys/{path}", self.url)).stdin(Stdio::null()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let (answer, status) = text.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(answer).unwrap_or(Value::Null))
    }

    /// Keys with `slave`, once there are some.
    #[track_caller]
    fn enc_keys(&self, slave: &str, query: &str) -> Vec<(String, String)> {
        let answer = wait("keys for the master", || {
            let (status, answer) = self.curl(&format!("{slave}/enc_keys?{query}"), None);
            assert!([200, 503].contains(&status), "{status}: {answer}");
            (status == 200).then_some(answer)
        });
        keys(&answer)
    }

    fn dec_keys(&self, master: &str, ids: &[&str]) -> (u16, Value) {
        let ids: Vec<Value> = ids.iter().map(|id| serde_json::json!({ "key_ID": id })).collect();
        self.curl(&format!("{master}/dec_keys"), Some(&serde_json::json!({ "key_IDs": ids }).to_string()))
    }

    /// What the third-party clients are told.
    fn arguments(&self, other: &Self) -> Vec<String> {
        let (host, port) = self.url.strip_prefix("https://").unwrap().rsplit_once(':').unwrap();
        let own = [&self.certificate, &self.key, &other.certificate, &other.key, &self.name, &other.name];
        let all = [host.to_owned(), port.to_owned(), self.cacert.clone()];
        all.into_iter().chain(own.map(Clone::clone)).collect()
    }
}

fn keys(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    answer["keys"].as_array().unwrap().iter().map(|key| (text(&key["key_ID"]), text(&key["key"]))).collect()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the third-party clients as they are, for a master and a slave of one KME.
fn third_party(master: &Sae, slave: &Sae) {
    let installed = Command::new(root().join("scripts/etsi-clients.sh")).output().unwrap();
    assert!(installed.status.success(), "{}", String::from_utf8_lossy(&installed.stderr));
    let folder = PathBuf::from(String::from_utf8(installed.stdout).unwrap().trim());
    let arguments = master.arguments(slave);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    for client in ["etsi014", "etsi014-client"] {
        run(&folder.join("debug/etsi-clients"), &[&[client], &arguments[..]].concat()).expect(0);
    }
    let script = root().join("crates/kme/tests/clients/python.py");
    run(&folder.join("python/bin/python"), &[&[script.to_str().unwrap()], &arguments[..]].concat()).expect(0);
}

fn doctor(mesh: &Mesh, sae: &Sae, slave: &str) -> Ran {
    mesh.cli(&[
        "doctor",
        "kme",
        &sae.url,
        "--cacert",
        &sae.cacert,
        "--cert",
        &sae.certificate,
        "--key",
        &sae.key,
        "--slave",
        slave,
        "--take",
        "--json",
    ])
}

/// Every sum of keys given that the log holds, as the outsider's verifier shows it.
fn accounts(log: &Path, entries: u64) -> Vec<Value> {
    let mut found = Vec::new();
    for at in 0..entries {
        let entry = run(&qaudit(), &["show", log.to_str().unwrap(), "--at", &at.to_string(), "--json"]);
        collect(&entry.expect(0).json()["records"], &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("handouts", Value::Array(list)) => found.extend(list.iter().cloned()),
                    _ => collect(member, found),
                }
            }
        }
        Value::Array(list) => list.iter().for_each(|one| collect(one, found)),
        _ => {}
    }
}

/// From the slave to its master, under quantum bits on every hop or not at all.
fn under_quantum_bits(a1: &Sae, b1: &Sae) {
    let demand = r#"{"number":1,"extension_mandatory":[{"qecnet_path":"qkd+kem"}]}"#;
    let answer = wait("a key with quantum bits on every hop", || {
        let (status, answer) = b1.curl("a1/enc_keys", Some(demand));
        (status == 200).then_some(answer)
    });
    let quantum = keys(&answer);
    let (status, answer) = a1.dec_keys("b1", &[&quantum[0].0]);
    assert_eq!((status, keys(&answer)), (200, quantum));
}

/// KM-08: keys go to a master at one node and to its slave at another, each once; who is not entitled gets
/// none; a killed node repeats nothing; a removed application is refused; and all of it is in the log.
#[test]
fn two_applications_at_two_nodes_are_given_the_same_keys_once() {
    let mesh = Mesh::start(3, "300s");
    let a1 = Sae::add(&mesh, "a1", "n1", &[]);
    let b1 = Sae::add(&mesh, "b1", "n2", &["--slaves", "a1"]);
    let c1 = Sae::add(&mesh, "c1", "n3", &[]);
    let d1 = Sae::add(&mesh, "d1", "n1", &[]);
    mesh.cli(&["sae", "add", "a1", "--node", "n2", "--out", mesh.dir().join("other").to_str().unwrap()]).expect(3);

    // What one is given the other fetches, once.
    let given = a1.enc_keys("b1", "number=3&size=256");
    let ids: Vec<&str> = given.iter().map(|(id, _)| id.as_str()).collect();
    let (status, answer) = c1.dec_keys("a1", &ids);
    assert!([400, 401].contains(&status), "not its slave: {status} {answer}");
    let (status, answer) = b1.dec_keys("a1", &ids);
    assert_eq!(status, 200, "{answer}");
    assert_eq!(keys(&answer), given);
    let (status, answer) = b1.dec_keys("a1", &ids);
    assert_eq!(status, 400, "a second delivery: {answer}");

    under_quantum_bits(&a1, &b1);

    // Limited to one partner; and a key for three at once.
    let (status, answer) = b1.curl("c1/enc_keys", None);
    assert_eq!(status, 401, "{answer}");
    let shared = wait("a key for two slaves", || {
        let (status, answer) = a1.curl("b1/enc_keys", Some(r#"{"additional_slave_SAE_IDs":["c1"]}"#));
        (status == 200).then(|| keys(&answer))
    });
    for slave in [&b1, &c1] {
        let (status, answer) = slave.dec_keys("a1", &[&shared[0].0]);
        assert_eq!((status, keys(&answer)), (200, shared.clone()));
    }

    // What was not fetched before a kill of the slave's node is gone with it; what is given after is at both ends.
    let lost = a1.enc_keys("b1", "number=2");
    for node in ["n2", "n1"] {
        mesh.kill(node);
        let (fetched, given) = wait("both nodes give keys again", || {
            let (status, answer) = a1.curl("b1/enc_keys?number=2", None);
            let given = (status == 200).then(|| keys(&answer))?;
            let (status, answer) = b1.dec_keys("a1", &[&given[0].0, &given[1].0]);
            (status == 200).then(|| (keys(&answer), given))
        });
        assert_eq!(fetched, given);
    }
    mesh.wait_keyed();
    assert_eq!(b1.dec_keys("a1", &[&lost[0].0]).0, 400, "of an earlier start of the slave's node");
    assert_eq!(b1.dec_keys("a1", &[ids[0]]).0, 400, "delivered before the kill, and not again");

    third_party(&a1, &d1);
    let seen = doctor(&mesh, &a1, "b1").expect(0).json();
    assert!(seen.as_array().unwrap().iter().all(|finding| finding["good"] == true), "{seen}");
    assert!(doctor(&mesh, &a1, "nobody").code() != 0);

    c1.remove(&mesh);

    // All of it is accounted for, and no key is in the log.
    wait("every key is accounted for", || {
        let saes = mesh.read(&["sae", "list"]);
        let of = |name: &str| saes.as_array().unwrap().iter().find(|sae| sae["id"] == name).cloned().unwrap();
        (of("a1")["keys_as_master"].as_u64() >= Some(7) && of("b1")["keys_as_slave"].as_u64() >= Some(6)).then_some(())
    });
    let entries = mesh.status().unwrap()["log"]["size"].as_u64().unwrap();
    let (log, pins) = mesh.export("handed");
    assert_holds(&log, &pins);
    let accounts = accounts(&log, entries);
    let of = |role: &str, sae: &str| -> u64 {
        let is = |one: &&Value| one["role"] == role && (one["master"] == sae || one["slaves"][0] == sae);
        accounts.iter().filter(is).map(|one| one["keys"].as_u64().unwrap()).sum()
    };
    assert!(of("master", "a1") >= 7 && of("slave", "b1") >= 6, "{accounts:?}");
    let bytes = std::fs::read(&log).unwrap();
    for (id, key) in &given {
        for secret in [id, key] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is in the log");
        }
    }
}

/// How the two ends of a link get their keys at present.
fn delivery_of(status: &Value, a: &str, b: &str) -> String {
    let links = status["links"].as_array().unwrap();
    links.iter().find(|link| link["a"] == a && link["b"] == b).unwrap()["delivery"].as_str().unwrap().to_owned()
}

/// KM-08 KM-09: where the fibre of two nodes is tapped, keys go through the hub, under the pads of its own fibres on
/// both hops; where those are tapped too, a demand for quantum bits is refused, and what goes without them says so.
/// What an isolated node shared is given to nobody.
#[test]
fn keys_go_round_a_tapped_fibre_and_never_pretend() {
    let mesh = Mesh::start(2, "300s");
    let a1 = Sae::add(&mesh, "a1", "n1", &[]);
    let b1 = Sae::add(&mesh, "b1", "n2", &[]);
    let tap = |a: &str, b: &str| {
        mesh.cli(&["fibre", "tap", a, b, "--fraction", "0.7"]).expect(0);
        mesh.wait_status("the fibre is given up", |status| delivery_of(status, a, b) == "kem");
    };
    tap("n1", "n2");
    let demand = r#"{"number":1,"extension_mandatory":[{"qecnet_path":"qkd+kem"}]}"#;
    let around = wait("a key through the hub, under pads", || {
        let (status, answer) = a1.curl("b1/enc_keys", Some(demand));
        (status == 200).then(|| keys(&answer))
    });
    let (status, answer) = b1.dec_keys("a1", &[&around[0].0]);
    assert_eq!((status, keys(&answer)), (200, around));

    tap("hub", "n1");
    let c1 = Sae::add(&mesh, "c1", "n2", &[]);
    let plain = a1.enc_keys("c1", "number=1");
    let (status, answer) = c1.dec_keys("a1", &[&plain[0].0]);
    assert_eq!((status, keys(&answer)), (200, plain));
    let (status, answer) = a1.curl("c1/enc_keys", Some(demand));
    assert!([400, 503].contains(&status), "no quantum bits on this way: {status} {answer}");

    let left = a1.enc_keys("b1", "number=1");
    mesh.compromise("n2");
    let (status, answer) = wait("nobody at the isolated node is known", || {
        let (status, answer) = a1.curl("b1/enc_keys", None);
        (status == 400).then_some((status, answer))
    });
    assert_eq!(status, 400, "{answer}");
    assert!(b1.dec_keys("b1", &[&left[0].0]).0 != 200);

    let paths = |log: &Path, entries: u64| -> Vec<String> {
        accounts(log, entries).iter().map(|one| one["path"].as_str().unwrap().to_owned()).collect()
    };
    wait("both kinds of path are accounted for", || {
        let entries = mesh.status()?["log"]["size"].as_u64()?;
        let (log, _) = mesh.export("paths");
        let seen = paths(&log, entries);
        (seen.iter().any(|path| path == "kem") && seen.iter().any(|path| path == "qkd+kem")).then_some(())
    });
    let (log, pins) = mesh.export("round");
    assert_holds(&log, &pins);
}

/// KM-08: where neither the fibre of two nodes nor those of the hub have bits, keys pass a node that both trust with
/// them, under the pads of its fibres.
#[test]
fn keys_pass_a_node_that_both_ends_trust() {
    let mesh = Mesh::start(3, "300s");
    for node in ["n1", "n2"] {
        let path = mesh.dir().join("nodes").join(node).join("config.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("relays = []"), "{text}");
        std::fs::write(&path, text.replace("relays = []", "relays = [\"n3\"]")).unwrap();
        mesh.kill(node);
        mesh.wait_keyed();
    }
    let a1 = Sae::add(&mesh, "a1", "n1", &[]);
    let b1 = Sae::add(&mesh, "b1", "n2", &[]);
    for (a, b) in [("n1", "n2"), ("hub", "n1")] {
        mesh.cli(&["fibre", "tap", a, b, "--fraction", "0.7"]).expect(0);
    }
    for (a, b) in [("n1", "n2"), ("hub", "n1")] {
        mesh.wait_status("the fibre is given up", |status| delivery_of(status, a, b) == "kem");
    }
    let c1 = Sae::add(&mesh, "c1", "n2", &[]);
    let demand = r#"{"number":2,"extension_mandatory":[{"qecnet_path":"qkd+kem"}]}"#;
    for (slave, name) in [(&b1, "b1"), (&c1, "c1")] {
        let given = wait("a key through n3, under pads", || {
            let (status, answer) = a1.curl(&format!("{name}/enc_keys"), Some(demand));
            (status == 200).then(|| keys(&answer))
        });
        let (status, answer) = slave.dec_keys("a1", &[&given[0].0, &given[1].0]);
        assert_eq!((status, keys(&answer)), (200, given));
    }
}

/// Whether a certificate is valid so many days from now.
fn is_valid_in(days: u32, certificate: &str) -> bool {
    let seconds = (days * 86_400).to_string();
    let mut command = Command::new("openssl");
    command.args(["x509", "-noout", "-checkend", &seconds, "-in", certificate]).stdout(Stdio::null());
    command.status().unwrap().success()
}

/// S15: an application's certificate lives a week, and is renewed without its losing a key or its account; the one
/// before is worth nothing then.
#[test]
fn s15_a_certificate_of_an_application_lives_a_week_and_is_renewed() {
    let mesh = Mesh::start(2, "300s");
    let a1 = Sae::add(&mesh, "a1", "n1", &[]);
    let _b1 = Sae::add(&mesh, "b1", "n2", &[]);
    assert!(is_valid_in(6, &a1.certificate) && !is_valid_in(8, &a1.certificate));
    assert_eq!(a1.enc_keys("b1", "number=2").len(), 2);
    let kept = |file: &str| {
        let copy = format!("{file}.before");
        std::fs::copy(file, &copy).unwrap();
        copy
    };
    let (certificate, key) = (kept(&a1.certificate), kept(&a1.key));
    let before = Sae { name: a1.name.clone(), url: a1.url.clone(), certificate, key, cacert: a1.cacert.clone() };
    mesh.cli(&["sae", "renew", "a1"]).expect(0);
    assert_ne!(std::fs::read(&a1.certificate).unwrap(), std::fs::read(&before.certificate).unwrap());
    wait("the node knows the new certificate", || (a1.curl("b1/status", None).0 == 200).then_some(()));
    assert_eq!(a1.enc_keys("b1", "number=1").len(), 1);
    wait("and the one before no more", || [0, 401].contains(&before.curl("b1/status", None).0).then_some(()));
    wait("the account goes on", || {
        let listed = mesh.read(&["sae", "list"]);
        let one = listed.as_array().unwrap().iter().find(|one| one["id"] == "a1").unwrap();
        (one["keys_as_master"].as_u64() >= Some(3)).then_some(())
    });
}
