//! Sets of positions as intervals, each open below and closed above. Pure.

use serde::{Deserialize, Serialize};

/// After the first, up to and including the second.
pub(super) type Interval = (u64, u64);

/// A set of positions: intervals that neither meet nor overlap, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Intervals(Vec<Interval>);

impl Intervals {
    pub(super) fn contains(&self, position: u64) -> bool {
        let next = self.0.partition_point(|(_, up_to)| *up_to < position);
        self.0.get(next).is_some_and(|(after, _)| *after < position)
    }

    /// Adds an interval.
    pub(super) fn add(&mut self, (after, up_to): Interval) {
        if after >= up_to {
            return;
        }
        if let Some(last) = self.0.last_mut()
            && last.1 == after
        {
            last.1 = up_to; // by far the most common: it goes on
            return;
        }
        let first = self.0.partition_point(|interval| interval.1 < after);
        let end = self.0.partition_point(|interval| interval.0 <= up_to);
        let mut joined = (after, up_to);
        for interval in &self.0[first..end] {
            joined = (joined.0.min(interval.0), joined.1.max(interval.1));
        }
        self.0.splice(first..end, [joined]);
    }

    /// The parts of an interval that are not in the set.
    pub(super) fn missing(&self, (after, up_to): Interval) -> Vec<Interval> {
        let mut missing = Vec::new();
        let mut at = after;
        let first = self.0.partition_point(|interval| interval.1 <= after);
        for interval in self.0[first..].iter().take_while(|interval| interval.0 < up_to) {
            if interval.0 > at {
                missing.push((at, interval.0));
            }
            at = interval.1;
        }
        if at < up_to {
            missing.push((at, up_to));
        }
        missing
    }

    /// Forgets what is at or below a position.
    pub(super) fn forget(&mut self, floor: u64) {
        self.0.retain_mut(|interval| {
            interval.0 = interval.0.max(floor);
            interval.0 < interval.1
        });
    }
}

/// What two intervals have in common, if anything.
pub(super) fn common(one: Interval, other: Interval) -> Option<Interval> {
    let both = (one.0.max(other.0), one.1.min(other.1));
    (both.0 < both.1).then_some(both)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    fn interval() -> impl Strategy<Value = Interval> {
        (0..40u64, 0..12u64).prop_map(|(after, length)| (after, after + length))
    }

    fn members((after, up_to): Interval) -> impl Iterator<Item = u64> {
        after + 1..=up_to
    }

    proptest! {
        #[test]
        fn intervals_are_the_set_of_what_was_added(added in prop::collection::vec(interval(), 0..12), asked in interval(), floor in 0..40u64) {
            let (mut intervals, mut set) = (Intervals::default(), BTreeSet::new());
            for interval in added {
                intervals.add(interval);
                set.extend(members(interval));
            }
            for position in 0..60 {
                prop_assert_eq!(intervals.contains(position), set.contains(&position));
            }
            let missing: Vec<u64> = intervals.missing(asked).into_iter().flat_map(members).collect();
            let expected: Vec<u64> = members(asked).filter(|position| !set.contains(position)).collect();
            prop_assert_eq!(missing, expected);
            prop_assert!(intervals.0.windows(2).all(|pair| pair[0].1 < pair[1].0), "in order, and apart");
            intervals.forget(floor);
            for position in 0..60 {
                prop_assert_eq!(intervals.contains(position), position > floor && set.contains(&position));
            }
        }
    }
}
