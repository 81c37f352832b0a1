//! KMEs of one process joined without a network: for one machine that plays several sites, and for tests.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};

use crypto::Entropy;

use super::{BoxFuture, Drawn, KeyPath, Peer, PeerAnswer, PeerError, PeerMessage, Supply, SupplyError};
use crate::id::KmeId;
use crate::kme::Kme;
use crate::secret::RawBits;

/// Fresh local entropy (KM-03), carried to the other KME by the peer's session.
pub struct LocalSupply(Arc<Entropy>);

impl LocalSupply {
    /// Draws from `entropy`.
    pub fn new(entropy: Arc<Entropy>) -> Self {
        Self(entropy)
    }
}

impl Supply for LocalSupply {
    fn draw<'a>(&'a self, _: &'a KmeId, bytes: usize) -> BoxFuture<'a, Result<Drawn, SupplyError>> {
        Box::pin(async move {
            let mut bits = RawBits::new(vec![0; bytes]);
            self.0.fill(bits.expose_mut()).map_err(|error| SupplyError::Failed(error.to_string()))?;
            Ok(Drawn { bits, reference: None, path: KeyPath::Local })
        })
    }

    fn redeem<'a>(&'a self, _: &'a KmeId, _: &'a [u8], _: usize) -> BoxFuture<'a, Result<RawBits, SupplyError>> {
        Box::pin(async { Err(SupplyError::UnknownReference) })
    }
}

/// Hands messages to other KMEs of this process.
#[derive(Default)]
pub struct LocalPeers(RwLock<HashMap<KmeId, Weak<Kme>>>);

impl LocalPeers {
    /// Makes `kme` reachable under its name.
    pub fn join(&self, kme: &Arc<Kme>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.insert(kme.id().clone(), Arc::downgrade(kme));
    }

    /// Makes the KME of that name unreachable.
    pub fn leave(&self, kme: &KmeId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(kme);
    }

    fn find(&self, kme: &KmeId) -> Option<Arc<Kme>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(kme).and_then(Weak::upgrade)
    }

    /// The way out of the KME `from`.
    pub fn of(self: &Arc<Self>, from: KmeId) -> LocalPeer {
        LocalPeer { from, peers: Arc::clone(self) }
    }
}

/// The way out of one KME.
pub struct LocalPeer {
    from: KmeId,
    peers: Arc<LocalPeers>,
}

impl Peer for LocalPeer {
    fn send<'a>(&'a self, kme: &'a KmeId, message: &'a PeerMessage) -> BoxFuture<'a, Result<PeerAnswer, PeerError>> {
        Box::pin(async move {
            let receiver = self.peers.find(kme).ok_or_else(|| PeerError::Unreachable(kme.clone()))?;
            // Through the encoding, as over a session.
            let bytes = zeroize::Zeroizing::new(minicbor::to_vec(message).unwrap_or_default());
            match minicbor::decode(&bytes) {
                Ok(message) => Ok(receiver.receive(&self.from, message).await),
                Err(_) => Ok(PeerAnswer::Malformed),
            }
        })
    }
}
