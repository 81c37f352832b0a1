//! What other KMEs say.

use std::sync::Arc;

use crypto::{AuthKey, Secret32};
use store::Changes;

use super::{Kme, lock, now};
use crate::bodies::{Body, ID_KEY};
use crate::directory::Home;
use crate::id::{KEY_LEN, KeyUuid, KmeId, SHEET_UNITS, SaeId, SheetTag, UNIT};
use crate::names::{self, Meta, ParcelMeta, Side, Stage};
use crate::peer::{KeyPath, Material, Offer, PeerAnswer, PeerMessage, SharedKey};
use crate::served::{Parcel, Serving};
use crate::start::Starts;

impl Kme {
    /// Takes the message that `from` sent, and answers it. The node calls it with the name that the session
    /// proved.
    pub async fn receive(self: &Arc<Self>, from: &KmeId, message: PeerMessage) -> PeerAnswer {
        if self.is_closed() {
            return PeerAnswer::Busy;
        }
        match message {
            PeerMessage::Offer(offer) => self.take_sheet(from, offer).await,
            PeerMessage::Share { master, slaves, keys, path } => self.take_keys(from, master, slaves, keys, path).await,
            PeerMessage::Void(ids) => self.void(from, &ids).await,
            PeerMessage::Finished(tag) => self.finished(from, tag).await,
            PeerMessage::Started(start) => {
                self.met(from, start).await;
                PeerAnswer::Start(self.start)
            }
        }
    }

    /// Whether `from` speaks for `master`, and all `slaves` are served here.
    fn is_for_us(&self, from: &KmeId, master: &SaeId, slaves: &[SaeId]) -> bool {
        let directory = self.directory();
        directory.home(master) == Some(Home::At(from)) && slaves.iter().all(|slave| directory.serves(slave))
    }

    async fn take_sheet(&self, from: &KmeId, offer: Offer) -> PeerAnswer {
        let Offer { tag, master, slave, units, id_key, material, path, from_start, to_start } = offer;
        if !self.is_for_us(from, &master, std::slice::from_ref(&slave)) {
            return PeerAnswer::NotServed;
        }
        let bytes = usize::from(units) * UNIT;
        let carried_len = if let Material::Carried(bits) = &material { bits.expose().len() } else { bytes };
        if units == 0 || usize::from(units) > SHEET_UNITS || id_key.expose().len() != ID_KEY || carried_len != bytes {
            return PeerAnswer::Malformed;
        }
        if to_start != self.start {
            return PeerAnswer::Start(self.start);
        }
        self.met(from, from_start).await;
        let meta = Meta {
            side: Side::Slave,
            stage: Stage::Ready,
            master,
            slave,
            kme: from.clone(),
            units,
            path,
            reference: None,
            with: from_start,
        };
        let known = lock(&self.sheets).get(&tag).cloned();
        if let Some(known) = known {
            return self.is_same(tag, &known, &meta, id_key.expose()).await;
        }
        let bits = match &material {
            Material::Reference(reference) => self.supply.redeem(from, reference, bytes).await.ok(),
            Material::Carried(bits) => Some(crate::secret::RawBits::from_slice(bits.expose())),
        };
        let Some(mut bits) = bits.filter(|bits| bits.expose().len() == bytes) else { return PeerAnswer::NoMaterial };
        let Ok(id_key) = AuthKey::from_slice(id_key.expose()) else { return PeerAnswer::Malformed };
        Starts { master: from_start, slave: self.start }.mask(&id_key, &mut bits);
        let body = Body::new(id_key, bits);
        let mut changes = Changes::default();
        changes.put_secret(names::sheet(tag), body.to_secret());
        changes.put_cell(names::meta(tag), names::encode(&meta));
        if self.journal.write(changes).await.is_err() {
            return PeerAnswer::Busy;
        }
        self.serve(tag, &meta);
        lock(&self.sheets).insert(tag, meta);
        if let Material::Reference(reference) = &material {
            self.supply.settled(from, reference);
        }
        PeerAnswer::Done
    }

