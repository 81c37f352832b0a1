//! The agent: one task that takes everything that happens to the node, one thing at a time, changes
//! its keys and membership, makes the change durable, and only then tells anyone.
//!
//! What may wait (pad bits, encapsulations) waits in tasks of its own, so that a revocation never
//! queues behind a delivery.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crypto::{Entropy, KeyMaterial, SharedSecret};
use link::{Pad, PadBits};
use session::Mark;
use session::mesh::{DeliveryFrame, Forward, HubMessage, NodeMessage, PeerMessage, Receipt, Standing};
use store::{Changes, StoreHandle};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use types::mesh::{SignalKind, Subject};
use types::{Hash, KeyId, NodeId};

use crate::counter::Counter;
use crate::forward::{Failed, Forwards, Incoming, Outgoing};
use crate::keyring::KeyRing;
use crate::network::Network;
use crate::peer::{Links, Outbox};
use crate::prekeys::Prekeys;
use crate::run::NodeError;
use crate::standing::{Starts, Verdict};
use crate::vault;

mod membership;
mod mixing;
mod renewal;
mod reports;

use mixing::{PeerSide, Waiting};
use renewal::Renewals;
use reports::Reported;

/// How often links are looked at for a change that cannot wait for the next report.
const LOOK: Duration = Duration::from_millis(200);

/// Something that happened to the node.
pub(crate) enum Input {
    /// Both sessions with the hub are up.
    HubUp { urgent: Outbox, bulk: Outbox },
    /// They are gone.
    HubDown,
    /// The hub says.
    Hub(HubMessage),
    /// A link session with a peer is up.
    PeerUp { peer: NodeId, generation: u64, outbox: Outbox },
    /// It is gone.
    PeerDown { peer: NodeId, generation: u64 },
    /// A peer says.
    Peer { peer: NodeId, generation: u64, message: PeerMessage },
    /// A delivery was opened, or not.
    Opened { frame: DeliveryFrame, shares: Result<Vec<KeyMaterial>, mixing::OpenFailure> },
    /// The parts of a mix that this node starts.
    MixReady { peer: NodeId, generation: u64, key: KeyId, pad: Option<Pad>, kem: Vec<u8>, secret: SharedSecret },
    /// The parts of a mix that the peer started.
    AnswerReady {
        peer: NodeId,
        generation: u64,
        key: KeyId,
        proof: Hash,
        parts: Result<(Option<PadBits>, Vec<SharedSecret>), String>,
    },
    /// Parts of a mix could not be made.
    MixFailed { peer: NodeId, key: KeyId, reason: String },
    /// Something to tell the hub.
    Noticed { subject: Subject, kind: SignalKind },
    /// A forward of the hub could not be opened.
    ForwardFailed(Failed),
}

struct HubSide {
    urgent: Outbox,
    bulk: Outbox,
}

/// What an agent begins with.
pub(crate) struct Parts {
    pub(crate) me: NodeId,
    pub(crate) network: Arc<Network>,
    pub(crate) links: Arc<Links>,
    pub(crate) store: StoreHandle,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) ring: KeyRing,
    pub(crate) starts: Starts,
    pub(crate) forwards: Forwards,
    pub(crate) report: Duration,
    pub(crate) counter: Option<Arc<Counter>>,
    pub(crate) inputs: mpsc::Sender<Input>,
}

pub(crate) struct Agent {
    parts: Parts,
    hub: Option<HubSide>,
    hub_prekeys: Prekeys,
    /// Keys that were here when the hub made its last list.
    listed: BTreeSet<KeyId>,
    peers: BTreeMap<NodeId, PeerSide>,
    waiting: Waiting,
    renewals: Renewals,
    hub_forwards: Vec<Forward>,
    reported: Reported,
    /// Pairs whose keys the streams were told of.
    paired: BTreeSet<NodeId>,
    next_report: Instant,
    /// The hub looks closely until then.
    watched_until: Option<Instant>,
    /// Members as they were last acted on, and the mark of what was last kept.
    members: BTreeSet<NodeId>,
    kept: Mark,
    kept_at: Instant,
    /// Whether the newest roster was young enough at the last look.
    fresh: bool,
}

impl Agent {
    pub(crate) fn new(parts: Parts) -> Self {
        let hub_prekeys = Prekeys::new(Arc::clone(&parts.entropy));
        let next_report = Instant::now() + parts.report;
        let book = parts.network.endpoint.book();
        let (mut members, kept, fresh) = (book.members(), book.mark(), book.is_fresh());
        members.remove(&parts.me);
        let mut agent = Self {
            parts,
            hub: None,
            hub_prekeys,
            listed: BTreeSet::new(),
            peers: BTreeMap::new(),
            waiting: Waiting::default(),
            renewals: Renewals::default(),
            hub_forwards: Vec::new(),
            reported: Reported::default(),
            paired: BTreeSet::new(),
            next_report,
            watched_until: None,
            members,
            kept,
            kept_at: Instant::now(),
            fresh,
        };
        agent.renewals.hub_is_silent();
        agent.tell_streams();
        agent.set_forwards();
        agent
    }

