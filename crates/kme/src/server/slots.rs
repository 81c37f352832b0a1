use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// Places for connections, counted in all and by address.
#[derive(Default, Clone)]
pub(super) struct Slots(Arc<Mutex<Counts>>);

/// One place; given back when dropped.
pub(super) struct Slot {
    slots: Slots,
    address: IpAddr,
}

impl Slots {
    /// A place for `address`, while there are fewer than `most`, and fewer than `most_here` of this address.
    pub(super) fn admit(&self, address: IpAddr, most: usize, most_here: usize) -> Option<Slot> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= most || here >= most_here {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, here + 1);
        drop(counts);
        Some(Slot { slots: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.slots.0.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn places_are_shared_among_addresses_and_come_back() {
        let slots = Slots::default();
        let (one, other) = (IpAddr::from([127, 0, 0, 1]), IpAddr::from([127, 0, 0, 2]));
        let mut held: Vec<_> = std::iter::from_fn(|| slots.admit(one, 5, 3)).collect();
        assert_eq!(held.len(), 3);
        held.extend(std::iter::from_fn(|| slots.admit(other, 5, 3)));
        assert_eq!(held.len(), 5);
        held.clear();
        assert!(slots.admit(one, 5, 3).is_some());
        assert!(slots.0.lock().unwrap().by_address.is_empty());
    }
}
