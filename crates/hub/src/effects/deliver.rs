use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crypto::{KeyMaterial, Secret32};
use kernel::effect::KeyOrder;
use kernel::event::{Event, KeyReceipt};
use link::Pad;
use session::mesh::{DeliveredKey, HubMessage};
use tokio::sync::watch;
use types::limits::KEYS_PER_STEP;
use types::mesh::Delivery;
use types::{Hash, KeyId, Label, NodeId};

use super::Effects;
use crate::mesh::Prekey;

/// Most keys in one frame: one event tells of all of them, and its pad is taken whole or not at all.
const FRAME_KEYS: usize = KEYS_PER_STEP;
/// How long a delivery waits for the prekey of a node that just came up.
const PREKEY_WAIT: Duration = Duration::from_secs(3);

/// Why a frame was not sent.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("the node is not connected")]
    NotConnected,
    #[error("the node sent no prekey")]
    NoPrekey,
    #[error("the shares cannot be read: {0}")]
    Shares(String),
    #[error(transparent)]
    Kem(#[from] crypto::kem::KemError),
    #[error(transparent)]
    Seal(#[from] link::delivery::DeliveryError),
}

pub(super) fn keys_of(orders: &[KeyOrder]) -> Vec<KeyId> {
    orders.iter().map(|order| order.key).collect()
}

/// A salt for the commitments to one key: known to whoever holds the key, of use to nobody else.
pub(super) fn salt_of(boundary: Hash, key: KeyId) -> Hash {
    Label::KEY_SALT.hash(&[boundary.as_ref(), &key.get().to_be_bytes()])
}

/// The commitment of a participant to a key.
pub(super) fn commitment(salt: Hash, key: KeyId, material: &impl Secret32) -> Hash {
    Label::KEY_COMMITMENT.hash(&[salt.as_ref(), &key.get().to_be_bytes(), material.expose()])
}

impl Effects {
    /// Sends keys to their participants: one frame, one encapsulation for each node.
    pub(super) fn deliver(self: &Arc<Self>, orders: Vec<KeyOrder>) {
        let mut by_node: BTreeMap<NodeId, Vec<KeyOrder>> = BTreeMap::new();
        for order in orders {
            for node in &order.participants {
                by_node.entry(node.clone()).or_default().push(order.clone());
            }
        }
        for (node, orders) in by_node {
            if node.is_hub() {
                self.spawn(|this| async move { this.deliver_own(orders).await });
            } else {
                self.spawn(|this| async move { this.deliver_to(node, orders).await });
            }
        }
    }

    /// Deliveries to one node take turns; whoever has the turn takes along what waits behind it.
    async fn deliver_to(&self, node: NodeId, orders: Vec<KeyOrder>) {
        let Some(delivery) = self.mesh.peers.delivery_of(&node) else {
            return self.not_delivered(&node, &keys_of(&orders), &NotSent::NotConnected).await;
        };
        delivery.queue.add(orders);
        let _turn = delivery.queue.turn().await;
        loop {
            let orders = delivery.queue.take(FRAME_KEYS);
            if orders.is_empty() {
                return;
            }
            let keys = keys_of(&orders);
            match self.send_frame(&node, delivery.prekey.clone(), orders).await {
                Ok((path, sent)) => self.delivered(&node, path, keys, sent).await,
                Err(error) => self.not_delivered(&node, &keys, &error).await,
            }
        }
    }

    async fn delivered(&self, node: &NodeId, delivery: Delivery, mut keys: Vec<KeyId>, sent: Vec<KeyId>) {
        keys.retain(|key| !sent.contains(key));
        if !sent.is_empty() {
            self.mesh.report(Event::Delivered { node: node.clone(), delivery, keys: sent }).await;
        }
        // A share that has gone belongs to a key whose end is recorded already.
        if !keys.is_empty() {
            tracing::debug!(%node, ?keys, "keys ended before they were delivered");
        }
    }

    async fn not_delivered(&self, node: &NodeId, keys: &[KeyId], error: &NotSent) {
        tracing::info!(%node, %error, "keys were not delivered");
        for keys in keys.chunks(KEYS_PER_STEP) {
            let (keys, reason) = (keys.to_vec(), error.to_string());
            self.mesh.report(Event::DeliveryFailed { node: node.clone(), keys, reason }).await;
        }
    }

    async fn send_frame(
        &self,
        node: &NodeId,
        mut prekey: watch::Receiver<Option<Prekey>>,
        orders: Vec<KeyOrder>,
    ) -> Result<(Delivery, Vec<KeyId>), NotSent> {
        let prekey: Prekey = {
            let known = tokio::time::timeout(PREKEY_WAIT, prekey.wait_for(Option::is_some)).await;
            known.ok().and_then(Result::ok).and_then(|known| known.clone()).ok_or(NotSent::NoPrekey)?
        };
        let shares = self.read_shares(orders).await?;
        if shares.is_empty() {
            return Ok((Delivery::Kem, Vec::new()));
        }
        let pad = self.mesh.links.pad(node, link::delivery::pad_bits(shares.len())).await;
        let delivery = if pad.is_some() { Delivery::QkdKem } else { Delivery::Kem };
        let keys = shares.iter().map(|(key, _)| key.key).collect();
        let message = self.frame(&prekey, &shares, pad.as_ref())?;
        if self.mesh.peers.send_bulk(node, &message) { Ok((delivery, keys)) } else { Err(NotSent::NotConnected) }
    }

    fn frame(
        &self,
        prekey: &Prekey,
        shares: &[(DeliveredKey, KeyMaterial)],
        pad: Option<&Pad>,
    ) -> Result<HubMessage, NotSent> {
        let (ciphertext, secret) = crypto::kem::encapsulate(prekey, &self.entropy)?;
        let shares: Vec<_> = shares.iter().map(|(key, share)| (key.clone(), share)).collect();
        Ok(HubMessage::Deliver(link::delivery::seal(&shares, ciphertext.to_bytes(), &secret, pad)?))
    }

    async fn read_shares(&self, orders: Vec<KeyOrder>) -> Result<Vec<(DeliveredKey, KeyMaterial)>, NotSent> {
        let salt = self.salt;
        let keys = keys_of(&orders);
        let mut shares = self.shares(&keys).await.map_err(|error| NotSent::Shares(error.to_string()))?;
        let described = orders.into_iter().filter_map(|order| {
            let share = shares.remove(&order.key)?;
            let key = DeliveredKey {
                key: order.key,
                key_type: order.key_type,
                participants: order.participants,
                salt: salt_of(salt, order.key),
                masked: Hash::ZERO,
                mix: order.mix,
            };
            Some((key, share))
        });
        Ok(described.collect())
    }

    /// Keys that the hub keeps for itself: they are where they belong already.
    async fn deliver_own(&self, orders: Vec<KeyOrder>) {
        let keys = keys_of(&orders);
        let delivered = Event::Delivered { node: NodeId::hub(), delivery: Delivery::Kem, keys: keys.clone() };
        self.mesh.report(delivered).await;
        self.confirm_own(keys).await;
    }

    /// Proves that the hub holds keys of its own.
    pub(super) async fn confirm_own(&self, keys: Vec<KeyId>) {
        let shares = match self.shares(&keys).await {
            Ok(shares) => shares,
            Err(error) => {
                let reason = format!("the shares cannot be read: {error}");
                return self.mesh.report(Event::DeliveryFailed { node: NodeId::hub(), keys, reason }).await;
            }
        };
        let receipts = shares.iter().map(|(key, share)| KeyReceipt {
            key: *key,
            commitment: commitment(salt_of(self.salt, *key), *key, share),
            mixed: None,
        });
        self.mesh.report(Event::Receipts { node: NodeId::hub(), receipts: receipts.collect() }).await;
    }
}
