//! Who is connected, and what waits to be sent to whom.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crypto::{AuthKey, KemPublic, Secret32};
use kernel::effect::KeyOrder;
use session::mesh::HubMessage;
use session::{Channel, SessionInfo, SessionSender};
use tokio::sync::{mpsc, watch};
use types::{Hash, Label, NodeId, cbor};

/// Messages that may wait for one peer on one session.
const QUEUE: usize = 1_024;
/// Longest time one message may take to leave.
const PATIENCE: Duration = Duration::from_secs(20);

/// The newest KEM public key of a node.
pub(crate) type Prekey = Arc<KemPublic>;

/// What waits to be sent over one session.
#[derive(Clone)]
pub(crate) struct Outbox {
    queue: mpsc::Sender<Arc<[u8]>>,
    info: Arc<SessionInfo>,
}

impl Outbox {
    fn start(sender: SessionSender) -> Self {
        let info = Arc::clone(sender.info());
        let (queue, mut waiting) = mpsc::channel::<Arc<[u8]>>(QUEUE);
        let gone = Arc::clone(&info);
        tokio::spawn(async move {
            while let Some(message) = waiting.recv().await {
                match tokio::time::timeout(PATIENCE, sender.send(&message)).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => tracing::debug!(node = %gone.peer(), %error, "a message was not sent"),
                    Err(_) => tracing::warn!(node = %gone.peer(), "takes nothing; its session is dropped"),
                }
                break;
            }
            gone.terminate();
        });
        Self { queue, info }
    }

    /// Queues a message; a peer whose queue is full loses its session.
    fn push(&self, message: Arc<[u8]>) -> bool {
        match self.queue.try_send(message) {
            Ok(()) => true,
            Err(error) => {
                if matches!(error, mpsc::error::TrySendError::Full(_)) {
                    tracing::warn!(node = %self.info.peer(), "too much waits for this peer; its session is dropped");
                }
                self.info.terminate();
                false
            }
        }
    }

    /// A name of the session that both ends know and that reveals nothing of its secrets.
    fn name(&self) -> Hash {
        let name: AuthKey = self.info.derive(Label::SESSION_EXPORTER, &[b"session name"]);
        Hash::new(*name.expose())
    }
}

struct Peer {
    generation: u64,
    urgent: Option<Outbox>,
    bulk: Option<Outbox>,
    up: bool,
    prekey: watch::Sender<Option<Prekey>>,
    deliveries: Arc<Queue>,
}

impl Peer {
    fn end(&self) {
        for outbox in self.urgent.iter().chain(&self.bulk) {
            outbox.info.terminate();
        }
    }
}

/// What came of a session that joined.
pub(crate) struct Joined {
    /// Names this pair of sessions.
    pub(crate) generation: u64,
    /// An older pair gave way; whether it was up.
    pub(crate) displaced: Option<bool>,
    /// The pair is complete.
    pub(crate) session_name: Option<Hash>,
}

/// Every connected node.
#[derive(Default)]
pub(crate) struct Peers {
    peers: Mutex<BTreeMap<NodeId, Peer>>,
    next: std::sync::atomic::AtomicU64,
}

/// Keys on their way to one node. They leave in order, one frame at a time.
#[derive(Default)]
pub(crate) struct Queue {
    waiting: Mutex<VecDeque<KeyOrder>>,
    turn: tokio::sync::Mutex<()>,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<KeyOrder>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever adds also waits for a turn, so that nothing stays behind.
    pub(crate) fn add(&self, orders: Vec<KeyOrder>) {
        self.waiting().extend(orders);
    }

    /// Held while frames are made and sent.
    pub(crate) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// The next keys, `most` at most.
    pub(crate) fn take(&self, most: usize) -> Vec<KeyOrder> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(most);
        waiting.drain(..count).collect()
    }
}

/// The way to a node's prekey, and what waits for it.
pub(crate) struct DeliveryTo {
    pub(crate) prekey: watch::Receiver<Option<Prekey>>,
    pub(crate) queue: Arc<Queue>,
}

