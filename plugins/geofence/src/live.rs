//! Live positions: where those are who share it, the latest only, each with a radius. Not in the log.
//!
//! A grid in space finds them: cells of nine sizes, each position in the size that its radius fits, so that whoever reaches
//! a place is in one of eight cells of each size. The cells are spread over many locks, none held for longer than one cell
//! takes. A question sees each owner where they were at some instant while it was asked, and nobody twice or not at all for
//! having moved meanwhile.

mod cells;
mod grid;
mod pace;
mod positions;

pub use pace::Pace;
pub use positions::{LiveMatch, LivePosition, LivePositions, Refused, Settings};
