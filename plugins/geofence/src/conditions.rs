//! When and for what a fence counts: its tags and its active hours.

mod hours;
mod tags;

pub use hours::{ActiveHours, Window};
pub use tags::Tags;

/// When and for what a fence counts. Fences with the same conditions share them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// What it is for.
    pub tags: Tags,
    /// When it is active; always, if nothing is said.
    pub hours: Option<ActiveHours>,
}