    /// Takes inputs, urgent ones first, until a change cannot be made durable.
    pub(crate) async fn run(
        mut self,
        mut urgent: mpsc::Receiver<Input>,
        mut inputs: mpsc::Receiver<Input>,
    ) -> Result<(), NodeError> {
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rosters = self.parts.network.endpoint.book().subscribe();
        loop {
            let input = tokio::select! {
                biased;
                Some(input) = urgent.recv() => input,
                Ok(()) = rosters.changed() => {
                    self.membership_changed().await?;
                    continue;
                }
                _ = look.tick() => {
                    self.mind_the_roster().await?;
                    self.look();
                    self.renew_pairs();
                    if Instant::now() >= self.next_report {
                        self.next_report = Instant::now() + self.report_every();
                        self.report();
                    }
                    continue;
                }
                Some(input) = inputs.recv() => input,
                else => return Ok(()),
            };
            self.take(input).await?;
        }
    }

    async fn take(&mut self, input: Input) -> Result<(), NodeError> {
        match input {
            Input::HubUp { urgent, bulk } => self.hub_up(urgent, bulk),
            Input::HubDown => {
                self.hub = None;
                self.renewals.hub_is_silent();
            }
            Input::Hub(message) => return self.heard(message).await,
            Input::PeerUp { peer, generation, outbox } => return self.peer_up(peer, generation, outbox).await,
            Input::PeerDown { peer, generation } => self.peer_down(&peer, generation),
            Input::Peer { peer, generation, message } => return self.peer_said(peer, generation, message).await,
            Input::Opened { frame, shares } => return self.opened(frame, shares).await,
            Input::MixReady { peer, generation, key, pad, kem, secret } => {
                return self.mix_ready(&peer, generation, key, pad, kem, &secret).await;
            }
            Input::AnswerReady { peer, generation, key, proof, parts } => {
                return self.answer_ready(&peer, generation, key, &proof, parts).await;
            }
            Input::MixFailed { peer, key, reason } => return self.give_up(&peer, key, &reason).await,
            Input::Noticed { subject, kind } => self.signal(subject, kind),
            Input::ForwardFailed(Failed { id, reason }) => self.tell(&NodeMessage::ForwardFailed { id, reason }),
        }
        Ok(())
    }

    fn hub_up(&mut self, urgent: Outbox, bulk: Outbox) {
        self.listed = self.parts.ring.ids();
        self.hub = Some(HubSide { urgent, bulk });
        self.tell_urgently(&self.parts.starts.word());
        self.reported.begin();
        self.send_hub_prekey();
        self.tell_in_use();
    }

    /// The hub says how far its log is: applications are given keys from here on, unless it was put back.
    async fn stand(&mut self, said: Standing) -> Result<(), NodeError> {
        let before = self.parts.starts.hub_is_rewound();
        let verdict = self.parts.starts.heard(said, &self.parts.store).await?;
        let (Some(counter), Some(hub)) = (&self.parts.counter, &self.hub) else { return Ok(()) };
        match verdict {
            Verdict::Follows => counter.hub_stands(&hub.bulk),
            Verdict::Rewound => counter.hold(),
        }
        if verdict == Verdict::Rewound && !before {
            tracing::error!(
                size = said.size,
                "the hub's store was put back to an earlier state: no keys are taken from it and none are given"
            );
        }
        Ok(())
    }

    fn send_hub_prekey(&mut self) {
        match self.hub_prekeys.renew() {
            Ok(public) => self.tell(&NodeMessage::Prekey(public)),
            Err(error) => tracing::error!(%error, "no prekey for the hub: it can send no keys"),
        }
    }

    /// Tells the hub, on the bulk session.
    fn tell(&self, message: &NodeMessage) {
        if let Some(hub) = &self.hub {
            hub.bulk.push(message);
        }
    }

    /// Tells the hub, on the urgent session.
    fn tell_urgently(&self, message: &NodeMessage) {
        if let Some(hub) = &self.hub {
            hub.urgent.push(message);
        }
    }

    fn tell_failed(&self, keys: Vec<KeyId>, reason: &str) {
        if !keys.is_empty() {
            self.tell(&NodeMessage::Failed { keys, reason: reason.to_owned() });
        }
    }

