//! The inbox: what each person has, how many of it they have not dealt with, and the view that keeps it.
//!
//! Derived from the log alone, and rebuilt from it at any time. Never writes an event.

mod concerns;
mod fold;
mod load;
mod page;
mod person;
mod projection;
mod reading;
mod replay;
mod stream;
mod view;

pub(crate) use concerns::{Missed, effect_for, effects_of, membership_changes, missed};
pub use fold::Counts;
pub(crate) use fold::Effect;
pub(crate) use page::Snapshot;
pub use page::{InboxItem, InboxPage, InboxQuery, PartCounts};
pub(crate) use person::Person;
pub use projection::ViewError;
pub(crate) use projection::{
    Projection, SharedFold, discard as discard_view, ensure_view, is_damage, path_in as view_path,
};
pub use replay::Replay;
pub(crate) use view::{damaged, members};
