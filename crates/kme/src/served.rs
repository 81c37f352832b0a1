//! The keys at the slaves' side: which units of which sheet were fetched. Pure book-keeping.

use std::collections::HashMap;

use types::{Millis, Timestamp};

use crate::id::{KeyUuid, Place, SaeId, SheetTag};
use crate::peer::KeyPath;
use crate::shelf::Stretch;

/// A sheet at the slave's side.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) master: SaeId,
    pub(crate) slave: SaeId,
    pub(crate) path: KeyPath,
    /// One bit per unit, set once it was fetched.
    got: Vec<u8>,
    left: u32,
    /// When the master's side said that no further key comes.
    pub(crate) finished: Option<Timestamp>,
}

impl Serving {
    /// A sheet of `units`, none fetched.
    pub(crate) fn new(master: SaeId, slave: SaeId, path: KeyPath, units: u16) -> Self {
        let got = vec![0; usize::from(units).div_ceil(8)];
        Self { master, slave, path, got, left: u32::from(units), finished: None }
    }

    fn is_free(&self, place: Place) -> bool {
        let units = place.start..place.start + place.units();
        usize::from(units.end) <= self.got.len() * 8
            && units.into_iter().all(|unit| self.got[usize::from(unit / 8)] & (1 << (unit % 8)) == 0)
    }

    fn set(&mut self, place: Place) {
        for unit in place.start..place.start + place.units() {
            self.got[usize::from(unit / 8)] |= 1 << (unit % 8);
        }
        self.left = self.left.saturating_sub(u32::from(place.units()));
    }

    /// What must be durable before the keys set so far are answered.
    pub(crate) fn mark(&self) -> Vec<u8> {
        self.got.clone()
    }

    /// Stretches that were fetched.
    pub(crate) fn delivered(&self) -> Vec<Stretch> {
        let mut out: Vec<Stretch> = Vec::new();
        for unit in 0..self.got.len() as u16 * 8 {
            if self.got[usize::from(unit / 8)] & (1 << (unit % 8)) != 0 {
                match out.last_mut() {
                    Some(last) if last.start + last.len == unit => last.len += 1,
                    _ => out.push(Stretch { start: unit, len: 1 }),
                }
            }
        }
        out
    }

    /// Whether nothing can be fetched any more.
    pub(crate) fn is_over(&self, now: Timestamp, ttl: Millis) -> bool {
        self.left == 0 || self.finished.is_some_and(|at| at + ttl <= now)
    }
}

/// A key shared with additional slaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) master: SaeId,
    /// Slaves that did not fetch it yet.
    pub(crate) waiting: Vec<SaeId>,
    /// Slaves that did.
    pub(crate) served: Vec<SaeId>,
    pub(crate) path: KeyPath,
    pub(crate) since: Timestamp,
}

impl Parcel {
    /// Whether `slave` is one of its slaves.
    pub(crate) fn is_for(&self, slave: &SaeId) -> bool {
        self.waiting.contains(slave) || self.served.contains(slave)
    }
}

/// Where a key asked for lies.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Source {
    /// In a sheet; its identifier was found genuine.
    Sheet(Place),
    /// Shared on its own.
    Parcel,
}

/// Why keys are not delivered to a slave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// One is not here, or was fetched before.
    NotFound,
    /// One is for others.
    NotEntitled,
}

/// What changed with a delivery.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    /// Marks of sheets.
    pub(crate) sheets: Vec<(SheetTag, Vec<u8>)>,
    /// Parcels, and whether their last slave has them now.
    pub(crate) parcels: Vec<(KeyUuid, bool)>,
    /// The weakest path.
    pub(crate) path: Option<KeyPath>,
}

/// Everything that slaves of this KME can fetch.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) sheets: HashMap<SheetTag, Serving>,
    pub(crate) parcels: HashMap<KeyUuid, Parcel>,
}

impl Served {
    /// Gives all of `wanted` to `slave`, or none.
    pub(crate) fn fetch(
        &mut self,
        master: &SaeId,
        slave: &SaeId,
        wanted: &[(KeyUuid, Source)],
    ) -> Result<Fetched, Denied> {
        let verdicts = wanted.iter().map(|(id, source)| self.check(master, slave, id, *source));
        // Who is not entitled learns nothing about what is left.
        if let Some(denied) = verdicts.filter_map(Result::err).max_by_key(|denied| *denied == Denied::NotEntitled) {
            return Err(denied);
        }
        let mut fetched = Fetched::default();
        let mut tags: Vec<SheetTag> = Vec::new();
        for (id, source) in wanted {
            let path = match source {
                Source::Sheet(place) => self.sheets.get_mut(&place.tag).map(|sheet| {
                    sheet.set(*place);
                    if !tags.contains(&place.tag) {
                        tags.push(place.tag);
                    }
                    sheet.path
                }),
                Source::Parcel => self.parcels.get_mut(id).map(|parcel| {
                    parcel.waiting.retain(|waiting| waiting != slave);
                    parcel.served.push(slave.clone());
                    fetched.parcels.push((*id, parcel.waiting.is_empty()));
                    parcel.path
                }),
            };
            fetched.path = fetched.path.min(path).or(path);
        }
        fetched.sheets = tags.into_iter().filter_map(|tag| Some((tag, self.sheets.get(&tag)?.mark()))).collect();
        Ok(fetched)
    }

    fn check(&self, master: &SaeId, slave: &SaeId, id: &KeyUuid, source: Source) -> Result<(), Denied> {
        match source {
            Source::Sheet(place) => match self.sheets.get(&place.tag) {
                None => Err(Denied::NotFound),
                Some(sheet) if sheet.slave != *slave => Err(Denied::NotEntitled),
                Some(sheet) if sheet.master != *master || !sheet.is_free(place) => Err(Denied::NotFound),
                Some(_) => Ok(()),
            },
            Source::Parcel => match self.parcels.get(id) {
                None => Err(Denied::NotFound),
                Some(parcel) if parcel.master == *master && parcel.waiting.contains(slave) => Ok(()),
                Some(parcel) if parcel.served.contains(slave) || parcel.waiting.contains(slave) => {
                    Err(Denied::NotFound)
                }
                Some(_) => Err(Denied::NotEntitled),
            },
        }
    }
}
