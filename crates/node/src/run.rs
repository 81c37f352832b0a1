//! A node from its configuration to its end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crypto::{Entropy, IdentityKey};
use link::{Engine, LinkSpec};
use session::endpoint::{DEADLINE, EndpointError};
use session::{
    Arrival, Book, Channel, Endpoint, EndpointConfig, HandshakeError, Kept, Limits, Listener, TlsKey, TrustError,
    TrustStore, WallClock,
};
use store::StoreHandle;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use types::mesh::{SignalKind, Subject};
use types::{BoundaryId, Millis, NodeId, Timestamp};

use crate::agent::{Agent, Input, Parts};
use crate::config::NodeConfig;
use crate::counter::{Carrier, Counter, CounterError, Opened};
use crate::files::{self, FilesError};
use crate::forward::{self, Accepted, Forwards};
use crate::network::{Admitted, Network, admits};
use crate::peer::{self, Links};
use crate::standing::Starts;
use crate::vault::{self, LoadError};
use crate::{counter, hub, network};

/// Inputs that wait for the agent.
const QUEUE: usize = 1_024;
/// Certificates are short: a node that is cut off expires.
const VALIDITY: Millis = Millis::from_hours(24);
const RENEW_EVERY: Duration = Duration::from_secs(6 * 3_600);

