//! The index of fences: which of a million hold a place, in microseconds, while fences change.
//!
//! A [`Version`] is all fences of a moment and never changes; whoever asks takes one, and sees of each change all or
//! nothing. The [`FenceIndex`] makes the next one: it puts changed fences into small trees that are merged as they fill, and
//! marks what they replace. When enough has changed, a thread builds one tree of all, which is then put in place.

mod blocks;
mod fence_index;
mod query;
mod rebuild;
mod run;
mod tree;
mod version;

pub use fence_index::{Change, FenceIndex};
pub use query::{Match, Query};
pub use version::Version;

use std::sync::Arc;

use crate::conditions::Conditions;
use crate::geometry::Shape;

/// Whom a fence belongs to: a number that the caller gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerId(pub u32);

/// A fence: the owner's number, and one among the owner's fences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FenceId {
    /// Whom it belongs to.
    pub owner: OwnerId,
    /// Which of the owner's it is.
    pub number: u32,
}

/// A fence as the index holds it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fence {
    /// Which it is.
    pub id: FenceId,
    /// What it encloses.
    pub shape: Shape,
    /// When and for what it counts; `None` for always and everything. Shared by fences that have the same.
    pub conditions: Option<Arc<Conditions>>,
}
