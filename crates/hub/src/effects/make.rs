use crypto::{EntropyError, KeyMaterial, Secret32};
use kernel::effect::KeyOrder;
use kernel::event::Event;
use store::{Changes, VaultSecret};
use types::KeyId;

use super::Effects;
use crate::sequencer::share_name;

impl Effects {
    /// Makes the hub's shares and seals them in the same transaction as the entry that says so: a key
    /// is either made, recorded and sealed, or it is none of the three (KM-02).
    pub(super) async fn make(&self, orders: Vec<KeyOrder>) {
        let keys: Vec<KeyId> = orders.iter().map(|order| order.key).collect();
        match self.fresh_shares(&keys) {
            Ok(changes) => {
                // The sequencer ends only with the hub; a restart then orders the keys again.
                let _ = self.mesh.handle.report_with(Event::Made { keys }, changes).await;
            }
            Err(error) => {
                tracing::error!(%error, "no keys can be made");
                self.mesh.report(Event::MakeFailed { keys, reason: error.to_string() }).await;
            }
        }
    }

    fn fresh_shares(&self, keys: &[KeyId]) -> Result<Changes, EntropyError> {
        let mut changes = Changes::default();
        for key in keys {
            let share = KeyMaterial::generate(&self.entropy)?;
            if let Some(name) = share_name(*key) {
                changes.put_secret(name, VaultSecret::from_slice(share.expose()));
            }
        }
        Ok(changes)
    }
}
