//! Snapshots of what the inbox knows: not of tables, but of the streams, people, readings and timers there are at a
//! position, in a format of its own with versions, so that a view of another shape can be made of them.
//!
//! The content of notifications is not in it but stays in the log, where it can be erased. Exports and imports, decides
//! nothing; where snapshots are kept is the event store's business.

mod export;
mod import;
mod part;
mod record;

pub(crate) use export::{ExportError, Exported, export};
pub(crate) use import::{import, is_usable};

use jiff::Timestamp;

use super::fold::FOLD;
use crate::store::SnapshotHeader;

/// What a snapshot says of itself that was exported by this version.
pub(crate) fn header(exported: Exported, made_at: Timestamp, bytes: u64) -> SnapshotHeader {
    let Exported { at, parts } = exported;
    SnapshotHeader { at, format: record::FORMAT, fold: FOLD, made_at, parts, bytes }
}
