//! Events that were read again and concern many: when many come back at once, each of them is read and decoded for the first of
//! them, and not for each. Bounded in events and bytes.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::Event;
use crate::position::Position;

/// Events of a generation at most; there are two.
const EVENTS_KEPT: usize = 2_048;
/// Bytes of a generation at most, roughly.
const BYTES_KEPT: usize = 4 << 20;

/// What was used of late.
#[derive(Default)]
pub(super) struct ReadAgain {
    /// Those that were used since this began.
    young: HashMap<Position, Arc<Event>>,
    /// Those that were used before, and go when the young become the old.
    old: HashMap<Position, Arc<Event>>,
    /// Of the young.
    bytes: usize,
}

impl ReadAgain {
    /// The event at a position, if it is kept.
    pub(super) fn get(&mut self, position: Position) -> Option<Arc<Event>> {
        if let Some(event) = self.young.get(&position) {
            return Some(event.clone());
        }
        let event = self.old.remove(&position)?;
        self.insert(event.clone());
        Some(event)
    }

    /// Keeps an event, if it concerns many.
    pub(super) fn keep(&mut self, event: &Arc<Event>) {
        if event.addressed().is_some_and(|addressed| !addressed.audience.channels.is_empty()) {
            self.insert(event.clone());
        }
    }

    fn insert(&mut self, event: Arc<Event>) {
        if self.young.len() >= EVENTS_KEPT || self.bytes > BYTES_KEPT {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        let weight = event.weight();
        if self.young.insert(event.position, event).is_none() {
            self.bytes += weight;
        }
    }
}
