//! Get key: to the master.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use store::Changes;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};
use types::mesh::Exchange;

use super::{Kme, Line, Reservation, lock};
use crate::directory::Sae;
use crate::id::{KeyUuid, Place, SaeId};
use crate::journal::Journal;
use crate::names;
use crate::note::{DeliveryKind, DeliveryNote};
use crate::peer::KeyPath;
use crate::shelf::{Mark, Short};
use crate::wire::{DeliveredKey, EncRequest, Refusal, RequiredPath};

/// A change that makes `marks` durable.
pub(super) fn marks_to_changes(marks: &[Mark]) -> Changes {
    Changes::cells(marks.iter().map(|mark| (names::given(mark.tag), mark.to_bytes())).collect())
}

impl Line {
    /// Keys that were reserved return.
    pub(super) fn give_back(&self, places: &[Place], journal: &Journal) {
        let mut shelf = lock(&self.shelf);
        let marks = shelf.give_back(places);
        if !marks.is_empty() {
            journal.send(marks_to_changes(&marks), |_| {});
        }
        drop(shelf);
        self.added.notify_waiters();
    }
}

impl Kme {
    /// Get key (clause 5.2), for `caller` as the master.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was consumed then.
    pub async fn enc_keys(
        self: &Arc<Self>,
        caller: &Arc<Sae>,
        exchange: Exchange,
        slave: &SaeId,
        request: &EncRequest,
    ) -> Result<Vec<DeliveredKey>, Refusal> {
        // The one in the path has the key already: whoever names it again means somebody else.
        if request.additional.contains(slave) {
            return Err(Refusal::Malformed(format!(
                "additional_slave_SAE_IDs shall not name `{slave}`, the slave itself"
            )));
        }
        if self.is_held() {
            return Err(Refusal::Unconfirmed);
        }
        let directory = self.directory();
        let target = self.target(&directory, caller, slave)?;
        for sae in &request.additional {
            self.target(&directory, caller, sae)?;
        }
        let bits = u64::from(request.number) * u64::from(request.size);
        if !caller.spend(bits) {
            return Err(Refusal::Quota);
        }
        let line = self.line(&caller.id, slave, &target);
        let given = self.give(&line, exchange, request).await;
        if given.is_err() {
            caller.refund(bits);
        }
        given
    }

    async fn give(
        self: &Arc<Self>,
        line: &Arc<Line>,
        exchange: Exchange,
        request: &EncRequest,
    ) -> Result<Vec<DeliveredKey>, Refusal> {
        let mut reservation = self.reserve(line, request).await?;
        reservation.exchange = exchange;
        let keys = self.cut(&reservation.places).await?;
        if request.additional.is_empty() {
            return self.hand_over(reservation, keys, vec![line.slave.clone()], request.size).await;
        }
        // In a task of its own: a caller that hangs up must not leave copies with other KMEs.
        let (kme, request) = (Arc::clone(self), request.clone());
        let shared = tokio::spawn(async move { kme.share(reservation, keys, &request).await });
        shared.await.unwrap_or(Err(Refusal::Storage))
    }

    /// Makes the delivery durable, notes it, and lets go of the keys.
    pub(super) async fn hand_over(
        &self,
        mut reservation: Reservation,
        keys: Vec<DeliveredKey>,
        slaves: Vec<SaeId>,
        size: u32,
    ) -> Result<Vec<DeliveredKey>, Refusal> {
        reservation.durable().await.map_err(|_| Refusal::Storage)?;
        self.evidence.delivered(DeliveryNote {
            kind: DeliveryKind::Master,
            master: reservation.line.master.clone(),
            slaves,
            keys: keys.iter().map(|key| key.id.evidence()).collect(),
            size,
            path: reservation.path,
            exchange: reservation.exchange,
        });
        self.soil(reservation.places.iter().map(|place| place.tag));
        reservation.settle();
        Ok(keys)
    }

