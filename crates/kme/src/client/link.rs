//! A pair of vendors' KMEs as the source of a quantum link's bits: one end takes keys as the master, and
//! tells the other their identifiers, which fetches the same keys as the slave.

use tokio::sync::OnceCell;

use super::{Client, ClientError};
use crate::id::SaeId;
use crate::secret::RawBits;
use crate::wire::Status;

/// Bits that both ends have, once the other end fetched `ids`.
#[derive(Debug)]
pub struct LinkBits {
    /// Identifiers, in order: what the other end is told.
    pub ids: Vec<String>,
    /// The keys, one after the other.
    pub bits: RawBits,
}

/// Why a link has no bits.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The KME gave none.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The limits it states leave no key to ask for.
    #[error("the KME states limits that leave no key to ask for: {0}")]
    Limits(String),
    /// The other end named other keys than were meant.
    #[error("the keys have {found} bytes in all, not {wanted}")]
    Length {
        /// Bytes wanted.
        wanted: usize,
        /// Bytes found.
        found: usize,
    },
}

/// One end of a link.
pub struct KmeLink {
    client: Client,
    peer: SaeId,
    status: OnceCell<Status>,
}

impl KmeLink {
    /// Over `client`, to the SAE `peer` at the other end.
    pub fn new(client: Client, peer: SaeId) -> Self {
        Self { client, peer, status: OnceCell::new() }
    }

    /// The KME's limits, asked for once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self) -> Result<&Status, ClientError> {
        self.status.get_or_try_init(|| self.client.status(&self.peer)).await
    }

    /// Keys of the default size that the KME has ready now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn stored(&self) -> Result<u64, ClientError> {
        Ok(self.client.status(&self.peer).await?.stored_key_count)
    }

    /// Draws up to `bytes` bytes as the master, in one request: as much as the KME's limits allow, at least one key.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn draw(&self, bytes: usize) -> Result<LinkBits, LinkError> {
        let status = self.status().await?;
        let size = status.key_size;
        if size == 0 || size % 8 != 0 || status.max_key_per_request == 0 {
            return Err(LinkError::Limits(format!(
                "key_size {size}, max_key_per_request {}",
                status.max_key_per_request
            )));
        }
        let number = (bytes / (size as usize / 8)).clamp(1, status.max_key_per_request as usize);
        let keys = self.client.enc_keys(&self.peer, number as u32, size).await?;
        let mut bits = Vec::with_capacity(number * size as usize / 8);
        keys.iter().for_each(|key| bits.extend_from_slice(key.key.expose()));
        Ok(LinkBits { ids: keys.into_iter().map(|key| key.id).collect(), bits: RawBits::new(bits) })
    }

    /// Fetches what the other end drew, as the slave.
    ///
    /// # Errors
    /// [`LinkError`]; [`LinkError::Length`] where the keys have not `bytes` bytes in all.
    pub async fn redeem(&self, ids: &[String], bytes: usize) -> Result<RawBits, LinkError> {
        let keys = self.client.dec_keys(&self.peer, ids).await?;
        let found = keys.iter().map(|key| key.key.expose().len()).sum();
        if found != bytes {
            return Err(LinkError::Length { wanted: bytes, found });
        }
        let mut bits = Vec::with_capacity(bytes);
        keys.iter().for_each(|key| bits.extend_from_slice(key.key.expose()));
        Ok(RawBits::new(bits))
    }
}
