//! Positions by the cell they are in, spread over many locks.
//!
//! Who moves from one cell to another is put in the new one before they are taken out of the old. A question that comes to
//! the new cell too early and to the old one too late would miss them; so it looks first how many have left each part of the
//! grid that it will visit, and begins again if somebody has left one before it came there.

use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hashbrown::{HashMap, HashTable};
use smallvec::SmallVec;

use super::cells::{Cell, LEVELS, reaching};
use crate::index::OwnerId;
use crate::sphere::Vector;

/// How many locks there are: many more than threads, so that two seldom want the same.
const PARTS: usize = 256;

/// How often a question begins again before it holds all of its locks at once.
const ATTEMPTS: usize = 4;

/// A position in a cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) owner: OwnerId,
    /// Grows with every update of the owner.
    pub(super) update: u32,
    pub(super) place: Vector,
    /// The square of the chord of the radius.
    pub(super) reach: f64,
    /// Microseconds since 1970.
    pub(super) expires: i64,
}

/// Positions by cell.
#[derive(Debug)]
pub(super) struct Grid {
    parts: Box<[Part]>,
    /// How many positions each level has.
    levels: [AtomicUsize; LEVELS],
}

/// Some of the cells. A cache line of its own for what is looked at most.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Part {
    /// How many have been taken out of its cells.
    left: AtomicU64,
    cells: RwLock<Cells>,
}

/// A cell's name is spread already.
type Cells = HashMap<u64, HashTable<Entry>, BuildHasherDefault<Spread>>;

impl Grid {
    pub(super) fn new() -> Self {
        let parts = std::iter::repeat_with(Part::default).take(PARTS).collect();
        Self { parts, levels: Default::default() }
    }

    /// Puts a position in a cell, in the place of the owner's that is there.
    pub(super) fn put(&self, cell: Cell, entry: Entry) {
        let mut cells = self.part(cell).write();
        let inside = cells.entry(cell.spread()).or_default();
        match inside.find_mut(hash(entry.owner), |other| other.owner == entry.owner) {
            Some(old) => *old = entry,
            None => {
                inside.insert_unique(hash(entry.owner), entry, |entry| hash(entry.owner));
                self.levels[cell.level()].fetch_add(1, Ordering::Release);
            }
        }
    }

    /// Takes an owner out of a cell.
    pub(super) fn take(&self, cell: Cell, owner: OwnerId) {
        let part = self.part(cell);
        let mut cells = part.write();
        let Some(inside) = cells.get_mut(&cell.spread()) else { return };
        let Ok(found) = inside.find_entry(hash(owner), |entry| entry.owner == owner) else { return };
        found.remove();
        part.left.fetch_add(1, Ordering::Release);
        self.levels[cell.level()].fetch_sub(1, Ordering::Release);
        if inside.is_empty() {
            cells.remove(&cell.spread());
            if cells.capacity() > 4 * cells.len() + 8 {
                let room = 2 * cells.len();
                cells.shrink_to(room);
            }
        } else if inside.capacity() > 4 * inside.len() + 16 {
            let room = 2 * inside.len();
            inside.shrink_to(room, |entry| hash(entry.owner));
        }
    }

    /// The positions that reach a place and have not expired, each owner once, in the order of owners, with the square of the
    /// chord.
    pub(super) fn reaching(&self, place: Vector, now: i64) -> Vec<(Entry, f64)> {
        let mut found = Vec::new();
        let mut add = |inside: &HashTable<Entry>| {
            for entry in inside {
                let chord2 = entry.place.chord2(place);
                if chord2 <= entry.reach && entry.expires > now {
                    found.push((*entry, chord2));
                }
            }
        };
        if !(0..ATTEMPTS).any(|_| self.visit(place, &mut add)) {
            self.visit_at_once(place, &mut add);
        }
        // Somebody who moved may have been seen twice, and in an attempt that failed.
        found.sort_unstable_by(|(one, _), (other, _)| {
            one.owner.cmp(&other.owner).then(other.update.cmp(&one.update))
        });
        found.dedup_by_key(|(entry, _)| entry.owner);
        found
    }

