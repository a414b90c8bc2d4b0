//! The most recent events, shared in memory, so that whoever is a little behind does not ask the database.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::event::{Event, Events};
use crate::position::Position;

/// Events kept at most: a minute of a busy server.
const EVENTS_KEPT: usize = 65_536;
/// Bytes kept at most, roughly.
const BYTES_KEPT: usize = 64 << 20;

/// The last events of the log, without a gap.
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    /// The position before the first one kept.
    before: Position,
    bytes: usize,
    events_kept: usize,
    bytes_kept: usize,
}

impl Ring {
    /// An empty ring, for the events after a position.
    pub(super) fn starting_after(before: Position) -> Self {
        let (events_kept, bytes_kept) = (EVENTS_KEPT, BYTES_KEPT);
        Self { events: VecDeque::new(), before, bytes: 0, events_kept, bytes_kept }
    }

    /// Adds the next events and lets the oldest go.
    pub(super) fn extend(&mut self, events: Events) {
        for event in events {
            self.bytes += event.weight();
            self.events.push_back(event);
        }
        while self.events.len() > self.events_kept || self.bytes > self.bytes_kept {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= oldest.weight();
            self.before = oldest.position;
        }
    }

    /// At most `limit` events after a position, or `None` when the ring does not reach back so far.
    pub(super) fn after(&self, position: Position, limit: usize) -> Option<Events> {
        let skip = position.0.checked_sub(self.before.0)?;
        Some(self.events.iter().skip(skip as usize).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Fact, Started};
    use crate::names::Tenant;

    fn event(position: u64) -> Arc<Event> {
        let fact = Fact::Started(Started { version: String::new() });
        Arc::new(Event::new(Position(position), Tenant::server(), crate::log::now(), Vec::new(), fact, 0))
    }

    fn positions(events: Option<Events>) -> Option<Vec<u64>> {
        events.map(|events| events.iter().map(|event| event.position.0).collect())
    }

    #[test]
    fn it_knows_what_it_no_longer_has() {
        let mut ring = Ring::starting_after(Position(10));
        ring.events_kept = 3;
        assert_eq!(positions(ring.after(Position(10), 9)), Some(vec![]));
        ring.extend((11..=15).map(event).collect());
        assert_eq!(positions(ring.after(Position(11), 9)), None, "12 is gone");
        assert_eq!(positions(ring.after(Position(12), 9)), Some(vec![13, 14, 15]));
        assert_eq!(positions(ring.after(Position(13), 1)), Some(vec![14]));
        assert_eq!(positions(ring.after(Position(15), 9)), Some(vec![]));
    }

    #[test]
    fn it_is_bounded_in_bytes_too() {
        let mut ring = Ring::starting_after(Position(0));
        ring.bytes_kept = 2 * event(1).weight();
        ring.extend((1..=5).map(event).collect());
        assert_eq!(positions(ring.after(Position(3), 9)), Some(vec![4, 5]));
        assert_eq!(positions(ring.after(Position(2), 9)), None);
    }
}
