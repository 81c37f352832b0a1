use crypto::{EntropyError, KeyMaterial, Secret32};
use kernel::effect::KeyOrder;
use kernel::event::Event;
use store::VaultSecret;
use types::KeyId;

use super::Effects;
use super::deliver::keys_of;

impl Effects {
    /// Makes the hub's shares and seals them in the same transaction as the entry that says so: a key
    /// is either made, recorded and sealed, or it is none of the three (KM-02).
    pub(super) async fn make(&self, orders: Vec<KeyOrder>) {
        let keys = keys_of(&orders);
        match self.fresh_shares(&keys) {
            Ok(shares) => {
                // The sequencer ends only with the hub; a restart then orders the keys again.
                let _ = self.mesh.handle.report_with(Event::Made { keys }, shares).await;
            }
            Err(error) => {
                tracing::error!(%error, "no keys can be made");
                self.mesh.report(Event::MakeFailed { keys, reason: error.to_string() }).await;
            }
        }
    }

    fn fresh_shares(&self, keys: &[KeyId]) -> Result<Vec<(KeyId, VaultSecret)>, EntropyError> {
        let fresh = |key: &KeyId| {
            let share = KeyMaterial::generate(&self.entropy)?;
            Ok((*key, VaultSecret::from_slice(share.expose())))
        };
        keys.iter().map(fresh).collect()
    }
}
