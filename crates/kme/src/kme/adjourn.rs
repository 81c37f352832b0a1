//! Starts, of this KME and of others: what is shared under an earlier one is given out no more.

use std::sync::atomic::Ordering;

use store::Changes;
use tokio::time::timeout;
use types::Hash;

use super::{Kme, lock, now};
use crate::id::{KmeId, SheetTag};
use crate::journal::NotDurable;
use crate::names::{self, Meta, Side, Stage};
use crate::peer::{PeerAnswer, PeerMessage};
use crate::start::Starts;

impl Kme {
    /// Gives no key to anybody until [`Self::release`].
    pub fn hold(&self) {
        self.held.store(true, Ordering::Release);
    }

    /// Gives keys again.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Tells the KME `kme` of this start and learns its own. Stock that it does not hold any more is dropped at once,
    /// not when its first key is missed.
    pub async fn greet(&self, kme: &KmeId) {
        if *kme != self.config.id && !self.is_closed() {
            self.learn_start(kme).await;
        }
    }

    /// The start of the KME `kme`, asked of it where it is not known.
    pub(super) async fn start_of(&self, kme: &KmeId) -> Option<Hash> {
        if *kme == self.config.id {
            return Some(self.start);
        }
        let known = lock(&self.starts).get(kme).copied();
        match known {
            Some(start) => Some(start),
            None => self.learn_start(kme).await,
        }
    }

    async fn learn_start(&self, kme: &KmeId) -> Option<Hash> {
        let message = PeerMessage::Started(self.start);
        let answer = timeout(self.config.timing.confirm.into(), self.peer.send(kme, &message)).await;
        let Ok(Ok(PeerAnswer::Start(start))) = answer else { return None };
        self.met(kme, start).await;
        Some(start)
    }

    /// The KME `kme` runs in `start`. Where that is another than before, what was shared before is dropped: no further
    /// key comes from it, at either end.
    pub(super) async fn met(&self, kme: &KmeId, start: Hash) {
        if lock(&self.starts).insert(kme.clone(), start) == Some(start) {
            return;
        }
        let earlier = |meta: &Meta| meta.kme == *kme && meta.with != start;
        let old: Vec<(SheetTag, Meta)> = {
            let sheets = lock(&self.sheets);
            sheets.iter().filter(|(_, meta)| earlier(meta)).map(|(tag, meta)| (*tag, meta.clone())).collect()
        };
        if old.is_empty() {
            return;
        }
        tracing::info!(%kme, sheets = old.len(), "started anew: what was shared with it before gives no further key");
        for (tag, meta) in old {
            let done = match meta.side {
                Side::Master => self.forget_sheet(tag, &meta).await,
                // What its masters were given before can still be fetched here.
                Side::Slave | Side::Both => self.finish_sheet(tag, meta).await,
            };
            if done.is_err() {
                tracing::error!(%kme, "keys of its earlier start cannot be destroyed: the store does not take writes");
            }
        }
    }

    async fn forget_sheet(&self, tag: SheetTag, meta: &Meta) -> Result<(), NotDurable> {
        let line = self.line(&meta.master, &meta.slave, &meta.kme);
        lock(&line.offered).retain(|offered| *offered != tag);
        lock(&line.shelf).forget(tag);
        self.erase(tag).await
    }

    /// The master's side of a sheet gives no further key.
    pub(super) async fn finish_sheet(&self, tag: SheetTag, mut meta: Meta) -> Result<(), NotDurable> {
        if meta.stage != Stage::Ready {
            return Ok(());
        }
        let at = now();
        meta.stage = Stage::Finished(at);
        let cell = (names::meta(tag), names::encode(&meta));
        self.journal.write(Changes::cells(vec![cell])).await?;
        lock(&self.sheets).insert(tag, meta);
        if let Some(serving) = lock(&self.served).sheets.get_mut(&tag) {
            serving.finished = Some(at);
        }
        Ok(())
    }

    /// The starts of a sheet whose master is served here.
    pub(super) fn starts_as_master(&self, meta: &Meta) -> Starts {
        Starts { master: self.start, slave: meta.with }
    }
}
