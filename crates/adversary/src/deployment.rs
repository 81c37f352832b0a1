//! What is attacked: a hub and its nodes in a folder of their own, and who calls them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
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
use node::NodeConfig;
use session::{TrustEntry, TrustStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use types::mesh::Function;
use types::{Hash, LinkId, Millis, NodeId, OperatorId};

use crate::{HostileNode, HostileOperator, Outsider};

/// The operators, and the groups each is in.
pub const GROUPS: &[(&str, &[&str])] = &[
    ("op1", &["operators", "duty"]),
    ("op2", &["operators", "duty"]),
    ("plain", &["operators"]),
    ("auditor", &["auditors"]),
    ("nobody", &[]),
];

/// A deployment on disk.
#[derive(Debug)]
pub struct Deployment {
    /// Its folder, gone with it.
    pub dir: TempDir,
    /// The hub's configuration.
    pub config: HubConfig,
    /// What others must know of the hub.
    pub created: Created,
    /// Where secrets come from.
    pub entropy: Arc<Entropy>,
    /// Its nodes, `n1` and so on.
    pub nodes: Vec<NodeConfig>,
}

fn operator_id(name: &str) -> OperatorId {
    name.parse().unwrap()
}

impl Deployment {
    /// A hub with `nodes` nodes and the operators of [`GROUPS`], and no quantum links.
    pub fn new(nodes: usize) -> Self {
        Self::with_links(nodes, false)
    }

    /// As [`Self::new`], with a quantum link between each pair of nodes where `linked`.
    pub fn with_links(nodes: usize, linked: bool) -> Self {
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
                life: Span(kernel::operators::LIFE),
            });
        }
        config.mesh_listen = free_address();
        let mut node_configs = Vec::new();
        let mut trust = Vec::new();
        for at in 1..=nodes {
            let node = node_config(dir.path(), at, &config);
            let made = node::files::create(&node, &entropy).unwrap();
            let function = Function::ALL[(at - 1) % Function::ALL.len()];
            let id = node.node.clone();
            config.nodes.push(Node { id: id.clone(), function, identity: made.identity.fingerprint() });
            let address = Some(node.listen.clone());
            trust.push(TrustEntry { name: id, address, pin: made.pin, identity: made.identity });
            node_configs.push(node);
        }
        let pairs = config.nodes.iter().flat_map(|a| config.nodes.iter().map(move |b| (a.id.clone(), b.id.clone())));
        config.links =
            pairs.filter(|(a, b)| linked && a < b).filter_map(|(a, b)| LinkId::new(a, b)).map(LinkName).collect();
        let path = dir.path().join("config.toml");
        std::fs::write(&path, config.to_toml().unwrap()).unwrap();
        let config = HubConfig::load(&path).unwrap();
        let created = files::create(&config, &entropy).unwrap();
        let address = Some(config.mesh_listen.to_string());
        let (name, pin, identity) = (NodeId::hub(), created.mesh_pin, created.identity.clone());
        trust.push(TrustEntry { name, address, pin, identity });
        let trust = TrustStore::render(&config.boundary, trust).unwrap();
        for path in node_configs.iter().map(|node| &node.files.trust).chain([&config.files.trust]) {
            std::fs::write(path, &trust).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        Self { dir, config, created, entropy, nodes: node_configs }
    }

    /// Starts the hub.
    pub async fn start(&self) -> Hub {
        Hub::start(self.config.clone()).await.unwrap()
    }

    /// Node `n{at}` in hostile hands.
    pub fn hostile_node(&self, at: usize) -> HostileNode {
        HostileNode::new(&self.nodes[at - 1])
    }

    /// An operator in hostile hands.
    pub fn hostile_operator(&self, hub: &Hub, operator: &str) -> HostileOperator {
        HostileOperator::new(operator_id(operator), self.key(operator), self.client_config(hub.http_address()))
    }

    /// How an operator's client knows a hub at `address`.
    pub fn client_config(&self, address: SocketAddr) -> ClientConfig {
        ClientConfig {
            address: address.to_string(),
            boundary: self.config.boundary.clone(),
            tls_pin: self.created.http_pin,
            log_keys: self.created.log_keys.clone(),
            operators: Vec::new(),
        }
    }

    /// The product's client, as `operator`.
    pub fn client(&self, hub: &Hub, operator: &str) -> Client {
        let config = self.client_config(hub.http_address());
        Client::new(config, operator_id(operator), self.key(operator)).unwrap().with_reason("a drill")
    }

    /// The key of `operator`.
    pub fn key(&self, operator: &str) -> IdentityKey {
        IdentityKey::load(&self.dir.path().join(format!("{operator}.key"))).unwrap()
    }

    /// A request as a client of our own would make it.
    pub fn signed(&self, operator: &str, command: Command) -> SignedRequest {
        let request = Request {
            boundary: self.config.boundary.clone(),
            operator: operator_id(operator),
            nonce: Hash::new(self.entropy.array::<32>().unwrap()),
            at: hub::system_time(),
            grant: None,
            command,
            reason: "a drill".to_owned(),
        };
        api::request::sign(&self.key(operator), request).unwrap()
    }

    /// A TLS connection to the operators' listener.
    pub async fn connect(&self, hub: &Hub) -> TlsStream<TcpStream> {
        Outsider::default().tls(hub.http_address(), self.created.http_pin).await.unwrap()
    }

    /// One exchange on a connection of its own.
    pub async fn exchange(
        &self,
        hub: &Hub,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answered {
        Answered::exchange(self.connect(hub).await, method, path, headers, body.into()).await.unwrap()
    }
}

/// A response, read whole.
#[derive(Debug, Clone)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Header fields by their names.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Bytes,
}

impl Answered {
    /// One exchange over `stream`.
    ///
    /// # Errors
    /// What broke the connection.
    pub async fn exchange(
        stream: TlsStream<TcpStream>,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> std::io::Result<Self> {
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = handshake.map_err(std::io::Error::other)?;
        let connection = tokio::spawn(connection);
        let mut request = hyper::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let sent = sender.send_request(request.body(Full::new(body)).unwrap()).await;
        let answered = match sent {
            Ok(response) => Self::read(response).await,
            Err(error) => Err(std::io::Error::other(error)),
        };
        connection.abort();
        answered
    }

    async fn read(response: Response<hyper::body::Incoming>) -> std::io::Result<Self> {
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok(Self { status, headers, body })
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The error's code, or the answer's result.
    pub fn word(&self) -> String {
        let json = self.json();
        json["code"].as_str().or(json["result"].as_str()).unwrap_or("?").to_owned()
    }
}

/// An address nobody listens on at this moment.
fn free_address() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A node in a folder of its own, with a link session to nobody.
fn node_config(dir: &Path, at: usize, hub: &HubConfig) -> NodeConfig {
    let folder = dir.join(format!("n{at}"));
    std::fs::create_dir(&folder).unwrap();
    let text = format!(
        "boundary = \"{}\"\nnode = \"n{at}\"\nlisten = \"{}\"\nhub = \"{}\"\n[timing]\nreport = \"200ms\"\nreconnect = \"200ms\"\n",
        hub.boundary,
        free_address(),
        hub.mesh_listen
    );
    let path = folder.join("config.toml");
    std::fs::write(&path, text).unwrap();
    NodeConfig::load(&path).unwrap()
}
