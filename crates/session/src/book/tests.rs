use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crypto::{Entropy, IdentityKey};
use proptest::prelude::*;
use types::{Millis, NodeId, Timestamp};

use super::{Book, Inner, RosterError, Taken, WallClock};
use crate::roster::{Roster, SignedRoster};

fn nodes(which: u8) -> Vec<NodeId> {
    (0..4).filter(|at| which & (1 << at) != 0).map(|at| format!("n{at}").parse().unwrap()).collect()
}

fn roster(epoch: u64, at: u64, isolated: u8) -> Roster {
    let at = Timestamp::from_millis(at);
    let (members, isolated) = (nodes(!isolated), nodes(isolated));
    Roster { boundary: "site".parse().unwrap(), epoch, at, members, isolated }
}

struct Hub(IdentityKey);

impl Hub {
    fn new() -> Self {
        Self(IdentityKey::generate(&Entropy::system().unwrap()).unwrap())
    }

    fn signed(&self, epoch: u64, at: u64, isolated: u8) -> SignedRoster {
        roster(epoch, at, isolated).sign(&self.0).unwrap()
    }

    fn book(&self, life: Option<Millis>, wall: WallClock) -> Book {
        Book::new("site".parse().unwrap(), Some(self.0.public().clone()), life, wall)
    }
}

const NOW: u64 = 1_800_000_000_000;
const YEAR: u64 = 365 * 24 * 3_600_000;

proptest! {
    /// S13, SM-02: over any order of rosters, replayed ones included, the epoch never falls, and who
    /// was cut off at an epoch is let in only by a roster of a later one.
    #[test]
    fn s13_an_old_roster_undoes_nothing(shown in prop::collection::vec((0..6_u64, 0..9_u64, 0..16_u8), 0..40)) {
        let mut inner = Inner::default();
        let mut cut: Vec<(u64, NodeId)> = Vec::new();
        for (epoch, at, isolated) in shown {
            let before = inner.mark.epoch;
            let signed = SignedRoster { roster: roster(epoch, NOW + at, isolated), signature: Vec::new() };
            let empty = inner.rosters.is_empty();
            let taken = inner.take(signed);
            prop_assert!(inner.mark.epoch >= before);
            prop_assert!(epoch >= before || empty || taken == Taken::Old);
            if epoch >= before || empty {
                cut.extend(nodes(isolated).into_iter().map(|node| (epoch, node)));
            }
            for (_, node) in cut.iter().filter(|(at, _)| *at == inner.mark.epoch) {
                prop_assert!(inner.isolated.contains(node) && !inner.members.contains(node));
            }
            prop_assert!(inner.rosters.len() <= crate::roster::MAX_ROSTERS);
        }
    }

    /// S13: two who were shown the rosters of one epoch in any order, and then show each other theirs,
    /// cut off the same nodes.
    #[test]
    fn s13_isolated_sets_unite(one in prop::collection::vec((0..5_u64, 0..16_u8), 1..4), other in prop::collection::vec((0..5_u64, 0..16_u8), 1..4)) {
        let take = |inner: &mut Inner, (at, isolated): (u64, u8)| {
            inner.take(SignedRoster { roster: roster(7, NOW + at, isolated), signature: Vec::new() });
        };
        let (mut a, mut b) = (Inner::default(), Inner::default());
        one.iter().for_each(|&shown| take(&mut a, shown));
        other.iter().for_each(|&shown| take(&mut b, shown));
        let (from_a, from_b) = (a.rosters.clone(), b.rosters.clone());
        from_a.into_iter().for_each(|signed| {
            b.take(signed);
        });
        from_b.into_iter().for_each(|signed| {
            a.take(signed);
        });
        prop_assert_eq!(&a.isolated, &b.isolated);
        prop_assert!(a.mark.agrees(&b.mark));
        let all: BTreeSet<_> = one.iter().chain(&other).flat_map(|&(_, isolated)| nodes(isolated)).collect();
        prop_assert_eq!(a.isolated, all);
    }
}

/// S13: only the hub's signature makes a roster, and only for its own boundary.
#[test]
fn s13_nobody_else_signs_a_roster() {
    let (hub, other) = (Hub::new(), Hub::new());
    let book = hub.book(None, crate::book::system_clock());
    let mut altered = hub.signed(3, NOW, 2);
    altered.roster.isolated.clear();
    for forged in [other.signed(3, NOW, 2), altered] {
        assert!(matches!(book.take(forged), Err(RosterError::Signature(_))));
    }
    let mut foreign = roster(3, NOW, 2);
    foreign.boundary = "other".parse().unwrap();
    assert!(matches!(book.take(foreign.sign(&hub.0).unwrap()), Err(RosterError::Boundary(_))));
    assert_eq!(book.mark(), Default::default());
    assert_eq!(book.take(hub.signed(3, NOW, 2)), Ok(Taken::Changed));
    assert_eq!(book.take(hub.signed(3, NOW + 1, 2)), Ok(Taken::Renewed));
    assert_eq!(book.take(hub.signed(2, NOW + 2, 0)), Ok(Taken::Old));
    let mut wider = hub.signed(3, NOW, 2);
    wider.roster.isolated = nodes(3);
    assert!(matches!(book.take(wider), Err(RosterError::Signature(_))));
    assert!(book.isolates(&nodes(2)[0]) && !book.allows(&nodes(2)[0]));
}

/// S13: the machine's clock may jump by a year either way: a fresh roster stays fresh, and an old one
/// stays old, across a restart too.
#[test]
fn s13_a_clock_that_jumps_changes_nothing() {
    let hub = Hub::new();
    let wall = Arc::new(AtomicU64::new(NOW));
    let clock = || -> WallClock {
        let wall = Arc::clone(&wall);
        Arc::new(move || Timestamp::from_millis(wall.load(Ordering::Relaxed)))
    };
    let (fresh, old) =
        (hub.book(Some(Millis::from_hours(24)), clock()), hub.book(Some(Millis::from_hours(24)), clock()));
    assert!(!fresh.is_fresh(), "without a roster there is nothing to go by");
    fresh.take(hub.signed(1, NOW, 0)).unwrap();
    old.take(hub.signed(1, NOW, 0)).unwrap();
    old.see(Timestamp::from_millis(NOW) + Millis::from_hours(25));
    for jumped in [NOW, NOW + YEAR, NOW - YEAR] {
        wall.store(jumped, Ordering::Relaxed);
        assert!(fresh.is_fresh() && !old.is_fresh(), "at {jumped}");
        let restarted = hub.book(Some(Millis::from_hours(24)), clock());
        restarted.restore(old.kept()).unwrap();
        assert!(!restarted.is_fresh() && restarted.mark() == old.mark());
        let restarted = hub.book(Some(Millis::from_hours(24)), clock());
        restarted.restore(fresh.kept()).unwrap();
        assert!(restarted.is_fresh());
    }
    old.take(hub.signed(1, NOW + 26 * 3_600_000, 0)).unwrap();
    assert!(old.is_fresh(), "a newer one helps");
}
