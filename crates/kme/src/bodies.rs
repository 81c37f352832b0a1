//! The bits of sheets: sealed in the vault, the ones in use also in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crypto::{AuthKey, Secret32};
use store::{StoreHandle, VaultSecret};

use crate::id::{KeyUuid, Place, SheetTag, UNIT};
use crate::names;
use crate::secret::{KeyBytes, RawBits};
use crate::shelf::Stretch;

/// Bytes of the key of a sheet's identifiers.
pub(crate) const ID_KEY: usize = 32;

/// A sheet's bits, and the key of its identifiers.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) id_key: AuthKey,
    bits: Mutex<RawBits>,
}

impl Body {
    /// A new sheet.
    pub(crate) fn new(id_key: AuthKey, bits: RawBits) -> Self {
        Self { id_key, bits: Mutex::new(bits) }
    }

    /// Key of identifiers ‖ bits, as sealed.
    pub(crate) fn to_secret(&self) -> VaultSecret {
        let bits = self.bits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = Vec::with_capacity(ID_KEY + bits.expose().len());
        out.extend_from_slice(self.id_key.expose());
        out.extend_from_slice(bits.expose());
        VaultSecret::new(out)
    }

    fn from_secret(secret: &VaultSecret) -> Option<Self> {
        let (id_key, bits) = secret.expose().split_at_checked(ID_KEY)?;
        Some(Self::new(AuthKey::from_slice(id_key).ok()?, RawBits::from_slice(bits)))
    }

    /// A copy of all bits, to be carried to the other KME.
    pub(crate) fn copy_bits(&self) -> RawBits {
        RawBits::from_slice(self.bits.lock().unwrap_or_else(PoisonError::into_inner).expose())
    }

    /// A copy of the key at `place`; `None` where the sheet ends before.
    pub(crate) fn key(&self, place: Place) -> Option<KeyBytes> {
        let bits = self.bits.lock().unwrap_or_else(PoisonError::into_inner);
        bits.expose().get(place.bytes()).map(KeyBytes::from_slice)
    }

    /// The place that `id` names, where it is genuine.
    pub(crate) fn place_of(&self, id: &KeyUuid) -> Option<Place> {
        id.place().filter(|place| id.is_genuine(*place, &self.id_key))
    }

    /// Wipes what was delivered; returns whether that changed anything.
    pub(crate) fn wipe(&self, delivered: &[Stretch]) -> bool {
        let mut bits = self.bits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = false;
        for stretch in delivered {
            let from = usize::from(stretch.start) * UNIT;
            let to = from + usize::from(stretch.len) * UNIT;
            for byte in bits.expose_mut().get_mut(from..to).into_iter().flatten() {
                changed |= *byte != 0;
                *byte = 0;
            }
        }
        changed
    }
}

struct Held {
    body: Arc<Body>,
    used: u64,
}

#[derive(Default)]
struct Cache {
    held: HashMap<SheetTag, Held>,
    clock: u64,
}

/// The sheets in memory, at most so many; the one not used for longest goes first.
pub(crate) struct Bodies {
    store: StoreHandle,
    most: usize,
    cache: Mutex<Cache>,
}

impl Bodies {
    pub(crate) fn new(store: StoreHandle, most: usize) -> Self {
        Self { store, most, cache: Mutex::default() }
    }

    /// The body in memory.
    pub(crate) fn held(&self, tag: SheetTag) -> Option<Arc<Body>> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let now = cache.clock;
        let held = cache.held.get_mut(&tag)?;
        held.used = now;
        Some(Arc::clone(&held.body))
    }

    /// The body, from the vault where it is not in memory; `None` where the vault has none.
    pub(crate) async fn load(&self, tag: SheetTag) -> Result<Option<Arc<Body>>, store::ReadError> {
        if let Some(body) = self.held(tag) {
            return Ok(Some(body));
        }
        let secret = self.store.secret(names::sheet(tag)).await?;
        let body = secret.as_ref().and_then(Body::from_secret).map(Arc::new);
        Ok(body.map(|body| self.keep(tag, body)))
    }

    /// Keeps `body`, or gives the one that was kept meanwhile: of each sheet there is one in memory, so that what
    /// is wiped is wiped everywhere.
    pub(crate) fn keep(&self, tag: SheetTag, body: Arc<Body>) -> Arc<Body> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        cache.clock += 1;
        let used = cache.clock;
        if let Some(held) = cache.held.get_mut(&tag) {
            held.used = used;
            return Arc::clone(&held.body);
        }
        if cache.held.len() >= self.most {
            let oldest = cache.held.iter().min_by_key(|(_, held)| held.used).map(|(tag, _)| *tag);
            oldest.map(|tag| cache.held.remove(&tag));
        }
        cache.held.insert(tag, Held { body: Arc::clone(&body), used });
        body
    }

    /// Forgets the body; it is wiped once nobody uses it.
    pub(crate) fn forget(&self, tag: SheetTag) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).held.remove(&tag);
    }
}
