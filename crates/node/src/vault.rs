//! What a node keeps: its keys, sealed, their list, and who is admitted.

use crypto::{PairKey, Secret32};
use session::Kept;
use store::{CellName, Changes, ParseStoreNameError, ReadError, StoreHandle, VaultName, VaultSecret, WriteError};
use types::mesh::KeyState;
use types::{KeyId, NodeId, cbor};

use crate::keyring::{KeyChanges, KeyError, KeyRing, KeyRow};

const ROWS: &str = "keys";
const MEMBERSHIP: &str = "membership";

/// What was kept cannot be read back.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The store.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store.
    #[error(transparent)]
    Fault(#[from] store::Fault),
    /// A name that the store does not take.
    #[error(transparent)]
    Name(#[from] ParseStoreNameError),
    /// A list that does not parse.
    #[error("the node's list `{0}` is damaged: restore the store from a backup")]
    Damaged(&'static str),
    /// A key whose bytes are missing or have another length.
    #[error("the bytes of a key are missing from the vault: {0}")]
    Key(#[from] KeyError),
}

fn key_name(key: KeyId) -> Result<VaultName, ParseStoreNameError> {
    VaultName::new(format!("key/{key}"))
}

/// Adds what changed in `ring` to `changes`.
pub(crate) fn key_changes(
    ring: &KeyRing,
    changed: &KeyChanges,
    changes: &mut Changes,
) -> Result<(), ParseStoreNameError> {
    for key in &changed.seal {
        changes.put_secret(key_name(key.id())?, VaultSecret::from_slice(key.secret().expose()));
    }
    for key in &changed.erase {
        changes.erase_secret(key_name(*key)?);
    }
    if changed.rows {
        changes.put_cell(CellName::new(ROWS)?, cbor::to_vec(&ring.rows()));
    }
    Ok(())
}

/// Adds who is admitted to `changes`.
pub(crate) fn membership_changes(membership: &Kept, changes: &mut Changes) -> Result<(), ParseStoreNameError> {
    changes.put_cell(CellName::new(MEMBERSHIP)?, cbor::to_vec(membership));
    Ok(())
}

/// Writes `changes`, if there are any.
pub(crate) async fn write(store: &StoreHandle, changes: Changes) -> Result<(), WriteError> {
    if changes.is_empty() { Ok(()) } else { store.apply(changes).await }
}

/// Reads back what the node `me` kept. Rows and bytes are written in one transaction, so each row of
/// a key in use has its bytes; those of an archived key stay sealed.
pub(crate) async fn load(store: &StoreHandle, me: NodeId) -> Result<(KeyRing, Kept), LoadError> {
    let rows: Vec<KeyRow> = match store.cell(CellName::new(ROWS)?).await? {
        Some(bytes) => cbor::from_slice(&bytes).map_err(|_| LoadError::Damaged(ROWS))?,
        None => Vec::new(),
    };
    let membership = match store.cell(CellName::new(MEMBERSHIP)?).await? {
        Some(bytes) => cbor::from_slice(&bytes).map_err(|_| LoadError::Damaged(MEMBERSHIP))?,
        None => Kept::default(),
    };
    let mut ring = KeyRing::new(me);
    for row in rows {
        let key = if row.state == KeyState::Retired {
            None
        } else {
            let secret = store.secret(key_name(row.key)?).await?;
            secret.and_then(|secret| PairKey::from_slice(secret.expose()).ok())
        };
        ring.restore(row, key)?;
    }
    Ok((ring, membership))
}
