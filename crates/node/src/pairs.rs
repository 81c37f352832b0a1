//! The keys that streams use, shared between the agent, which changes them, and the streams.
//!
//! Invariants:
//! 1. A live stream holds a receive key derived from every key its peer may use: from the moment a
//!    key is confirmed until the peer has passed it in-band. So retiring and destroying a key never
//!    loses a byte that is under way (KM-10).
//! 2. A revoked key leaves every stream at once; a stream that uses it is cut (KM-07).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use types::{Hash, KeyId, NodeId};

use crate::keyring::HeldKey;
use crate::stream::keys::{Direction, FrameKey};

/// Keys one stream may hold for frames that are still to come.
const MAX_WAITING: usize = 65_536;

/// Why a stream was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A key it ran under was revoked.
    Revoked,
    /// Its peer was isolated.
    Isolated,
    /// It lagged so far behind that its keys no longer fit.
    Lagging,
    /// The newest roster is too old: no peer is spoken to.
    Paused,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Revoked => "its key was revoked",
            Self::Isolated => "its peer was isolated",
            Self::Paused => "the hub's newest roster is too old to speak to peers",
            Self::Lagging => "it lagged too far behind the rotation of its keys",
        })
    }
}

/// All pairs of one node.
#[derive(Clone, Default)]
pub(crate) struct Pairs(Arc<Mutex<BTreeMap<NodeId, Pair>>>);

#[derive(Default)]
struct Pair {
    current: watch::Sender<Option<KeyId>>,
    held: BTreeMap<KeyId, Arc<HeldKey>>,
    streams: BTreeMap<u64, Live>,
    next: u64,
}

/// What the pair keeps of one stream.
struct Live {
    id: Hash,
    receive: Direction,
    waiting: BTreeMap<KeyId, FrameKey>,
    /// The keys of the two directions, `None` where a direction has not begun or has ended.
    sending: Option<KeyId>,
    receiving: Option<KeyId>,
    received: bool,
    cut: watch::Sender<Option<Cut>>,
}

/// A stream's place with its pair. The pair forgets the stream when it is dropped.
struct Place {
    pairs: Pairs,
    peer: NodeId,
    slot: u64,
}

/// Keys of a stream's outgoing direction.
pub(crate) struct SendKeys {
    place: Arc<Place>,
    id: Hash,
    direction: Direction,
    current: watch::Receiver<Option<KeyId>>,
}

/// Keys of a stream's incoming direction.
pub(crate) struct ReceiveKeys {
    place: Arc<Place>,
}

/// All that a new stream needs.
pub(crate) struct Opened {
    pub(crate) send: SendKeys,
    pub(crate) receive: ReceiveKeys,
    pub(crate) first: Sending,
    pub(crate) cut: watch::Receiver<Option<Cut>>,
}

/// The key a stream is to send under now.
pub(crate) struct Sending {
    pub(crate) id: KeyId,
    pub(crate) key: FrameKey,
}

impl Pairs {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Pair>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the keys of `peer` up to date: those held now, and the one to use.
    pub(crate) fn set(&self, peer: &NodeId, held: Vec<Arc<HeldKey>>, current: Option<KeyId>) {
        let mut pairs = self.lock();
        let pair = pairs.entry(peer.clone()).or_default();
        for key in &held {
            if !pair.held.contains_key(&key.id()) {
                pair.streams.values_mut().for_each(|stream| stream.expect(key));
            }
        }
        pair.held = held.into_iter().map(|key| (key.id(), key)).collect();
        pair.current.send_if_modified(|now| std::mem::replace(now, current) != current);
    }

    /// Keys that were erased without ever having been in use: no frame can come under them.
    pub(crate) fn forget(&self, keys: &[KeyId]) {
        for pair in self.lock().values_mut() {
            for stream in pair.streams.values_mut() {
                stream.waiting.retain(|id, _| !keys.contains(id));
            }
        }
    }

    /// Keys that were revoked: streams that run under one are cut.
    pub(crate) fn revoke(&self, keys: &[KeyId]) {
        for pair in self.lock().values_mut() {
            pair.held.retain(|id, _| !keys.contains(id));
            let gone = pair.current.borrow().is_some_and(|id| keys.contains(&id));
            if gone {
                pair.current.send_replace(None);
            }
            for stream in pair.streams.values_mut() {
                stream.waiting.retain(|id, _| !keys.contains(id));
                let runs = [stream.sending, stream.receiving].into_iter().flatten().any(|id| keys.contains(&id));
                if runs && stream.cut.borrow().is_none() {
                    stream.cut.send_replace(Some(Cut::Revoked));
                }
            }
        }
    }

    /// Cuts every stream with `peer` and forgets its keys (SM-02).
    pub(crate) fn isolate(&self, peer: &NodeId) {
        if let Some(pair) = self.lock().get_mut(peer) {
            pair.held.clear();
            pair.current.send_replace(None);
            for stream in pair.streams.values_mut() {
                stream.waiting.clear();
                stream.cut.send_replace(Some(Cut::Isolated));
            }
        }
    }

