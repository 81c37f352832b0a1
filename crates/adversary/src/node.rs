//! A node of the mesh in hostile hands: its identity and its TLS key are real, what it says is not.

use std::sync::Arc;

use crypto::{Entropy, IdentityKey};
use node::NodeConfig;
use session::endpoint::{DEADLINE, EndpointConfig};
use session::mesh::{HubMessage, NodeMessage};
use session::{
    Book, Channel, Endpoint, HandshakeError, Limits, Listener, RecvError, SendError, Session, SessionReceiver,
    SessionSender, TlsKey, TrustStore,
};
use types::{Millis, NodeId, cbor};

/// How long its certificates are valid.
const VALIDITY: Millis = Millis::from_hours(24);

/// An admitted node that says what it likes. It admits everyone, whatever it was told.
#[derive(Debug)]
pub struct HostileNode {
    endpoint: Endpoint,
    hub: String,
    listen: String,
}

impl HostileNode {
    /// The node whose files `config` names.
    pub fn new(config: &NodeConfig) -> Self {
        let tls_key = TlsKey::load(&config.files.tls).unwrap();
        let from = hub::system_time() - Millis::from_secs(300);
        let trust = Arc::new(TrustStore::load(&config.files.trust).unwrap());
        let endpoint = Endpoint::new(EndpointConfig {
            book: Arc::new(Book::of(&trust)),
            node: config.node.clone(),
            identity: Arc::new(IdentityKey::load(&config.files.identity).unwrap()),
            certificate: tls_key.issue(&config.boundary, &config.node, from, VALIDITY).unwrap(),
            tls_key,
            trust,
            entropy: Arc::new(Entropy::system().unwrap()),
            admission: Box::new(|_| true),
            deadline: DEADLINE,
        });
        Self { endpoint: endpoint.unwrap(), hub: config.hub.clone(), listen: config.listen.clone() }
    }

    /// Its end of all its sessions, for what no method here does.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Opens one session with whom it likes.
    ///
    /// # Errors
    /// [`HandshakeError`]: the peer did not take it.
    pub async fn dial(&self, peer: &NodeId, address: &str, channel: Channel) -> Result<Session, HandshakeError> {
        self.endpoint.dial(peer, address, channel).await
    }

    /// Opens both sessions with the hub.
    ///
    /// # Errors
    /// [`HandshakeError`]: the hub did not take it.
    pub async fn connect(&self) -> Result<Connected, HandshakeError> {
        let urgent = self.dial(&NodeId::hub(), &self.hub, Channel::Urgent).await?;
        let bulk = self.dial(&NodeId::hub(), &self.hub, Channel::Bulk).await?;
        let ((urgent_out, urgent), (bulk_out, bulk)) = (urgent.split(), bulk.split());
        Ok(Connected { urgent, bulk, urgent_out, bulk_out })
    }

    /// Takes sessions of its peers, at the address they know.
    pub async fn listen(&self) -> Listener {
        Listener::bind(self.endpoint.clone(), &self.listen, Limits::default()).await.unwrap()
    }
}

/// Both sessions of a hostile node with the hub.
#[derive(Debug)]
pub struct Connected {
    /// On which revocations come.
    pub urgent: SessionReceiver,
    /// On which keys come.
    pub bulk: SessionReceiver,
    urgent_out: SessionSender,
    bulk_out: SessionSender,
}

impl Connected {
    /// Says `message` on the bulk session.
    ///
    /// # Errors
    /// [`SendError`]: the hub has ended the session.
    pub fn say(&self, message: &NodeMessage) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        self.say_bytes(Channel::Bulk, &cbor::to_vec(message))
    }

    /// Says `message` on the urgent session.
    ///
    /// # Errors
    /// [`SendError`]: the hub has ended the session.
    pub fn say_urgently(&self, message: &NodeMessage) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        self.say_bytes(Channel::Urgent, &cbor::to_vec(message))
    }

    /// Says any bytes in an envelope.
    ///
    /// # Errors
    /// [`SendError`]: the hub has ended the session.
    pub fn say_bytes(
        &self,
        channel: Channel,
        bytes: &[u8],
    ) -> impl Future<Output = Result<(), SendError>> + Send + use<> {
        let sender = if channel == Channel::Urgent { &self.urgent_out } else { &self.bulk_out };
        let (sender, bytes) = (sender.clone(), bytes.to_vec());
        async move { sender.send(&bytes).await }
    }

    /// What the hub says next, on either session.
    ///
    /// # Errors
    /// [`RecvError`]: the hub has ended a session.
    pub async fn hear(&mut self) -> Result<HubMessage, RecvError> {
        let bytes = tokio::select! {
            bytes = self.urgent.recv() => bytes?,
            bytes = self.bulk.recv() => bytes?,
        };
        Ok(cbor::from_slice(&bytes).unwrap())
    }

    /// Reads until the hub ends a session.
    pub async fn until_cut(&mut self) {
        while self.hear().await.is_ok() {}
    }
}
