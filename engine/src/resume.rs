//! Resuming: what a device missed while it was away or too slow, exactly, and then live.
//!
//! From the recent effects in memory where these reach back far enough, else from the view's index of one's own
//! positions, in bounded pages. The step from what was missed to what is live is made by the projector between two
//! batches, so that nothing falls between. Decides nothing about who may see what: that is the fold's and the viewer's.

mod catch_up;
mod recent;
mod viewer;

pub(crate) use recent::{Reach, Recent};
pub(crate) use viewer::Viewer;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use crate::delivery::{Delivery, Message, Parcel};
use crate::inbox::Counts;
use crate::position::{Cursor, Position};

/// What a client that comes back holds, and how much of it is worth the while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The last cursor it got.
    pub cursor: Cursor,
    /// More missed positions than this, and the client would rather load its inbox anew.
    pub most: usize,
}

/// What became of a wish to resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "result", content = "reason", rename_all = "camelCase")]
pub enum Resumed {
    /// Everything missed comes first, then it is live.
    Continued,
    /// It is live from now on; what was missed has to be loaded from the inbox.
    Reset(Reset),
}

/// Why a subscription could not go on where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Reset {
    /// The cursor is from before what the log can tell from another history: it remembers its last 4,096 starts.
    TooOld,
    /// The cursor is of another log, or of an end that this one has lost.
    HistoryChanged,
    /// The cursor is beyond the end of the log.
    CursorAhead,
    /// More was missed than the client wants.
    TooMany,
}

/// Messages in a parcel of what was missed at most.
const MESSAGES_PER_PARCEL: usize = 32;
/// Bytes, roughly, of what is gathered at once of what was missed; a single message may be larger.
const BYTES_AT_ONCE: usize = 64 << 10;
/// Positions looked at at once.
pub(crate) const POSITIONS_AT_ONCE: usize = 256;

/// A step of catching up.
pub(crate) struct Step {
    pub(crate) parcels: Vec<Arc<Parcel>>,
    /// Everything of theirs up to here is in the parcels, or was before.
    pub(crate) position: Position,
}

/// What was missed, gathered within bounds.
pub(crate) struct Gathering {
    messages: Vec<Message>,
    bytes: usize,
    positions: usize,
    /// Everything up to here was looked at.
    pub(crate) reached: Position,
}

impl Gathering {
    pub(crate) fn after(position: Position) -> Self {
        Self { messages: Vec::new(), bytes: 0, positions: 0, reached: position }
    }

    /// Adds what a position brought, if anything. Whether there was room; one message there is room for always.
    pub(crate) fn add(&mut self, position: Position, message: Option<Message>) -> bool {
        let weight = message.as_ref().map_or(0, Message::weight);
        let is_full = self.positions == POSITIONS_AT_ONCE
            || (!self.messages.is_empty() && self.bytes + weight > BYTES_AT_ONCE);
        if is_full {
            return false;
        }
        self.positions += 1;
        self.bytes += weight;
        self.messages.extend(message);
        self.reached = position;
        true
    }

    /// Adds that this was all, and the counts there.
    pub(crate) fn caught_up(mut self, counts: Counts) -> Self {
        self.messages.extend([Message::Counts(counts), Message::CaughtUp(self.reached)]);
        self
    }

    pub(crate) fn into_step(self) -> Step {
        let position = self.reached;
        let mut messages = self.messages.into_iter().peekable();
        let mut parcels = Vec::new();
        while messages.peek().is_some() {
            let some = messages.by_ref().take(MESSAGES_PER_PARCEL);
            let deliveries: Box<[_]> = some.map(|message| Arc::new(Delivery::new(message))).collect();
            let last = deliveries.last().map_or(position, |delivery| delivery.message().position());
            let reached = if messages.peek().is_some() { last } else { position };
            parcels.push(Arc::new(Parcel::new(deliveries, reached)));
        }
        Step { parcels, position }
    }
}
