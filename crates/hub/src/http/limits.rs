use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Most connections at a time.
const MOST: usize = 1_024;
/// Most connections of one address at a time. Callers behind one address share it.
const MOST_PER_ADDRESS: usize = 768;

#[derive(Default)]
struct Counts {
    all: usize,
    by_address: BTreeMap<IpAddr, usize>,
}

/// How many connections there are.
#[derive(Default, Clone)]
pub(super) struct Connections(Arc<Mutex<Counts>>);

/// One connection's place; given back when dropped.
pub(super) struct Slot {
    connections: Connections,
    address: IpAddr,
}

impl Connections {
    /// A place for a connection from `address`, while there is one.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Slot> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.all >= MOST || of_address >= MOST_PER_ADDRESS {
            return None;
        }
        counts.all += 1;
        counts.by_address.insert(address, of_address + 1);
        drop(counts);
        Some(Slot { connections: self.clone(), address })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut counts = self.connections.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    use super::{Connections, MOST, MOST_PER_ADDRESS};

    #[test]
    fn no_address_takes_every_place_and_places_come_back() {
        let connections = Connections::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let held: Vec<_> = std::iter::from_fn(|| connections.admit(one)).collect();
        assert_eq!(held.len(), MOST_PER_ADDRESS);
        let rest: Vec<_> = std::iter::from_fn(|| connections.admit(other)).collect();
        assert_eq!(rest.len(), MOST - MOST_PER_ADDRESS);
        drop(held);
        assert!(connections.admit(one).is_some());
        drop(rest);
        assert_eq!(connections.0.lock().unwrap().all, 0);
        assert!(connections.0.lock().unwrap().by_address.is_empty());
    }
}
