//! How often an owner may say where they are.

use std::time::Duration;

/// So many updates at once, and then one in so long a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// How long an update takes to be made up for.
    pub every: Duration,
    /// How many there may be at once, at least one.
    pub burst: u32,
}

/// When what an owner has sent will be made up for, in microseconds: the generic cell rate algorithm (ITU-T I.371).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Debt(i64);

impl Debt {
    /// Counts an update.
    ///
    /// # Errors
    /// How long to wait, if it comes too soon. It is not counted then.
    pub(super) fn count(&mut self, now: i64, pace: Pace) -> Result<(), Duration> {
        let every = i64::try_from(pace.every.as_micros()).unwrap_or(i64::MAX / 2);
        let ahead = every.saturating_mul(i64::from(pace.burst.max(1)) - 1);
        let earliest = self.0.saturating_sub(ahead);
        if now < earliest {
            return Err(Duration::from_micros(now.abs_diff(earliest)));
        }
        self.0 = self.0.max(now).saturating_add(every);
        Ok(())
    }

    /// Whether nothing is to be made up for.
    pub(super) fn is_none(self, now: i64) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_a_time() {
        let pace = Pace { every: Duration::from_secs(2), burst: 3 };
        let mut debt = Debt::default();
        let second = 1_000_000;
        for _ in 0..3 {
            assert_eq!(debt.count(100 * second, pace), Ok(()));
        }
        assert_eq!(debt.count(100 * second, pace), Err(Duration::from_secs(2)));
        assert_eq!(debt.count(101 * second, pace), Err(Duration::from_secs(1)));
        assert_eq!(debt.count(102 * second, pace), Ok(()));
        assert_eq!(debt.count(102 * second, pace), Err(Duration::from_secs(2)));
        assert!(!debt.is_none(107 * second) && debt.is_none(108 * second));
    }
}
