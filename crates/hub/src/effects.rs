//! What the hub does once a step is durable. Nothing here decides anything: results go back to the
//! kernel as events.
//!
//! Effects are started in the order of their entries. What may wait (entropy, the vault, a node's
//! prekey) waits in a task of its own, so that a revocation never queues behind a distribution.

mod deliver;
mod make;
mod merge;
mod rewrap;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crypto::{Entropy, KeyMaterial, Secret32};
use kernel::effect::Effect;
use kernel::event::Event;
use session::mesh::{Activation, HubMessage};
use store::{ReadError, StoreHandle};
use tokio::sync::mpsc;
use types::{Hash, KeyId, Millis, NodeId};

use crate::console::SignIn;
use crate::mesh::{Mesh, forwards, saes};
use crate::sequencer::{Order, share_name};

/// How long a node that an incident concerns is watched.
const WATCH: Millis = Millis::from_secs(600);

/// What effects need.
pub(crate) struct Effects {
    pub(crate) mesh: Arc<Mesh>,
    pub(crate) store: StoreHandle,
    pub(crate) entropy: Arc<Entropy>,
    pub(crate) sign_in: Arc<SignIn>,
    pub(crate) master_key: PathBuf,
    /// Salt of this boundary's commitments.
    pub(crate) salt: Hash,
}

impl Effects {
    /// Runs what is ordered until the sequencer ends.
    pub(crate) async fn run(self: Arc<Self>, mut turns: mpsc::UnboundedReceiver<Vec<Order>>) {
        while let Some(mut orders) = turns.recv().await {
            while let Ok(more) = turns.try_recv() {
                orders.extend(more);
            }
            let entries = orders.first().map(Order::entry)..=orders.last().map(Order::entry);
            for effect in merge::merge(orders.into_iter().flat_map(Order::into_effects)) {
                tracing::debug!(?entries, ?effect, "effect");
                self.start(effect).await;
            }
        }
    }

    async fn start(self: &Arc<Self>, effect: Effect) {
        match effect {
            Effect::Make(orders) => self.spawn(|this| async move { this.make(orders).await }),
            Effect::Deliver(orders) => self.deliver(orders),
            Effect::Activate(keys) => self.activate(keys).await,
            Effect::Retire(keys) => self.tell(keys, HubMessage::Retire),
            // The hub's own share went in the same transaction as the record.
            Effect::Destroy(keys) => self.tell(keys, HubMessage::Destroy),
            Effect::Purge(keys) => self.purge(keys).await,
            Effect::Isolate { node, epoch } => self.isolate(node, epoch).await,
            Effect::Readmit { node, epoch: _ } => self.readmit(node).await,
            Effect::Forwards(nodes) => self.forwards(nodes).await,
            Effect::Saes(nodes) => self.saes(nodes).await,
            Effect::HandoutsKept { node, number } => {
                self.mesh.peers.send_bulk(&node, &HubMessage::HandoutsKept { number });
            }
            Effect::Standing(node) => self.mesh.stand(&node).await,
            Effect::Verify { incident: _, keys } => self.verify(keys).await,
            Effect::Rewrap { key, replaces: _ } => self.spawn(|this| async move { this.rewrap(key).await }),
            Effect::Watch(nodes) => self.watch(&nodes),
            Effect::Reauthenticate(node) => self.mesh.reauthenticate(&node).await,
            Effect::CutOperator(operator) => self.sign_in.cut(&operator),
        }
    }

