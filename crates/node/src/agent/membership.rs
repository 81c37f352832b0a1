//! Who may be talked to: isolation, readmission, and the hub's list.

use std::sync::Arc;
use std::time::Duration;

use session::mesh::{NodeMessage, PeerMessage};
use session::{SignedRoster, Taken};
use types::{KeyId, NodeId};

use super::Agent;
use super::mixing::PeerSide;
use crate::run::NodeError;

impl Agent {
    /// Cuts `node` off: first what runs, then what is kept, then the answer (SM-02).
    pub(super) async fn isolate(&mut self, node: NodeId, epoch: u64, roster: SignedRoster) -> Result<(), NodeError> {
        self.take_roster(roster);
        let book = Arc::clone(self.parts.network.endpoint.book());
        if book.isolates(&node) {
            self.cut(&node);
        }
        self.membership_changed().await?;
        self.commit().await?;
        // A peer may have told before the hub did.
        if book.isolates(&node) && book.mark().epoch >= epoch {
            tracing::warn!(%node, epoch, "isolated");
            self.tell_urgently(&NodeMessage::Isolated { node, epoch });
        } else {
            tracing::error!(%node, epoch, held = book.mark().epoch, "an isolation that has passed is ignored");
        }
        Ok(())
    }

    /// Drops sessions, streams, keys and pool shared with `node`.
    fn cut(&mut self, node: &NodeId) {
        self.renewals.a_node_is_cut_off();
        self.parts.network.pairs.isolate(node);
        if let Some(peer) = self.peers.remove(node) {
            peer.end();
        }
        self.parts.links.sever(node);
        let keys = self.parts.ring.isolate(node);
        self.parts.network.pairs.revoke(&keys);
        self.waiting.forget(&keys);
        self.waiting.forget_peer(node);
        if let Some(counter) = self.parts.counter.clone() {
            let node = node.clone();
            tokio::spawn(async move { counter.forsake(&node).await });
        }
    }

    /// Takes a roster, whoever showed it; whether the hub signed it.
    pub(super) fn take_roster(&mut self, roster: SignedRoster) -> bool {
        let (epoch, book) = (roster.roster.epoch, self.parts.network.endpoint.book());
        match book.take(roster) {
            Ok(Taken::Changed | Taken::Renewed) => {}
            Ok(Taken::Old) => tracing::debug!(epoch, held = book.mark().epoch, "a roster that has passed is ignored"),
            Err(error) => {
                tracing::error!(epoch, %error, "a roster does not hold: it is ignored");
                return false;
            }
        }
        true
    }

    /// Brings what runs in line with the rosters held, whoever showed them: who is a member no longer is
    /// cut off before it is kept that it was.
    pub(super) async fn membership_changed(&mut self) -> Result<(), NodeError> {
        let book = Arc::clone(self.parts.network.endpoint.book());
        let (mut now, mark) = (book.members(), book.mark());
        now.remove(&self.parts.me);
        if mark == self.kept {
            return Ok(());
        }
        let before = std::mem::replace(&mut self.members, now.clone());
        for node in before.difference(&now) {
            tracing::warn!(%node, epoch = mark.epoch, "is not a member any more: cut off");
            self.cut(node);
        }
        self.kept = mark;
        self.commit_membership().await?;
        for roster in book.rosters() {
            let message = PeerMessage::Membership(roster);
            self.peers.values().for_each(|side| side.outbox().push(&message));
        }
        for node in now.difference(&before) {
            self.start_link(node).await;
        }
        Ok(())
    }

    async fn start_link(&self, node: &NodeId) {
        if let Err(error) = self.parts.links.start(node).await {
            tracing::error!(%node, %error, "its quantum link does not start");
        }
    }

    /// Says nothing to peers while the newest roster is too old: sessions and streams with them end.
    /// The hub, or any peer that has a newer one, ends the silence.
    pub(super) async fn mind_the_roster(&mut self) -> Result<(), NodeError> {
        let fresh = self.parts.network.endpoint.book().is_fresh();
        if self.fresh && !fresh {
            tracing::warn!("the hub's newest roster is too old: peers are spoken to again when a newer one is here");
            self.peers.values().for_each(PeerSide::end);
            self.parts.network.pairs.pause();
        }
        self.fresh = fresh;
        // What is kept ages with the roster: a restart makes it younger by a sixteenth of its life at most.
        let life = self.parts.network.endpoint.book().life().map(Duration::from);
        if life.is_some_and(|life| self.kept_at.elapsed() > life / 16) {
            self.commit_membership().await?;
        }
        Ok(())
    }

    /// Takes the hub's whole list: nodes that are not in it are cut off, keys it no longer knows are
    /// erased.
    pub(super) async fn roster(&mut self, roster: SignedRoster, keys: &[KeyId]) -> Result<(), NodeError> {
        let epoch = roster.roster.epoch;
        self.take_roster(roster);
        self.membership_changed().await?;
        let held = self.parts.network.endpoint.book().mark().epoch;
        if epoch < held {
            tracing::error!(epoch, held, "the hub's list is of an epoch that has passed: it is ignored");
            return Ok(());
        }
        let listed = std::mem::take(&mut self.listed);
        let dropped = self.parts.ring.reconcile(keys, &listed);
        if !dropped.is_empty() {
            tracing::info!(keys = ?dropped, "erased: the hub no longer knows them");
        }
        // Whether they were revoked or only grew old cannot be told: streams under them are cut.
        self.parts.network.pairs.revoke(&dropped);
        self.waiting.forget(&dropped);
        self.commit().await?;
        for node in self.members.clone() {
            self.start_link(&node).await;
        }
        Ok(())
    }
}
