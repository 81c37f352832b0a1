//! Token buckets that may go into debt: what something costs is known only after it was taken in.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How much may come at once, and how fast more may come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// What a full bucket holds.
    pub burst: f64,
    /// What it gains a second.
    pub per_second: f64,
}

/// A token bucket.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    rate: Rate,
    left: f64,
    at: Instant,
}

impl Bucket {
    /// A full one.
    pub fn new(rate: Rate) -> Self {
        Self { rate, left: rate.burst, at: Instant::now() }
    }

    fn fill(&mut self, now: Instant) {
        let gained = self.rate.per_second * now.saturating_duration_since(self.at).as_secs_f64();
        (self.left, self.at) = ((self.left + gained).min(self.rate.burst), now);
    }

    /// Takes `cost` in any case, and says how long to wait until nothing is owed.
    pub fn spend(&mut self, cost: f64) -> Duration {
        self.fill(Instant::now());
        self.left -= cost;
        Duration::try_from_secs_f64(-self.left / self.rate.per_second).unwrap_or(Duration::ZERO)
    }

    /// Takes `cost` where there is as much.
    pub fn take(&mut self, cost: f64) -> bool {
        self.fill(Instant::now());
        let enough = self.left >= cost;
        if enough {
            self.left -= cost;
        }
        enough
    }

    /// Puts back what was taken and not used.
    pub fn give_back(&mut self, cost: f64) {
        self.left = (self.left + cost).min(self.rate.burst);
    }

    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.left >= self.rate.burst
    }
}

/// A bucket for each caller. A full bucket is forgotten, so that there are only as many as callers of late.
#[derive(Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    known: Mutex<Known<K>>,
}

#[derive(Debug)]
struct Known<K> {
    each: BTreeMap<K, Bucket>,
    /// Of those there is no room for.
    others: Bucket,
}

impl<K: Ord> Buckets<K> {
    /// For `most` callers at a time; those beyond share one bucket.
    pub fn new(rate: Rate, most: usize) -> Self {
        Self { rate, most, known: Mutex::new(Known { each: BTreeMap::new(), others: Bucket::new(rate) }) }
    }

    fn lock(&self) -> MutexGuard<'_, Known<K>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `cost` from the bucket of `caller` where there is as much.
    pub fn take(&self, caller: K, cost: f64) -> bool {
        let mut known = self.lock();
        if known.each.len() >= self.most && !known.each.contains_key(&caller) {
            let now = Instant::now();
            known.each.retain(|_, bucket| !bucket.is_full(now));
            if known.each.len() >= self.most {
                return known.others.take(cost);
            }
        }
        known.each.entry(caller).or_insert_with(|| Bucket::new(self.rate)).take(cost)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bucket, Buckets, Rate};

    const SLOW: Rate = Rate { burst: 10.0, per_second: 1e-3 };

    #[test]
    fn what_was_taken_beyond_the_bucket_is_waited_for() {
        let mut bucket = Bucket::new(Rate { burst: 10.0, per_second: 1.0 });
        assert_eq!(bucket.spend(10.0), Duration::ZERO);
        let wait = bucket.spend(50.0);
        assert!(wait > Duration::from_secs(45) && wait <= Duration::from_secs(50), "{wait:?}");
        assert!(!bucket.take(1.0));
    }

    #[test]
    fn callers_do_not_spend_for_each_other() {
        let buckets = Buckets::new(SLOW, 2);
        assert_eq!((0..20).filter(|_| buckets.take("greedy", 1.0)).count(), 10);
        assert!(buckets.take("modest", 1.0));
        assert_eq!((0..20).filter(|at| buckets.take(["third", "fourth"][at % 2], 1.0)).count(), 10, "they share one");
        assert!(buckets.take("modest", 1.0));
        assert_eq!(buckets.lock().each.len(), 2);
    }

    #[test]
    fn full_buckets_are_forgotten() {
        let buckets = Buckets::new(Rate { burst: 1.0, per_second: 1e12 }, 2);
        assert!((0..100).all(|caller| buckets.take(caller, 1.0)));
        assert!(buckets.lock().each.len() <= 2);
    }
}
