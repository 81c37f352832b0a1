//! Messages between the KMEs of two nodes: over the session of the two, relayed by the hub, or by a node that both
//! ends trust with it. What holds bits of keys goes under a one-time pad of each hop's quantum link, or says that it
//! does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use kme::peer::{BoxFuture, Peer, PeerAnswer, PeerError, PeerMessage};
use kme::{Kme, KmeId};
use link::carry::{self, Address};
use link::{Link, Pad};
use session::mesh::{KmeAnswer, KmeAsk, KmeFrame, KmeVerdict, NodeMessage, PeerMessage as NodePeerMessage};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use types::NodeId;
use zeroize::{Zeroize, Zeroizing};

use crate::network::{Admitted, admits};
use crate::peer::{Links, Outbox};

/// Messages of other KMEs that are worked on at a time.
const AT_WORK: usize = 64;
/// Pad bytes left to the mesh's own keys.
const KEPT_BACK: u64 = 1_024;
/// Bytes of a message besides the bits it is about.
const AROUND: u64 = 512;

/// Carries messages, and takes those that come.
pub(crate) struct Carrier {
    me: NodeId,
    links: Arc<Links>,
    admitted: Admitted,
    /// Nodes that may pass on what this node and others say to each other.
    relays: BTreeSet<NodeId>,
    ways: Mutex<Ways>,
    waiting: Mutex<BTreeMap<u64, Waiting>>,
    next: AtomicU64,
    kme: RwLock<Weak<Kme>>,
    at_work: Arc<Semaphore>,
}

#[derive(Default)]
struct Ways {
    peers: BTreeMap<NodeId, (u64, Outbox)>,
    hub: Option<Outbox>,
}

struct Waiting {
    to: NodeId,
    answer: oneshot::Sender<KmeVerdict>,
}

/// One hop out of here.
struct Hop {
    node: NodeId,
    outbox: Outbox,
}

impl Hop {
    fn push(&self, frame: KmeFrame) {
        if self.node.is_hub() {
            self.outbox.push(&NodeMessage::Kme(frame));
        } else {
            self.outbox.push(&NodePeerMessage::Kme(frame));
        }
    }
}

