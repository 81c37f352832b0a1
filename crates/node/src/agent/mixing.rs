//! Deliveries, and the part of a pair's key that the pair makes itself.
//!
//! The smaller name starts each mix once it has the hub's share, a link session and the peer's
//! prekey. A mix that a session's end leaves without an answer is given up at both ends, and the hub
//! makes another key: a mix is never sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crypto::{KemPublic, SharedSecret, SuiteId};
use link::{Pad, PadBits, delivery};
use session::mesh::{DeliveryFrame, NodeMessage, PadRange, PeerMessage};
use types::mesh::{SignalKind, Subject};
use types::{Hash, KeyId, NodeId};

use super::{Agent, Input};
use crate::keyring::{Delivered, KeyError, KeyMeta};
use crate::network::admits;
use crate::peer::Outbox;
use crate::prekeys::Prekeys;
use crate::run::NodeError;

/// Bits of a pair's own pool in one mix.
const PAD_BITS: u64 = 256;
/// Mixes of one peer that may come before the hub's share.
const MAX_STASHED: usize = 1_024;

/// Why a delivery did not open.
#[derive(Debug)]
pub(crate) struct OpenFailure {
    reason: String,
    /// Whether it speaks for a forgery.
    forged: bool,
}

/// A peer with a link session.
pub(super) struct PeerSide {
    outbox: Outbox,
    generation: u64,
    theirs: Option<Arc<KemPublic>>,
    ours: Prekeys,
}

impl PeerSide {
    pub(super) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(super) fn end(&self) {
        self.outbox.end();
    }
}

/// A mix of the peer that came before the hub's share.
struct Stashed {
    peer: NodeId,
    generation: u64,
    pad: Option<PadRange>,
    kem: Vec<u8>,
    proof: Hash,
}

/// What waits for something else.
#[derive(Default)]
pub(super) struct Waiting {
    /// Mixes whose parts are being made.
    mixing: BTreeSet<KeyId>,
    stash: BTreeMap<KeyId, Stashed>,
}

impl Waiting {
    pub(super) fn forget(&mut self, keys: &[KeyId]) {
        for key in keys {
            self.mixing.remove(key);
            self.stash.remove(key);
        }
    }

    pub(super) fn forget_peer(&mut self, peer: &NodeId) {
        self.stash.retain(|_, stashed| stashed.peer != *peer);
    }
}

impl Agent {
    /// Opens a delivery in a task of its own: its pad bits must become durably spent first.
    pub(super) fn open(&self, frame: DeliveryFrame) {
        let (inputs, prekeys) = (self.parts.inputs.clone(), self.hub_prekeys.clone());
        let link = self.parts.links.get(&NodeId::hub());
        tokio::spawn(async move {
            let failure = |reason: String, forged| OpenFailure { reason, forged };
            let open = async {
                let pad: Option<PadBits> = match (frame.pad, link) {
                    (None, _) => None,
                    (Some(range), Some(link)) => {
                        Some(link.take(range).await.map_err(|error| failure(error.to_string(), false))?)
                    }
                    (Some(_), None) => return Err(failure("there is no fibre to the hub here".to_owned(), false)),
                };
                let secrets = prekeys.secrets(&frame.kem).map_err(|error| failure(error.to_string(), true))?;
                let opened = secrets.iter().find_map(|secret| delivery::open(&frame, secret, pad.as_ref()).ok());
                opened.ok_or_else(|| failure(delivery::DeliveryError::Tag.to_string(), true))
            };
            let shares = open.await;
            // The agent ends only with the node.
            let _ = inputs.send(Input::Opened { frame, shares }).await;
        });
    }

    pub(super) async fn opened(
        &mut self,
        frame: DeliveryFrame,
        shares: Result<Vec<crypto::KeyMaterial>, OpenFailure>,
    ) -> Result<(), NodeError> {
        let shares = match shares {
            Ok(shares) => shares,
            Err(OpenFailure { reason, forged }) => {
                tracing::warn!(%reason, "a delivery of the hub cannot be taken");
                if forged {
                    self.signal(Subject::Node(NodeId::hub()), SignalKind::AuthFailure);
                }
                self.tell_failed(frame.keys.iter().map(|key| key.key).collect(), &reason);
                self.send_hub_prekey();
                return Ok(());
            }
        };
        let (mut receipts, mut starts, mut awaited) = (Vec::new(), BTreeSet::new(), Vec::new());
        for (key, share) in frame.keys.into_iter().zip(shares) {
            let (id, meta) = (key.key, KeyMeta::from(key));
            let cut_off = meta
                .participants
                .iter()
                .any(|node| *node != self.parts.me && !admits(&self.parts.network.admitted, node));
            if cut_off {
                self.tell_failed(vec![id], "a participant is not admitted here");
                continue;
            }
            match self.parts.ring.deliver(meta, share) {
                Ok(Delivered::Staged(receipt)) => receipts.push(receipt),
                Ok(Delivered::StartMix(peer)) => drop(starts.insert(peer)),
                Ok(Delivered::AwaitMix(_)) => awaited.push(id),
                Ok(Delivered::Ignored) => {}
                Err(error) => self.tell_failed(vec![id], &error.to_string()),
            }
        }
        self.commit().await?;
        self.tell_receipts(receipts);
        self.send_hub_prekey();
        starts.iter().for_each(|peer| self.start_mixes(peer));
        for id in awaited {
            if let Some(stashed) = self.waiting.stash.remove(&id) {
                self.answer(id, stashed);
            }
        }
        Ok(())
    }

