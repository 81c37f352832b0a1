//! Places for connections. No address takes them from others: where all are taken, the newest caller of the
//! greediest address gives way, those first who have not finished their handshake.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// Who counts as one caller: an IPv4 address, or an IPv6 network of 64 bits, which is what one site is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Caller(IpAddr);

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V4(address) => address.into(),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
        })
    }
}

impl From<Ipv4Addr> for Caller {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

/// A place that is taken.
struct Taken {
    finished: bool,
    out: watch::Sender<bool>,
}

#[derive(Default)]
struct Table {
    next: u64,
    all: usize,
    /// By caller and number; a higher number is younger.
    callers: BTreeMap<Caller, BTreeMap<u64, Taken>>,
}

impl Table {
    fn count(&self, caller: Caller) -> usize {
        self.callers.get(&caller).map_or(0, BTreeMap::len)
    }

    fn remove(&mut self, caller: Caller, number: u64) -> Option<Taken> {
        let places = self.callers.get_mut(&caller)?;
        let taken = places.remove(&number)?;
        if places.is_empty() {
            self.callers.remove(&caller);
        }
        self.all -= 1;
        Some(taken)
    }

    /// Whose place goes to `newcomer`: the youngest that is not `finished` yet of the greediest caller, else the
    /// youngest of any kind of the greediest; never one of a caller who has no more than the newcomer would. Where
    /// there is none such, the newcomer's own that is longest at its handshake, and for who has none yet anyone's.
    fn victim(&self, newcomer: Caller) -> Option<(Caller, u64)> {
        let wanted = self.count(newcomer) + 1;
        let greediest = |unfinished_only: bool| {
            let open =
                self.callers.iter().filter(|(_, places)| places.len() > wanted).filter_map(|(caller, places)| {
                    let youngest = places.iter().rev().find(|(_, taken)| !(unfinished_only && taken.finished));
                    youngest.map(|(number, _)| (places.len(), *caller, *number))
                });
            open.max_by_key(|(count, ..)| *count).map(|(_, caller, number)| (caller, number))
        };
        let own = || self.lingering(Some(newcomer));
        let any = || self.lingering(None).filter(|_| wanted == 1);
        greediest(true).or_else(|| greediest(false)).or_else(own).or_else(any)
    }

    /// Who has been at its handshake longest, of one caller or of all. An honest one takes milliseconds.
    fn lingering(&self, of: Option<Caller>) -> Option<(Caller, u64)> {
        let callers = self.callers.iter().filter(|(caller, _)| of.is_none_or(|of| of == **caller));
        let open = callers.flat_map(|(caller, places)| places.iter().map(move |place| (*caller, place)));
        let unfinished = open.filter(|(_, (_, taken))| !taken.finished);
        unfinished.map(|(caller, (number, _))| (caller, *number)).min_by_key(|(_, number)| *number)
    }
}

/// Places for connections, counted in all and by caller.
#[derive(Clone)]
pub struct Slots {
    table: Arc<Mutex<Table>>,
    most: usize,
    most_here: usize,
}

/// One place; given back when dropped.
pub struct Slot {
    table: Arc<Mutex<Table>>,
    caller: Caller,
    number: u64,
    out: watch::Receiver<bool>,
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slots({} of {})", lock(&self.table).all, self.most)
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Slot({:?} {})", self.caller, self.number)
    }
}

impl Slots {
    /// `most` places, and `most_here` for one caller. Whoever is behind one address shares its places.
    pub fn new(most: usize, most_here: usize) -> Self {
        Self { table: Arc::default(), most, most_here }
    }

    /// A place for `address`. Where all are taken, one of a greedier caller is taken from it.
    pub fn admit(&self, address: IpAddr) -> Option<Slot> {
        let caller = Caller::from(address);
        let mut table = lock(&self.table);
        let victim = if table.count(caller) >= self.most_here {
            Some(table.lingering(Some(caller))?)
        } else if table.all >= self.most {
            Some(table.victim(caller)?)
        } else {
            None
        };
        if let Some((greedy, number)) = victim {
            table.remove(greedy, number)?.out.send_replace(true);
        }
        let (number, (out, told)) = (table.next, watch::channel(false));
        table.next += 1;
        table.all += 1;
        table.callers.entry(caller).or_default().insert(number, Taken { finished: false, out });
        Some(Slot { table: Arc::clone(&self.table), caller, number, out: told })
    }
}

