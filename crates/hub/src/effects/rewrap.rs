use crypto::{KeyMaterial, MasterKey, Secret32, kdf};
use kernel::event::Event;
use types::{KeyId, Label, NodeId};

use super::Effects;
use crate::files;

/// Why the vault is still under its old master key.
#[derive(Debug, thiserror::Error)]
enum RewrapError {
    #[error("its share cannot be read: {0}")]
    Share(String),
    #[error(transparent)]
    File(#[from] crypto::SecretFileError),
    #[error(transparent)]
    Store(#[from] store::RewrapError),
}

impl Effects {
    /// Puts the vault under a new master key (KM-14 `SOVEREIGN_MASTER`). The new key is on disk before
    /// the first record is under it, and takes the old one's place after the last: a crash in between
    /// finds the one that fits.
    pub(super) async fn rewrap(&self, key: KeyId) {
        match self.try_rewrap(key).await {
            Ok(()) => {
                tracing::info!(%key, "the vault is under its new master key");
                self.mesh.report(Event::Activated { node: NodeId::hub(), keys: vec![key] }).await;
            }
            Err(error) => tracing::error!(%key, %error, "the vault stays under its old master key"),
        }
    }

    async fn try_rewrap(&self, key: KeyId) -> Result<(), RewrapError> {
        let mut shares = self.shares(&[key]).await.map_err(|error| RewrapError::Share(error.to_string()))?;
        let share = shares.remove(&key).ok_or_else(|| RewrapError::Share("it has gone".to_owned()))?;
        files::stage_master(&self.master_key, &master_of(&share, key))?;
        self.store.rewrap(master_of(&share, key)).await?;
        Ok(files::promote_master(&self.master_key)?)
    }
}

fn master_of(share: &KeyMaterial, key: KeyId) -> MasterKey {
    kdf::derive_secret(Label::VAULT_RECORD, share.expose(), &[], &[b"master", &key.get().to_be_bytes()])
}