    /// Cuts every stream and keeps all keys: nobody is spoken to now.
    pub(crate) fn pause(&self) {
        for stream in self.lock().values_mut().flat_map(|pair| pair.streams.values_mut()) {
            stream.cut.send_if_modified(|cut| cut.is_none() && cut.replace(Cut::Paused).is_none());
        }
    }

    /// Whether streams with `peer` can begin now.
    pub(crate) fn ready(&self, peer: &NodeId) -> bool {
        self.lock().get(peer).is_some_and(|pair| pair.current.borrow().is_some())
    }

    /// Enters a stream `id` with `peer`; `None` where there is no key to begin with.
    pub(crate) fn open(&self, peer: &NodeId, id: Hash, opener: bool) -> Option<Opened> {
        let mut ways = (Direction::Opener, Direction::Acceptor);
        if !opener {
            ways = (ways.1, ways.0);
        }
        let mut pairs = self.lock();
        let pair = pairs.get_mut(peer)?;
        let current = (*pair.current.borrow())?;
        let key = FrameKey::derive(pair.held.get(&current)?, &id, ways.0)?;
        let (cut, cut_seen) = watch::channel(None);
        let mut live = Live {
            id,
            receive: ways.1,
            waiting: BTreeMap::new(),
            sending: Some(current),
            receiving: None,
            received: false,
            cut,
        };
        pair.held.values().for_each(|held| live.expect(held));
        let slot = pair.next;
        pair.next += 1;
        pair.streams.insert(slot, live);
        let watched = pair.current.subscribe();
        let place = Arc::new(Place { pairs: self.clone(), peer: peer.clone(), slot });
        let send = SendKeys { place: Arc::clone(&place), id, direction: ways.0, current: watched };
        Some(Opened { send, receive: ReceiveKeys { place }, first: Sending { id: current, key }, cut: cut_seen })
    }

    /// Waits until streams with `peer` can begin.
    pub(crate) async fn wait_ready(&self, peer: &NodeId) {
        let mut current = self.lock().entry(peer.clone()).or_default().current.subscribe();
        // The sender lives as long as `self`.
        let _ = current.wait_for(Option::is_some).await;
    }

    /// How many streams there are.
    #[cfg(test)]
    pub(crate) fn streams(&self) -> usize {
        self.lock().values().map(|pair| pair.streams.len()).sum()
    }
}

impl Live {
    fn expect(&mut self, key: &Arc<HeldKey>) {
        // A key below the one in use was passed already.
        if self.received || self.receiving.is_some_and(|now| key.id() <= now) {
            return;
        }
        if self.waiting.len() >= MAX_WAITING {
            self.cut.send_replace(Some(Cut::Lagging));
        } else if let Some(derived) = FrameKey::derive(key, &self.id, self.receive) {
            self.waiting.insert(key.id(), derived);
        }
    }
}

impl Place {
    fn with<T>(&self, act: impl FnOnce(&BTreeMap<KeyId, Arc<HeldKey>>, &mut Live) -> T) -> Option<T> {
        let mut pairs = self.pairs.lock();
        let Pair { held, streams, .. } = pairs.get_mut(&self.peer)?;
        Some(act(held, streams.get_mut(&self.slot)?))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(pair) = self.pairs.lock().get_mut(&self.peer) {
            pair.streams.remove(&self.slot);
        }
    }
}

impl SendKeys {
    /// The key to send under in place of `now`, where there is a newer one.
    pub(crate) fn newer(&mut self, now: KeyId) -> Option<Sending> {
        let current = (*self.current.borrow_and_update()).filter(|current| *current > now)?;
        let (id, direction) = (self.id, self.direction);
        let key = self.place.with(|held, live| {
            let key = FrameKey::derive(held.get(&current)?, &id, direction)?;
            live.sending = Some(current);
            Some(key)
        });
        Some(Sending { id: current, key: key.flatten()? })
    }

    /// Waits until the key to send under changes; for ever once the pair is gone.
    pub(crate) async fn changed(&mut self) {
        if self.current.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Nothing more is sent.
    pub(crate) fn finish(&self) {
        self.place.with(|_, live| live.sending = None);
    }
}

impl ReceiveKeys {
    /// The receive key `id`, which the peer says it uses from now on. Older ones are dropped.
    pub(crate) fn pass(&self, id: KeyId) -> Option<FrameKey> {
        let key = self.place.with(|_, live| {
            let key = live.waiting.remove(&id)?;
            live.waiting = live.waiting.split_off(&id);
            live.receiving = Some(id);
            Some(key)
        });
        key.flatten()
    }

    /// Nothing more is received.
    pub(crate) fn finish(&self) {
        self.place.with(|_, live| {
            live.received = true;
            live.receiving = None;
            live.waiting.clear();
        });
    }
}