impl Slot {
    /// Says that the caller has finished its handshake: it is the last to give way.
    pub fn finished(&self) {
        let mut table = lock(&self.table);
        if let Some(taken) = table.callers.get_mut(&self.caller).and_then(|places| places.get_mut(&self.number)) {
            taken.finished = true;
        }
    }

    /// Waits until the place is taken away.
    pub async fn lost(&self) {
        let mut out = self.out.clone();
        // the table keeps the other end until it takes the place away
        let _ = out.wait_for(|out| *out).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        lock(&self.table).remove(self.caller, self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::{Slot, Slots, lock};

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn is_lost(slot: &Slot) -> bool {
        *slot.out.borrow()
    }

    #[test]
    fn no_address_takes_every_place_and_places_come_back() {
        let slots = Slots::new(5, 3);
        let (one, other) = (address("127.0.0.1"), address("127.0.0.2"));
        let held: Vec<_> = std::iter::from_fn(|| slots.admit(one)).take(3).collect();
        held.iter().for_each(Slot::finished);
        assert!(slots.admit(one).is_none());
        let rest: Vec<_> = std::iter::from_fn(|| slots.admit(other)).take(2).collect();
        assert_eq!((rest.len(), held.iter().filter(|slot| is_lost(slot)).count()), (2, 0));
        drop(held);
        assert!(slots.admit(one).is_some());
        drop(rest);
        assert!(lock(&slots.table).all == 0 && lock(&slots.table).callers.is_empty());
    }

    #[test]
    fn s8_the_greediest_gives_way_and_first_who_has_not_finished() {
        let slots = Slots::new(6, 6);
        let held: Vec<_> = (0..6).filter_map(|_| slots.admit(address("10.0.0.1"))).collect();
        held.iter().step_by(2).for_each(Slot::finished);
        let modest: Vec<_> = (0..3).filter_map(|_| slots.admit(address("10.0.0.2"))).collect();
        assert_eq!(modest.len(), 3);
        let lost: Vec<_> = held.iter().map(is_lost).collect();
        assert_eq!(lost, [false, true, false, true, false, true], "those that had finished stay");
        let fourth = slots.admit(address("10.0.0.2")).unwrap();
        assert_eq!(modest.iter().map(is_lost).collect::<Vec<_>>(), [true, false, false], "it takes its own oldest");
        let third = slots.admit(address("10.0.0.3")).unwrap();
        assert!(is_lost(&fourth), "the youngest of the greediest");
        assert!(!is_lost(&third));
    }

    #[test]
    fn s8_where_all_have_one_place_the_longest_at_its_handshake_gives_way() {
        let slots = Slots::new(3, 3);
        let held: Vec<_> = (1..4).filter_map(|last| slots.admit(address(&format!("10.0.0.{last}")))).collect();
        held[0].finished();
        let fourth = slots.admit(address("10.0.0.9")).unwrap();
        assert_eq!(held.iter().map(is_lost).collect::<Vec<_>>(), [false, true, false]);
        fourth.finished();
        held[2].finished();
        assert!(slots.admit(address("10.0.0.9")).is_none(), "who has one already waits");
        assert!(slots.admit(address("10.0.0.8")).is_none());
    }

    #[test]
    fn s8_an_ipv6_site_is_one_caller() {
        let slots = Slots::new(8, 2);
        let site = |last: u16| address(&format!("2001:db8:1:2::{last:x}"));
        let held: Vec<_> = (1..9).filter_map(|last| slots.admit(site(last))).collect();
        assert_eq!(held.iter().filter(|slot| !is_lost(slot)).count(), 2);
        assert!(slots.admit(address("2001:db8:1:3::1")).is_some());
        let mapped: Vec<_> = ["::ffff:10.0.0.1", "10.0.0.1", "10.0.0.1"].map(address).into();
        let mapped: Vec<_> = mapped.into_iter().filter_map(|from| slots.admit(from)).collect();
        assert_eq!(mapped.iter().map(is_lost).collect::<Vec<_>>(), [true, false, false]);
    }
}
