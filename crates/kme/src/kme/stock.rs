//! Filling shelves: sheets are drawn, sealed, offered to the slave's KME, and given out once it has them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crypto::{AuthKey, Secret32};
use store::Changes;
use tokio::time::{sleep, timeout};

use super::{Kme, Line, lock};
use crate::bodies::Body;
use crate::id::{SHEET_UNITS, SheetTag, UNIT};
use crate::names::{self, Meta, Side, Stage};
use crate::peer::{Drawn, KeyPath, Material, Offer, PeerAnswer, PeerError, PeerMessage, SupplyError};
use crate::secret::RawBits;
use crate::shelf::Mark;

/// Longest wait for the supply, so that one that hangs does not hold up other pairs for ever.
const DRAW: Duration = Duration::from_secs(30);

/// Why a shelf was not filled.
#[derive(Debug, thiserror::Error)]
enum StockError {
    #[error(transparent)]
    Supply(#[from] SupplyError),
    #[error(transparent)]
    Entropy(#[from] crypto::EntropyError),
    #[error("what the store must keep was not kept")]
    NotDurable,
    #[error("the bits of a sheet are gone")]
    Lost,
    #[error("the quantum channel has too few bits: its sheet goes under the hybrid KEM alone")]
    NoPad,
    #[error("the slave's KME started anew: what it held is drawn again")]
    Restarted,
    #[error("the slave's KME does not confirm")]
    Unconfirmed,
    #[error("the slave's KME refuses: {0:?}")]
    Refused(PeerAnswer),
}

impl Kme {
    /// Starts filling where the stock fell below half of its level.
    pub(super) fn keep_up(self: &Arc<Self>, line: &Arc<Line>, free: u64) {
        if free < line.level.load(Ordering::Relaxed).div_ceil(2) {
            self.fill(line);
        }
    }

    /// A master waits for `units` on an empty shelf: the level was too low for it.
    pub(super) fn want(self: &Arc<Self>, line: &Arc<Line>, units: u64) {
        let limits = &self.config.limits;
        let most = limits.max_key_count.saturating_mul(limits.default_units()).max(units);
        let grown = |level: u64| Some(level.saturating_mul(2).max(units).min(most).max(level));
        if !line.filling.load(Ordering::Acquire) {
            let _ = line.level.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown);
        } else {
            line.level.fetch_max(units, Ordering::Relaxed);
        }
        line.starved.store(true, Ordering::Relaxed);
        self.fill(line);
    }

    fn fill(self: &Arc<Self>, line: &Arc<Line>) {
        if line.filling.swap(true, Ordering::AcqRel) {
            return;
        }
        let (kme, line) = (Arc::clone(self), Arc::clone(line));
        tokio::spawn(async move {
            kme.fill_up(&line).await;
            line.filling.store(false, Ordering::Release);
            // Whoever took keys between the last look and here found filling under way.
            line.added.notify_waiters();
        });
    }

    async fn fill_up(self: &Arc<Self>, line: &Arc<Line>) {
        let short = || {
            let starved = line.starved.swap(false, Ordering::Relaxed);
            starved || lock(&line.shelf).free() < line.level.load(Ordering::Relaxed)
        };
        while !self.is_closed() && short() {
            match self.stock(line).await {
                Ok(()) => {
                    line.peer_down.store(false, Ordering::Relaxed);
                    line.added.notify_waiters();
                }
                Err(error) => {
                    let peer_down = matches!(error, StockError::Unconfirmed | StockError::Refused(_));
                    line.peer_down.store(peer_down, Ordering::Relaxed);
                    tracing::warn!(master = %line.master, slave = %line.slave, %error, "no keys were added");
                    if matches!(error, StockError::NoPad | StockError::Restarted) {
                        line.starved.store(true, Ordering::Relaxed);
                        continue;
                    }
                    sleep(self.config.timing.retry.into()).await;
                    if line.waiting.load(Ordering::Relaxed) == 0 {
                        return;
                    }
                }
            }
        }
    }

    async fn stock(self: &Arc<Self>, line: &Arc<Line>) -> Result<(), StockError> {
        let offered = lock(&line.offered).front().copied();
        let tag = match offered {
            Some(tag) => tag,
            None => self.draw(line).await?,
        };
        if line.kme == self.config.id { self.make_ready(line, tag).await } else { self.offer(line, tag).await }
    }

    /// Draws and seals one sheet.
    async fn draw(&self, line: &Arc<Line>) -> Result<SheetTag, StockError> {
        let with = self.start_of(&line.kme).await.ok_or(StockError::Unconfirmed)?;
        let units = self.sheet_units(line);
        let bytes = usize::from(units) * UNIT;
        let permit = self.draws.acquire().await.map_err(|_| StockError::NotDurable)?;
        let drawn = timeout(DRAW, self.supply.draw(&line.kme, bytes)).await;
        let Drawn { mut bits, reference, path } =
            drawn.map_err(|_| SupplyError::Failed("it gave no answer".to_owned()))??;
        drop(permit);
        if bits.expose().len() != bytes {
            return Err(SupplyError::Failed("it gave another number of bits than asked for".to_owned()).into());
        }
        let side = if line.kme == self.config.id { Side::Both } else { Side::Master };
        let (master, slave, kme) = (line.master.clone(), line.slave.clone(), line.kme.clone());
        let meta = Meta { side, stage: Stage::Offered, master, slave, kme, units, path, reference, with };
        let id_key = AuthKey::generate(&self.entropy)?;
        self.starts_as_master(&meta).mask(&id_key, &mut bits);
        let body = Arc::new(Body::new(id_key, bits));
        let tag = self.enter(meta, body).await?;
        lock(&line.offered).push_back(tag);
        Ok(tag)
    }

    /// Gives a sheet a number, and seals it.
    async fn enter(&self, meta: Meta, body: Arc<Body>) -> Result<SheetTag, StockError> {
        let tag = loop {
            let tag = SheetTag::from_bytes(self.entropy.array()?);
            let mut sheets = lock(&self.sheets);
            if let std::collections::hash_map::Entry::Vacant(free) = sheets.entry(tag) {
                free.insert(meta.clone());
                break tag;
            }
        };
        let mut changes = Changes::default();
        changes.put_secret(names::sheet(tag), body.to_secret());
        changes.put_cell(names::meta(tag), names::encode(&meta));
        if self.journal.write(changes).await.is_err() {
            lock(&self.sheets).remove(&tag);
            return Err(StockError::NotDurable);
        }
        self.bodies.keep(tag, body);
        Ok(tag)
    }

    /// Units of the next sheet: an eighth of the level, so that a pool grows and ages in small steps.
    fn sheet_units(&self, line: &Line) -> u16 {
        let limits = &self.config.limits;
        let key = limits.default_units();
        let least = u64::from(limits.max_key_size.div_ceil(8 * UNIT as u32)).max(key);
        let most = SHEET_UNITS as u64 / key * key;
        let missing = line.level.load(Ordering::Relaxed).saturating_sub(lock(&line.shelf).free());
        // As much as the supply has at its best, so that a large step is not a weak one.
        let ready = self.supply.ready(&line.kme).map_or(u64::MAX, |bytes| (bytes / UNIT) as u64 / key * key);
        let wanted = missing.div_ceil(8).max(key * limits.min_key_count).min(ready.max(least));
        wanted.max(least).div_ceil(key).saturating_mul(key).min(most.max(key)).min(SHEET_UNITS as u64) as u16
    }

    async fn offer(&self, line: &Arc<Line>, tag: SheetTag) -> Result<(), StockError> {
        let meta = lock(&self.sheets).get(&tag).cloned().ok_or(StockError::Lost)?;
        let body = self.bodies.load(tag).await.ok().flatten().ok_or(StockError::Lost)?;
        let material = match &meta.reference {
            Some(reference) => Material::Reference(reference.clone()),
            None => {
                let mut bits = body.copy_bits();
                self.starts_as_master(&meta).mask(&body.id_key, &mut bits);
                Material::Carried(bits)
            }
        };
        let message = PeerMessage::Offer(Offer {
            tag,
            master: meta.master.clone(),
            slave: meta.slave.clone(),
            units: meta.units,
            id_key: RawBits::from_slice(body.id_key.expose()),
            material,
            path: meta.path,
            from_start: self.start,
            to_start: meta.with,
        });
        let answer = timeout(self.config.timing.confirm.into(), self.peer.send(&line.kme, &message)).await;
        match answer {
            Ok(Ok(PeerAnswer::Done)) => {
                if let Some(reference) = &meta.reference {
                    self.supply.settled(&line.kme, reference);
                }
                self.make_ready(line, tag).await
            }
            Ok(Ok(PeerAnswer::TagTaken)) => self.renumber(line, tag, meta, body).await,
            Ok(Ok(answer @ PeerAnswer::NoMaterial)) => {
                // The other half of these bits does not exist: they are of no use.
                self.drop_offered(line, tag).await?;
                Err(StockError::Refused(answer))
            }
            Ok(Ok(PeerAnswer::Start(start))) => {
                self.met(&line.kme, start).await;
                // Drawn before that was known.
                self.drop_offered(line, tag).await?;
                Err(StockError::Restarted)
            }
            Ok(Ok(answer)) => Err(StockError::Refused(answer)),
            Ok(Err(PeerError::NoPad(_))) => {
                // The hybrid KEM alone, then, and said so: what is not offered is of no use.
                self.weaken(tag).await?;
                Err(StockError::NoPad)
            }
            Ok(Err(_)) | Err(_) => Err(StockError::Unconfirmed),
        }
    }

    async fn make_ready(&self, line: &Arc<Line>, tag: SheetTag) -> Result<(), StockError> {
        let mut meta = lock(&self.sheets).get(&tag).cloned().ok_or(StockError::Lost)?;
        meta.stage = Stage::Ready;
        meta.reference = None;
        let cell = (names::meta(tag), names::encode(&meta));
        self.journal.write(Changes::cells(vec![cell])).await.map_err(|_| StockError::NotDurable)?;
        if meta.side.serves_slave() {
            self.serve(tag, &meta);
        }
        lock(&line.offered).retain(|offered| *offered != tag);
        lock(&line.shelf).add(Mark { tag, leased: 0, scraps: vec![] }, meta.units, meta.path);
        lock(&self.sheets).insert(tag, meta);
        Ok(())
    }

    /// Notes that the bits of a sheet go without those of a quantum channel.
    async fn weaken(&self, tag: SheetTag) -> Result<(), StockError> {
        let mut meta = lock(&self.sheets).get(&tag).cloned().ok_or(StockError::Lost)?;
        meta.path = KeyPath::Kem;
        let cell = (names::meta(tag), names::encode(&meta));
        self.journal.write(Changes::cells(vec![cell])).await.map_err(|_| StockError::NotDurable)?;
        lock(&self.sheets).insert(tag, meta);
        Ok(())
    }

    /// Offers the same bits under another number.
    async fn renumber(&self, line: &Arc<Line>, tag: SheetTag, meta: Meta, body: Arc<Body>) -> Result<(), StockError> {
        let new = self.enter(meta, body).await?;
        lock(&line.offered).push_back(new);
        self.drop_offered(line, tag).await?;
        Err(StockError::Refused(PeerAnswer::TagTaken))
    }

    async fn drop_offered(&self, line: &Arc<Line>, tag: SheetTag) -> Result<(), StockError> {
        lock(&line.offered).retain(|offered| *offered != tag);
        self.erase(tag).await.map_err(|_| StockError::NotDurable)
    }
}
