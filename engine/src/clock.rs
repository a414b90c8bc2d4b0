//! The clock that timers go by. Nothing else looks at it: what happened is ordered by positions, never by time.

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;

/// The system's clock may be set while somebody waits: whoever waits for longer looks at it again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Says what time it is. It may jump, stand still or go back: timers are fired once all the same, and none before the
/// clock has once shown its time.
pub trait Clock: Send + Sync + 'static {
    /// What time it is.
    fn now(&self) -> Timestamp;

    /// Waits for a time. May end early: whoever waits looks at the clock again.
    fn wait_for(&self, at: Timestamp) -> BoxFuture<'_, ()>;
}

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn wait_for(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        let left = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        tokio::time::sleep(left.min(LOOK_AGAIN)).boxed()
    }
}

/// A clock that shows what it is told to: for tests.
///
/// ```
/// use tidings_engine::clock::{Clock, ManualClock};
///
/// let clock = ManualClock::at("2026-11-21T10:00:00Z".parse()?);
/// clock.set("2026-11-21T09:00:00Z".parse()?);
/// assert_eq!(clock.now().to_string(), "2026-11-21T09:00:00Z");
/// # Ok::<(), jiff::Error>(())
/// ```
#[derive(Debug)]
pub struct ManualClock {
    shows: watch::Sender<Timestamp>,
}

impl ManualClock {
    /// A clock that shows a time, until it is told otherwise.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self { shows: watch::Sender::new(time) }
    }

    /// Shows another time from now on, be it earlier or later.
    pub fn set(&self, time: Timestamp) {
        self.shows.send_replace(time);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.shows.borrow()
    }

    fn wait_for(&self, at: Timestamp) -> BoxFuture<'_, ()> {
        let mut shows = self.shows.subscribe();
        async move {
            // The sender lives in `self`, so waiting cannot fail.
            let _ = shows.wait_for(|now| *now >= at).await;
        }
        .boxed()
    }
}
