//! What operators are told of a transport's connection to a broker: whether it is there, and what went over it. Plain numbers in
//! memory since the process began; names and formats are given where they are shown.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::metrics::Counter;

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Says what it is now.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection to a broker, as far as operators are told of it.
#[derive(Debug, Default)]
pub struct Broker {
    connected: AtomicBool,
    consuming: AtomicBool,
    /// Connections that were made.
    pub connects: Counter,
    /// Messages that came to be published, each time they came.
    pub received: Counter,
    /// Of these, those that had come before.
    pub redelivered: Counter,
    /// Those that were published and acknowledged.
    pub accepted: Counter,
    /// Those that were given back, to come again later.
    pub postponed: Counter,
    /// Those that could not be accepted and were put aside.
    pub dead: Counter,
    /// Requests that were answered.
    pub requests: Counter,
    /// Messages that were sent for downstream services.
    pub sent: Counter,
    /// Times that consuming was begun anew, for whatever reason.
    pub renewed: Counter,
    /// Messages that wait at the broker.
    pub waiting: Gauge,
    /// Messages that the broker has handed out and that are not acknowledged.
    pub unacknowledged: Gauge,
}

impl Broker {
    /// Notes whether it is connected.
    pub fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }

    /// Whether it is connected.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// Notes whether it takes what is published there.
    pub fn set_consuming(&self, consuming: bool) {
        self.consuming.store(consuming, Ordering::Relaxed);
    }

    /// How it is, in a word: `disconnected`, `connected`, or `consuming` when what is published there is also taken.
    #[must_use]
    pub fn state(&self) -> &'static str {
        match (self.is_connected(), self.consuming.load(Ordering::Relaxed)) {
            (false, _) => "disconnected",
            (true, false) => "connected",
            (true, true) => "consuming",
        }
    }
}
