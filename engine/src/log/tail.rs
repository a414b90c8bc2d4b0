//! Following the log: every event after a position, in order, as it becomes durable. Wakes without polling.

use std::sync::Arc;

use tokio::sync::watch;

use super::{LogError, Shared};
use crate::event::Events;
use crate::position::Position;

/// Events handed out at a time: what a projection folds and writes in one go.
const EVENTS_AT_ONCE: usize = 2_048;

/// Why following the log ended.
#[derive(Debug, thiserror::Error)]
pub enum TailError {
    /// A position is missing: the log is damaged, and whoever follows it must stop.
    #[error("the event log has a hole: expected position {expected}, found {found}")]
    Hole {
        /// The position that is missing.
        expected: Position,
        /// What came instead: the next position there is, or where the log ends.
        found: Position,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A place in the log that moves on as the log grows.
pub struct Tail {
    log: Arc<Shared>,
    head: watch::Receiver<Position>,
    after: Position,
}

impl Tail {
    pub(super) fn new(log: Arc<Shared>, after: Position) -> Self {
        let head = log.head.subscribe();
        Self { log, head, after }
    }

    /// The position of the last event that was handed out.
    #[must_use]
    pub fn position(&self) -> Position {
        self.after
    }

    /// Goes on after another position, which the log has reached.
    pub(crate) fn rewind(&mut self, after: Position) {
        self.after = after;
    }

    /// How far the log goes now.
    pub(crate) fn head(&self) -> Position {
        *self.head.borrow()
    }

    /// The next events, at least one; waits until there is one. Those of one commit come together as far as the bound
    /// of a batch allows. May be dropped and called again.
    ///
    /// # Errors
    /// [`TailError::Hole`] when a position is missing, or what reading the log says.
    pub async fn next(&mut self) -> Result<Events, TailError> {
        loop {
            let head = *self.head.borrow_and_update();
            if head > self.after {
                return self.read(head).await;
            }
            // The sender lives in `self.log`, so waiting cannot fail.
            let _ = self.head.changed().await;
        }
    }

    async fn read(&mut self, head: Position) -> Result<Events, TailError> {
        let events = self.log.after(self.after, EVENTS_AT_ONCE).await?;
        let mut expected = self.after;
        for event in &events {
            expected = expected.next();
            if event.position != expected {
                return Err(TailError::Hole { expected, found: event.position });
            }
        }
        if events.is_empty() {
            return Err(TailError::Hole { expected: expected.next(), found: head });
        }
        self.after = expected;
        Ok(events)
    }
}
