//! Pairs that bring their reserve into use by themselves (SM-02).
//!
//! Every pair has a key in reserve that both ends have proven to each other. While the hub is away,
//! a pair whose key has had its time, or that saw a node cut off since the key came into use, changes
//! to the reserve on its own; the hub is told as soon as it is back, and records it. There is one
//! reserve, so a pair does this once in an absence. The smaller name starts, and changes after the
//! larger one has.

use std::collections::BTreeMap;
use std::time::Duration;

use session::mesh::{NodeMessage, PeerMessage};
use tokio::time::Instant;
use types::{KeyId, NodeId};

use super::Agent;
use crate::run::NodeError;

/// How long the hub must be away. A hub that restarts is back sooner.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two requests to a peer that has not answered.
const AGAIN: Duration = Duration::from_secs(1);

/// When the keys of pairs are due for what the hub would do.
#[derive(Default)]
pub(super) struct Renewals {
    /// Life of a key, as the hub last said.
    life: Option<Duration>,
    /// Since when the hub is away.
    away: Option<Instant>,
    /// When a node was last cut off.
    cut: Option<Instant>,
    /// The key of each pair, and since when it is in use.
    since: BTreeMap<NodeId, (KeyId, Instant)>,
    /// When each peer was last asked.
    asked: BTreeMap<NodeId, Instant>,
}

impl Renewals {
    pub(super) fn hub_is_silent(&mut self) {
        self.away.get_or_insert_with(Instant::now);
    }

    /// The hub has said who is there and how long keys live: a session alone is not yet a hub.
    pub(super) fn hub_is_back(&mut self, life: Option<Duration>) {
        self.away = None;
        self.life = life.or(self.life);
    }

    pub(super) fn a_node_is_cut_off(&mut self) {
        self.cut = Some(Instant::now());
    }

    /// Notes which key the pair with `peer` uses.
    pub(super) fn in_use(&mut self, peer: &NodeId, current: Option<KeyId>) {
        match current {
            None => drop(self.since.remove(peer)),
            Some(key) if self.since.get(peer).is_some_and(|(known, _)| *known == key) => {}
            Some(key) => drop(self.since.insert(peer.clone(), (key, Instant::now()))),
        }
    }

    /// Whether the pair with `peer` is to change its key now, and its peer was not just asked.
    fn due(&self, peer: &NodeId, now: Instant) -> bool {
        let past = |at: Option<&Instant>, span| at.is_some_and(|at| now.duration_since(*at) >= span);
        let Some((_, since)) = self.since.get(peer) else { return false };
        let over = self.life.is_some_and(|life| past(Some(since), life));
        let shaken = self.cut.is_some_and(|cut| cut >= *since);
        let patient = self.asked.get(peer).is_none_or(|at| past(Some(at), AGAIN));
        past(self.away.as_ref(), PATIENCE) && (over || shaken) && patient
    }
}

impl Agent {
    /// Asks the peers with whose pairs the hub would be late.
    pub(super) fn renew_pairs(&mut self) {
        let now = Instant::now();
        let me = &self.parts.me;
        for (peer, side) in self.peers.iter().filter(|(peer, _)| *me < **peer) {
            if self.renewals.due(peer, now)
                && let Some(key) = self.parts.ring.reserve(peer)
            {
                side.outbox().push(&PeerMessage::Renew { key });
                self.renewals.asked.insert(peer.clone(), now);
            }
        }
    }

    /// The peer brings the reserve into use: this end does, and says so.
    pub(super) async fn renew(&mut self, peer: &NodeId, key: KeyId) -> Result<(), NodeError> {
        if *peer > self.parts.me || !self.parts.ring.renew(peer, key) {
            return self.give_up(peer, key, "it is not the reserve of this pair").await;
        }
        self.commit().await?;
        if let Some(side) = self.peers.get(peer) {
            side.outbox().push(&PeerMessage::Renewed { key });
        }
        self.renewed_here(peer, key);
        Ok(())
    }

    /// The peer uses the reserve.
    pub(super) async fn renewed(&mut self, peer: &NodeId, key: KeyId) -> Result<(), NodeError> {
        if *peer > self.parts.me && self.parts.ring.renew(peer, key) {
            self.commit().await?;
            self.renewed_here(peer, key);
        }
        Ok(())
    }

    fn renewed_here(&self, peer: &NodeId, key: KeyId) {
        tracing::warn!(%peer, %key, "the pair changed to its reserve while the hub is away");
        // the other end may have lost the hub, and this one not
        self.tell(&NodeMessage::Activated(vec![key]));
    }

    /// Tells a hub that is back which keys are in use here: some of them it may not know to be.
    pub(super) fn tell_in_use(&self) {
        let keys = self.parts.ring.in_use();
        if !keys.is_empty() {
            self.tell(&NodeMessage::Activated(keys));
        }
    }
}