    /// Reserves the keys asked for, waiting a while for an empty shelf to be filled.
    async fn reserve(self: &Arc<Self>, line: &Arc<Line>, request: &EncRequest) -> Result<Reservation, Refusal> {
        if let Ok(reservation) = self.try_reserve(line, request)? {
            return Ok(reservation);
        }
        let deadline = Instant::now() + self.config.timing.fill_wait.into();
        let _waiting = Waiting::new(line);
        loop {
            let added = line.added.notified();
            tokio::pin!(added);
            added.as_mut().enable();
            let short = match self.try_reserve(line, request)? {
                Ok(reservation) => return Ok(reservation),
                Err(short) => short,
            };
            // More of what is too weak would not help.
            if matches!(short, Short::WeakPath) && !self.can_strengthen(line) {
                return Err(RequiredPath::unmet());
            }
            let units = u64::from(request.number) * u64::from(request.size.div_ceil(64));
            self.want(line, units);
            if timeout_at(deadline, added).await.is_err() {
                if matches!(short, Short::WeakPath) {
                    return Err(RequiredPath::unmet());
                }
                let peer_down = line.peer_down.load(Ordering::Relaxed);
                return Err(if peer_down { Refusal::PeerDown } else { Refusal::Empty });
            }
        }
    }

    /// Whether a further sheet would have bits of a quantum channel, and there is room for it.
    fn can_strengthen(&self, line: &Line) -> bool {
        let limits = &self.config.limits;
        let ready = self.supply.ready(&line.kme).unwrap_or(0) as u64;
        let most = limits.max_key_count.saturating_mul(2).saturating_mul(limits.default_units());
        8 * ready >= u64::from(limits.max_key_size) && lock(&line.shelf).free() < most
    }

    fn try_reserve(
        self: &Arc<Self>,
        line: &Arc<Line>,
        request: &EncRequest,
    ) -> Result<Result<Reservation, Short>, Refusal> {
        if self.is_closed() {
            return Err(Refusal::Storage);
        }
        let least = match request.path {
            RequiredPath::Any => None,
            RequiredPath::Quantum => Some(KeyPath::QkdKem),
        };
        let mut shelf = lock(&line.shelf);
        let taken = match shelf.take(request.number, (request.size / 8) as u16, least) {
            Ok(taken) => taken,
            Err(short) => return Ok(Err(short)),
        };
        // Under the lock of the shelf: marks are written in the order in which they were made.
        let durable = self.send_marks(line, taken.marks, taken.wait);
        let free = shelf.free();
        drop(shelf);
        self.keep_up(line, free);
        let (line, journal) = (Arc::clone(line), self.journal.clone());
        // whoever gives them out says over what
        let exchange = Exchange::Classical;
        Ok(Ok(Reservation { line, journal, places: taken.places, path: taken.path, exchange, durable, open: true }))
    }

    fn send_marks(&self, line: &Arc<Line>, marks: Vec<Mark>, wait: bool) -> Option<oneshot::Receiver<bool>> {
        if marks.is_empty() {
            return None;
        }
        let (sender, receiver) = if wait { Some(oneshot::channel()) } else { None }.unzip();
        let line = Arc::clone(line);
        let changes = marks_to_changes(&marks);
        self.journal.send(changes, move |kept| {
            if kept {
                let mut shelf = lock(&line.shelf);
                marks.iter().for_each(|mark| shelf.durable(mark.tag, mark.leased));
            }
            sender.map(|sender| sender.send(kept));
        });
        receiver
    }

    /// Copies the keys out of their sheets.
    async fn cut(&self, places: &[Place]) -> Result<Vec<DeliveredKey>, Refusal> {
        let mut keys = Vec::with_capacity(places.len());
        let mut last: Option<(crate::id::SheetTag, Arc<crate::bodies::Body>)> = None;
        for place in places {
            let body = match last.take() {
                Some((tag, body)) if tag == place.tag => body,
                _ => {
                    let loaded = self.bodies.load(place.tag).await;
                    let loaded = loaded.inspect_err(|error| tracing::error!(%error, "a sheet of keys cannot be read"));
                    loaded.ok().flatten().ok_or(Refusal::Storage)?
                }
            };
            let key = body.key(*place).ok_or(Refusal::Storage)?;
            keys.push(DeliveredKey { id: KeyUuid::new(*place, &body.id_key), key });
            last = Some((place.tag, body));
        }
        Ok(keys)
    }
}

struct Waiting<'a>(&'a Line);

impl<'a> Waiting<'a> {
    fn new(line: &'a Line) -> Self {
        line.waiting.fetch_add(1, Ordering::Relaxed);
        Self(line)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
