//! Link sessions: what carries post-processing and mixes between two ends of a quantum link, and
//! the ends themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crypto::{AuthKey, Entropy};
use link::{Engine, Link, LinkSpec, StartError};
use session::mesh::PeerMessage;
use session::{Channel, EnvelopeError, RecvError, Session, SessionInfo, SessionSender};
use store::StoreHandle;
use tokio::sync::mpsc;
use types::mesh::{SignalKind, Subject};
use types::{Label, NodeId, cbor};
use zeroize::Zeroizing;

use crate::agent::Input;
use crate::counter::Carrier;
use crate::network::{Network, admits};

/// Messages that wait in either direction of a session.
const QUEUE: usize = 1_024;
/// Longest time for a peer to take one message.
const PATIENCE: Duration = Duration::from_secs(20);
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// What waits to be sent over one session. A peer whose queue runs over loses the session.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Zeroizing<Vec<u8>>>,
    info: Arc<SessionInfo>,
}

impl Outbox {
    pub(crate) fn start(sender: SessionSender) -> Self {
        let info = Arc::clone(sender.info());
        let (queue, mut waiting) = mpsc::channel::<Zeroizing<Vec<u8>>>(QUEUE);
        tokio::spawn(async move {
            while let Some(message) = waiting.recv().await {
                match tokio::time::timeout(PATIENCE, sender.send(&message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => break,
                    Err(_) => {
                        tracing::warn!(peer = %sender.info().peer(), "takes nothing: its session is dropped");
                        break;
                    }
                }
            }
            sender.info().terminate();
        });
        Self { queue, info }
    }

    /// Queues one message.
    pub(crate) fn push<T: minicbor::Encode<()>>(&self, message: &T) {
        if self.queue.try_send(Zeroizing::new(cbor::to_vec(message))).is_err() {
            self.info.terminate();
        }
    }

    /// Ends the session.
    pub(crate) fn end(&self) {
        self.info.terminate();
    }
}

/// This node's ends of its quantum links.
pub(crate) struct Links {
    engine: Engine,
    specs: BTreeMap<NodeId, LinkSpec>,
    ends: Mutex<BTreeMap<NodeId, Link>>,
    store: StoreHandle,
    entropy: Arc<Entropy>,
}

impl Links {
    pub(crate) fn new(engine: Engine, specs: Vec<LinkSpec>, store: StoreHandle, entropy: Arc<Entropy>) -> Self {
        let specs = specs.into_iter().map(|spec| (spec.peer.clone(), spec)).collect();
        Self { engine, specs, ends: Mutex::default(), store, entropy }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Link>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everyone to whom there is a fibre.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &NodeId> {
        self.specs.keys()
    }

    pub(crate) fn get(&self, peer: &NodeId) -> Option<Link> {
        self.lock().get(peer).cloned()
    }

    /// Every end that runs.
    pub(crate) fn all(&self) -> Vec<Link> {
        self.lock().values().cloned().collect()
    }

    /// Starts the end towards `peer`, where there is a fibre and it does not run.
    pub(crate) async fn start(&self, peer: &NodeId) -> Result<(), StartError> {
        let Some(spec) = self.specs.get(peer).filter(|_| self.get(peer).is_none()) else { return Ok(()) };
        let link = Link::start(&self.engine, spec.clone(), self.store.clone(), Arc::clone(&self.entropy)).await?;
        self.lock().insert(peer.clone(), link);
        Ok(())
    }

    /// Wipes the bits shared with `peer` and stops the end.
    pub(crate) fn sever(&self, peer: &NodeId) {
        if let Some(link) = self.lock().remove(peer) {
            link.sever();
        }
    }
}

/// Numbers link sessions, so that news of an old one is not taken for news of the one after it.
static GENERATION: AtomicU64 = AtomicU64::new(1);

/// Keeps a link session to `peer`, which this node dials.
pub(crate) async fn keep(
    network: Arc<Network>,
    links: Arc<Links>,
    peer: NodeId,
    longest: Duration,
    carrier: Arc<Carrier>,
    inputs: mpsc::Sender<Input>,
) {
    let mut wait = FIRST_WAIT;
    loop {
        if admits(&network.admitted, &peer) && links.get(&peer).is_some() {
            match network.dial(&peer, Channel::Link).await {
                Ok(session) => {
                    wait = FIRST_WAIT;
                    run(session, &links, &carrier, &inputs).await;
                }
                Err(error) => {
                    tracing::debug!(%peer, %error, "no link session");
                    wait = (wait * 2).min(longest);
                }
            }
        } else {
            wait = longest.min(Duration::from_secs(1));
        }
        tokio::time::sleep(wait).await;
    }
}

/// Runs one link session until it ends.
pub(crate) async fn run(session: Session, links: &Links, carrier: &Arc<Carrier>, inputs: &mpsc::Sender<Input>) {
    let peer = session.peer().clone();
    let Some(link) = links.get(&peer) else {
        tracing::warn!(%peer, "opened a link session, and no fibre leads there");
        return;
    };
    let generation = GENERATION.fetch_add(1, Ordering::Relaxed);
    let auth: AuthKey = session.info().derive(Label::QKD_AUTH, &[]);
    let (sender, mut receiver) = session.split();
    let info = Arc::clone(sender.info());
    let outbox = Outbox::start(sender.clone());
    let (out, mut outgoing) = mpsc::channel::<Vec<u8>>(64);
    let (incoming, inbox) = mpsc::channel(64);
    let id = link.id().clone();
    let quantum = tokio::spawn(async move {
        while let Some(message) = outgoing.recv().await {
            let message = PeerMessage::Quantum { link: id.clone(), message };
            if sender.send(&cbor::to_vec(&message)).await.is_err() {
                break;
            }
        }
        sender.info().terminate();
    });
    link.attach(auth, out, inbox).await;
    let id = link.id().clone();
    drop(link);
    if !peer.is_hub() {
        carrier.peer_up(&peer, generation, outbox.clone());
        carrier.greet(&peer);
        let _ = inputs.send(Input::PeerUp { peer: peer.clone(), generation, outbox }).await;
    }
    loop {
        let bytes = match receiver.recv().await {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(RecvError::Envelope(error)) => {
                let _ = inputs.send(refused(&peer, error)).await;
                if matches!(error, EnvelopeError::TooLarge { .. } | EnvelopeError::Exhausted) {
                    break;
                }
                continue;
            }
            Err(_) => break,
        };
        let taken = match cbor::from_slice(&bytes) {
            Ok(PeerMessage::Quantum { link, message }) if link == id => incoming.send(message).await.is_ok(),
            Ok(PeerMessage::Quantum { .. }) | Err(_) => {
                tracing::warn!(%peer, "a link session carried something else: it is dropped");
                false
            }
            Ok(PeerMessage::Kme(frame)) if !peer.is_hub() => {
                Arc::clone(carrier).take(&peer, frame);
                true
            }
            Ok(message) => inputs.send(Input::Peer { peer: peer.clone(), generation, message }).await.is_ok(),
        };
        if !taken {
            break;
        }
    }
    info.terminate();
    quantum.abort();
    if !peer.is_hub() {
        carrier.peer_down(&peer, generation);
        let _ = inputs.send(Input::PeerDown { peer, generation }).await;
    }
}

/// What a refused envelope of `peer` tells.
pub(crate) fn refused(peer: &NodeId, error: EnvelopeError) -> Input {
    tracing::warn!(%peer, %error, "an envelope was refused");
    let kind = match error {
        EnvelopeError::Replayed { .. } | EnvelopeError::Reordered { .. } => SignalKind::Replay,
        _ => SignalKind::AuthFailure,
    };
    Input::Noticed { subject: Subject::Node(peer.clone()), kind }
}