/// Forgets a question whose asker went away.
struct Asked<'a>(&'a Carrier, u64);

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Carrier {
    /// `first` is random, so that no answer to a question of an earlier run is taken for one of this.
    pub(crate) fn new(me: NodeId, links: Arc<Links>, admitted: Admitted, relays: BTreeSet<NodeId>, first: u64) -> Self {
        Self {
            me,
            links,
            admitted,
            relays,
            ways: Mutex::default(),
            waiting: Mutex::default(),
            next: AtomicU64::new(first),
            kme: RwLock::new(Weak::new()),
            at_work: Arc::new(Semaphore::new(AT_WORK)),
        }
    }

    pub(super) fn me(&self) -> &NodeId {
        &self.me
    }

    /// Takes messages for `kme` from now on.
    pub(super) fn serve(&self, kme: &Arc<Kme>) {
        *self.kme.write().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(kme);
    }

    pub(crate) fn peer_up(&self, peer: &NodeId, generation: u64, outbox: Outbox) {
        lock(&self.ways).peers.insert(peer.clone(), (generation, outbox));
    }

    /// Has the KMEs of this node and of `peer` learn each other's starts.
    pub(crate) fn greet(&self, peer: &NodeId) {
        let kme = self.kme.read().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(kme) = kme {
            let peer = KmeId::from(peer);
            tokio::spawn(async move { kme.greet(&peer).await });
        }
    }

    pub(crate) fn peer_down(&self, peer: &NodeId, generation: u64) {
        let mut ways = lock(&self.ways);
        if ways.peers.get(peer).is_some_and(|(now, _)| *now == generation) {
            ways.peers.remove(peer);
        }
    }

    pub(super) fn hub_up(&self, outbox: Outbox) {
        lock(&self.ways).hub = Some(outbox);
    }

    pub(super) fn hub_down(&self) {
        lock(&self.ways).hub = None;
    }

    /// Hops towards `to`, the best first.
    fn hops(&self, to: &NodeId) -> Vec<Hop> {
        if !admits(&self.admitted, to) {
            return Vec::new();
        }
        let ways = lock(&self.ways);
        let direct = ways.peers.get(to).map(|(_, outbox)| Hop { node: to.clone(), outbox: outbox.clone() });
        let hub = ways.hub.clone().map(|outbox| Hop { node: NodeId::hub(), outbox });
        let through = self.relays.iter().filter(|relay| *relay != to && admits(&self.admitted, relay));
        let through = through.filter_map(|relay| {
            let (_, outbox) = ways.peers.get(relay)?;
            Some(Hop { node: relay.clone(), outbox: outbox.clone() })
        });
        direct.into_iter().chain(hub).chain(through).collect()
    }

    /// Bytes of key that could go to `to` under a pad now.
    pub(super) fn padded_bytes(&self, to: &NodeId) -> usize {
        let bytes = |hop: &Hop| {
            let link = self.links.get(&hop.node).filter(|link| link.state().usable);
            link.map_or(0, |link| (link.drawable() / 8).saturating_sub(KEPT_BACK + AROUND) as usize)
        };
        self.hops(to).iter().map(bytes).max().unwrap_or(0)
    }

    async fn ask(&self, kme: &KmeId, message: &PeerMessage) -> Result<KmeVerdict, PeerError> {
        let unreachable = || PeerError::Unreachable(kme.clone());
        let to: NodeId = kme.as_str().parse().map_err(|_| unreachable())?;
        let text = Zeroizing::new(minicbor::to_vec(message).map_err(|_| unreachable())?);
        let mut refused = None;
        for hop in self.hops(&to) {
            let pad = match message.needs_pad() {
                false => None,
                true => match self.pad(&hop.node, carry::pad_bits(text.len())).await {
                    Some(pad) => Some(pad),
                    None => {
                        refused = Some(KmeVerdict::NoPad);
                        continue;
                    }
                },
            };
            match self.ask_by(hop, &to, &text, pad.as_ref()).await.ok_or_else(|| PeerError::NoAnswer(kme.clone()))? {
                // It did not get there: another way may do.
                verdict @ (KmeVerdict::NoPad | KmeVerdict::NoWay) => refused = Some(verdict),
                verdict => return Ok(verdict),
            }
        }
        refused.ok_or_else(unreachable)
    }

    /// Asks by one way; nothing where no answer comes.
    async fn ask_by(&self, hop: Hop, to: &NodeId, text: &[u8], pad: Option<&Pad>) -> Option<KmeVerdict> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let address = Address { number, from: self.me.clone(), to: to.clone() };
        // A pad of the wrong length was never drawn.
        let Ok(ask) = carry::seal(address, text, pad) else { return Some(KmeVerdict::NoPad) };
        let (answer, answered) = oneshot::channel();
        lock(&self.waiting).insert(number, Waiting { to: to.clone(), answer });
        let _asked = Asked(self, number);
        hop.push(KmeFrame::Ask(ask));
        answered.await.ok()
    }

    async fn pad(&self, hop: &NodeId, bits: u64) -> Option<Pad> {
        let pad = self.links.get(hop)?.reserve(bits).await;
        pad.inspect_err(|error| tracing::debug!(%hop, %error, "no pad for keys of applications")).ok()
    }

    pub(super) fn link(&self, hop: &NodeId) -> Option<Link> {
        self.links.get(hop)
    }

    /// A place among the messages that are worked on.
    pub(super) fn permit(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.at_work).try_acquire_owned().ok()
    }

    /// Whether there is a session with that node, and it is a member.
    pub(super) fn is_neighbour(&self, node: &NodeId) -> bool {
        admits(&self.admitted, node) && lock(&self.ways).peers.contains_key(node)
    }

    /// Sends a frame one hop; `false` where there is no session.
    pub(super) fn push(&self, hop: &NodeId, frame: KmeFrame) -> bool {
        self.hop(hop).map(|hop| hop.push(frame)).is_some()
    }

    /// Whether `hop` may bring what `speaker` says.
    fn may_speak_for(&self, hop: &NodeId, speaker: &NodeId) -> bool {
        hop.is_hub() || speaker == hop || self.relays.contains(hop)
    }

    /// Takes a frame that came from `hop`. Does not wait.
    pub(crate) fn take(self: Arc<Self>, hop: &NodeId, frame: KmeFrame) {
        match frame {
            KmeFrame::Answer(answer) => self.answered(hop, answer),
            KmeFrame::Ask(ask) if ask.to != self.me && ask.from == *hop => self.relay(hop, ask),
            KmeFrame::Ask(ask) => {
                if ask.to != self.me || !self.may_speak_for(hop, &ask.from) {
                    return tracing::warn!(%hop, from = %ask.from, to = %ask.to, "a message between KMEs went astray");
                }
                let Some(permit) = self.permit() else {
                    return tracing::warn!(%hop, "too many messages of other KMEs: one is dropped");
                };
                let hop = hop.clone();
                tokio::spawn(async move {
                    let (number, from) = (ask.number, ask.from.clone());
                    let verdict = self.work(&hop, ask).await;
                    drop(permit);
                    // Without a session the asker gets no answer, and asks again.
                    self.push(&hop, KmeFrame::Answer(KmeAnswer { number, from, to: self.me.clone(), verdict }));
                });
            }
        }
    }

    fn hop(&self, node: &NodeId) -> Option<Hop> {
        let ways = lock(&self.ways);
        let outbox = if node.is_hub() { ways.hub.clone() } else { ways.peers.get(node).map(|(_, way)| way.clone()) };
        outbox.map(|outbox| Hop { node: node.clone(), outbox })
    }

    fn answered(&self, hop: &NodeId, answer: KmeAnswer) {
        // Of a message that passed through here: back to who asked, and only from who was asked.
        if answer.from != self.me {
            let passed = answer.to == *hop && self.is_neighbour(&answer.from);
            return match passed {
                true => drop(self.push(&answer.from.clone(), KmeFrame::Answer(answer))),
                false => tracing::debug!(%hop, "an answer came that nobody waits for"),
            };
        }
        let mut waiting = lock(&self.waiting);
        let fits = waiting
            .get(&answer.number)
            .is_some_and(|asked| asked.to == answer.to && self.may_speak_for(hop, &answer.to));
        if !fits {
            return tracing::debug!(%hop, "an answer came that nobody waits for");
        }
        if let Some(asked) = waiting.remove(&answer.number) {
            // Whoever asked may have gone.
            let _ = asked.answer.send(answer.verdict);
        }
    }

    async fn work(&self, hop: &NodeId, ask: KmeAsk) -> KmeVerdict {
        let said = |answer: PeerAnswer| KmeVerdict::Answered(minicbor::to_vec(answer).unwrap_or_default());
        let (from, padded) = (ask.from.clone(), ask.pad.is_some());
        if !admits(&self.admitted, &from) {
            return said(PeerAnswer::NotServed);
        }
        let text = match carry::receive(ask, self.links.get(hop).as_ref()).await {
            Ok(text) => text,
            Err(error) => {
                tracing::warn!(%hop, %error, "a message of another KME cannot be opened");
                return KmeVerdict::NoPad;
            }
        };
        let Ok(message) = minicbor::decode::<PeerMessage>(&text) else { return said(PeerAnswer::Malformed) };
        if message.needs_pad() && !padded {
            tracing::error!(%hop, %from, "keys came without the pad that they are said to have had");
            return said(PeerAnswer::Malformed);
        }
        let kme = self.kme.read().unwrap_or_else(PoisonError::into_inner).upgrade();
        match kme {
            Some(kme) => said(kme.receive(&KmeId::from(&from), message).await),
            None => KmeVerdict::NoWay,
        }
    }
}

impl Peer for Carrier {
    fn send<'a>(&'a self, kme: &'a KmeId, message: &'a PeerMessage) -> BoxFuture<'a, Result<PeerAnswer, PeerError>> {
        Box::pin(async move {
            match self.ask(kme, message).await? {
                KmeVerdict::Answered(mut bytes) => {
                    let answer = minicbor::decode(&bytes);
                    bytes.zeroize();
                    answer.map_err(|_| PeerError::NoAnswer(kme.clone()))
                }
                KmeVerdict::NoWay => Err(PeerError::Unreachable(kme.clone())),
                KmeVerdict::NoPad => Err(PeerError::NoPad(kme.clone())),
            }
        })
    }
}
