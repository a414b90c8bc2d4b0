//! When publishes are due.

use crate::cli;

/// The open loop goes by a clock, the closed one by what is outstanding.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    Open {
        /// Nanoseconds between publishes.
        every: f64,
        begun: u64,
        issued: u64,
    },
    Closed {
        /// How many notifications may be outstanding.
        most: u32,
    },
    /// Nothing is published.
    Paused,
}

impl Pace {
    /// From the command line; `batch` notifications are published at once.
    pub(crate) fn new(pace: &cli::Pace, batch: u32, now: u64) -> Self {
        match (pace.rate, pace.outstanding) {
            (Some(rate), _) => Self::open(rate / f64::from(batch), now),
            (None, Some(outstanding)) => Self::Closed { most: outstanding * batch },
            (None, None) => Self::Paused, // the command line requires one
        }
    }

    pub(crate) fn open(per_second: f64, now: u64) -> Self {
        Self::Open { every: 1e9 / per_second, begun: now, issued: 0 }
    }

    /// When the next publish is to be sent, in the open loop.
    pub(crate) fn next(&self) -> Option<u64> {
        match self {
            Self::Open { every, begun, issued } => Some(begun + (every * *issued as f64) as u64),
            _ => None,
        }
    }

    /// Takes a publish that is due; when it was to be sent.
    pub(crate) fn take(&mut self, now: u64, outstanding: u32, batch: u32) -> Option<u64> {
        let next = self.next();
        match self {
            Self::Open { issued, .. } => {
                let due = next.filter(|due| *due <= now)?;
                *issued += 1;
                Some(due)
            }
            Self::Closed { most } => (outstanding + batch <= *most).then_some(now),
            Self::Paused => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_loop_keeps_its_times_however_late_it_is_asked() {
        let mut pace = Pace::open(1000.0, 5);
        assert_eq!(pace.take(5, 0, 1), Some(5));
        assert_eq!(pace.take(999_999, 0, 1), None);
        // Three and a half milliseconds late: all of them, each with its own time.
        let late: Vec<u64> = std::iter::from_fn(|| pace.take(4_500_005, 100, 1)).collect();
        assert_eq!(late, [1_000_005, 2_000_005, 3_000_005, 4_000_005]);
    }

    #[test]
    fn the_closed_loop_waits_until_there_is_room_for_a_batch() {
        let mut pace = Pace::Closed { most: 20 };
        assert_eq!((pace.take(7, 10, 10), pace.take(7, 11, 10)), (Some(7), None));
    }
}
