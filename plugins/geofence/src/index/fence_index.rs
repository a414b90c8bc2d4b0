//! The one who changes the fences: makes each version from the last, and has the main tree rebuilt.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::rebuild::{Rebuild, Spawn, is_due, spawn};
use super::run::{Entry, Run};
use super::{Fence, FenceId, Version};

/// How many fences the smallest tree of changes has at most: every change builds it anew, in a few microseconds.
const SMALLEST: usize = 64;

/// How many times larger each tree of changes is than the one before it. Larger: fewer trees to ask, more merging.
const GROWTH: usize = 16;

/// How many trees of changes there are at most. The last one may be of any size.
const LEVELS: usize = 4;

/// A change of a fence.
#[derive(Clone, Debug)]
pub enum Change {
    /// There is a fence; one with the same id goes.
    Put(Fence),
    /// A fence goes, if it is there.
    Remove(FenceId),
}

/// The fences, and their changes.
#[derive(Debug)]
pub struct FenceIndex {
    shared: Arc<Shared>,
}

/// What the thread that rebuilds needs, too.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) current: ArcSwap<Version>,
    /// Held by whoever makes the next version.
    pub(super) rebuild: Mutex<Option<Rebuild>>,
    pub(super) spawn: Spawn,
}

impl FenceIndex {
    /// An index of fences. Of two with the same id, the later one counts.
    #[must_use]
    pub fn new(fences: impl IntoIterator<Item = Fence>) -> Self {
        Self::with_spawn(fences, spawn)
    }

    fn with_spawn(fences: impl IntoIterator<Item = Fence>, spawn: Spawn) -> Self {
        let mut fences: Vec<Fence> = fences.into_iter().collect();
        leave_last(&mut fences);
        let version = Version {
            number: 0,
            len: fences.len(),
            main: Arc::new(Run::new(fences)),
            frozen: Vec::new(),
            levels: Vec::new(),
        };
        let shared = Shared { current: ArcSwap::from_pointee(version), rebuild: Mutex::new(None), spawn };
        Self { shared: Arc::new(shared) }
    }

    /// The fences as they are now. Never waits.
    #[must_use]
    pub fn version(&self) -> Arc<Version> {
        self.shared.current.load_full()
    }

    /// Makes changes, in their order: a version has all of them or none.
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        // What is built is built before anybody is kept from changing something.
        let changes = last_of_each(changes);
        if changes.is_empty() {
            return;
        }
        let mut rebuild = self.shared.rebuild();
        rebuild.take_if(|rebuild| rebuild.is_finished());
        let current = self.version();
        let number = current.number + 1;
        let mut len = current.len;
        let mut marks = Marks::default();
        let mut fresh = Vec::new();
        for (id, fence) in changes {
            if let Some(old) = current.entry(id) {
                marks.end(old, number);
                len -= 1;
            }
            if let Some(fence) = fence {
                fresh.push(fence);
                len += 1;
            }
        }
        let levels = merged(&current.levels, fresh, number);
        let (main, mut frozen) = (current.main.clone(), current.frozen.clone());
        let changed = frozen.iter().chain(levels.iter().flatten());
        let is_due = rebuild.is_none() && is_due(&main, changed, len);
        // Without a thread nothing is frozen: it would stay so. The next change tries again.
        let begun = if is_due { Rebuild::prepare(&self.shared) } else { None };
        let levels = if begun.is_some() {
            frozen.extend(levels.into_iter().flatten());
            Vec::new()
        } else {
            levels
        };
        let next = Arc::new(Version { number, len, main, frozen, levels });
        self.shared.current.store(next.clone());
        let ended = marks.keep();
        if let Some(begun) = begun {
            begun.begin(next);
            *rebuild = Some(begun);
        } else if let Some(rebuild) = &mut *rebuild {
            rebuild.ended.extend(ended);
        }
    }

    /// Waits until the tree that is being rebuilt, if any, is in place.
    pub fn settle(&self) {
        let in_place = self.shared.rebuild().as_ref().map(Rebuild::in_place);
        if let Some(in_place) = in_place {
            in_place.wait();
        }
    }
}

impl Drop for FenceIndex {
    fn drop(&mut self) {
        self.settle();
    }
}

impl Shared {
    pub(super) fn rebuild(&self) -> MutexGuard<'_, Option<Rebuild>> {
        // Whoever panicked has not put a version in place, and its marks were taken back.
        self.rebuild.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks of fences that end, taken back if the version in which they do is never put in place.
#[derive(Default)]
struct Marks<'a>(Vec<&'a Entry>);

