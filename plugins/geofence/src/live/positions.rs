//! Who shares a position, since when and until when; the grid only knows where.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

use super::cells::Cell;
use super::grid::{Entry, Grid};
use super::pace::{Debt, Pace};
use crate::geometry::{Shape, check_radius};
use crate::index::OwnerId;
use crate::invalid::Reason;
use crate::limits::MAX_LIVE_RADIUS;
use crate::position::Position;
use crate::sphere::{chord_of_metres, metres_of_chord2};

/// How many locks the owners are spread over.
const PARTS: usize = 256;

/// What live positions may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a position counts after its last update.
    pub lifetime: Duration,
    /// How often an owner may update it.
    pub pace: Pace,
    /// How many positions there may be: about 300 bytes each.
    pub most: usize,
}

impl Default for Settings {
    fn default() -> Self {
        let pace = Pace { every: Duration::from_secs(1), burst: 5 };
        Self { lifetime: Duration::from_secs(300), pace, most: 1_000_000 }
    }
}

/// Where somebody is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LivePosition {
    /// The position.
    pub at: Position,
    /// What is within so many metres concerns them.
    pub radius: f64,
    /// When they were there.
    pub time: Timestamp,
}

/// Why an update is refused. What was known before stays.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Refused {
    /// No radius for a live position.
    #[error("radius: {0}")]
    Radius(Reason),
    /// More often than the pace.
    #[error("too many updates: expected the next in {} ms at the earliest", .0.as_millis())]
    TooSoon(Duration),
    /// From before what is known, or so old that it has expired.
    #[error("the position is of {0}, and a later one is known or it has expired")]
    Outdated(Timestamp),
    /// Too many positions.
    #[error("there are {0} live positions already, and no more may be")]
    Full(usize),
}

/// An owner whose radius holds the position that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveMatch {
    /// Who.
    pub owner: OwnerId,
    /// The square of the chord to where they are. Orders as the distance does.
    pub chord2: f64,
}

impl LiveMatch {
    /// The distance to where they are in metres along the great circle.
    #[must_use]
    pub fn distance(&self) -> f64 {
        metres_of_chord2(self.chord2)
    }
}

/// Those who share where they are.
#[derive(Debug)]
pub struct LivePositions {
    settings: Settings,
    parts: Box<[Mutex<HashMap<OwnerId, Known>>]>,
    /// How many positions there are.
    count: AtomicUsize,
    grid: Grid,
}

/// What is known of an owner.
#[derive(Debug, Default)]
struct Known {
    here: Option<Here>,
    debt: Debt,
    updates: u32,
}

#[derive(Clone, Copy, Debug)]
struct Here {
    position: LivePosition,
    cell: Cell,
    expires: i64,
}

