//! The inbox: what each person has, how many of it they have not dealt with, and the view that keeps it.
//!
//! Derived from the log alone, and rebuilt from it at any time. Never writes an event.

mod build;
mod compare;
mod concerns;
mod fold;
mod load;
mod page;
mod person;
mod projection;
mod ranks;
mod readers;
mod reading;
mod replay;
mod snapshot;
mod stream;
pub(crate) mod timers;
mod view;

pub use build::Source;
pub(crate) use build::forget_snapshots;
pub(crate) use build::{
    Pace, begin as begin_view, build as build_view, building_path, ensure_view, put_at as put_view_at,
};
pub(crate) use compare::compare as compare_views;
pub(crate) use concerns::{Missed, effect_for, effects_of, missed, noted};
pub use fold::Counts;
pub(crate) use fold::{Effect, Fold, Superseded};
pub(crate) use page::Inbox;
pub use page::{InboxItem, InboxPage, InboxQuery, PartCounts};
pub(crate) use person::Person;
pub use projection::ViewError;
pub(crate) use projection::{
    Projection, SharedFold, discard as discard_view, is_damage, path_in as view_path,
};
pub(crate) use readers::ViewReaders;
pub use replay::Replay;
pub(crate) use snapshot::{
    ExportError, export as export_snapshot, header as snapshot_header, import as import_snapshot,
    is_usable as is_usable_snapshot,
};
pub(crate) use view::{
    action_url, checkpoint as view_checkpoint, checkpoint_of, damaged, members, published_at,
};
