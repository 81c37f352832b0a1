use std::sync::Arc;

use crypto::Entropy;
use kme::peer::{BoxFuture, Drawn, KeyPath, Supply, SupplyError};
use kme::{KmeId, RawBits};
use types::NodeId;
use zeroize::Zeroizing;

use super::Carrier;

/// Fresh bits of the health-tested source (KM-03). They reach the other KME under a one-time pad from the quantum
/// links on the way, or under the hybrid KEM alone where those have too few bits; which, is decided when they are
/// drawn and kept from then on.
pub(super) struct PoolSupply {
    carrier: Arc<Carrier>,
    entropy: Arc<Entropy>,
}

impl PoolSupply {
    pub(super) fn new(carrier: Arc<Carrier>, entropy: Arc<Entropy>) -> Self {
        Self { carrier, entropy }
    }
}

impl Supply for PoolSupply {
    fn draw<'a>(&'a self, kme: &'a KmeId, bytes: usize) -> BoxFuture<'a, Result<Drawn, SupplyError>> {
        Box::pin(async move {
            let node: NodeId = kme.as_str().parse().map_err(|_| SupplyError::NoChannel(kme.clone()))?;
            let path = if node == *self.carrier.me() {
                KeyPath::Local
            } else if self.carrier.padded_bytes(&node) >= bytes {
                KeyPath::QkdKem
            } else {
                KeyPath::Kem
            };
            let mut bits = Zeroizing::new(vec![0; bytes]);
            self.entropy.fill(&mut bits).map_err(|error| SupplyError::Failed(error.to_string()))?;
            Ok(Drawn { bits: RawBits::from_slice(&bits), reference: None, path })
        })
    }

    fn ready(&self, kme: &KmeId) -> Option<usize> {
        let node: NodeId = kme.as_str().parse().ok()?;
        (node != *self.carrier.me()).then(|| self.carrier.padded_bytes(&node))
    }

    fn redeem<'a>(&'a self, _: &'a KmeId, _: &'a [u8], _: usize) -> BoxFuture<'a, Result<RawBits, SupplyError>> {
        // Bits travel in the message itself.
        Box::pin(async { Err(SupplyError::UnknownReference) })
    }
}
