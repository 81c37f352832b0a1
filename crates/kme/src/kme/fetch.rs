//! Get key with key IDs: to a slave.

use std::sync::Arc;

use store::Changes;

use super::{Kme, lock};
use crate::directory::Sae;
use crate::id::{KeyUuid, SaeId, SheetTag};
use crate::journal::NotDurable;
use crate::names::{self, ParcelMeta};
use crate::note::{DeliveryKind, DeliveryNote};
use crate::peer::KeyPath;
use crate::secret::KeyBytes;
use crate::served::{Denied, Fetched, Source};
use crate::wire::{DecRequest, DeliveredKey, Refusal};
use types::mesh::Exchange;

impl Kme {
    /// Get key with key IDs (clause 5.3), for `caller` as a slave of `master`. All keys, or none.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was consumed then.
    pub async fn dec_keys(
        self: &Arc<Self>,
        caller: &Arc<Sae>,
        exchange: Exchange,
        master: &SaeId,
        request: &DecRequest,
    ) -> Result<Vec<DeliveredKey>, Refusal> {
        if self.is_closed() {
            return Err(Refusal::Storage);
        }
        if self.is_held() {
            return Err(Refusal::Unconfirmed);
        }
        let mut wanted = Vec::with_capacity(request.ids.len());
        let mut keys = Vec::with_capacity(request.ids.len());
        for id in &request.ids {
            let (source, key) = self.find(&caller.id, id).await?.ok_or(Refusal::KeysNotFound)?;
            wanted.push((*id, source));
            keys.push(DeliveredKey { id: *id, key });
        }
        let (fetched, durable) = self.mark_fetched(caller, master, &wanted)?;
        durable.await.map_err(|_| Refusal::Storage)?;
        self.note_fetched((caller, exchange), master, &keys, &fetched);
        Ok(keys)
    }

    /// Takes the keys off what can be fetched; they may be answered once the future says that this is durable.
    fn mark_fetched(
        &self,
        caller: &Sae,
        master: &SaeId,
        wanted: &[(KeyUuid, Source)],
    ) -> Result<(Fetched, impl Future<Output = Result<(), NotDurable>> + use<>), Refusal> {
        let mut served = lock(&self.served);
        let fetched = served.fetch(master, &caller.id, wanted).map_err(|denied| match denied {
            Denied::NotFound => Refusal::KeysNotFound,
            Denied::NotEntitled => Refusal::NotEntitled,
        })?;
        let mut changes = Changes::default();
        for (tag, mark) in &fetched.sheets {
            changes.put_cell(names::fetched(*tag), mark.clone());
        }
        for (id, over) in &fetched.parcels {
            if *over {
                served.parcels.remove(id);
                changes.erase_secret(names::parcel_key(id));
                changes.remove_cell(names::parcel(id));
            } else if let Some(parcel) = served.parcels.get(id).cloned() {
                let meta = ParcelMeta {
                    master: parcel.master,
                    waiting: parcel.waiting,
                    served: parcel.served,
                    path: parcel.path,
                    since: parcel.since,
                };
                changes.put_cell(names::parcel(id), names::encode(&meta));
            }
        }
        // Queued under the lock: marks are written in the order in which they were made.
        let durable = self.journal.write(changes);
        drop(served);
        Ok((fetched, durable))
    }

    fn note_fetched(
        &self,
        (caller, exchange): (&Sae, Exchange),
        master: &SaeId,
        keys: &[DeliveredKey],
        fetched: &Fetched,
    ) {
        let longest = keys.iter().map(|key| key.key.expose().len()).max().unwrap_or(0);
        self.evidence.delivered(DeliveryNote {
            kind: DeliveryKind::Slave,
            master: master.clone(),
            slaves: vec![caller.id.clone()],
            keys: keys.iter().map(|key| key.id.evidence()).collect(),
            size: 8 * longest as u32,
            path: fetched.path.unwrap_or(KeyPath::Kem),
            exchange,
        });
        self.soil(fetched.sheets.iter().map(|(tag, _)| *tag));
    }

    /// Where a key lies for `slave`, and a copy of it. A copy of a key that was fetched before is refused, and wiped,
    /// after. A key shared with an additional slave may lie here twice: on its own, and in the sheet of the first slave.
    async fn find(&self, slave: &SaeId, id: &KeyUuid) -> Result<Option<(Source, KeyBytes)>, Refusal> {
        let parcel = lock(&self.served).parcels.get(id).map(|parcel| parcel.is_for(slave));
        if parcel != Some(true)
            && let Some(found) = self.find_in_sheet(id).await?
        {
            return Ok(Some(found));
        }
        if parcel.is_none() {
            return Ok(None);
        }
        let secret = self.store.secret(names::parcel_key(id)).await.map_err(unreadable)?;
        Ok(secret.map(|secret| (Source::Parcel, KeyBytes::from_slice(secret.expose()))))
    }

    async fn find_in_sheet(&self, id: &KeyUuid) -> Result<Option<(Source, KeyBytes)>, Refusal> {
        let Some(claimed) = id.place() else { return Ok(None) };
        if !lock(&self.served).sheets.contains_key(&claimed.tag) {
            return Ok(None);
        }
        let Some(body) = self.bodies.load(claimed.tag).await.map_err(unreadable)? else { return Ok(None) };
        let place = body.place_of(id);
        Ok(place.and_then(|place| Some((Source::Sheet(place), body.key(place)?))))
    }

    /// Notes that sheets hold bits that were delivered.
    pub(super) fn soil(&self, tags: impl Iterator<Item = SheetTag>) {
        lock(&self.dirty).extend(tags);
    }
}

fn unreadable(error: store::ReadError) -> Refusal {
    tracing::error!(%error, "a key cannot be read");
    Refusal::Storage
}
