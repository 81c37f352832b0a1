//! Keys for several slaves: each slave's KME confirms them before the master has them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Kme, Line, Reservation, lock};
use crate::directory::Home;
use crate::id::{KeyUuid, KmeId, Place, SaeId};
use crate::peer::{KeyPath, PeerAnswer, PeerError, PeerMessage, SharedKey};
use crate::secret::KeyBytes;
use crate::wire::{DeliveredKey, EncRequest, Refusal, RequiredPath};

/// A reservation that failed, while a KME that may hold copies has not said that it destroyed them. Were it given
/// out again before, a SAE that is not entitled could fetch it there.
pub(super) struct Quarantined {
    line: Arc<Line>,
    places: Vec<Place>,
    ids: Vec<KeyUuid>,
    kmes: Vec<KmeId>,
}

/// What another KME made of shared keys.
enum Outcome {
    /// Under this path.
    Has(KeyPath),
    HasNot,
    Unknown,
}

impl Kme {
    pub(super) async fn share(
        self: Arc<Self>,
        mut reservation: Reservation,
        keys: Vec<DeliveredKey>,
        request: &EncRequest,
    ) -> Result<Vec<DeliveredKey>, Refusal> {
        let mut homes: BTreeMap<KmeId, Vec<SaeId>> = BTreeMap::new();
        let directory = self.directory();
        for slave in &request.additional {
            let kme = match directory.home(slave) {
                Some(Home::Here) => &self.config.id,
                Some(Home::At(kme)) => kme,
                None => return Err(Refusal::UnknownSae(slave.to_string())),
            };
            homes.entry(kme.clone()).or_default().push(slave.clone());
        }
        let here = homes.remove(&self.config.id);
        let outcomes = self.send_all(&reservation, &keys, homes, request.path).await;
        let confirmed = outcomes.iter().all(|(_, outcome)| matches!(outcome, Outcome::Has(_)));
        let weakest = outcomes.iter().filter_map(|(_, outcome)| match outcome {
            Outcome::Has(path) => Some(*path),
            _ => None,
        });
        reservation.path = weakest.fold(reservation.path, KeyPath::min);
        let kept = match here {
            Some(slaves) if confirmed => {
                let (master, path) = (reservation.line.master.clone(), reservation.path);
                self.keep_parcels(master, slaves, &shared(&keys), path).await
            }
            _ => true,
        };
        if !confirmed || !kept {
            let may_hold: Vec<KmeId> = outcomes
                .into_iter()
                .filter(|(_, outcome)| !matches!(outcome, Outcome::HasNot))
                .map(|(kme, _)| kme)
                .collect();
            self.take_back(reservation, &keys, may_hold).await;
            return Err(if confirmed { Refusal::Storage } else { Refusal::PeerDown });
        }
        let slaves = std::iter::once(reservation.line.slave.clone());
        let slaves = slaves.chain(request.additional.iter().cloned()).collect();
        self.hand_over(reservation, keys, slaves, request.size).await
    }

    async fn send_all(
        self: &Arc<Self>,
        reservation: &Reservation,
        keys: &[DeliveredKey],
        homes: BTreeMap<KmeId, Vec<SaeId>>,
        required: RequiredPath,
    ) -> Vec<(KmeId, Outcome)> {
        let mut sends = JoinSet::new();
        for (kme, slaves) in homes {
            let (master, path, required) = (reservation.line.master.clone(), reservation.path, required);
            let keys = shared(keys);
            let this = Arc::clone(self);
            sends.spawn(async move {
                // Bits that left this KME for no other may be sent under the best there is.
                let mut message = PeerMessage::Share { master, slaves, keys, path: KeyPath::QkdKem };
                if path == KeyPath::Kem {
                    message.weaken();
                }
                let wait = this.config.timing.confirm.into();
                let mut answer = timeout(wait, this.peer.send(&kme, &message)).await;
                if matches!(answer, Ok(Err(PeerError::NoPad(_)))) && required == RequiredPath::Any {
                    message.weaken();
                    answer = timeout(wait, this.peer.send(&kme, &message)).await;
                }
                let outcome = match answer {
                    Ok(Ok(PeerAnswer::Done)) => Outcome::Has(message.path().unwrap_or(KeyPath::Kem)),
                    Ok(Ok(PeerAnswer::Busy)) | Ok(Err(PeerError::NoAnswer(_))) | Err(_) => Outcome::Unknown,
                    Ok(Ok(_)) | Ok(Err(PeerError::Unreachable(_) | PeerError::NoPad(_))) => Outcome::HasNot,
                };
                (kme, outcome)
            });
        }
        sends.join_all().await
    }

    async fn take_back(&self, reservation: Reservation, keys: &[DeliveredKey], mut kmes: Vec<KmeId>) {
        let ids: Vec<KeyUuid> = keys.iter().map(|key| key.id).collect();
        self.void_at(&mut kmes, &ids).await;
        if kmes.is_empty() {
            // Dropped, the reservation returns.
            return;
        }
        let (line, places) = reservation.set_aside();
        lock(&self.quarantine).push(Quarantined { line, places, ids, kmes });
    }

    /// Leaves those in `kmes` that did not say that the keys are destroyed.
    async fn void_at(&self, kmes: &mut Vec<KmeId>, ids: &[KeyUuid]) {
        let message = PeerMessage::Void(ids.to_vec());
        let mut left = Vec::new();
        for kme in kmes.drain(..) {
            let answer = timeout(self.config.timing.confirm.into(), self.peer.send(&kme, &message)).await;
            if !matches!(answer, Ok(Ok(PeerAnswer::Done))) {
                left.push(kme);
            }
        }
        *kmes = left;
    }

    /// Returns the reservations whose copies are destroyed by now.
    pub(super) async fn release_quarantined(&self) {
        let all = std::mem::take(&mut *lock(&self.quarantine));
        for mut one in all {
            self.void_at(&mut one.kmes, &one.ids).await;
            if one.kmes.is_empty() {
                one.line.give_back(&one.places, &self.journal);
            } else {
                lock(&self.quarantine).push(one);
            }
        }
    }
}

fn shared(keys: &[DeliveredKey]) -> Vec<SharedKey> {
    keys.iter().map(|key| SharedKey { id: key.id, key: KeyBytes::from_slice(key.key.expose()) }).collect()
}
