//! What the engine counts about itself, as plain numbers in memory since the process began. Written a commit, a batch or a
//! parcel at a time; never a lock that a delivery waits for.
//!
//! Whoever shows them gives them names and a format: the engine knows none. Nothing is counted by user, channel or tenant, of
//! which there is no bound.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::event::Event;
use crate::resume::{Reset, Resumed};

/// Types of events, and transports, told apart at most: those of plugins may have any name.
const NAMES_MOST: usize = 64;
/// What is counted beyond that.
const OTHER: &str = "other";

/// Seconds of what the disk does.
const DISK_SECONDS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
/// Seconds from an event's time to its being written to a device.
const DELIVERY_SECONDS: &[f64] =
    &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];
/// Seconds that connections last.
const CONNECTION_SECONDS: &[f64] = &[1.0, 10.0, 60.0, 300.0, 1_800.0, 3_600.0, 14_400.0, 86_400.0];
/// Commands that share a commit.
const COMMANDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How much it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often a value was how large.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bound, and one for what is larger.
    counts: Box<[AtomicU64]>,
    sum_micros: AtomicU64,
}

/// A histogram as it was at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The sum of all values.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
    /// Each bound, the last without end, with how many were at most so large and above the one before.
    pub buckets: Vec<(f64, u64)>,
}

impl Histogram {
    /// Of how long the disk takes, in seconds.
    pub(crate) fn of_disk() -> Self {
        Self::new(DISK_SECONDS)
    }

    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::default()).collect();
        Self { bounds, counts, sum_micros: AtomicU64::default() }
    }

    /// Adds a value, so many times.
    pub(crate) fn observe(&self, value: f64, times: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(times, Ordering::Relaxed);
        }
        self.sum_micros.fetch_add((value.max(0.0) * 1e6) as u64 * times, Ordering::Relaxed);
    }

    /// What it is now.
    #[must_use]
    pub fn distribution(&self) -> Distribution {
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        let counts = self.counts.iter().map(|count| count.load(Ordering::Relaxed));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        Distribution {
            sum: self.sum_micros.load(Ordering::Relaxed) as f64 / 1e6,
            count: buckets.iter().map(|(_, count)| count).sum(),
            buckets,
        }
    }
}

/// What is counted of a transport.
#[derive(Debug)]
pub struct TransportMetrics {
    /// Connections that were opened.
    pub opened: Counter,
    /// Connections that have ended.
    pub closed: Counter,
    /// How long those lasted that have ended, in seconds.
    pub connection_seconds: Histogram,
    /// Notifications written to devices.
    pub sent: Counter,
    /// From the time of a notification's event to its being written, in seconds; of those that were live.
    pub delivery_seconds: Histogram,
}

impl Default for TransportMetrics {
    fn default() -> Self {
        Self {
            opened: Counter::default(),
            closed: Counter::default(),
            connection_seconds: Histogram::new(CONNECTION_SECONDS),
            sent: Counter::default(),
            delivery_seconds: Histogram::new(DELIVERY_SECONDS),
        }
    }
}

/// A connection, as far as it is counted: until it is dropped.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) metrics: Arc<TransportMetrics>,
    since: Instant,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.closed.add(1);
        self.metrics.connection_seconds.observe(self.since.elapsed().as_secs_f64(), 1);
    }
}

/// What became of wishes to resume.
#[derive(Debug, Default)]
pub struct Resumes {
    /// Those that got everything they missed.
    pub continued: Counter,
    /// Those whose cursor was from before what the log remembers.
    pub too_old: Counter,
    /// Those whose cursor was of another log, or of a lost end.
    pub history_changed: Counter,
    /// Those whose cursor was beyond the end.
    pub cursor_ahead: Counter,
    /// Those that had missed more than they wished for.
    pub too_many: Counter,
}

/// What the engine counts.
#[derive(Debug)]
pub struct Metrics {
    /// Commands that shared a commit of the log.
    pub commands_per_commit: Histogram,
    /// How long a commit took, with its fsync, in seconds.
    pub commit_seconds: Histogram,
    /// Commands that were refused because more was waiting than the disk can take.
    pub refused_busy: Counter,
    /// Commands that were refused because the disk is full, or nearly.
    pub refused_full: Counter,
    /// Commits of which it is not known whether they were written.
    pub failed_commits: Counter,
    /// What became of wishes to resume.
    pub resumes: Resumes,
    /// Parcels put into the mailboxes of live subscribers.
    pub parcels: Counter,
    /// Mailboxes that were full, and whose subscribers read on from the log.
    pub mailboxes_full: Counter,
    events: Mutex<BTreeMap<String, u64>>,
    transports: Mutex<BTreeMap<&'static str, Arc<TransportMetrics>>>,
    brokers: Mutex<BTreeMap<&'static str, Arc<Broker>>>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            commands_per_commit: Histogram::new(COMMANDS),
            commit_seconds: Histogram::new(DISK_SECONDS),
            refused_busy: Counter::default(),
            refused_full: Counter::default(),
            failed_commits: Counter::default(),
            resumes: Resumes::default(),
            parcels: Counter::default(),
            mailboxes_full: Counter::default(),
            events: Mutex::default(),
            transports: Mutex::default(),
            brokers: Mutex::default(),
        }
    }
}

