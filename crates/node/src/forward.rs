//! TCP forwards: listeners here whose streams leave from another node, and what peers may reach
//! from here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crypto::{AuthKey, Secret32};
use session::{Channel, Session};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use types::{ForwardId, Hash, Label, NodeId};

use crate::destination::Destination;
use crate::network::Network;
use crate::stream::{self, StreamError};

/// Streams of one forward at once; more wait in the backlog of the listener.
const MAX_STREAMS: usize = 1_024;
/// Pause after the system gave no connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A forward that starts here: streams that come to `listen` leave from node `to` for `connect`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outgoing {
    pub(crate) listen: String,
    pub(crate) to: NodeId,
    pub(crate) connect: String,
}

/// A forward that ends here: streams from node `from` leave for `connect`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Incoming {
    pub(crate) from: NodeId,
    pub(crate) connect: String,
}

/// A hub's forward that could not be opened.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) id: ForwardId,
    pub(crate) reason: String,
}

/// The forwards of one node.
pub(crate) struct Forwards {
    network: Arc<Network>,
    failures: mpsc::Sender<Failed>,
    running: BTreeMap<(ForwardId, Outgoing), AbortHandle>,
    tasks: JoinSet<()>,
    accepted: Accepted,
    /// Forwards whose end here was refused, told once.
    refused: BTreeSet<ForwardId>,
}

/// What peers may reach from here: what the boundary grants and the node's own list allows.
#[derive(Clone)]
pub(crate) struct Accepted {
    granted: Arc<RwLock<BTreeSet<Incoming>>>,
    allowed: Arc<[Destination]>,
}

impl Accepted {
    /// Ends nowhere but in `allowed`, whatever is granted.
    pub(crate) fn within(allowed: &[Destination]) -> Self {
        Self { granted: Arc::default(), allowed: allowed.into() }
    }

    fn set(&self, list: BTreeSet<Incoming>) {
        *self.granted.write().unwrap_or_else(PoisonError::into_inner) = list;
    }

    /// Whether the node's own list has the place that `connect` names. A name is no place.
    fn has(&self, connect: &str) -> bool {
        connect.parse().is_ok_and(|target| self.allowed.iter().any(|one| one.covers(&target)))
    }

    fn check(&self, from: &NodeId, connect: &str) -> Result<(), String> {
        let wanted = Incoming { from: from.clone(), connect: connect.to_owned() };
        if !self.granted.read().unwrap_or_else(PoisonError::into_inner).contains(&wanted) {
            return Err(format!("`{connect}` is not a forward to this node: add it with `qecnet forward add`"));
        }
        if !self.has(connect) {
            return Err(not_allowed(connect));
        }
        Ok(())
    }
}

fn not_allowed(connect: &str) -> String {
    format!(
        "`{connect}` is not among `allow_connect` in this node's configuration: add it there to let forwards end there"
    )
}

impl Forwards {
    pub(crate) fn new(network: Arc<Network>, accepted: Accepted, failures: mpsc::Sender<Failed>) -> Self {
        Self { network, failures, running: BTreeMap::new(), tasks: JoinSet::new(), accepted, refused: BTreeSet::new() }
    }

    /// Runs exactly these forwards from here, and lets peers reach exactly these places. What runs
    /// already goes on; streams of a forward that is gone are cut.
    pub(crate) fn set(&mut self, own: BTreeSet<(ForwardId, Outgoing)>, ends: BTreeSet<(ForwardId, Incoming)>) {
        self.refused.retain(|id| ends.iter().any(|(other, _)| other == id));
        for (id, forward) in ends.iter().filter(|(_, forward)| !self.accepted.has(&forward.connect)) {
            if self.refused.insert(*id) {
                let reason = not_allowed(&forward.connect);
                tracing::warn!(forward = %id, from = %forward.from, %reason, "a forward may not end here");
                // whoever listens for it is told with each stream, too
                let _ = self.failures.try_send(Failed { id: *id, reason });
            }
        }
        self.accepted.set(ends.into_iter().map(|(_, forward)| forward).collect());
        while self.tasks.try_join_next().is_some() {}
        self.running.retain(|forward, task| {
            let keep = own.contains(forward) && !task.is_finished();
            if !keep {
                task.abort();
            }
            keep
        });
        for forward in own {
            if !self.running.contains_key(&forward) {
                let (id, section) = forward.clone();
                let work = listen(Arc::clone(&self.network), id, section, self.failures.clone());
                self.running.insert(forward, self.tasks.spawn(work));
            }
        }
    }
}

async fn listen(network: Arc<Network>, id: ForwardId, forward: Outgoing, failures: mpsc::Sender<Failed>) {
    let Outgoing { listen, to, connect } = forward;
    let listener = match bind(&listen).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%listen, %error, "a forward cannot listen: free the address or change the forward");
            let _ = failures.send(Failed { id, reason: format!("cannot listen on `{listen}`: {error}") }).await;
            return;
        }
    };
    tracing::info!(%listen, %to, %connect, "forwarding");
    let permits = Arc::new(Semaphore::new(MAX_STREAMS));
    let mut streams = JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        let tcp = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = streams.join_next() => continue,
        };
        match tcp {
            Ok((tcp, from)) => {
                if !network.pairs.ready(&to) {
                    tracing::warn!(%listen, %to, %from, "connection refused: there is no active key with that node yet");
                    let _ = tcp.set_zero_linger();
                    continue;
                }
                let (network, to, connect) = (Arc::clone(&network), to.clone(), connect.clone());
                streams.spawn(async move {
                    if let Err(error) = carry(&network, &to, &connect, tcp).await {
                        tracing::warn!(%to, %connect, %error, "a forwarded stream ended early");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%listen, %error, "no connection accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// An address that was just given up, by this node before a restart, may take a moment to be free.
pub(crate) async fn bind(address: &str) -> std::io::Result<TcpListener> {
    const TRIES: u32 = 20;
    let mut tried = 0;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tried < TRIES => {
                tried += 1;
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

async fn carry(network: &Network, to: &NodeId, connect: &str, tcp: TcpStream) -> Result<(), StreamError> {
    let session = match network.dial(to, Channel::Stream).await {
        Ok(session) => session,
        Err(error) => {
            let _ = tcp.set_zero_linger();
            return Err(StreamError::Session(std::io::Error::other(error)));
        }
    };
    let id = stream_id(&session);
    match session.into_raw() {
        Ok(raw) => stream::open(raw, &network.pairs, to, id, tcp, connect).await,
        Err(_) => Err(StreamError::Form),
    }
}

/// Serves a stream that a peer opened.
pub(crate) async fn serve(network: &Network, accepted: &Accepted, session: Session) {
    let peer = session.peer().clone();
    let id = stream_id(&session);
    let Ok(raw) = session.into_raw() else { return };
    let allowed = |connect: &str| accepted.check(&peer, connect);
    if let Err(error) = stream::accept(raw, &network.pairs, &peer, id, allowed).await {
        tracing::warn!(from = %peer, %error, "a forwarded stream ended early");
    }
}

/// Names a stream: both ends of its session derive the same, and no two sessions do.
fn stream_id(session: &Session) -> Hash {
    let id: AuthKey = session.info().derive(Label::STREAM, &[b"stream"]);
    Hash::new(*id.expose())
}