impl LivePositions {
    /// Nobody yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let parts = std::iter::repeat_with(Mutex::default).take(PARTS).collect();
        Self { settings, parts, count: AtomicUsize::new(0), grid: Grid::new() }
    }

    /// Somebody says where they are. A time that has not come yet is taken for now: a clock that is ahead should not keep
    /// later updates out.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn update(&self, owner: OwnerId, mut position: LivePosition, now: Timestamp) -> Result<(), Refused> {
        check_radius(position.radius, MAX_LIVE_RADIUS).map_err(Refused::Radius)?;
        position.time = position.time.min(now);
        let lifetime = i64::try_from(self.settings.lifetime.as_micros()).unwrap_or(i64::MAX);
        let expires = position.time.as_microsecond().saturating_add(lifetime);
        let (place, time) = (position.at.vector(), now.as_microsecond());
        let mut owners = self.part(owner);
        let known = owners.entry(owner).or_default();
        let is_older = known.here.is_some_and(|here| position.time < here.position.time);
        let mut debt = known.debt;
        let result = if is_older || expires <= time {
            Err(Refused::Outdated(position.time))
        } else {
            debt.count(time, self.settings.pace).map_err(Refused::TooSoon)
        };
        let result = result.and_then(|()| if known.here.is_none() { self.count_one() } else { Ok(()) });
        if let Err(refused) = result {
            // Nothing was taken, so nothing is to be made up for.
            if known.here.is_none() && known.debt.is_none(time) {
                owners.remove(&owner);
            }
            return Err(refused);
        }
        known.debt = debt;
        known.updates = known.updates.wrapping_add(1);
        let reach = Shape::circle(place, position.radius).reach;
        let cell = Cell::of(place, chord_of_metres(position.radius));
        self.grid.put(cell, Entry { owner, update: known.updates, place, reach, expires });
        let before = known.here.replace(Here { position, cell, expires });
        if let Some(before) = before.filter(|before| before.cell != cell) {
            self.grid.take(before.cell, owner);
        }
        Ok(())
    }

    /// Somebody shares no more where they are. Their pace goes on.
    pub fn remove(&self, owner: OwnerId) {
        let mut owners = self.part(owner);
        if let Some(here) = owners.get_mut(&owner).and_then(|known| known.here.take()) {
            self.forget(owner, here);
        }
    }

    /// Where somebody is, if they share it and it has not expired.
    #[must_use]
    pub fn position(&self, owner: OwnerId, now: Timestamp) -> Option<LivePosition> {
        let here = self.part(owner).get(&owner).and_then(|known| known.here)?;
        (here.expires > now.as_microsecond()).then_some(here.position)
    }

    /// Those whose radius holds a position, in the order of owners.
    #[must_use]
    pub fn matches(&self, at: Position, now: Timestamp) -> Vec<LiveMatch> {
        let reaching = self.grid.reaching(at.vector(), now.as_microsecond());
        reaching.into_iter().map(|(entry, chord2)| LiveMatch { owner: entry.owner, chord2 }).collect()
    }

    /// Those of them who are nearest, nearest first.
    #[must_use]
    pub fn nearest(&self, at: Position, now: Timestamp, k: usize) -> Vec<LiveMatch> {
        let mut matches = self.matches(at, now);
        matches.sort_by(|one, other| one.chord2.total_cmp(&other.chord2));
        matches.truncate(k);
        matches
    }

    /// Forgets what has expired, and gives its memory back. To be called now and then, as often as an expired position's
    /// memory matters; it counts nowhere before. Returns how many went.
    pub fn sweep(&self, now: Timestamp) -> usize {
        let now = now.as_microsecond();
        let mut gone = 0;
        for part in &self.parts {
            let mut owners = lock(part);
            owners.retain(|owner, known| {
                if let Some(here) = known.here.take_if(|here| here.expires <= now) {
                    self.forget(*owner, here);
                    gone += 1;
                }
                known.here.is_some() || !known.debt.is_none(now)
            });
            if owners.capacity() > 4 * owners.len() + 8 {
                let room = 2 * owners.len();
                owners.shrink_to(room);
            }
        }
        gone
    }

    /// How many positions there are, expired ones included until they are swept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// About how many bytes they take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let owner = size_of::<(OwnerId, Known)>() + 1;
        self.grid.bytes() + self.parts.iter().map(|part| lock(part).capacity() * 8 / 7 * owner).sum::<usize>()
    }

    fn count_one(&self) -> Result<(), Refused> {
        let most = self.settings.most;
        let more = |count: usize| (count < most).then_some(count + 1);
        let counted = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        counted.map(|_| ()).map_err(|_| Refused::Full(most))
    }

    fn forget(&self, owner: OwnerId, here: Here) {
        self.grid.take(here.cell, owner);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }

    fn part(&self, owner: OwnerId) -> MutexGuard<'_, HashMap<OwnerId, Known>> {
        lock(&self.parts[owner.0 as usize % PARTS])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic is done under the lock, but for running out of memory.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lon: f64) -> Position {
        Position::new(lat, lon).unwrap()
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn here(lat: f64, lon: f64, radius: f64, time: i64) -> LivePosition {
        LivePosition { at: at(lat, lon), radius, time: second(time) }
    }

    fn settings() -> Settings {
        let pace = Pace { every: Duration::from_secs(1), burst: 1 };
        Settings { lifetime: Duration::from_secs(60), pace, most: 3 }
    }

    fn owners(live: &LivePositions, lat: f64, lon: f64, time: i64) -> Vec<u32> {
        live.matches(at(lat, lon), second(time)).iter().map(|found| found.owner.0).collect()
    }

    #[test]
    fn only_the_latest_position_counts_until_it_expires() {
        let live = LivePositions::new(settings());
        live.update(OwnerId(7), here(52.0, 13.0, 500.0, 0), second(0)).unwrap();
        assert_eq!(owners(&live, 52.003, 13.0, 1), [7]);
        live.update(OwnerId(7), here(-17.0, 180.0, 900.0, 10), second(10)).unwrap();
        assert_eq!(owners(&live, 52.0, 13.0, 10), [0u32; 0]);
        assert_eq!(owners(&live, -17.0, -179.995, 69), [7]);
        assert_eq!(live.position(OwnerId(7), second(69)).map(|here| here.radius), Some(900.0));
        assert_eq!(owners(&live, -17.0, -179.995, 70), [0u32; 0]);
        assert_eq!(live.position(OwnerId(7), second(70)), None);
        let late = live.update(OwnerId(7), here(0.0, 0.0, 500.0, 9), second(12));
        assert_eq!(late, Err(Refused::Outdated(second(9))));
        live.remove(OwnerId(7));
        assert!(live.is_empty() && owners(&live, -17.0, 180.0, 12).is_empty());
    }

    #[test]
    fn a_clock_that_is_ahead_keeps_nothing_out() {
        let live = LivePositions::new(settings());
        live.update(OwnerId(1), here(1.0, 1.0, 500.0, 1_000), second(0)).unwrap();
        live.update(OwnerId(1), here(2.0, 2.0, 500.0, 1), second(1)).unwrap();
        assert_eq!(owners(&live, 2.0, 2.0, 1), [1]);
        assert_eq!(owners(&live, 2.0, 2.0, 61), [0u32; 0]);
    }

    #[test]
    fn what_comes_too_often_or_is_too_much_is_refused() {
        let live = LivePositions::new(settings());
        let update = |owner, time| live.update(OwnerId(owner), here(0.0, 0.0, 100.0, time), second(time));
        for owner in 0..3 {
            assert_eq!(update(owner, 0), Ok(()));
        }
        assert_eq!(update(0, 0), Err(Refused::TooSoon(Duration::from_secs(1))));
        assert_eq!(update(3, 0), Err(Refused::Full(3)));
        live.remove(OwnerId(0));
        // Who goes and comes again is no faster.
        assert_eq!(update(0, 0), Err(Refused::TooSoon(Duration::from_secs(1))));
        assert_eq!(update(4, 0), Ok(()));
        let wrong = live.update(OwnerId(9), here(0.0, 0.0, 600_000.0, 0), second(0));
        assert!(
            wrong.unwrap_err().to_string().starts_with("radius: expected a radius from 1 to 500000 metres")
        );
        assert!(matches!(update(9, -60), Ok(()) | Err(Refused::Full(_))));
        let old = live.update(OwnerId(9), here(0.0, 0.0, 100.0, -60), second(0));
        assert_eq!(old, Err(Refused::Outdated(second(-60))));
    }

    #[test]
    fn what_is_refused_as_too_much_leaves_nothing_behind() {
        let live = LivePositions::new(settings());
        let update = |owner, time| live.update(OwnerId(owner), here(0.0, 0.0, 100.0, time), second(time));
        (0..3).for_each(|owner| update(owner, 0).unwrap());
        let known = || live.parts.iter().map(|part| lock(part).len()).sum::<usize>();
        for owner in 3..2_000 {
            assert_eq!(update(owner, 0), Err(Refused::Full(3)));
        }
        assert_eq!(known(), 3);
        // Nothing was taken, so nothing has to be made up for.
        assert_eq!(update(3, 0), Err(Refused::Full(3)));
        live.remove(OwnerId(0));
        assert_eq!(update(3, 0), Ok(()));
    }

    #[test]
    fn a_sweep_leaves_nothing_of_what_has_expired() {
        let live = LivePositions::new(Settings { most: 100_000, ..settings() });
        let empty = live.bytes();
        for owner in 0..20_000u32 {
            let (lat, lon) = (f64::from(owner % 170) - 85.0, f64::from(owner % 359) - 179.0);
            live.update(OwnerId(owner), here(lat, lon, 1.0 + f64::from(owner), 0), second(0)).unwrap();
        }
        let full = live.bytes();
        assert!(full > empty + 20_000 * 100 && full < empty + 20_000 * 600, "{}", (full - empty) / 20_000);
        live.update(OwnerId(5), here(0.0, 0.0, 5.0, 30), second(30)).unwrap();
        assert_eq!(live.sweep(second(60)), 19_999);
        assert_eq!(live.len(), 1);
        assert_eq!(live.grid.cells(), 1);
        assert!(live.bytes() < empty + 256 * 1_500, "{}", live.bytes() - empty);
        assert_eq!(live.sweep(second(90)), 1);
        assert_eq!((live.len(), live.grid.cells()), (0, 0));
    }

    #[test]
    fn the_nearest_come_first() {
        let live = LivePositions::new(settings());
        for (owner, lat) in [(1, 89.9), (2, 90.0), (3, 89.95)] {
            live.update(OwnerId(owner), here(lat, 100.0, 50_000.0, 0), second(0)).unwrap();
        }
        let nearest = live.nearest(at(89.99, -80.0), second(0), 2);
        let owners: Vec<u32> = nearest.iter().map(|found| found.owner.0).collect();
        assert_eq!(owners, [2, 3]);
        assert!((nearest[1].distance() - 0.06 * 111_195.0).abs() < 5.0);
    }
}
