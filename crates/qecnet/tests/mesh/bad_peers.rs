//! Peers that are not who they must be, or talk nonsense, to a hub that serves others meanwhile.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crypto::{Entropy, IdentityKey};
use session::{Book, Channel, Endpoint, EndpointConfig, HandshakeError, Session, TlsKey, TrustStore};
use tokio::io::AsyncWriteExt;
use types::{Millis, NodeId, Timestamp};

use crate::deployment::{Mesh, wait};

fn now() -> Timestamp {
    Timestamp::from_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64)
}

/// Somebody with keys of their own, or with those of a node.
struct Caller<'m> {
    mesh: &'m Mesh,
    node: NodeId,
    identity: IdentityKey,
    tls: TlsKey,
    since: Timestamp,
}

impl<'m> Caller<'m> {
    /// With the very keys of `n1`, as if its disk had been stolen.
    fn as_n1(mesh: &'m Mesh) -> Self {
        let folder = folder(mesh);
        let identity = IdentityKey::load(&folder.join("identity.key")).unwrap();
        let tls = TlsKey::load(&folder.join("tls.pem")).unwrap();
        Self { mesh, node: "n1".parse().unwrap(), identity, tls, since: now() - Millis::from_secs(60) }
    }

    fn endpoint(self) -> Endpoint {
        let trust = TrustStore::load(&folder(self.mesh).join("trust.toml")).unwrap();
        let certificate = self.tls.issue(trust.boundary(), &self.node, self.since, Millis::from_hours(1)).unwrap();
        Endpoint::new(EndpointConfig {
            node: self.node,
            identity: Arc::new(self.identity),
            tls_key: self.tls,
            certificate,
            book: Arc::new(Book::of(&trust)),
            trust: Arc::new(trust),
            entropy: Arc::new(Entropy::system().unwrap()),
            admission: Box::new(|_| true),
            deadline: Duration::from_secs(30),
        })
        .unwrap()
    }

    async fn call(self, channel: Channel) -> Result<Session, HandshakeError> {
        let address = mesh_listen(self.mesh);
        self.endpoint().dial(&NodeId::hub(), &address, channel).await
    }
}

fn folder(mesh: &Mesh) -> PathBuf {
    mesh.dir().join("nodes/n1")
}

fn mesh_listen(mesh: &Mesh) -> String {
    let hub: toml::Table = toml::from_str(&fs::read_to_string(mesh.dir().join("hub/config.toml")).unwrap()).unwrap();
    hub["mesh_listen"].as_str().unwrap().to_owned()
}

/// Waits until the hub's own log says `what`.
fn hub_says(mesh: &Mesh, what: &str) {
    let path = mesh.dir().join("logs/hub.log");
    wait(what, || fs::read_to_string(&path).unwrap().contains(what).then_some(()));
}

fn has_incident(mesh: &Mesh, kind: &str, node: &str) -> bool {
    let incidents = mesh.read(&["incidents", "list"]);
    let about = serde_json::json!({ "node": node });
    incidents.as_array().unwrap().iter().any(|one| one["kind"] == kind && one["subject"] == about)
}

/// Waits until every pair has another key: nobody was held up.
fn goes_on(mesh: &Mesh) {
    mesh.wait_keyed();
    let before = mesh.active_pairs();
    mesh.wait_status("every pair has another key", |_| {
        let now = mesh.active_pairs();
        now.len() == before.len() && now.iter().all(|(pair, key)| before[pair] != *key)
    });
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// SM-03 SM-06c SM-07a: an expired certificate, a node nobody knows, and a stolen TLS key without its
/// identity: each is refused by its own name at both ends, and the mesh goes on.
#[test]
fn who_is_not_who_it_must_be_is_refused_by_name() {
    let mesh = Mesh::start(3, "2s");
    let mut expired = Caller::as_n1(&mesh);
    expired.since = now() - Millis::from_days(2);
    let error = block_on(expired.call(Channel::Bulk)).unwrap_err();
    assert!(matches!(error, HandshakeError::OursExpired), "{error}");
    hub_says(&mesh, "certificate has expired");

    let mut stranger = Caller::as_n1(&mesh);
    stranger.tls = TlsKey::generate(&Entropy::system().unwrap()).unwrap();
    let error = block_on(stranger.call(Channel::Bulk)).unwrap_err();
    assert!(matches!(error, HandshakeError::OursUnknown), "{error}");
    hub_says(&mesh, "wrong pin: the key of `n1`");

    let mut unknown = Caller::as_n1(&mesh);
    unknown.node = "n9".parse().unwrap();
    unknown.tls = TlsKey::generate(&Entropy::system().unwrap()).unwrap();
    let error = block_on(unknown.call(Channel::Bulk)).unwrap_err();
    assert!(matches!(error, HandshakeError::OursUnknown), "{error}");
    hub_says(&mesh, "an unknown node called");

    let mut thief = Caller::as_n1(&mesh);
    thief.identity = IdentityKey::generate(&Entropy::system().unwrap()).unwrap();
    assert!(block_on(thief.call(Channel::Bulk)).is_err());
    hub_says(&mesh, "`n1` did not prove its identity");
    wait("an incident names the node whose key was tried", || has_incident(&mesh, "auth-failure", "n1").then_some(()));
    goes_on(&mesh);
}

/// SM-07a SM-11: messages that mean nothing, lengths no frame has and bytes that are no TLS cost their
/// sender its connection, and nobody else anything.
#[test]
fn a_malformed_frame_costs_its_sender_alone() {
    let mesh = Mesh::start(3, "2s");
    block_on(async {
        let mut session = Caller::as_n1(&mesh).call(Channel::Bulk).await.unwrap();
        session.send(b"\xff this is no message").await.unwrap();
        // What the hub says before it drops the session does not matter.
        while session.recv().await.is_ok() {}
    });
    hub_says(&mesh, "sent a message that is not understood");
    goes_on(&mesh);
    block_on(async {
        let session = Caller::as_n1(&mesh).call(Channel::Bulk).await.unwrap();
        let mut raw = session.into_raw().unwrap();
        raw.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
        raw.flush().await.unwrap();
        let mut rest = Vec::new();
        // Ends once the hub has hung up, with or without an error.
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut raw, &mut rest).await;
    });
    hub_says(&mesh, "an envelope was refused");
    for text in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x16, 3, 1, 0xff, 0xff, 0, 0], &[0; 400]] {
        let mut stream = TcpStream::connect(mesh_listen(&mesh)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream.write_all(text).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 64, "an alert at most: {answer:02x?}");
    }
    goes_on(&mesh);
}
