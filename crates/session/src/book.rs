//! The rosters one participant holds: compared, united, aged, shown to others.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use crypto::identity::{SignError, VerifyError};
use crypto::{IdentityKey, IdentityPublic};
use minicbor::{Decode, Encode};
use tokio::sync::watch;
use types::{BoundaryId, Millis, NodeId, Timestamp};

use crate::roster::{MAX_ROSTERS, Mark, Roster, SignedRoster, digest};
use crate::trust::TrustStore;

/// The clock of the machine, which may jump.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The system's clock.
pub fn system_clock() -> WallClock {
    Arc::new(|| {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// A roster was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Of another boundary.
    #[error("it is of boundary `{0}`")]
    Boundary(BoundaryId),
    /// Not signed by the hub.
    #[error("the hub did not sign it: {0}")]
    Signature(#[from] VerifyError),
    /// No hub in the trust file.
    #[error("the trust file names no hub: add its entry by hand")]
    NoHub,
}

/// What a roster changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Other nodes are members, or cut off, than before.
    Changed,
    /// The same, signed later.
    Renewed,
    /// Nothing: it is of an epoch that has passed, or held already.
    Old,
}

/// What a participant keeps across restarts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(array)]
pub struct Kept {
    /// The rosters of the highest epoch.
    #[n(0)]
    rosters: Vec<SignedRoster>,
    /// Everyone any of them cuts off.
    #[n(1)]
    isolated: Vec<NodeId>,
    /// The time by the hub's clock, when this was kept.
    #[n(2)]
    seen: Timestamp,
}

/// The rosters one participant holds.
///
/// Time here is the hub's: the highest it ever signed, and from there on the monotonic clock. The
/// machine's own clock may jump by years either way, and neither revives nor kills a roster.
pub struct Book {
    boundary: BoundaryId,
    hub: Option<IdentityPublic>,
    /// How old the newest roster may be; for ever where absent.
    life: Option<Millis>,
    wall: WallClock,
    inner: RwLock<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    rosters: Vec<SignedRoster>,
    members: BTreeSet<NodeId>,
    isolated: BTreeSet<NodeId>,
    mark: Mark,
    time: Option<(Timestamp, Instant)>,
}

impl Inner {
    fn now(&self) -> Option<Timestamp> {
        self.time.map(|(seen, at)| seen + Millis::new(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time goes on from `seen`, where that is later than it is.
    fn see(&mut self, seen: Timestamp) {
        if self.now().is_none_or(|now| now < seen) {
            self.time = Some((seen, Instant::now()));
        }
    }

    /// Whether `roster` says nothing that is not known: no signature needs to be checked for that.
    fn holds(&self, roster: &Roster) -> bool {
        if self.rosters.is_empty() {
            return false;
        }
        match roster.epoch.cmp(&self.mark.epoch) {
            Ordering::Less => true,
            Ordering::Equal => {
                roster.at <= self.mark.at && roster.isolated.iter().all(|node| self.isolated.contains(node))
            }
            Ordering::Greater => false,
        }
    }

    fn take(&mut self, signed: SignedRoster) -> Taken {
        let roster = &signed.roster;
        if self.holds(roster) {
            return Taken::Old;
        }
        let before = (self.members.clone(), self.isolated.clone(), self.mark.epoch);
        let isolated: BTreeSet<_> = roster.isolated.iter().cloned().collect();
        if roster.epoch > self.mark.epoch || self.rosters.is_empty() {
            (self.rosters, self.isolated) = (Vec::new(), BTreeSet::new());
            self.mark.at = Timestamp::default();
        }
        let newer = roster.at > self.mark.at;
        self.see(roster.at);
        if newer {
            self.members = roster.members.iter().cloned().collect();
            self.mark.at = roster.at;
        }
        self.isolated.extend(isolated);
        self.members.retain(|node| !self.isolated.contains(node));
        self.mark.epoch = roster.epoch;
        self.mark.isolated = digest(self.isolated.iter());
        self.rosters.retain(|held| held.roster.isolated != signed.roster.isolated || held.roster.at > signed.roster.at);
        if self.rosters.len() < MAX_ROSTERS {
            self.rosters.push(signed);
        }
        let now = (&self.members, &self.isolated, self.mark.epoch);
        if (&before.0, &before.1, before.2) == now { Taken::Renewed } else { Taken::Changed }
    }
}

impl Book {
    /// An empty book. `hub` signs what goes in; rosters older than `life` are good for nothing.
    pub fn new(boundary: BoundaryId, hub: Option<IdentityPublic>, life: Option<Millis>, wall: WallClock) -> Self {
        Self { boundary, hub, life, wall, inner: RwLock::default(), changes: watch::Sender::new(0) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// A book of what `trust` says, by the system's clock, with rosters that never age.
    pub fn of(trust: &TrustStore) -> Self {
        let hub = trust.get(&NodeId::hub()).map(|entry| entry.identity.clone());
        Self::new(trust.boundary().clone(), hub, None, system_clock())
    }

    /// Takes back what was kept. Time stood still since then, as far as anyone here can tell.
    ///
    /// # Errors
    /// [`RosterError`] where the hub did not sign it.
    pub fn restore(&self, kept: Kept) -> Result<(), RosterError> {
        for signed in kept.rosters {
            self.take(signed)?;
        }
        let mut inner = self.write();
        inner.isolated.extend(kept.isolated);
        let Inner { members, isolated, mark, .. } = &mut *inner;
        members.retain(|node| !isolated.contains(node));
        mark.isolated = digest(isolated.iter());
        if kept.seen > Timestamp::default() {
            inner.see(kept.seen);
        }
        Ok(())
    }

    /// What to keep across restarts.
    pub fn kept(&self) -> Kept {
        let inner = self.read();
        let seen = inner.now().unwrap_or_default();
        Kept { rosters: inner.rosters.clone(), isolated: inner.isolated.iter().cloned().collect(), seen }
    }

    /// Takes a roster that anyone showed. An older epoch changes nothing, a later one replaces, and of
    /// one epoch those cut off unite.
    ///
    /// # Errors
    /// [`RosterError`] where the hub did not sign it for this boundary.
    pub fn take(&self, signed: SignedRoster) -> Result<Taken, RosterError> {
        if signed.roster.boundary != self.boundary {
            return Err(RosterError::Boundary(signed.roster.boundary));
        }
        if self.read().holds(&signed.roster) {
            return Ok(Taken::Old);
        }
        signed.verify(self.hub.as_ref().ok_or(RosterError::NoHub)?)?;
        let taken = self.write().take(signed);
        if taken != Taken::Old {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(taken)
    }

    /// As the hub: signs what holds now, at a time that never falls.
    ///
    /// # Errors
    /// [`SignError`] of the library.
    pub fn issue(
        &self,
        identity: &IdentityKey,
        epoch: u64,
        members: Vec<NodeId>,
        isolated: Vec<NodeId>,
    ) -> Result<SignedRoster, SignError> {
        // Later than the one before, so that of two in a moment the second counts.
        let at = self.now().max(self.mark().at + Millis::new(1));
        let signed = Roster { boundary: self.boundary.clone(), epoch, at, members, isolated }.sign(identity)?;
        if self.write().take(signed.clone()) != Taken::Old {
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(signed)
    }

    /// The time is at least `seen`.
    pub fn see(&self, seen: Timestamp) {
        self.write().see(seen);
    }

    /// The time by the hub's clock, as far as it is known; the machine's before any was seen.
    pub fn now(&self) -> Timestamp {
        self.read().now().unwrap_or_else(|| (self.wall)())
    }

    /// From when and for how long a certificate is to be valid for `validity` by both clocks.
    pub fn dates(&self, validity: Millis) -> (Timestamp, Millis) {
        /// Peers' clocks may be behind.
        const BACKDATED: Millis = Millis::from_secs(300);
        let (now, wall) = (self.now(), self.wall());
        (now.min(wall) - BACKDATED, Millis::new(now.max(wall).since(now.min(wall)).get() + validity.get()))
    }

    /// The machine's clock, whatever it says.
    pub fn wall(&self) -> Timestamp {
        (self.wall)()
    }

    /// What a handshake says of it.
    pub fn mark(&self) -> Mark {
        self.read().mark
    }

    /// Members that are not cut off.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.read().members.clone()
    }

    /// Whether `node` may be talked to, going by the rosters; the hub always may.
    pub fn allows(&self, node: &NodeId) -> bool {
        node.is_hub() || self.read().members.contains(node)
    }

    /// Whether any roster held cuts `node` off.
    pub fn isolates(&self, node: &NodeId) -> bool {
        self.read().isolated.contains(node)
    }

    /// Whether the newest roster is young enough to go by.
    pub fn is_fresh(&self) -> bool {
        let Some(life) = self.life else { return true };
        let inner = self.read();
        !inner.rosters.is_empty() && inner.now().is_some_and(|now| now.since(inner.mark.at) <= life)
    }

    /// How old the newest roster may be; for ever where absent.
    pub fn life(&self) -> Option<Millis> {
        self.life
    }

    /// The rosters held, all of one epoch.
    pub fn rosters(&self) -> Vec<SignedRoster> {
        self.read().rosters.clone()
    }

    /// What a peer that said `mark` has not seen.
    pub(crate) fn lacking(&self, mark: &Mark) -> Vec<SignedRoster> {
        let inner = self.read();
        let behind = match inner.mark.epoch.cmp(&mark.epoch) {
            Ordering::Less => false,
            Ordering::Equal => inner.mark.isolated != mark.isolated || inner.mark.at > mark.at,
            Ordering::Greater => true,
        };
        if behind { inner.rosters.clone() } else { Vec::new() }
    }

    /// Told of every change.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl fmt::Debug for Book {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Book({} at epoch {})", self.boundary, self.mark().epoch)
    }
}

#[cfg(test)]
mod tests;
