//! A hub in a folder of its own, and callers of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use api::{Client, ClientConfig};
use bytes::Bytes;
use crypto::{Entropy, IdentityKey};
use http_body_util::{BodyExt, Full};
use hub::config::{HubConfig, LinkName, Node, Operator, Span};
use hub::files::Created;
use hub::{Hub, files};
use hyper::{Method, Response};
use hyper_util::rt::TokioIo;
use kernel::event::{Command, Request, SignedRequest};
use rustls::pki_types::ServerName;
use session::{TlsKey, TrustEntry, TrustStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use types::mesh::Function;
use types::{Hash, LinkId, Millis, NodeId, OperatorId};

pub(crate) const GROUPS: &[(&str, &[&str])] = &[
    ("op1", &["operators", "duty"]),
    ("op2", &["operators", "duty"]),
    ("plain", &["operators"]),
    ("auditor", &["auditors"]),
    ("nobody", &[]),
];

/// A deployment on disk.
pub(crate) struct Deployment {
    pub(crate) dir: TempDir,
    pub(crate) config: HubConfig,
    pub(crate) created: Created,
    pub(crate) entropy: Arc<Entropy>,
}

fn operator_id(name: &str) -> OperatorId {
    name.parse().unwrap()
}

impl Deployment {
    /// A hub with `nodes` nodes and the operators of [`GROUPS`].
    pub(crate) fn new(nodes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let entropy = Arc::new(Entropy::system().unwrap());
        let text = "boundary = \"site\"\nlisten = \"127.0.0.1:0\"\nmesh_listen = \"127.0.0.1:0\"\n";
        let mut config: HubConfig = toml::from_str(text).unwrap();
        config.settings.refresh = Span(Millis::from_secs(2));
        for (name, groups) in GROUPS {
            let key = IdentityKey::generate(&entropy).unwrap();
            key.save(&dir.path().join(format!("{name}.key"))).unwrap();
            config.operators.push(Operator {
                id: operator_id(name),
                groups: groups.iter().map(ToString::to_string).collect(),
                identity: hex::encode(key.public().to_bytes()),
            });
        }
        let mut trust = Vec::new();
        for at in 1..=nodes {
            let (id, identity, tls) = node_keys(dir.path(), at, &entropy);
            let function = Function::ALL[(at - 1) % Function::ALL.len()];
            config.nodes.push(Node { id: id.clone(), function, identity: identity.public().fingerprint() });
            trust.push(TrustEntry { name: id, address: None, pin: tls.pin(), identity: identity.public().clone() });
        }
        let pairs = config.nodes.iter().flat_map(|a| config.nodes.iter().map(move |b| (a.id.clone(), b.id.clone())));
        config.links = pairs.filter(|(a, b)| a < b).filter_map(|(a, b)| LinkId::new(a, b)).map(LinkName).collect();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, config.to_toml().unwrap()).unwrap();
        let config = HubConfig::load(&path).unwrap();
        let created = files::create(&config, &entropy).unwrap();
        let trust = TrustStore::render(&config.boundary, trust).unwrap();
        std::fs::write(&config.files.trust, trust).unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&config.files.trust, std::fs::Permissions::from_mode(0o600)).unwrap();
        Self { dir, config, created, entropy }
    }

    pub(crate) async fn start(&self) -> Hub {
        Hub::start(self.config.clone()).await.unwrap()
    }

    pub(crate) fn client_config(&self, address: SocketAddr) -> ClientConfig {
        ClientConfig {
            address: address.to_string(),
            boundary: self.config.boundary.clone(),
            tls_pin: self.created.http_pin,
            log_keys: self.created.log_keys.clone(),
        }
    }

    pub(crate) fn client(&self, hub: &Hub, operator: &str) -> Client {
        Client::new(self.client_config(hub.http_address()), operator_id(operator), self.key(operator)).unwrap()
    }

    pub(crate) fn key(&self, operator: &str) -> IdentityKey {
        IdentityKey::load(&self.dir.path().join(format!("{operator}.key"))).unwrap()
    }

    /// A request as a client of our own would make it.
    pub(crate) fn signed(&self, operator: &str, command: Command) -> SignedRequest {
        let request = Request {
            boundary: self.config.boundary.clone(),
            operator: operator_id(operator),
            nonce: Hash::new(self.entropy.array::<32>().unwrap()),
            at: hub::system_time(),
            grant: None,
            command,
        };
        api::request::sign(&self.key(operator), request).unwrap()
    }

    /// A TLS connection to the operators' listener.
    pub(crate) async fn connect(&self, hub: &Hub) -> TlsStream<TcpStream> {
        let config = api::tls::client_config(self.created.http_pin).unwrap();
        let stream = TcpStream::connect(hub.http_address()).await.unwrap();
        let name = ServerName::try_from(api::tls::SERVER_NAME).unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }

    /// One exchange on a connection of its own.
    pub(crate) async fn exchange(
        &self,
        hub: &Hub,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answered {
        let stream = TokioIo::new(self.connect(hub).await);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
        let answered = Answered::read(response).await;
        connection.abort();
        answered
    }
}

/// A response, read whole.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

impl Answered {
    async fn read(response: Response<hyper::body::Incoming>) -> Self {
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let status = response.status().as_u16();
        Self { status, headers, body: response.into_body().collect().await.unwrap().to_bytes() }
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The error's code, or the answer's result.
    pub(crate) fn word(&self) -> String {
        let json = self.json();
        json["code"].as_str().or(json["result"].as_str()).unwrap_or("?").to_owned()
    }
}

/// Makes the keys of node `at` in the folder.
pub(crate) fn node_keys(dir: &Path, at: usize, entropy: &Entropy) -> (NodeId, IdentityKey, TlsKey) {
    let id: NodeId = format!("n{at}").parse().unwrap();
    let identity = IdentityKey::generate(entropy).unwrap();
    identity.save(&dir.join(format!("{id}.identity"))).unwrap();
    let tls = TlsKey::generate(entropy).unwrap();
    tls.save(&dir.join(format!("{id}.tls"))).unwrap();
    (id, identity, tls)
}
