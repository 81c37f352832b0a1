//! Who may be talked to: isolation, readmission, and the hub's list.

use session::mesh::NodeMessage;
use types::{KeyId, NodeId};

use super::Agent;
use crate::network::{Change, Membership};
use crate::run::NodeError;

impl Agent {
    /// Cuts `node` off: first what runs, then what is kept, then the answer (SM-02).
    pub(super) async fn isolate(&mut self, node: NodeId, epoch: u64) -> Result<(), NodeError> {
        let (change, _, now) = self.with_membership(|membership| membership.isolate(&node, epoch));
        if change == Change::Stale {
            tracing::error!(%node, epoch, held = now.epoch, "an isolation of an epoch that has passed is ignored");
            return Ok(());
        }
        self.parts.network.endpoint.raise_revocation_epoch(epoch);
        self.cut(&node);
        self.commit(Some(&now)).await?;
        tracing::warn!(%node, epoch, "isolated");
        self.tell_urgently(&NodeMessage::Isolated { node, epoch });
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

    pub(super) async fn readmit(&mut self, node: NodeId, epoch: u64) -> Result<(), NodeError> {
        let (change, _, now) = self.with_membership(|membership| membership.readmit(&node, epoch));
        if change == Change::Stale {
            tracing::error!(%node, epoch, held = now.epoch, "a readmission of an epoch that has passed is ignored");
            return Ok(());
        }
        self.parts.network.endpoint.raise_revocation_epoch(epoch);
        self.commit(Some(&now)).await?;
        self.start_link(&node).await;
        tracing::info!(%node, epoch, "readmitted");
        Ok(())
    }

    async fn start_link(&self, node: &NodeId) {
        if let Err(error) = self.parts.links.start(node).await {
            tracing::error!(%node, %error, "its quantum link does not start");
        }
    }

    /// Takes the hub's whole list: nodes that are not in it are cut off, keys it no longer knows are
    /// erased.
    pub(super) async fn roster(&mut self, peers: &[NodeId], epoch: u64, keys: &[KeyId]) -> Result<(), NodeError> {
        let (change, before, now) = self.with_membership(|membership| membership.roster(peers, epoch));
        if change == Change::Stale {
            tracing::error!(epoch, held = now.epoch, "the hub's list is of an epoch that has passed: it is ignored");
            return Ok(());
        }
        self.parts.network.endpoint.raise_revocation_epoch(epoch);
        for node in before.peers.iter().filter(|node| !now.allows(node)) {
            self.cut(node);
        }
        let listed = std::mem::take(&mut self.listed);
        let dropped = self.parts.ring.reconcile(keys, &listed);
        if !dropped.is_empty() {
            tracing::info!(keys = ?dropped, "erased: the hub no longer knows them");
        }
        // Whether they were revoked or only grew old cannot be told: streams under them are cut.
        self.parts.network.pairs.revoke(&dropped);
        self.waiting.forget(&dropped);
        let changed: Option<&Membership> = (before != now).then_some(&now);
        self.commit(changed).await?;
        for node in &now.peers {
            self.start_link(node).await;
        }
        Ok(())
    }
}
