//! A node with real sessions and real cryptography, and with nothing else: its keys are in memory,
//! it has no fibres and carries no traffic. Two hundred of them fit one process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crypto::{Entropy, KemCiphertext, KemSecret, Secret32, SuiteId};
use hub::system_time;
use session::endpoint::EndpointConfig;
use session::mesh::{DeliveryFrame, HubMessage, NodeMessage, Receipt};
use session::{Book, Channel, Endpoint, SessionReceiver, SessionSender, TrustEntry, TrustStore};
use types::{BoundaryId, Hash, KeyId, Label, Millis, NodeId, cbor};

use crate::deployment::{LightKeys, private};

pub(crate) struct Light {
    _endpoint: Endpoint,
}

/// What both sessions' readers share.
struct Agent {
    prekey: KemSecret,
    urgent: SessionSender,
    bulk: SessionSender,
    /// Commitments to the keys it holds.
    held: Mutex<BTreeMap<KeyId, Hash>>,
}

impl Light {
    pub(crate) async fn connect(
        keys: LightKeys,
        hub: &TrustEntry,
        boundary: &BoundaryId,
        dir: &Path,
        entropy: &Arc<Entropy>,
    ) -> Self {
        let trust = dir.join(format!("{}.trust", keys.node));
        private(&trust, &TrustStore::render(boundary, vec![keys.entry(), hub.clone()]).unwrap());
        let since = system_time() - Millis::from_secs(60);
        let certificate = keys.tls.issue(boundary, &keys.node, since, Millis::from_hours(24)).unwrap();
        let trust = Arc::new(TrustStore::load(&trust).unwrap());
        let endpoint = Endpoint::new(EndpointConfig {
            book: Arc::new(Book::of(&trust)),
            node: keys.node,
            identity: Arc::new(keys.identity),
            tls_key: keys.tls,
            certificate,
            trust,
            entropy: Arc::clone(entropy),
            admission: Box::new(|_| true),
            deadline: Duration::from_secs(60),
        })
        .unwrap();
        let (hub_id, address) = (NodeId::hub(), hub.address.as_deref().unwrap());
        let urgent = endpoint.dial(&hub_id, address, Channel::Urgent).await.unwrap();
        let bulk = endpoint.dial(&hub_id, address, Channel::Bulk).await.unwrap();
        let ((urgent, from_urgent), (bulk, from_bulk)) = (urgent.split(), bulk.split());
        let prekey = KemSecret::generate(SuiteId::X25519_MLKEM1024, entropy).unwrap();
        let agent = Arc::new(Agent { prekey, urgent, bulk, held: Mutex::default() });
        let public = agent.prekey.public().to_bytes();
        agent.tell(&agent.bulk, &NodeMessage::Prekey(public)).await;
        tokio::spawn(Arc::clone(&agent).read(from_urgent));
        tokio::spawn(agent.read(from_bulk));
        Self { _endpoint: endpoint }
    }
}

impl Agent {
    async fn read(self: Arc<Self>, mut receiver: SessionReceiver) {
        // The session ends with the hub, or where the hub cut this node off.
        while let Ok(bytes) = receiver.recv().await {
            self.heard(cbor::from_slice(&bytes).unwrap()).await;
        }
    }

    /// The hub may have gone.
    async fn tell(&self, session: &SessionSender, message: &NodeMessage) {
        let _ = session.send(&cbor::to_vec(message)).await;
    }

    async fn heard(&self, message: HubMessage) {
        match message {
            HubMessage::Deliver(frame) => {
                let receipts = self.open(&frame);
                self.tell(&self.bulk, &NodeMessage::Receipts(receipts)).await;
            }
            HubMessage::Activate(list) => {
                let keys = list.into_iter().map(|activation| activation.key).collect();
                self.tell(&self.bulk, &NodeMessage::Activated(keys)).await;
            }
            HubMessage::Retire(keys) | HubMessage::Destroy(keys) => self.forget(&keys),
            HubMessage::Purge(keys) => {
                self.forget(&keys);
                self.tell(&self.urgent, &NodeMessage::Purged(keys)).await;
            }
            HubMessage::Isolate { node, epoch, .. } => {
                self.tell(&self.urgent, &NodeMessage::Isolated { node, epoch }).await;
            }
            HubMessage::Verify(keys) => {
                let receipts = {
                    let held = self.held.lock().unwrap();
                    let proof = |key: &KeyId| Some(Receipt { key: *key, commitment: *held.get(key)?, mixed: None });
                    keys.iter().filter_map(proof).collect()
                };
                self.tell(&self.bulk, &NodeMessage::Receipts(receipts)).await;
            }
            HubMessage::Roster { .. }
            | HubMessage::Membership(_)
            | HubMessage::Forwards(_)
            | HubMessage::Watch(_)
            | HubMessage::Saes(_)
            | HubMessage::Standing(_)
            | HubMessage::HandoutsKept { .. }
            | HubMessage::Kme(_) => {}
        }
    }

    fn forget(&self, keys: &[KeyId]) {
        let mut held = self.held.lock().unwrap();
        held.retain(|key, _| !keys.contains(key));
    }

    fn open(&self, frame: &DeliveryFrame) -> Vec<Receipt> {
        let secret = self.prekey.decapsulate(&KemCiphertext::from_bytes(&frame.kem).unwrap()).unwrap();
        let shares = link::delivery::open(frame, &secret, None).unwrap();
        let mut held = self.held.lock().unwrap();
        let receipt = |(key, share): (&session::mesh::DeliveredKey, crypto::KeyMaterial)| {
            let parts: [&[u8]; 3] = [key.salt.as_ref(), &key.key.get().to_be_bytes(), share.expose()];
            let commitment = Label::KEY_COMMITMENT.hash(&parts);
            held.insert(key.key, commitment);
            Receipt { key: key.key, commitment, mixed: None }
        };
        frame.keys.iter().zip(shares).map(receipt).collect()
    }
}