    /// How many cells there are.
    #[cfg(test)]
    pub(super) fn cells(&self) -> usize {
        self.parts.iter().map(|part| part.read().len()).sum()
    }

    /// How many bytes it takes.
    pub(super) fn bytes(&self) -> usize {
        let cell = |inside: &HashTable<Entry>| inside.allocation_size();
        let part = |part: &Part| {
            let cells = part.read();
            size_of::<Part>() + cells.allocation_size() + cells.values().map(cell).sum::<usize>()
        };
        self.parts.iter().map(part).sum()
    }

    /// Visits the cells that may hold what reaches a place one after the other; false if somebody has left one before it was
    /// visited.
    fn visit(&self, place: Vector, add: &mut impl FnMut(&HashTable<Entry>)) -> bool {
        let populated = self.populated();
        let cells = cells(place, |level| populated & 1 << level != 0);
        let left = |cell: &Cell| self.part(*cell).left.load(Ordering::Acquire);
        let before: SmallVec<[u64; 64]> = cells.iter().map(left).collect();
        // Somebody may have come to a level that nobody was in, and left another before the count.
        if self.populated() & !populated != 0 {
            return false;
        }
        cells.iter().zip(before).all(|(cell, before)| {
            let part = self.part(*cell).read();
            if let Some(inside) = part.get(&cell.spread()) {
                add(inside);
            }
            // Under the lock, where nobody leaves.
            left(cell) == before
        })
    }

    /// Visits the same while nobody can leave or enter one.
    fn visit_at_once(&self, place: Vector, add: &mut impl FnMut(&HashTable<Entry>)) {
        let cells = cells(place, |_| true);
        let mut parts: Vec<usize> = cells.iter().map(|cell| part_of(*cell)).collect();
        parts.sort_unstable();
        parts.dedup();
        // Whoever writes holds one of these locks at a time, so nobody waits in a circle.
        let held: Vec<_> = parts.iter().map(|&part| self.parts[part].read()).collect();
        for cell in &cells {
            let held = parts.binary_search(&part_of(*cell)).ok().and_then(|at| held.get(at));
            if let Some(inside) = held.and_then(|cells| cells.get(&cell.spread())) {
                add(inside);
            }
        }
    }

    /// A bit for each level that has positions.
    fn populated(&self) -> u32 {
        let has = |level: &usize| self.levels[*level].load(Ordering::Acquire) > 0;
        (0..LEVELS).filter(has).fold(0, |levels, level| levels | 1 << level)
    }

    fn part(&self, cell: Cell) -> &Part {
        &self.parts[part_of(cell)]
    }
}

impl Part {
    fn read(&self) -> RwLockReadGuard<'_, Cells> {
        // Nothing that can panic is done under the lock, but for running out of memory.
        self.cells.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Cells> {
        self.cells.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cells of some levels that may hold what reaches a place.
fn cells(place: Vector, levels: impl Fn(usize) -> bool) -> SmallVec<[Cell; 64]> {
    let mut cells = SmallVec::new();
    for level in (0..LEVELS).filter(|level| levels(*level)) {
        reaching(place, level, |cell| cells.push(cell));
    }
    cells
}

fn part_of(cell: Cell) -> usize {
    // Of the middle: the table takes the highest and the lowest bits.
    (cell.spread() >> 32) as usize % PARTS
}

/// Owners are numbers that we give ourselves, so nobody can choose them to collide.
fn hash(owner: OwnerId) -> u64 {
    u64::from(owner.0).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
}

/// Takes a number that is spread already as its hash.
#[derive(Clone, Copy, Default)]
pub(super) struct Spread(u64);

impl std::hash::Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}
