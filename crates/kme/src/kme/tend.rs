//! Work in the background: destroying what was delivered, telling other KMEs, filling shelves.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use store::Changes;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{Kme, lock, now};
use crate::id::{KmeId, SheetTag};
use crate::journal::NotDurable;
use crate::names::{self, Side, Stage};
use crate::peer::{PeerAnswer, PeerMessage};

impl Kme {
    pub(super) fn start_tending(self: Arc<Self>) {
        let (kme, period): (Weak<Self>, _) = (Arc::downgrade(&self), self.config.timing.tend);
        tokio::spawn(async move {
            let mut ticks = interval(std::time::Duration::from(period).max(std::time::Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match kme.upgrade() {
                    Some(kme) if !kme.is_closed() => kme.tend().await,
                    _ => return,
                }
            }
        });
    }

    /// One round. Runs by itself every [`Timing::tend`](crate::config::Timing::tend).
    pub async fn tend(self: &Arc<Self>) {
        let kept = async {
            self.retire_given().await?;
            self.retire_served().await?;
            self.wipe().await
        };
        if kept.await.is_err() {
            tracing::error!("delivered keys could not be destroyed: the store does not take writes");
        }
        self.release_quarantined().await;
        self.tell_finished().await;
        for line in self.all_lines() {
            let free = lock(&line.shelf).free();
            self.keep_up(&line, free);
        }
    }

    /// Destroys every key shared with the KME `kme`, which is trusted no more.
    ///
    /// # Errors
    /// [`Refusal::Storage`](crate::wire::Refusal::Storage) where the store does not take it.
    pub async fn forsake(&self, kme: &KmeId) -> Result<(), crate::wire::Refusal> {
        let tags: Vec<SheetTag> =
            lock(&self.sheets).iter().filter(|(_, meta)| meta.kme == *kme).map(|(tag, _)| *tag).collect();
        self.lines.write().unwrap_or_else(std::sync::PoisonError::into_inner).retain(|_, slaves| {
            slaves.retain(|_, line| line.kme != *kme);
            !slaves.is_empty()
        });
        for tag in tags {
            lock(&self.served).sheets.remove(&tag);
            self.erase(tag).await.map_err(|NotDurable| crate::wire::Refusal::Storage)?;
        }
        Ok(())
    }

    /// Marks exactly what was given out, so that nothing is lost, and stops: later requests are refused.
    pub async fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for line in self.all_lines() {
            let changes = {
                let mut shelf = lock(&line.shelf);
                let marks = shelf.exact();
                // Under the lock, as every mark.
                (!marks.is_empty()).then(|| self.journal.write(super::give::marks_to_changes(&marks)))
            };
            if let Some(written) = changes
                && written.await.is_err()
            {
                tracing::error!("keys marked ahead of delivery stay marked: the store does not take writes");
            }
        }
    }

    /// Sheets that the master used up.
    async fn retire_given(&self) -> Result<(), NotDurable> {
        let at = now();
        for line in self.all_lines() {
            let spent = lock(&line.shelf).drain_spent();
            for tag in spent {
                let Some(mut meta) = lock(&self.sheets).get(&tag).cloned() else { continue };
                meta.stage = Stage::Finished(at);
                let mut changes = Changes::default();
                changes.put_cell(names::meta(tag), names::encode(&meta));
                changes.remove_cell(names::given(tag));
                if meta.side == Side::Master {
                    changes.erase_secret(names::sheet(tag));
                    self.bodies.forget(tag);
                } else if let Some(serving) = lock(&self.served).sheets.get_mut(&tag) {
                    serving.finished = Some(at);
                }
                lock(&self.sheets).insert(tag, meta);
                self.journal.write(changes).await?;
            }
        }
        Ok(())
    }

    /// Sheets and shared keys of which slaves have all, or whose time is over.
    async fn retire_served(&self) -> Result<(), NotDurable> {
        let (at, ttl) = (now(), self.config.timing.key_ttl);
        let (tags, ids) = {
            let mut served = lock(&self.served);
            let over = served.sheets.iter().filter(|(_, sheet)| sheet.is_over(at, ttl));
            let tags: Vec<SheetTag> = over.map(|(tag, _)| *tag).collect();
            tags.iter().for_each(|tag| drop(served.sheets.remove(tag)));
            let old = served.parcels.iter().filter(|(_, parcel)| parcel.since + ttl <= at);
            let ids: Vec<_> = old.map(|(id, _)| *id).collect();
            ids.iter().for_each(|id| drop(served.parcels.remove(id)));
            (tags, ids)
        };
        for tag in tags {
            self.erase(tag).await?;
        }
        let mut changes = Changes::default();
        for id in &ids {
            changes.erase_secret(names::parcel_key(id));
            changes.remove_cell(names::parcel(id));
        }
        if changes.is_empty() { Ok(()) } else { self.journal.write(changes).await }
    }

    /// Destroys a sheet with all that is known of it.
    pub(super) async fn erase(&self, tag: SheetTag) -> Result<(), NotDurable> {
        lock(&self.sheets).remove(&tag);
        self.bodies.forget(tag);
        let mut changes = Changes::default();
        changes.erase_secret(names::sheet(tag));
        for cell in [names::meta(tag), names::given(tag), names::fetched(tag)] {
            changes.remove_cell(cell);
        }
        self.journal.write(changes).await
    }

    /// Destroys delivered bits inside sheets that are still in use.
    async fn wipe(&self) -> Result<(), NotDurable> {
        let tags = std::mem::take(&mut *lock(&self.dirty));
        for tag in tags {
            let Some(meta) = lock(&self.sheets).get(&tag).cloned() else { continue };
            let delivered = match meta.side {
                Side::Master => {
                    let line = self.line(&meta.master, &meta.slave, &meta.kme);
                    let shelf = lock(&line.shelf);
                    shelf.delivered(tag)
                }
                Side::Slave | Side::Both => {
                    lock(&self.served).sheets.get(&tag).map(|sheet| sheet.delivered()).unwrap_or_default()
                }
            };
            if delivered.is_empty() || matches!(meta.stage, Stage::Finished(_)) && meta.side == Side::Master {
                continue;
            }
            let Ok(Some(body)) = self.bodies.load(tag).await else { continue };
            if body.wipe(&delivered) {
                let mut changes = Changes::default();
                changes.put_secret(names::sheet(tag), body.to_secret());
                self.journal.write(changes).await?;
            }
        }
        Ok(())
    }

    /// Tells the slaves' KMEs of sheets from which no key comes any more.
    async fn tell_finished(&self) {
        let ours = |meta: &names::Meta| meta.side == Side::Master && matches!(meta.stage, Stage::Finished(_));
        let finished: Vec<(SheetTag, KmeId)> = lock(&self.sheets)
            .iter()
            .filter(|(_, meta)| ours(meta))
            .map(|(tag, meta)| (*tag, meta.kme.clone()))
            .collect();
        let mut silent: Vec<KmeId> = Vec::new();
        for (tag, kme) in finished {
            if silent.contains(&kme) {
                continue;
            }
            let message = PeerMessage::Finished(tag);
            match timeout(self.config.timing.confirm.into(), self.peer.send(&kme, &message)).await {
                Ok(Ok(PeerAnswer::Done)) => drop(self.erase(tag).await),
                _ => silent.push(kme),
            }
        }
    }
}
