//! What can be asked of fences, and what is answered.

use jiff::Timestamp;

use super::{FenceId, OwnerId};
use crate::conditions::{Conditions, Tags};
use crate::position::Position;
use crate::sphere::metres_of_chord2;

/// Which fences hold a position?
#[derive(Clone, Debug)]
pub struct Query {
    /// The position.
    pub at: Position,
    /// Only fences with all of these tags.
    pub all_tags: Tags,
    /// Only fences with one of these tags, if there are any.
    pub any_tags: Tags,
    /// Only fences that are active then.
    pub time: Option<Timestamp>,
    /// Only fences whose centre is within so many metres.
    pub within: Option<f64>,
}

impl Query {
    /// All fences that hold a position.
    #[must_use]
    pub fn at(at: Position) -> Self {
        Self { at, all_tags: Tags::default(), any_tags: Tags::default(), time: None, within: None }
    }

    /// Whether it lets pass a fence with such conditions.
    pub(crate) fn admits(&self, conditions: Option<&Conditions>) -> bool {
        let Some(conditions) = conditions else {
            return self.all_tags.is_empty() && self.any_tags.is_empty();
        };
        conditions.tags.has_all(&self.all_tags)
            && (self.any_tags.is_empty() || conditions.tags.has_any(&self.any_tags))
            && self
                .time
                .is_none_or(|time| conditions.hours.as_ref().is_none_or(|hours| hours.is_active(time)))
    }
}

/// A fence that holds the position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Match {
    /// The fence.
    pub fence: FenceId,
    /// The square of the chord from the position to the fence's centre. Orders as the distance does.
    pub chord2: f64,
}

impl Match {
    /// The distance to the fence's centre in metres along the great circle.
    #[must_use]
    pub fn distance(&self) -> f64 {
        metres_of_chord2(self.chord2)
    }
}

/// Of the matches of each owner the nearest; of the owners the `k` nearest, nearest first. Who is equally far comes in the
/// order of owners.
pub(crate) fn nearest_owners(mut matches: Vec<Match>, k: usize) -> Vec<Match> {
    let number = |found: &Match| found.fence.number;
    let order = |one: &Match, other: &Match| one.chord2.total_cmp(&other.chord2);
    let owner = |found: &Match| -> OwnerId { found.fence.owner };
    matches.sort_unstable_by(|one, other| {
        owner(one).cmp(&owner(other)).then(order(one, other)).then(number(one).cmp(&number(other)))
    });
    matches.dedup_by_key(|found| owner(found));
    matches.sort_by(order);
    matches.truncate(k);
    matches
}
