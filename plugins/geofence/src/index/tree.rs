//! A tree of balls in space, packed: every node but the last of a level is full, so a child's place is its number and no
//! pointer is stored. Built once from all of its balls; never changes.
//!
//! A ball of a fence holds its cap of the sphere. Distances in space order as those along the sphere do, so there is neither
//! a pole nor an antimeridian to go round. 17 bytes a fence.

use super::blocks::{Ball, Block, WIDTH, rounded};
use crate::sphere::Vector;

/// More levels than 2³² balls need.
const MAX_DEPTH: usize = 9;

/// A packed tree of balls, numbered in its own order.
#[derive(Debug)]
pub(super) struct Tree {
    /// The blocks of each level, leaves first. The last level is one block.
    levels: Vec<Vec<Block>>,
}

impl Tree {
    /// Builds a tree. Returns the order, too: which of the balls given is at each number.
    pub(super) fn build(balls: &[Ball]) -> (Self, Vec<u32>) {
        let mut order: Vec<(Ball, u32)> =
            balls.iter().zip(0..).map(|(ball, number)| (*ball, number)).collect();
        let mut unit = WIDTH;
        while unit < order.len() {
            unit *= WIDTH;
        }
        arrange(&mut order, unit / WIDTH);
        let mut level: Vec<Ball> = order.iter().map(|(ball, _)| *ball).collect();
        let mut levels = Vec::new();
        loop {
            levels.push(level.chunks(WIDTH).map(Block::new).collect::<Vec<_>>());
            if level.len() <= WIDTH {
                break;
            }
            level = level.chunks(WIDTH).map(Ball::holding).collect();
        }
        (Self { levels }, order.into_iter().map(|(_, number)| number).collect())
    }

    /// Tells the number of every ball that holds a place, and perhaps of some that it is just outside of.
    #[inline]
    pub(super) fn holding(&self, place: Vector, mut found: impl FnMut(usize)) {
        let place = rounded(place);
        let mut level = self.levels.len() - 1;
        let Some(root) = self.levels[level].first() else { return };
        // For each level above the leaves, which children of the node that we are in are left, and its number.
        let mut left = [(0u32, 0usize); MAX_DEPTH];
        left[level] = (root.holding(place), 0);
        loop {
            let (bits, node) = &mut left[level];
            if *bits == 0 {
                level += 1;
                if level == self.levels.len() {
                    return;
                }
                continue;
            }
            let child = *node * WIDTH + bits.trailing_zeros() as usize;
            *bits &= *bits - 1;
            if level == 0 {
                found(child);
            } else {
                level -= 1;
                left[level] = (self.levels[level][child].holding(place), child);
            }
        }
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.capacity() * size_of::<Block>()).sum()
    }
}

/// Brings balls into an order in which each run of `unit` is close together, and in it each run of a sixteenth, and so on.
fn arrange(balls: &mut [(Ball, u32)], unit: usize) {
    if balls.len() <= unit {
        if unit > WIDTH {
            arrange(balls, unit / WIDTH);
        }
        return;
    }
    // At a multiple of the unit, so that all but the last is full.
    let middle = (balls.len() / unit).div_ceil(2).max(1) * unit;
    let axis = longest_axis(balls);
    balls.select_nth_unstable_by(middle, |(one, _), (other, _)| {
        one.centre[axis].total_cmp(&other.centre[axis])
    });
    let (low, high) = balls.split_at_mut(middle);
    arrange(low, unit);
    arrange(high, unit);
}

fn longest_axis(balls: &[(Ball, u32)]) -> usize {
    let (mut low, mut high) = ([f32::MAX; 3], [f32::MIN; 3]);
    for (ball, _) in balls {
        for axis in 0..3 {
            low[axis] = low[axis].min(ball.centre[axis]);
            high[axis] = high[axis].max(ball.centre[axis]);
        }
    }
    let length = |axis: usize| high[axis] - low[axis];
    (1..3).fold(0, |longest, axis| if length(axis) > length(longest) { axis } else { longest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// In sizes around those at which a level is added.
        #[test]
        fn every_ball_that_holds_a_place_is_found_once(
            count in prop_oneof![0usize..40, 250usize..260, 4090usize..4100],
            seed in any::<u64>(),
        ) {
            let mut random = seed | 1;
            let mut next = |below: f64| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                (random >> 11) as f64 / (1u64 << 53) as f64 * below
            };
            let balls: Vec<(Vector, f64)> = (0..count)
                .map(|_| (Vector::from_degrees(next(180.0) - 90.0, next(360.0) - 180.0), next(0.2)))
                .collect();
            let (tree, order) = Tree::build(
                &balls.iter().map(|&(centre, chord)| Ball::around(centre, chord)).collect::<Vec<_>>(),
            );
            for _ in 0..20 {
                let place = Vector::from_degrees(next(180.0) - 90.0, next(360.0) - 180.0);
                let mut found = Vec::new();
                tree.holding(place, |number| found.push(order[number] as usize));
                found.sort_unstable();
                let is_near = |&at: &usize| balls[at].0.chord2(place).sqrt() <= balls[at].1;
                let surely: Vec<usize> = (0..count).filter(is_near).collect();
                prop_assert!(surely.iter().all(|at| found.contains(at)));
                prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(found.iter().all(|&at| balls[at].0.chord2(place).sqrt() <= balls[at].1 + 1e-6));
            }
        }
    }
}
