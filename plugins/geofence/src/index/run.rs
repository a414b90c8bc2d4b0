//! Fences in one tree, found by place or by their id. Never changes, but for the mark of when a fence was replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::blocks::Ball;
use super::tree::Tree;
use super::{Fence, FenceId};
use crate::conditions::Conditions;
use crate::geometry::{Outline, Shape};
use crate::sphere::Vector;

/// That a fence has not been replaced.
const ALIVE: u64 = u64::MAX;

/// A fence in a run: one cache line.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: FenceId,
    pub(super) centre: Vector,
    pub(super) reach: f64,
    pub(super) outline: Option<Arc<Outline>>,
    pub(super) conditions: Option<Arc<Conditions>>,
    /// The first version that it is not in.
    ended: AtomicU64,
}

impl Entry {
    fn new(fence: Fence) -> Self {
        let Fence { id, shape: Shape { centre, reach, outline }, conditions } = fence;
        Self { id, centre, reach, outline, conditions, ended: AtomicU64::new(ALIVE) }
    }

    /// Whether it is in a version.
    #[inline]
    pub(super) fn is_in(&self, version: u64) -> bool {
        // Whoever has a version has seen the marks that were set before it was put in place.
        self.ended.load(Ordering::Relaxed) > version
    }

    /// Leaves it out of a version that is not yet in place, and of all after it.
    pub(super) fn end(&self, version: u64) {
        self.ended.store(version, Ordering::Relaxed);
    }

    /// Takes back that it ended.
    pub(super) fn revive(&self) {
        self.ended.store(ALIVE, Ordering::Relaxed);
    }

    pub(super) fn fence(&self) -> Fence {
        Fence { id: self.id, shape: self.shape(), conditions: self.conditions.clone() }
    }

    pub(super) fn shape(&self) -> Shape {
        Shape { centre: self.centre, reach: self.reach, outline: self.outline.clone() }
    }
}

/// Fences in one tree.
#[derive(Debug)]
pub(super) struct Run {
    tree: Tree,
    /// In the tree's order.
    entries: Box<[Entry]>,
    /// Numbers of entries, by the hash of the id.
    numbers: HashTable<u32>,
}

impl Run {
    /// A run of fences with different ids.
    pub(super) fn new(fences: Vec<Fence>) -> Self {
        let ball = |fence: &Fence| Ball::around(fence.shape.centre, fence.shape.reach.sqrt());
        let (tree, order) = Tree::build(&fences.iter().map(ball).collect::<Vec<_>>());
        let mut fences: Vec<Option<Fence>> = fences.into_iter().map(Some).collect();
        let entries: Box<[Entry]> =
            order.iter().filter_map(|&at| fences[at as usize].take()).map(Entry::new).collect();
        let mut numbers = HashTable::with_capacity(entries.len());
        for (entry, number) in entries.iter().zip(0..) {
            numbers.insert_unique(hash(entry.id), number, |&number| hash(entries[number as usize].id));
        }
        Self { tree, entries, numbers }
    }

    /// How many fences it has, replaced ones included.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The fence with an id, replaced or not.
    pub(super) fn find(&self, id: FenceId) -> Option<&Entry> {
        let number = self.numbers.find(hash(id), |&number| self.entries[number as usize].id == id)?;
        Some(&self.entries[*number as usize])
    }

    /// The fences that are in a version.
    pub(super) fn fences(&self, version: u64) -> impl Iterator<Item = Fence> {
        self.entries.iter().filter(move |entry| entry.is_in(version)).map(Entry::fence)
    }

    /// Tells each fence that may hold a place: whose reach it is in. Gives the square of the chord to its centre, too.
    #[inline]
    pub(super) fn near(&self, place: Vector, mut found: impl FnMut(&Entry, f64)) {
        // First all numbers and then all entries, so that the processor fetches several from memory at once.
        let mut numbers: SmallVec<[u32; 64]> = SmallVec::new();
        self.tree.holding(place, |number| numbers.push(number as u32));
        for number in numbers {
            let entry = &self.entries[number as usize];
            let chord2 = entry.centre.chord2(place);
            if chord2 <= entry.reach {
                found(entry, chord2);
            }
        }
    }

    /// How many bytes it takes: the tree, the table, and the fences with their outlines. Conditions are shared.
    pub(super) fn bytes(&self) -> usize {
        // What an `Arc` has before its value: two counters.
        let outline = |outline: &Arc<Outline>| 16 + size_of::<Outline>() + outline.heap_bytes();
        let outlines: usize =
            self.entries.iter().filter_map(|entry| entry.outline.as_ref()).map(outline).sum();
        self.tree.bytes() + size_of_val(&*self.entries) + self.numbers.allocation_size() + outlines
    }
}

/// Ids are numbers that we give ourselves, so nobody can choose them to collide.
fn hash(id: FenceId) -> u64 {
    let number = u64::from(id.owner.0) << 32 | u64::from(id.number);
    let product = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_cache_line() {
        assert_eq!(size_of::<Entry>(), 64);
    }
}