/// A node did not start, or could not go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its files.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The trust file.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The trust file is of another boundary.
    #[error("the trust file is of boundary `{found}`, not `{wanted}`: correct the one or the other")]
    OtherBoundary {
        /// In the trust file.
        found: BoundaryId,
        /// In the configuration.
        wanted: BoundaryId,
    },
    /// The trust file does not name someone who is needed.
    #[error("`{0}` is not in the trust file: add it there, by hand, with its pin and identity")]
    NotTrusted(NodeId),
    /// The endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The address is not free.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// No thread.
    #[error("the system gives no thread: {0}")]
    Thread(std::io::Error),
    /// What was kept cannot be read back.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The rosters it kept are not the hub's.
    #[error("the rosters in the store do not hold: {0}; restore the store, or the hub's entry in the trust file")]
    Roster(#[from] session::book::RosterError),
    /// A quantum link.
    #[error(transparent)]
    Link(#[from] link::StartError),
    /// A change cannot be made durable: nothing goes on without it.
    #[error("the node stops, for it can keep nothing: {0}")]
    Write(#[from] store::WriteError),
    /// Keys for applications.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// A name that the store does not take.
    #[error(transparent)]
    Name(#[from] store::ParseStoreNameError),
    /// The agent ended by itself.
    #[error("the agent ended unexpectedly: restart the node and report it")]
    Ended,
}

/// A node that runs.
pub struct Node {
    address: SocketAddr,
    agent: JoinHandle<Result<(), NodeError>>,
    tasks: JoinSet<()>,
    counter: Option<Opened>,
    store: StoreHandle,
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Node(at {})", self.address)
    }
}

/// Runs the node of `config` until `shutdown` is ready.
///
/// # Errors
/// [`NodeError`] where it did not start, or could not make a change durable.
pub async fn run(config: NodeConfig, shutdown: impl Future<Output = ()>) -> Result<(), NodeError> {
    let mut node = Node::start(config).await?;
    tokio::select! {
        () = shutdown => {
            node.stop().await;
            Ok(())
        }
        ended = &mut node.agent => ended.unwrap_or(Err(NodeError::Ended)),
    }
}

pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn endpoint(config: &NodeConfig, entropy: &Arc<Entropy>, kept: Kept, wall: WallClock) -> Result<Endpoint, NodeError> {
    let trust = Arc::new(TrustStore::load(&config.files.trust)?);
    if *trust.boundary() != config.boundary {
        let (found, wanted) = (trust.boundary().clone(), config.boundary.clone());
        return Err(NodeError::OtherBoundary { found, wanted });
    }
    let needed = config.links.iter().map(|link| &link.peer);
    for node in std::iter::once(&NodeId::hub()).chain(needed) {
        if trust.get(node).is_none() {
            return Err(NodeError::NotTrusted(node.clone()));
        }
    }
    let tls_key = TlsKey::load(&config.files.tls).map_err(FilesError::from)?;
    let hub = trust.get(&NodeId::hub()).map(|entry| entry.identity.clone());
    let book = Arc::new(Book::new(config.boundary.clone(), hub, Some(config.timing.roster.0), wall));
    book.restore(kept)?;
    let (from, validity) = book.dates(VALIDITY);
    let certificate = tls_key.issue(&config.boundary, &config.node, from, validity).map_err(FilesError::from)?;
    let identity = IdentityKey::load(&config.files.identity).map_err(FilesError::from)?;
    let admitted = Arc::clone(&book);
    Ok(Endpoint::new(EndpointConfig {
        node: config.node.clone(),
        identity: Arc::new(identity),
        tls_key,
        certificate,
        trust,
        entropy: Arc::clone(entropy),
        book,
        admission: Box::new(move |node| admits(&admitted, node)),
        deadline: DEADLINE,
    })?)
}

fn links(config: &NodeConfig, store: &StoreHandle, entropy: &Arc<Entropy>) -> Result<Links, NodeError> {
    let spec = |link: &link::LinkSection| LinkSpec {
        me: config.node.clone(),
        peer: link.peer.clone(),
        fibre: link.fibre.clone(),
        kme: link.kme.clone(),
        params: link.params.params(),
    };
    let specs = config.links.iter().map(spec).collect();
    let engine = Engine::new(2).map_err(NodeError::Thread)?;
    Ok(Links::new(engine, specs, store.clone(), Arc::clone(entropy)))
}

async fn open_counter(
    config: &NodeConfig,
    store: &StoreHandle,
    entropy: &Arc<Entropy>,
    carrier: &Arc<Carrier>,
) -> Result<Option<Opened>, CounterError> {
    let Some(section) = &config.kme else { return Ok(None) };
    let (me, store, entropy) = (config.node.clone(), store.clone(), Arc::clone(entropy));
    let parts = counter::Parts { me, section, store, entropy, carrier: Arc::clone(carrier) };
    Ok(Some(Counter::open(parts).await?))
}

impl Node {
    /// Opens the node's files, listens, and connects to the hub and its peers.
    ///
    /// # Errors
    /// [`NodeError`] says what to do.
    pub async fn start(config: NodeConfig) -> Result<Self, NodeError> {
        Self::start_at(config, session::book::system_clock()).await
    }

    /// As [`Self::start`], with a clock of the caller's.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn start_at(config: NodeConfig, wall: WallClock) -> Result<Self, NodeError> {
        let entropy = Arc::new(Entropy::system().map_err(FilesError::from)?);
        let mut store = files::open_store(&config, &entropy)?;
        store.hold().map_err(FilesError::from)?;
        let store = StoreHandle::spawn(store).map_err(NodeError::Thread)?;
        let mut starts = Starts::begin(&store, &entropy).await?;
        let (ring, kept) = vault::load(&store, config.node.clone()).await?;
        let endpoint = endpoint(&config, &entropy, kept, wall)?;
        let admitted: Admitted = Arc::clone(endpoint.book());
        let listener = Listener::bind(endpoint.clone(), &config.listen, Limits::default())
            .await
            .map_err(|source| NodeError::Listen { address: config.listen.clone(), source })?;
        let address = listener.address();
        let network = Arc::new(Network::new(endpoint, Arc::clone(&admitted), config.hub.clone()));
        let links = Arc::new(links(&config, &store, &entropy)?);
        for peer in links.peers().filter(|peer| admitted.allows(peer)) {
            links.start(peer).await?;
        }
        let first = u64::from_be_bytes(entropy.array().map_err(FilesError::from)?);
        let me = config.node.clone();
        let relays = config.kme.as_ref().map(|section| section.relays.clone()).unwrap_or_default();
        let carrier = Carrier::new(me, Arc::clone(&links), admitted, relays, first);
        let carrier = Arc::new(carrier);
        let counter = open_counter(&config, &store, &entropy, &carrier).await?;
        starts.set_account(counter.as_ref().map(|opened| opened.counter.account()));
        let (urgent, urgent_inputs) = mpsc::channel(QUEUE);
        let (inputs, bulk_inputs) = mpsc::channel(QUEUE);
        let accepted = Accepted::within(&config.allow_connect);
        let (failures, failed) = mpsc::channel(64);
        let agent = Agent::new(Parts {
            me: config.node.clone(),
            network: Arc::clone(&network),
            links: Arc::clone(&links),
            store: store.clone(),
            entropy,
            ring,
            starts,
            forwards: Forwards::new(Arc::clone(&network), accepted.clone(), failures),
            report: config.timing.report.get(),
            counter: counter.as_ref().map(|opened| Arc::clone(&opened.counter)),
            inputs: inputs.clone(),
        });
        let mut tasks = JoinSet::new();
        let longest = config.timing.reconnect.get();
        for peer in links.peers().filter(|peer| peer.is_hub() || config.node < **peer) {
            let (network, links, carrier) = (Arc::clone(&network), Arc::clone(&links), Arc::clone(&carrier));
            tasks.spawn(peer::keep(network, links, peer.clone(), longest, carrier, inputs.clone()));
        }
        let ways = (Arc::clone(&network), links, carrier);
        tasks.spawn(serve(listener, ways, accepted, inputs.clone()));
        tasks.spawn(pass_failures(failed, inputs.clone()));
        tasks.spawn(renew(Arc::clone(&network)));
        let at_counter = counter.as_ref().map(|opened| Arc::clone(&opened.counter));
        tasks.spawn(hub::keep(network, longest, at_counter, hub::Inputs { urgent, bulk: inputs }));
        let agent = tokio::spawn(agent.run(urgent_inputs, bulk_inputs));
        tracing::info!(node = %config.node, %address, "running");
        Ok(Self { address, agent, tasks, counter, store })
    }

    /// Where it takes sessions.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the node: sessions and streams are cut, and what is queued for the store is written.
    pub async fn stop(mut self) {
        self.end().await;
    }

    async fn end(&mut self) {
        if let Some(opened) = self.counter.take() {
            opened.counter.close().await;
        }
        self.tasks.shutdown().await;
        self.agent.abort();
        let _ = (&mut self.agent).await;
        if let Err(fault) = self.store.clone().close().await {
            tracing::warn!(%fault, "the store was not closed cleanly: opening it again mends it");
        }
    }
}

async fn pass_failures(mut failed: mpsc::Receiver<forward::Failed>, inputs: mpsc::Sender<Input>) {
    while let Some(failure) = failed.recv().await {
        if inputs.send(Input::ForwardFailed(failure)).await.is_err() {
            return;
        }
    }
}

/// Takes the sessions of other nodes.
async fn serve(
    mut listener: Listener,
    (network, links, carrier): (Arc<network::Network>, Arc<Links>, Arc<Carrier>),
    accepted: Accepted,
    inputs: mpsc::Sender<Input>,
) {
    // Ends with this task, and with it every stream that a peer opened.
    let mut sessions = JoinSet::new();
    loop {
        let arrival = tokio::select! {
            arrival = listener.next() => arrival,
            Some(_) = sessions.join_next() => continue,
        };
        match arrival {
            Some(Arrival::Session(session)) => {
                let (network, links, accepted) = (Arc::clone(&network), Arc::clone(&links), accepted.clone());
                let (carrier, inputs) = (Arc::clone(&carrier), inputs.clone());
                sessions.spawn(async move {
                    match session.channel() {
                        Channel::Link => peer::run(*session, &links, &carrier, &inputs).await,
                        Channel::Stream => forward::serve(&network, &accepted, *session).await,
                        Channel::Urgent | Channel::Bulk => {
                            tracing::warn!(peer = %session.peer(), "opened a session that only the hub takes");
                        }
                    }
                });
            }
            Some(Arrival::Refused { from, error }) => {
                tracing::info!(%from, %error, "a connection did not become a session");
                if let HandshakeError::Identity { node, .. } = error {
                    let subject = Subject::Node(node);
                    let kind = SignalKind::AuthFailure;
                    let _ = inputs.send(Input::Noticed { subject, kind }).await;
                }
            }
            None => return,
        }
    }
}

/// Replaces the certificate long before it expires.
async fn renew(network: Arc<network::Network>) {
    loop {
        tokio::time::sleep(RENEW_EVERY).await;
        let endpoint = &network.endpoint;
        let (from, validity) = endpoint.book().dates(VALIDITY);
        let issued = endpoint.tls_key().issue(endpoint.boundary(), endpoint.node(), from, validity);
        match issued.map(|certificate| endpoint.renew(&certificate)) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the certificate is not renewed"),
            Err(error) => tracing::error!(%error, "the certificate is not renewed"),
        }
    }
}
