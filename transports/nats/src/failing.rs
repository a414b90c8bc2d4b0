//! Since when a routing rule fails on a message: how long it is tried is counted from there, and not from when it was stored, nor by
//! how often it came, as it may have waited out an outage that was no fault of its own.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How long a message is tried that a rule fails on: a rule that is mended by then loses nothing.
const PATIENCE: Duration = Duration::from_secs(4 * 60);
/// After so much more it is forgotten: another server may have taken it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(4 * 60);

/// The messages that a rule fails on. No more than are in flight, and those of some minutes.
#[derive(Default)]
pub(crate) struct Failing(Mutex<HashMap<String, Instant>>);

impl Failing {
    /// Whether a message is to be tried again that a rule failed on.
    pub(crate) fn may_pass(&self, name: &str) -> bool {
        self.with(|since| {
            let first = since.entry(name.to_owned()).or_insert_with(Instant::now);
            let may_pass = first.elapsed() < PATIENCE;
            if !may_pass {
                since.remove(name);
            }
            may_pass
        })
    }

    /// Something else became of it.
    pub(crate) fn forget(&self, name: &str) {
        self.with(|since| since.remove(name));
    }

    /// Forgets those that did not come again.
    pub(crate) fn prune(&self) {
        self.with(|since| since.retain(|_, first| first.elapsed() < PATIENCE + FORGOTTEN_AFTER));
    }

    fn with<T>(&self, work: impl FnOnce(&mut HashMap<String, Instant>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_message_is_tried_for_minutes_from_when_a_rule_first_failed_on_it() {
        let failing = Failing::default();
        assert!(failing.may_pass("a"));
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        assert!(failing.may_pass("a") && failing.may_pass("b"));
        failing.forget("b"); // the log could not take it
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!failing.may_pass("a"));
        assert!(failing.may_pass("b"));
        tokio::time::advance(PATIENCE + FORGOTTEN_AFTER).await;
        failing.prune();
        assert!(failing.may_pass("b"), "it is another try altogether");
    }
}