impl Metrics {
    /// Events that were appended, by type.
    #[must_use]
    pub fn events(&self) -> Vec<(String, u64)> {
        lock(&self.events).iter().map(|(name, count)| (name.clone(), *count)).collect()
    }

    /// What is counted of each transport.
    #[must_use]
    pub fn transports(&self) -> Vec<(&'static str, Arc<TransportMetrics>)> {
        lock(&self.transports).iter().map(|(name, metrics)| (*name, metrics.clone())).collect()
    }

    /// What is told of the connection to a broker, which a transport notes there.
    #[must_use]
    pub fn broker(&self, name: &'static str) -> Arc<Broker> {
        lock(&self.brokers).entry(name).or_default().clone()
    }

    /// What is told of each broker that there is a connection to, or should be.
    #[must_use]
    pub fn brokers(&self) -> Vec<(&'static str, Arc<Broker>)> {
        lock(&self.brokers).iter().map(|(name, broker)| (*name, broker.clone())).collect()
    }

    /// A commit that succeeded.
    pub(crate) fn committed(&self, commands: usize, took: Duration) {
        self.commands_per_commit.observe(commands as f64, 1);
        self.commit_seconds.observe(took.as_secs_f64(), 1);
    }

    /// The events of a commit.
    pub(crate) fn appended<'e>(&self, events: impl Iterator<Item = &'e Event>) {
        let mut counts = lock(&self.events);
        for event in events {
            let name = event.fact.type_name();
            let name = if counts.len() < NAMES_MOST || counts.contains_key(name) { name } else { OTHER };
            match counts.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(counts.insert(name.to_owned(), 1)),
            }
        }
    }

    /// A connection that was opened, and what its client's wish to resume came to.
    pub(crate) fn connected(&self, transport: &'static str, resumed: Option<Resumed>) -> Counted {
        let resumes = &self.resumes;
        match resumed {
            None => {}
            Some(Resumed::Continued) => resumes.continued.add(1),
            Some(Resumed::Reset(Reset::TooOld)) => resumes.too_old.add(1),
            Some(Resumed::Reset(Reset::HistoryChanged)) => resumes.history_changed.add(1),
            Some(Resumed::Reset(Reset::CursorAhead)) => resumes.cursor_ahead.add(1),
            Some(Resumed::Reset(Reset::TooMany)) => resumes.too_many.add(1),
        }
        let mut transports = lock(&self.transports);
        let is_known = transports.contains_key(transport) || transports.len() < NAMES_MOST;
        let metrics = transports.entry(if is_known { transport } else { OTHER }).or_default().clone();
        metrics.opened.add(1);
        Counted { metrics, since: Instant::now() }
    }
}

/// What waits in the mailboxes of live subscribers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mailboxes {
    /// Subscribers that are live.
    pub live: usize,
    /// Subscribers that read what they missed.
    pub behind: usize,
    /// Parcels that wait.
    pub parcels: usize,
    /// Parcels that wait in the one with most.
    pub fullest: usize,
}

/// How far the engine has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progressed {
    /// The last position that is durable.
    pub head: u64,
    /// Up to here everybody was told.
    pub folded: u64,
    /// Up to here it is in the inbox view.
    pub written: u64,
    /// Up to here the delivery view has it.
    pub delivered: u64,
}

/// A lock whose holder panicked guards numbers that are still numbers.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_counted_at_the_first_bound_that_holds_it() {
        let histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 2.0, 99.0] {
            histogram.observe(value, 2);
        }
        let Distribution { sum, count, buckets } = histogram.distribution();
        assert_eq!((sum, count), (208.0, 10));
        assert_eq!(buckets, [(1.0, 4), (2.0, 4), (f64::INFINITY, 2)]);
    }

    #[test]
    fn transports_beyond_the_bound_are_counted_together() {
        let metrics = Metrics::default();
        for number in 0..2 * NAMES_MOST {
            metrics.connected(number.to_string().leak(), None);
        }
        let transports = metrics.transports();
        assert!(transports.len() <= NAMES_MOST + 1);
        let opened: u64 = transports.iter().map(|(_, metrics)| metrics.opened.get()).sum();
        assert_eq!(opened, 2 * NAMES_MOST as u64);
    }
}