    pub(super) async fn peer_up(&mut self, peer: NodeId, generation: u64, outbox: Outbox) -> Result<(), NodeError> {
        if !admits(&self.parts.network.admitted, &peer) {
            outbox.end();
            return Ok(());
        }
        tracing::info!(%peer, "link session up");
        let ours = Prekeys::new(Arc::clone(&self.parts.entropy));
        match ours.renew() {
            Ok(public) => outbox.push(&PeerMessage::Prekey(public)),
            Err(error) => tracing::error!(%peer, %error, "no prekey for the peer: no key can be mixed"),
        }
        self.waiting.forget_peer(&peer);
        let given_up = self.parts.ring.unanswered(&peer);
        given_up.iter().for_each(|key| outbox.push(&PeerMessage::Refuse { key: *key }));
        self.peers.insert(peer.clone(), PeerSide { outbox, generation, theirs: None, ours });
        for key in given_up {
            self.abandon(&peer, key, "the session ended during the mix").await?;
        }
        Ok(())
    }

    pub(super) fn peer_down(&mut self, peer: &NodeId, generation: u64) {
        if self.peers.get(peer).is_some_and(|side| side.generation == generation) {
            self.peers.remove(peer);
        }
    }

    fn current(&self, peer: &NodeId, generation: u64) -> Option<&PeerSide> {
        self.peers.get(peer).filter(|side| side.generation == generation)
    }

    pub(super) async fn peer_said(
        &mut self,
        peer: NodeId,
        generation: u64,
        message: PeerMessage,
    ) -> Result<(), NodeError> {
        let Some(side) = self.peers.get_mut(&peer).filter(|side| side.generation == generation) else { return Ok(()) };
        match message {
            PeerMessage::Prekey(bytes) => match KemPublic::from_bytes(&bytes) {
                Ok(public) if public.suite() == SuiteId::X25519_MLKEM1024 => {
                    side.theirs = Some(Arc::new(public));
                    self.start_mixes(&peer);
                }
                _ => self.signal(Subject::Node(peer), SignalKind::AuthFailure),
            },
            PeerMessage::Mix { key, pad, kem, proof } => {
                let stashed = Stashed { peer, generation, pad, kem, proof };
                if self.parts.ring.awaits_mix(key) {
                    self.answer(key, stashed);
                } else if self.waiting.stash.len() < MAX_STASHED {
                    self.waiting.stash.insert(key, stashed);
                }
            }
            PeerMessage::Mixed { key, proof } => match self.parts.ring.confirm(&peer, key, &proof) {
                Ok(receipt) => {
                    self.commit().await?;
                    self.tell_receipts(vec![receipt]);
                }
                Err(error) => return self.mismatch(&peer, key, error).await,
            },
            PeerMessage::Refuse { key } => return self.abandon(&peer, key, "the peer refused the mix").await,
            PeerMessage::Membership(roster) => {
                if !self.take_roster(roster) {
                    self.signal(Subject::Node(peer), SignalKind::AuthFailure);
                }
                return self.membership_changed().await;
            }
            PeerMessage::Renew { key } => return self.renew(&peer, key).await,
            PeerMessage::Renewed { key } => return self.renewed(&peer, key).await,
            // The link and the KME take these from the session itself.
            PeerMessage::Kme(_) => {}
            PeerMessage::Quantum { .. } => {}
        }
        Ok(())
    }

    /// Makes the parts of every mix with `peer` that can start now.
    fn start_mixes(&mut self, peer: &NodeId) {
        let Some(side) = self.peers.get(peer) else { return };
        let Some(theirs) = side.theirs.clone() else { return };
        let generation = side.generation;
        for key in self.parts.ring.to_mix(peer) {
            if !self.waiting.mixing.insert(key) {
                continue;
            }
            let (inputs, entropy, peer) = (self.parts.inputs.clone(), Arc::clone(&self.parts.entropy), peer.clone());
            let (theirs, link) = (Arc::clone(&theirs), self.parts.links.get(&peer));
            tokio::spawn(async move {
                let pad = match link {
                    // Without bits of the pair's own the KEM stands alone, and the receipt says so.
                    Some(link) => link.reserve(PAD_BITS).await.ok(),
                    None => None,
                };
                let input = match crypto::kem::encapsulate(&theirs, &entropy) {
                    Ok((kem, secret)) => Input::MixReady { peer, generation, key, pad, kem: kem.to_bytes(), secret },
                    Err(error) => Input::MixFailed { peer, key, reason: error.to_string() },
                };
                let _ = inputs.send(input).await;
            });
        }
    }

