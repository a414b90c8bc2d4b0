//! Rates: so many in some time on average, and as many at once. Says when there is room again; never waits.
//!
//! A bucket is one moment (GCRA, ITU-T I.371): when it will be full again if nothing more is taken.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidings_config::Rate;

/// Buckets that are kept before those that are full again are forgotten.
const KEPT_LEAST: usize = 1_024;

/// What is left of a rate.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    full_at: Instant,
}

impl Bucket {
    /// A full one.
    #[must_use]
    pub fn new(rate: Rate) -> Self {
        Self { rate, full_at: Instant::now() }
    }

    /// Takes so many at a moment. More than there can ever be take all there can be.
    ///
    /// # Errors
    /// After how long there will be as many.
    pub fn take(&mut self, count: u32, now: Instant) -> Result<(), Duration> {
        let (full_at, missing) = self.without(count, now);
        if missing.is_zero() {
            self.full_at = full_at;
            return Ok(());
        }
        Err(missing)
    }

    /// Takes so many whether they are there or not: after how long nobody will miss them any more.
    #[must_use]
    pub fn owe(&mut self, count: u32, now: Instant) -> Duration {
        let missing;
        (self.full_at, missing) = self.without(count, now);
        missing
    }

    /// When it would be full again without so many, and after how long there would be as many.
    fn without(&self, count: u32, now: Instant) -> (Instant, Duration) {
        let (period, most) = (self.rate.period(), self.rate.count.get());
        let full_at = self.full_at.max(now) + period * count.min(most) / most;
        (full_at, full_at.duration_since(now).saturating_sub(period))
    }
}

/// A bucket for each key. Those that are full again are forgotten, so that there are as many as were used lately. All are
/// full when the rate becomes another one: what was taken at a rate of an hour says nothing of one of a second.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    buckets: Mutex<Buckets<K>>,
}

#[derive(Debug)]
struct Buckets<K> {
    of: HashMap<K, Bucket>,
    /// Forgets when there are so many.
    forget_at: usize,
}

impl<K: Eq + Hash> Rates<K> {
    pub(crate) fn new() -> Self {
        Self { buckets: Mutex::new(Buckets { of: HashMap::new(), forget_at: KEPT_LEAST }) }
    }

    /// Takes so many from the bucket of a key, at the rate that there is now.
    pub(crate) fn take(&self, key: K, rate: Rate, count: u32, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.of.len() >= buckets.forget_at {
            buckets.of.retain(|_, bucket| bucket.full_at > now);
            buckets.forget_at = (2 * buckets.of.len()).max(KEPT_LEAST);
        }
        let fresh = Bucket { rate, full_at: now };
        let bucket = buckets.of.entry(key).or_insert(fresh);
        if bucket.rate != rate {
            *bucket = fresh;
        }
        bucket.take(count, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(count: u32, seconds: u32) -> Rate {
        Rate { count: count.try_into().unwrap(), seconds: seconds.try_into().unwrap() }
    }

    #[test]
    fn so_many_pass_at_once_and_then_as_time_allows() {
        let mut bucket = Bucket::new(rate(100, 5));
        let begun = Instant::now();
        assert!((0..100).all(|_| bucket.take(1, begun).is_ok()));
        let wait = bucket.take(1, begun).unwrap_err();
        assert!(wait <= Duration::from_millis(50) && wait > Duration::from_millis(45), "{wait:?}");
        assert!(bucket.take(1, begun + wait).is_ok(), "it says when");
        assert!(
            bucket.take(1, begun + wait).is_err(),
            "and what was refused has cost nothing, nor gained anything"
        );
        let later = begun + Duration::from_secs(60);
        assert!((0..100).all(|_| bucket.take(1, later).is_ok()), "nobody saves up more than a bucket");
        assert!(bucket.take(1, later).is_err());
    }

    #[test]
    fn what_is_owed_has_to_be_waited_for() {
        let mut bucket = Bucket::new(rate(10, 1));
        let begun = Instant::now();
        assert!((0..10).all(|_| bucket.owe(1, begun).is_zero()));
        let (first, second) = (bucket.owe(1, begun), bucket.owe(1, begun));
        assert_eq!(second - first, Duration::from_millis(100));
        assert!(bucket.take(1, begun + second).is_err(), "what was owed is paid, and nothing is left");
        assert!(bucket.take(1, begun + second + Duration::from_millis(100)).is_ok());
    }

    #[test]
    fn more_than_there_can_be_take_all_there_can_be() {
        let mut bucket = Bucket::new(rate(100, 5));
        let begun = Instant::now();
        assert!(bucket.take(1_000, begun).is_ok());
        assert!(bucket.take(1, begun).is_err());
        assert!(bucket.take(1_000, begun + Duration::from_secs(4)).is_err());
        assert!(bucket.take(1_000, begun + Duration::from_secs(5)).is_ok());
    }

    #[test]
    fn each_key_has_its_own_and_those_that_are_full_are_forgotten() {
        let (rates, rate) = (Rates::new(), rate(1, 5));
        let begun = Instant::now();
        assert!(rates.take(0, rate, 1, begun).is_ok());
        assert!(rates.take(0, rate, 1, begun).is_err());
        assert!((1..KEPT_LEAST).all(|key| rates.take(key, rate, 1, begun).is_ok()));
        let later = begun + Duration::from_secs(6);
        assert!(rates.take(0, rate, 1, later).is_ok());
        assert_eq!(rates.buckets.lock().unwrap().of.len(), 1);
    }

    #[test]
    fn another_rate_counts_at_once_and_from_the_beginning() {
        let (rates, begun) = (Rates::new(), Instant::now());
        assert!(rates.take(0, rate(1, 3_600), 1, begun).is_ok());
        assert!(rates.take(0, rate(1, 3_600), 1, begun).is_err());
        assert!(rates.take(0, rate(2, 1), 2, begun).is_ok());
        assert!(rates.take(0, rate(2, 1), 1, begun).is_err());
    }
}
