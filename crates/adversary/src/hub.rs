//! A hub in hostile hands: it has the hub's keys, and answers nodes and operators what it likes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use crypto::IdentityKey;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use session::endpoint::{DEADLINE, EndpointConfig};
use session::mesh::HubMessage;
use session::{Arrival, Book, Channel, Endpoint, Limits, Listener, Session, SignedRoster, TlsKey, TrustStore};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use types::{Millis, NodeId, cbor};

use crate::Deployment;

/// How long its certificates are valid.
const VALIDITY: Millis = Millis::from_days(1);

/// What it answers an operator's client.
#[derive(Debug, Clone)]
pub struct Told {
    /// HTTP status.
    pub status: u16,
    /// Content type.
    pub kind: &'static str,
    /// The body.
    pub body: Bytes,
}

impl Told {
    /// A JSON body.
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self { status, kind: "application/json", body: body.to_string().into() }
    }

    /// Bytes of any kind, with status 200.
    pub fn bytes(kind: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: 200, kind, body: body.into() }
    }
}

/// A hub that lies, with the real one's keys: for nodes at the deployment's mesh address, for operators
/// at an address of its own. The real one must not run meanwhile.
#[derive(Debug)]
pub struct LyingHub {
    nodes: Listener,
    endpoint: Endpoint,
    operators: Option<(SocketAddr, AbortHandle)>,
}

impl LyingHub {
    /// Takes the place of the hub of `deployment` towards its nodes.
    pub async fn start(deployment: &Deployment) -> Self {
        let config = &deployment.config;
        let tls_key = TlsKey::load(&config.files.tls).unwrap();
        let from = hub::system_time() - Millis::from_secs(300);
        let trust = Arc::new(TrustStore::load(&config.files.trust).unwrap());
        let endpoint = Endpoint::new(EndpointConfig {
            book: Arc::new(Book::of(&trust)),
            node: NodeId::hub(),
            identity: Arc::new(IdentityKey::load(&config.files.identity).unwrap()),
            certificate: tls_key.issue(&config.boundary, &NodeId::hub(), from, VALIDITY).unwrap(),
            tls_key,
            trust,
            entropy: Arc::clone(&deployment.entropy),
            admission: Box::new(|_| true),
            deadline: DEADLINE,
        })
        .unwrap();
        let nodes = Listener::bind(endpoint.clone(), &config.mesh_listen.to_string(), Limits::default()).await;
        Self { nodes: nodes.unwrap(), endpoint, operators: None }
    }

    /// Signs membership as it likes, and goes by it in its handshakes.
    pub fn issue_roster(&self, epoch: u64, members: Vec<NodeId>, isolated: Vec<NodeId>) -> SignedRoster {
        self.endpoint.issue_roster(epoch, members, isolated).unwrap()
    }

    /// The next session of a node.
    pub async fn session(&mut self) -> Session {
        loop {
            match self.nodes.next().await.unwrap() {
                Arrival::Session(session) => return *session,
                Arrival::Refused { .. } => {}
            }
        }
    }

    /// The next pair of sessions of one node: urgent, then bulk.
    pub async fn pair(&mut self) -> (Session, Session) {
        let (mut urgent, mut bulk) = (None, None);
        loop {
            let session = self.session().await;
            match session.channel() {
                Channel::Urgent => urgent = Some(session),
                Channel::Bulk => bulk = Some(session),
                Channel::Link | Channel::Stream => {}
            }
            match (urgent.take(), bulk.take()) {
                (Some(one), Some(two)) if one.peer() == two.peer() => return (one, two),
                (one, two) => (urgent, bulk) = (one, two),
            }
        }
    }

    /// Says `message` to a node.
    pub async fn say(session: &Session, message: &HubMessage) {
        session.send(&cbor::to_vec(message)).await.unwrap();
    }

    /// Answers operators' clients with `answer`, given method, path and body, and says where.
    pub async fn answer<F>(&mut self, deployment: &Deployment, answer: F) -> SocketAddr
    where
        F: Fn(&Method, &str, &Bytes) -> Told + Send + Sync + 'static,
    {
        let key = TlsKey::load(&deployment.config.files.http_key).unwrap();
        let from = hub::system_time() - Millis::from_secs(300);
        let certificate = key.issue_web(&[api::tls::SERVER_NAME.to_owned()], from, VALIDITY).unwrap();
        let acceptor = TlsAcceptor::from(session::operator::server_config(&key, &certificate).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer) = (acceptor.clone(), Arc::clone(&answer));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| reply(request, Arc::clone(&answer)));
                    // the caller ends the connection as it likes
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        self.operators = Some((address, task.abort_handle()));
        address
    }
}

impl Drop for LyingHub {
    fn drop(&mut self) {
        if let Some((_, task)) = &self.operators {
            task.abort();
        }
    }
}

async fn reply<F>(request: Request<Incoming>, answer: Arc<F>) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Fn(&Method, &str, &Bytes) -> Told,
{
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let told = answer(&parts.method, parts.uri.path(), &body);
    let response = Response::builder().status(told.status).header("content-type", told.kind);
    Ok(response.body(Full::new(told.body)).unwrap())
}
