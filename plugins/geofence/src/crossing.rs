//! Entering and leaving fences: what a position that moves has crossed, each crossing once.
//!
//! Somebody is in a fence from the first position inside it until the first that is farther outside than a margin: so a
//! position that jitters on the boundary, as all do, enters once. A fence that goes or no longer counts is left. Knows the
//! positions it is told, in their order, and nothing of what lies between them.

use crate::geometry::Shape;
use crate::index::{FenceId, Query, Version};

/// What was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossing {
    /// A fence was entered.
    Entered(FenceId),
    /// A fence was left.
    Left(FenceId),
}

/// The fences that somebody is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inside {
    /// In order.
    fences: Vec<FenceId>,
}

impl Inside {
    /// Somebody who was in these fences when it was last told.
    #[must_use]
    pub fn of(fences: impl IntoIterator<Item = FenceId>) -> Self {
        let mut fences: Vec<FenceId> = fences.into_iter().collect();
        fences.sort_unstable();
        fences.dedup();
        Self { fences }
    }

    /// The fences, in order.
    #[must_use]
    pub fn fences(&self) -> &[FenceId] {
        &self.fences
    }

    /// The next position. `margin` is how many metres outside of a fence it is left, and how much farther from its centre
    /// than the query's `within`; which fences count, the query says.
    pub fn step(&mut self, version: &Version, query: &Query, margin: f64) -> Vec<Crossing> {
        let holding: Vec<FenceId> = version.matches(query).iter().map(|found| found.fence).collect();
        let place = query.at.vector();
        let is_near = |shape: &Shape| {
            query.within.is_none_or(|within| place.distance(shape.centre()) <= within + margin)
                && shape.distance(place) <= margin
        };
        let stays =
            |fence| version.counts(fence, query) && version.shape(fence).as_ref().is_some_and(is_near);
        self.step_to(holding, stays)
    }

    /// Now these fences hold the position. Those it was in and that do not hold it are left, unless it `stays` in them.
    pub fn step_to(&mut self, mut holding: Vec<FenceId>, stays: impl Fn(FenceId) -> bool) -> Vec<Crossing> {
        holding.sort_unstable();
        holding.dedup();
        let is_new = |fence: &&FenceId| self.fences.binary_search(fence).is_err();
        let mut crossings: Vec<Crossing> =
            holding.iter().filter(is_new).map(|fence| Crossing::Entered(*fence)).collect();
        let without = self.fences.iter().copied().filter(|fence| holding.binary_search(fence).is_err());
        let (kept, left): (Vec<FenceId>, Vec<FenceId>) = without.partition(|fence| stays(*fence));
        crossings.extend(left.into_iter().map(Crossing::Left));
        holding.extend(kept);
        holding.sort_unstable();
        self.fences = holding;
        crossings
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Position;
    use crate::geometry::Circle;
    use crate::index::{Change, Fence, FenceIndex, OwnerId};

    fn id(number: u32) -> FenceId {
        FenceId { owner: OwnerId(1), number }
    }

    fn circle(number: u32, lat: f64, lon: f64, radius: f64) -> Fence {
        let circle = Circle::new(Position::new(lat, lon).unwrap(), radius).unwrap();
        Fence { id: id(number), shape: circle.shape(), conditions: None }
    }

    #[test]
    fn a_position_that_jitters_on_the_boundary_enters_once() {
        let index = FenceIndex::new([circle(1, 0.0, 180.0, 1_000.0)]);
        let mut inside = Inside::default();
        let mut step = |metres: f64| {
            let lon = -180.0 + (metres / crate::sphere::EARTH_RADIUS).to_degrees();
            inside.step(&index.version(), &Query::at(Position::new(0.0, lon).unwrap()), 50.0)
        };
        assert_eq!(step(1_010.0), []);
        assert_eq!(step(990.0), [Crossing::Entered(id(1))]);
        for metres in [1_005.0, 995.0, 1_049.0, 999.0] {
            assert_eq!(step(metres), []);
        }
        assert_eq!(step(1_051.0), [Crossing::Left(id(1))]);
        assert_eq!(step(1_040.0), []);
        assert_eq!(step(900.0), [Crossing::Entered(id(1))]);
    }

    #[test]
    fn a_fence_whose_centre_is_too_far_away_is_left() {
        let index = FenceIndex::new([circle(1, 0.0, 0.0, 5_000.0)]);
        let mut inside = Inside::default();
        let mut step = |metres: f64| {
            let lon = (metres / crate::sphere::EARTH_RADIUS).to_degrees();
            let query = Query { within: Some(1_000.0), ..Query::at(Position::new(0.0, lon).unwrap()) };
            inside.step(&index.version(), &query, 50.0)
        };
        assert_eq!(step(1_010.0), []);
        assert_eq!(step(990.0), [Crossing::Entered(id(1))]);
        assert_eq!(step(1_049.0), []);
        assert_eq!(step(1_051.0), [Crossing::Left(id(1))]);
        assert_eq!(step(1_010.0), []);
    }

    #[test]
    fn a_fence_that_goes_is_left() {
        let index = FenceIndex::new([circle(1, 5.0, 5.0, 1_000.0), circle(2, 5.0, 5.0, 2_000.0)]);
        let mut inside = Inside::default();
        let query = Query::at(Position::new(5.0, 5.0).unwrap());
        let crossings = inside.step(&index.version(), &query, 50.0);
        assert_eq!(crossings, [Crossing::Entered(id(1)), Crossing::Entered(id(2))]);
        index.apply([Change::Remove(id(1))]);
        assert_eq!(inside.step(&index.version(), &query, 50.0), [Crossing::Left(id(1))]);
        assert_eq!(inside.fences(), [id(2)]);
    }

    proptest! {
        /// Whatever happens: entered and left in turn, and inside is what was entered and not left.
        #[test]
        fn each_crossing_is_told_once(
            steps in prop::collection::vec((prop::collection::vec(0u32..6, 0..6), prop::collection::vec(0u32..6, 0..6)), 1..40),
        ) {
            let mut inside = Inside::default();
            let mut model = std::collections::BTreeSet::new();
            for (holding, near) in steps {
                let crossings =
                    inside.step_to(holding.iter().map(|n| id(*n)).collect(), |fence| near.contains(&fence.number));
                for crossing in crossings {
                    match crossing {
                        Crossing::Entered(fence) => prop_assert!(model.insert(fence)),
                        Crossing::Left(fence) => {
                            prop_assert!(model.remove(&fence));
                            prop_assert!(!near.contains(&fence.number));
                        }
                    }
                }
                prop_assert!(holding.iter().all(|n| model.contains(&id(*n))));
                prop_assert!(model.iter().all(|fence| holding.contains(&fence.number) || near.contains(&fence.number)));
                prop_assert!(inside.fences().iter().eq(model.iter()));
            }
        }
    }
}