    /// A sheet of that number is here: the same one offered again, or another.
    async fn is_same(&self, tag: SheetTag, known: &Meta, offered: &Meta, id_key: &[u8]) -> PeerAnswer {
        match self.bodies.load(tag).await {
            Ok(Some(body)) if known == offered && crypto::kdf::equal(body.id_key.expose(), id_key) => PeerAnswer::Done,
            Ok(_) => PeerAnswer::TagTaken,
            Err(_) => PeerAnswer::Busy,
        }
    }

    /// Lets the slave of a sheet fetch from it.
    pub(super) fn serve(&self, tag: SheetTag, meta: &Meta) {
        let new = || Serving::new(meta.master.clone(), meta.slave.clone(), meta.path, meta.units);
        lock(&self.served).sheets.entry(tag).or_insert_with(new);
    }

    async fn take_keys(
        &self,
        from: &KmeId,
        master: SaeId,
        slaves: Vec<SaeId>,
        keys: Vec<SharedKey>,
        path: KeyPath,
    ) -> PeerAnswer {
        if !self.is_for_us(from, &master, &slaves) {
            return PeerAnswer::NotServed;
        }
        let well_formed = |key: &SharedKey| !key.key.expose().is_empty() && key.key.expose().len() <= KEY_LEN;
        if slaves.is_empty() || !keys.iter().all(well_formed) {
            return PeerAnswer::Malformed;
        }
        if self.keep_parcels(master, slaves, &keys, path).await { PeerAnswer::Done } else { PeerAnswer::Busy }
    }

    /// Keeps keys for additional slaves served here; false where that was not possible.
    pub(super) async fn keep_parcels(
        &self,
        master: SaeId,
        slaves: Vec<SaeId>,
        keys: &[SharedKey],
        path: KeyPath,
    ) -> bool {
        let since = now();
        let meta = ParcelMeta { master, waiting: slaves, served: vec![], path, since };
        let bytes = names::encode(&meta);
        let mut changes = Changes::default();
        for key in keys {
            changes.put_secret(names::parcel_key(&key.id), store::VaultSecret::from_slice(key.key.expose()));
            changes.put_cell(names::parcel(&key.id), bytes.clone());
        }
        if lock(&self.served).parcels.len() + keys.len() > self.config.limits.max_parcels {
            tracing::warn!("too many shared keys wait for their slaves");
            return false;
        }
        if self.journal.write(changes).await.is_err() {
            return false;
        }
        let ParcelMeta { master, waiting, served, path, since } = meta;
        let parcel = Parcel { master, waiting, served, path, since };
        let mut all = lock(&self.served);
        for key in keys {
            all.parcels.entry(key.id).or_insert_with(|| parcel.clone());
        }
        true
    }

    async fn void(&self, from: &KmeId, ids: &[KeyUuid]) -> PeerAnswer {
        let directory = self.directory();
        let mut changes = Changes::default();
        {
            let mut served = lock(&self.served);
            for id in ids {
                let theirs =
                    served.parcels.get(id).map(|parcel| directory.home(&parcel.master) == Some(Home::At(from)));
                match theirs {
                    Some(true) => drop(served.parcels.remove(id)),
                    Some(false) => return PeerAnswer::NotServed,
                    None => {}
                }
                // Also where it is unknown: it may be on its way to be kept.
                changes.erase_secret(names::parcel_key(id));
                changes.remove_cell(names::parcel(id));
            }
        }
        if self.journal.write(changes).await.is_ok() { PeerAnswer::Done } else { PeerAnswer::Busy }
    }

    async fn finished(&self, from: &KmeId, tag: SheetTag) -> PeerAnswer {
        let Some(meta) = lock(&self.sheets).get(&tag).cloned() else { return PeerAnswer::Done };
        if meta.kme != *from || meta.side != Side::Slave {
            return PeerAnswer::NotServed;
        }
        if self.finish_sheet(tag, meta).await.is_ok() { PeerAnswer::Done } else { PeerAnswer::Busy }
    }
}