    fn spawn<F>(self: &Arc<Self>, work: impl FnOnce(Arc<Self>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(work(Arc::clone(self)));
    }

    async fn activate(&self, keys: Vec<(KeyId, Vec<NodeId>, Option<KeyId>)>) {
        let mut by_node: BTreeMap<NodeId, Vec<Activation>> = BTreeMap::new();
        for (key, nodes, replaces) in keys {
            for node in nodes {
                by_node.entry(node).or_default().push(Activation { key, replaces });
            }
        }
        for (node, activations) in by_node {
            if node.is_hub() {
                let keys = activations.iter().map(|activation| activation.key).collect();
                self.mesh.report(Event::Activated { node, keys }).await;
            } else {
                self.mesh.peers.send_bulk(&node, &HubMessage::Activate(activations));
            }
        }
    }

    /// Tells each node about its keys. A node that is not connected learns it from the roster when
    /// it comes back.
    fn tell(&self, keys: Vec<(KeyId, Vec<NodeId>)>, message: fn(Vec<KeyId>) -> HubMessage) {
        for (node, keys) in by_node(keys) {
            if !node.is_hub() {
                self.mesh.peers.send_bulk(&node, &message(keys));
            }
        }
    }

    async fn purge(&self, keys: Vec<(KeyId, Vec<NodeId>)>) {
        let mut own = Vec::new();
        for (node, keys) in by_node(keys) {
            if node.is_hub() {
                own = keys;
            } else {
                self.mesh.peers.send_urgent(&node, &HubMessage::Purge(keys));
            }
        }
        if !own.is_empty() {
            // Erased from the vault in the same transaction as the record.
            self.mesh.report(Event::Purged { node: NodeId::hub(), keys: own }).await;
        }
    }

    async fn isolate(&self, node: NodeId, epoch: u64) {
        if let Some(roster) = self.mesh.sign_roster() {
            self.mesh.tell_all_urgently(&HubMessage::Isolate { node: node.clone(), epoch, roster }, &node);
        }
        self.mesh.cut(&node).await;
        self.mesh.report(Event::IsolationConfirmed { by: NodeId::hub(), node, epoch }).await;
    }

    fn watch(&self, nodes: &[NodeId]) {
        for node in nodes {
            self.mesh.peers.send_urgent(node, &HubMessage::Watch(WATCH));
        }
    }

    /// The hub's shares of keys; a key whose share is not in the vault is absent.
    async fn shares(&self, keys: &[KeyId]) -> Result<BTreeMap<KeyId, KeyMaterial>, ReadError> {
        let mut shares = BTreeMap::new();
        for key in keys {
            let Some(name) = share_name(*key) else { continue };
            let Some(sealed) = self.store.secret(name).await? else { continue };
            if let Ok(share) = KeyMaterial::from_slice(sealed.expose()) {
                shares.insert(*key, share);
            }
        }
        Ok(shares)
    }

    async fn restore_link(&self, node: &NodeId) {
        if let Err(error) = self.mesh.links.restore(node, &self.store, &self.entropy).await {
            tracing::error!(%node, %error, "the quantum link stays severed");
        }
    }

    async fn readmit(&self, node: NodeId) {
        let roster = self.mesh.sign_roster();
        self.restore_link(&node).await;
        if let Some(roster) = roster {
            self.mesh.tell_all_urgently(&HubMessage::Membership(roster), &node);
        }
    }

    async fn forwards(&self, nodes: Vec<NodeId>) {
        let wanted = nodes.clone();
        let lists =
            self.mesh.handle.look(move |look| wanted.iter().map(|node| forwards(look.state, node)).collect::<Vec<_>>());
        for (node, list) in nodes.iter().zip(lists.await.unwrap_or_default()) {
            // A route that is taken away is a response with a deadline; it does not queue behind keys.
            self.mesh.peers.send_urgent(node, &list);
        }
    }

    async fn saes(&self, nodes: Vec<NodeId>) {
        let Ok(list) = self.mesh.handle.look(|look| saes(look.state)).await else { return };
        for node in nodes {
            self.mesh.peers.send_bulk(&node, &list);
        }
    }

    async fn verify(&self, keys: Vec<(NodeId, Vec<KeyId>)>) {
        for (node, keys) in keys {
            if node.is_hub() {
                self.confirm_own(keys).await;
            } else {
                self.mesh.peers.send_urgent(&node, &HubMessage::Verify(keys));
            }
        }
    }
}

fn by_node(keys: Vec<(KeyId, Vec<NodeId>)>) -> BTreeMap<NodeId, Vec<KeyId>> {
    let mut by_node: BTreeMap<NodeId, Vec<KeyId>> = BTreeMap::new();
    for (key, nodes) in keys {
        for node in nodes {
            by_node.entry(node).or_default().push(key);
        }
    }
    by_node
}
