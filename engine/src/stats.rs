//! Stats: how many notifications were published, sent, delivered, read, clicked and dropped, by type, channel, transport
//! and minute, and how long it took to send them.
//!
//! A part of the delivery view, written in its transactions, and like it derived from the log alone: a minute is that of
//! the event that says so.

mod minutes;
mod query;

pub(crate) use minutes::{Counters, Minutes};
pub use query::{By, Every, Stats, StatsQuery, StatsRow};