impl<'a> Marks<'a> {
    fn end(&mut self, entry: &'a Entry, version: u64) {
        entry.end(version);
        self.0.push(entry);
    }

    /// Leaves them, and says whose they are.
    fn keep(mut self) -> impl Iterator<Item = FenceId> {
        std::mem::take(&mut self.0).into_iter().map(|entry| entry.id)
    }
}

impl Drop for Marks<'_> {
    fn drop(&mut self) {
        for entry in &self.0 {
            entry.revive();
        }
    }
}

/// The trees of changes with more fences: these are put in the smallest tree, and when it is full, it is put in the next.
fn merged(levels: &[Option<Arc<Run>>], mut fresh: Vec<Fence>, version: u64) -> Vec<Option<Arc<Run>>> {
    let mut levels = levels.to_vec();
    if fresh.is_empty() {
        return levels;
    }
    let mut most = SMALLEST;
    for level in 0..LEVELS {
        if level == levels.len() {
            levels.push(None);
        }
        if let Some(run) = levels[level].take() {
            fresh.extend(run.fences(version));
        }
        if fresh.len() <= most || level + 1 == LEVELS {
            levels[level] = Some(Arc::new(Run::new(fresh)));
            break;
        }
        most *= GROWTH;
    }
    levels
}

/// What becomes of each fence in the end.
fn last_of_each(changes: impl IntoIterator<Item = Change>) -> HashMap<FenceId, Option<Fence>> {
    let last = changes.into_iter().map(|change| match change {
        Change::Put(fence) => (fence.id, Some(fence)),
        Change::Remove(id) => (id, None),
    });
    last.collect()
}

/// Leaves only the last of fences with the same id.
fn leave_last(fences: &mut Vec<Fence>) {
    let mut last: Vec<(FenceId, u32)> = fences.iter().map(|fence| fence.id).zip(0..).collect();
    last.sort_unstable();
    if last.windows(2).all(|pair| pair[0].0 != pair[1].0) {
        return;
    }
    last.reverse();
    last.dedup_by_key(|(id, _)| *id);
    last.sort_unstable_by_key(|(_, at)| *at);
    let (mut kept, mut at) = (last.iter().peekable(), 0);
    fences.retain(|_| {
        at += 1;
        kept.next_if(|(_, last)| *last == at - 1).is_some()
    });
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Instant;

    use super::super::rebuild::WAIT_FOR_READERS;
    use super::*;
    use crate::geometry::Circle;
    use crate::index::OwnerId;
    use crate::position::Position;

    fn put(number: u32) -> Change {
        let centre = Position::new(f64::from(number % 170) - 85.0, f64::from(number % 359) - 179.0).unwrap();
        let id = FenceId { owner: OwnerId(1), number };
        Change::Put(Fence { id, shape: Circle::new(centre, 500.0).unwrap().shape(), conditions: None })
    }

    #[test]
    fn without_a_thread_changes_stay_in_few_trees_until_there_is_one() {
        static IS_FULL: AtomicBool = AtomicBool::new(true);
        let spawn_or_not: Spawn = |work| match IS_FULL.load(Ordering::Relaxed) {
            true => Err(std::io::ErrorKind::WouldBlock.into()),
            false => spawn(work),
        };
        let index = FenceIndex::with_spawn([], spawn_or_not);
        index.apply((0..5_000).map(put));
        (5_000..5_100).for_each(|number| index.apply([put(number)]));
        let version = index.version();
        assert_eq!(version.len(), 5_100);
        assert!(version.frozen.is_empty() && version.runs().count() <= LEVELS + 1);
        IS_FULL.store(false, Ordering::Relaxed);
        index.apply([put(5_100)]);
        index.settle();
        let version = index.version();
        assert_eq!((version.len(), version.main.len(), version.runs().count()), (5_101, 5_101, 1));
    }

    #[test]
    fn whoever_keeps_an_old_version_makes_nobody_wait_for_the_new_tree() {
        let index = FenceIndex::new([]);
        let mut shortest = WAIT_FOR_READERS;
        let mut kept = Vec::new();
        for round in 0..4 {
            kept.push(index.version());
            index.apply((0..5_000).map(|number| put(round * 5_000 + number)));
            let begun = Instant::now();
            index.settle();
            shortest = shortest.min(begun.elapsed());
            assert_eq!(index.version().main.len(), index.version().len());
        }
        assert!(kept.iter().zip(0..).all(|(version, round)| version.len() == 5_000 * round));
        assert!(shortest < WAIT_FOR_READERS);
    }
}