    pub(super) async fn mix_ready(
        &mut self,
        peer: &NodeId,
        generation: u64,
        key: KeyId,
        pad: Option<Pad>,
        kem: Vec<u8>,
        secret: &SharedSecret,
    ) -> Result<(), NodeError> {
        self.waiting.mixing.remove(&key);
        if self.current(peer, generation).is_none() {
            // The session these parts were made for is gone. With the next one new parts are made.
            if self.peers.contains_key(peer) {
                self.start_mixes(peer);
            }
            return Ok(());
        }
        let bits = pad.as_ref().and_then(|pad| pad.bits.expose().first_chunk::<32>());
        let mixed = self.parts.ring.mix(key, bits, secret);
        if let (Ok(proof), Some(side)) = (mixed, self.current(peer, generation)) {
            side.outbox.push(&PeerMessage::Mix { key, pad: pad.map(|pad| pad.range), kem, proof });
        }
        Ok(())
    }

    /// Makes the parts of a mix that the peer started.
    fn answer(&self, key: KeyId, stashed: Stashed) {
        let Stashed { peer, generation, pad, kem, proof } = stashed;
        let Some(side) = self.current(&peer, generation) else { return };
        let (inputs, prekeys) = (self.parts.inputs.clone(), side.ours.clone());
        let link = self.parts.links.get(&peer);
        tokio::spawn(async move {
            let parts = async {
                let bits = match (pad, link) {
                    (None, _) => None,
                    (Some(range), _) if range.len != PAD_BITS => return Err("the pad has the wrong length".to_owned()),
                    (Some(range), Some(link)) => Some(link.take(range).await.map_err(|error| error.to_string())?),
                    (Some(_), None) => return Err("the link is severed".to_owned()),
                };
                Ok((bits, prekeys.secrets(&kem).map_err(|error| error.to_string())?))
            };
            let parts = parts.await;
            let _ = inputs.send(Input::AnswerReady { peer, generation, key, proof, parts }).await;
        });
    }

    pub(super) async fn answer_ready(
        &mut self,
        peer: &NodeId,
        generation: u64,
        key: KeyId,
        proof: &Hash,
        parts: Result<(Option<PadBits>, Vec<SharedSecret>), String>,
    ) -> Result<(), NodeError> {
        if self.current(peer, generation).is_none() {
            return Ok(());
        }
        let (pad, secrets) = match parts {
            Ok(parts) => parts,
            Err(reason) => return self.give_up(peer, key, &reason).await,
        };
        let bits = pad.as_ref().and_then(|pad| pad.expose().first_chunk::<32>());
        match self.parts.ring.answer(peer, key, bits, &secrets, proof) {
            Ok((proof, receipt)) => {
                self.commit().await?;
                if let Some(side) = self.current(peer, generation) {
                    side.outbox.push(&PeerMessage::Mixed { key, proof });
                    if let Ok(public) = side.ours.renew() {
                        side.outbox.push(&PeerMessage::Prekey(public));
                    }
                }
                self.tell_receipts(vec![receipt]);
                Ok(())
            }
            Err(error) => self.mismatch(peer, key, error).await,
        }
    }

    async fn mismatch(&mut self, peer: &NodeId, key: KeyId, error: KeyError) -> Result<(), NodeError> {
        if matches!(error, KeyError::Mismatch(_)) {
            self.signal(Subject::Key(key), SignalKind::KeyMismatch);
        }
        self.give_up(peer, key, &error.to_string()).await
    }

    /// Gives up a key that is not in use, and tells the peer and the hub.
    pub(super) async fn give_up(&mut self, peer: &NodeId, key: KeyId, reason: &str) -> Result<(), NodeError> {
        tracing::warn!(%peer, %key, %reason, "a mix is given up");
        self.waiting.forget(&[key]);
        if let Some(side) = self.peers.get(peer) {
            side.outbox.push(&PeerMessage::Refuse { key });
        }
        self.abandon(peer, key, reason).await
    }

    async fn abandon(&mut self, peer: &NodeId, key: KeyId, reason: &str) -> Result<(), NodeError> {
        self.waiting.forget(&[key]);
        if self.parts.ring.abandon(peer, key) {
            self.parts.network.pairs.forget(&[key]);
            self.commit().await?;
            self.tell(&NodeMessage::Failed { keys: vec![key], reason: reason.to_owned() });
        }
        Ok(())
    }
}

impl From<session::mesh::DeliveredKey> for KeyMeta {
    fn from(key: session::mesh::DeliveredKey) -> Self {
        let session::mesh::DeliveredKey { key, key_type, participants, salt, masked: _, mix } = key;
        Self { key, key_type, participants, salt, mix }
    }
}