    fn tell_receipts(&self, receipts: Vec<Receipt>) {
        if !receipts.is_empty() {
            self.tell(&NodeMessage::Receipts(receipts));
        }
    }

    async fn heard(&mut self, message: HubMessage) -> Result<(), NodeError> {
        match message {
            HubMessage::Standing(said) => self.stand(said).await?,
            HubMessage::Deliver(frame) if self.parts.starts.hub_is_rewound() => {
                let keys = frame.keys.iter().map(|key| key.key).collect();
                self.tell_failed(keys, "the hub's store was put back: it takes no keys from it");
            }
            HubMessage::Deliver(frame) => self.open(frame),
            HubMessage::Activate(list) => {
                let done = self.parts.ring.activate(&list);
                self.commit().await?;
                if !done.missing.is_empty() {
                    tracing::warn!(keys = ?done.missing, "cannot be activated: they are not held here");
                }
                if !done.now.is_empty() {
                    self.tell(&NodeMessage::Activated(done.now));
                }
            }
            HubMessage::Retire(keys) => {
                self.parts.ring.retire(&keys);
                self.commit().await?;
            }
            HubMessage::Destroy(keys) => {
                let unused = self.parts.ring.destroy(&keys);
                self.parts.network.pairs.forget(&unused);
                self.waiting.forget(&keys);
                self.commit().await?;
            }
            HubMessage::Purge(keys) => {
                self.purge(&keys);
                self.commit().await?;
                self.tell_urgently(&NodeMessage::Purged(keys));
            }
            HubMessage::Isolate { node, epoch, roster } => self.isolate(node, epoch, roster).await?,
            HubMessage::Membership(roster) => {
                self.take_roster(roster);
                self.membership_changed().await?;
            }
            HubMessage::Roster { roster, keys, life } => {
                self.renewals.hub_is_back(life.map(Into::into));
                self.roster(roster, &keys).await?;
            }
            HubMessage::Forwards(list) => {
                self.hub_forwards = list;
                self.set_forwards();
            }
            HubMessage::Watch(span) => self.watch(span.into()),
            HubMessage::Verify(keys) => {
                let (receipts, missing) = self.parts.ring.verify(&keys);
                self.tell_receipts(receipts);
                self.tell_failed(missing, "the key is not held here");
            }
            // Taken at the session.
            HubMessage::Saes(_) | HubMessage::HandoutsKept { .. } | HubMessage::Kme(_) => {}
        }
        Ok(())
    }

    /// Cuts what runs under revoked keys, and forgets them.
    fn purge(&mut self, keys: &[KeyId]) {
        self.parts.network.pairs.revoke(keys);
        self.parts.ring.purge(keys);
        self.waiting.forget(keys);
    }

    /// Makes what changed durable; streams learn of it first, since they send nothing new under it.
    async fn commit(&mut self) -> Result<(), NodeError> {
        self.commit_with(Changes::default()).await
    }

    async fn commit_membership(&mut self) -> Result<(), NodeError> {
        self.kept_at = Instant::now();
        let mut changes = Changes::default();
        vault::membership_changes(&self.parts.network.endpoint.book().kept(), &mut changes)?;
        self.commit_with(changes).await
    }

    async fn commit_with(&mut self, mut changes: Changes) -> Result<(), NodeError> {
        let changed = self.parts.ring.changes();
        if changed.rows {
            self.tell_streams();
        }
        vault::key_changes(&self.parts.ring, &changed, &mut changes)?;
        vault::write(&self.parts.store, changes).await?;
        Ok(())
    }

    fn tell_streams(&mut self) {
        let peers = self.parts.ring.peers();
        for peer in self.paired.union(&peers) {
            let (held, current) = self.parts.ring.pair(peer);
            self.renewals.in_use(peer, current);
            self.parts.network.pairs.set(peer, held, current);
        }
        self.paired = peers;
    }

    /// Runs the forwards that start here, and lets in those that end here: those that the boundary granted, and
    /// no others.
    fn set_forwards(&mut self) {
        let me = &self.parts.me;
        let (mut own, mut ends) = (BTreeSet::new(), BTreeSet::new());
        for Forward { id, spec } in &self.hub_forwards {
            if spec.node == *me {
                let (listen, to, connect) = (spec.listen.clone(), spec.to.clone(), spec.connect.clone());
                own.insert((*id, Outgoing { listen, to, connect }));
            }
            if spec.to == *me {
                ends.insert((*id, Incoming { from: spec.node.clone(), connect: spec.connect.clone() }));
            }
        }
        self.parts.forwards.set(own, ends);
    }
}
