//! Places for connections, so that no address takes all of them.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Places for connections, counted in all and by address.
#[derive(Clone)]
pub struct Slots {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_here: usize,
}

/// One place; given back when dropped.
pub struct Slot {
    counts: Arc<Mutex<Counts>>,
    address: IpAddr,
}

impl Slots {
    /// `most` places, and `most_here` for one address. Callers behind one address share it.
    pub fn new(most: usize, most_here: usize) -> Self {
        Self { counts: Arc::default(), most, most_here }
    }

    /// A place for `address`, while there is one.
    pub fn admit(&self, address: IpAddr) -> Option<Slot> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= self.most || here >= self.most_here {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        drop(counts);
        Some(Slot { counts: Arc::clone(&self.counts), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Slots;

    #[test]
    fn no_address_takes_every_place_and_places_come_back() {
        let slots = Slots::new(5, 3);
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let held: Vec<_> = std::iter::from_fn(|| slots.admit(one)).collect();
        assert_eq!(held.len(), 3);
        let rest: Vec<_> = std::iter::from_fn(|| slots.admit(other)).collect();
        assert_eq!(rest.len(), 2);
        drop(held);
        assert!(slots.admit(one).is_some());
        drop(rest);
        assert_eq!(slots.counts.lock().unwrap().all, 0);
        assert!(slots.counts.lock().unwrap().by_address.is_empty());
    }
}