impl Peers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an urgent or bulk session. A second one of the same kind is a node that came anew: the
    /// older pair gives way.
    pub(crate) fn join(&self, node: &NodeId, channel: Channel, sender: SessionSender) -> Joined {
        let outbox = Outbox::start(sender);
        let mut peers = self.lock();
        let taken = peers.get(node).is_some_and(|peer| match channel {
            Channel::Urgent => peer.urgent.is_some(),
            _ => peer.bulk.is_some(),
        });
        let displaced = taken.then(|| peers.remove(node)).flatten().map(|old| {
            old.end();
            old.up
        });
        let peer = peers.entry(node.clone()).or_insert_with(|| Peer {
            generation: self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            urgent: None,
            bulk: None,
            up: false,
            prekey: watch::Sender::new(None),
            deliveries: Arc::default(),
        });
        match channel {
            Channel::Urgent => peer.urgent = Some(outbox),
            _ => peer.bulk = Some(outbox),
        }
        let session_name = match (&peer.urgent, &peer.bulk) {
            (Some(urgent), Some(bulk)) => {
                let names = [urgent.name(), bulk.name()];
                Some(Label::SESSION_EXPORTER.hash(&[names[0].as_ref(), names[1].as_ref()]))
            }
            _ => None,
        };
        Joined { generation: peer.generation, displaced, session_name }
    }

    /// Whether both sessions of this pair came, or the pair has gone already.
    pub(crate) fn is_paired(&self, node: &NodeId, generation: u64) -> bool {
        self.lock()
            .get(node)
            .filter(|peer| peer.generation == generation)
            .is_none_or(|peer| peer.urgent.is_some() && peer.bulk.is_some())
    }

    /// Marks a pair as up; `false` where it has gone.
    pub(crate) fn mark_up(&self, node: &NodeId, generation: u64) -> bool {
        let mut peers = self.lock();
        match peers.get_mut(node).filter(|peer| peer.generation == generation) {
            Some(peer) => {
                peer.up = true;
                true
            }
            None => false,
        }
    }

    /// Ends a pair; whether it was up, `None` where it had ended already.
    pub(crate) fn part(&self, node: &NodeId, generation: u64) -> Option<bool> {
        let mut peers = self.lock();
        if peers.get(node)?.generation != generation {
            return None;
        }
        let peer = peers.remove(node)?;
        peer.end();
        Some(peer.up)
    }

    /// Ends whatever sessions a node has; whether it was up.
    pub(crate) fn drop_node(&self, node: &NodeId) -> bool {
        let gone = self.lock().remove(node);
        gone.is_some_and(|peer| {
            peer.end();
            peer.up
        })
    }

    /// Every node that is up.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        self.lock().iter().filter(|(_, peer)| peer.up).map(|(node, _)| node.clone()).collect()
    }

    /// Keeps a node's newest prekey.
    pub(crate) fn set_prekey(&self, node: &NodeId, prekey: KemPublic) {
        if let Some(peer) = self.lock().get(node) {
            peer.prekey.send_replace(Some(Arc::new(prekey)));
        }
    }

    /// How keys get to a node, where it is connected.
    pub(crate) fn delivery_of(&self, node: &NodeId) -> Option<DeliveryTo> {
        let peers = self.lock();
        let peer = peers.get(node)?;
        Some(DeliveryTo { prekey: peer.prekey.subscribe(), queue: Arc::clone(&peer.deliveries) })
    }

    /// Queues a message on the urgent session; `false` where there is none.
    pub(crate) fn send_urgent(&self, node: &NodeId, message: &HubMessage) -> bool {
        let outbox = self.lock().get(node).and_then(|peer| peer.urgent.clone());
        outbox.is_some_and(|outbox| outbox.push(cbor::to_vec(message).into()))
    }

    /// Queues a message on the bulk session; `false` where there is none.
    pub(crate) fn send_bulk(&self, node: &NodeId, message: &HubMessage) -> bool {
        let outbox = self.lock().get(node).and_then(|peer| peer.bulk.clone());
        outbox.is_some_and(|outbox| outbox.push(cbor::to_vec(message).into()))
    }
}
