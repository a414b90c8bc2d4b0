//! Room on the disk of the data directory: looked at now and then, so that appends are refused while there still is some.
//!
//! A full disk cannot be mended by deleting events: SQLite needs room for that, too. So a part of the disk is kept free,
//! in which what was accepted can be projected and the WALs be folded. And a file of ballast is kept, to be thrown
//! overboard if something else on the disk has taken that part. Never refuses by itself: it only says how things are.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// How old a look at the disk may be.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long nothing is tried once the disk has refused a write, whatever it says of its room: there are quotas, too.
const PAUSE: Duration = Duration::from_secs(1);
/// The part of the reserve that may be written between two looks.
const PART_UNSEEN: u64 = 16;
/// What a commit writes beside the bytes of its events, in the log and in the view: some pages of some tables each.
const BYTES_PER_COMMIT: u64 = 64 << 10;
/// What each command of it writes later: a page each of the log's index and of the view's.
const BYTES_PER_COMMAND: u64 = 8 << 10;
/// The part of the reserve that is ballast.
const PART_BALLAST: u64 = 4;

/// The room on the disk.
#[derive(Debug)]
pub(crate) struct Space {
    directory: PathBuf,
    /// Bytes that are kept free; 0 when none are, and the disk is never looked at.
    reserve: u64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    looked_at: Instant,
    written_since: u64,
    is_short: bool,
    /// The disk refused a write: nothing is tried until then.
    refused_until: Option<Instant>,
}

impl Space {
    /// On the disk of a directory, of which so many bytes are to be kept free.
    pub(crate) fn new(directory: &Path, reserve: u64) -> Self {
        let state =
            State { looked_at: Instant::now(), written_since: 0, is_short: false, refused_until: None };
        let space = Self { directory: directory.to_owned(), reserve, state: Mutex::new(state) };
        space.look(&mut space.state());
        space
    }

    /// For a log to which nothing is appended.
    pub(crate) fn unwatched() -> Self {
        Self::new(Path::new(""), 0)
    }

    /// Whether the disk is so full that nothing more may be accepted.
    pub(crate) fn is_short(&self) -> bool {
        let mut state = self.state();
        if state.refused_until.is_some_and(|until| Instant::now() < until) {
            return true;
        }
        let is_due = state.looked_at.elapsed() >= LOOK_EVERY
            || state.written_since > self.reserve / PART_UNSEEN
            || state.refused_until.is_some();
        if is_due {
            state.refused_until = None;
            self.look(&mut state);
        }
        state.is_short
    }

    /// Whether so many bytes can be written beside what is appended, with as much left again. Without a reserve nobody looks.
    pub(crate) fn has_room_for(&self, bytes: u64) -> bool {
        self.reserve == 0 || self.free().is_none_or(|free| free.saturating_sub(self.reserve) / 2 >= bytes)
    }

    /// Notes that events of so many bytes are about to be committed.
    pub(crate) fn will_commit(&self, commands: usize, bytes: usize) {
        self.state().written_since += bytes as u64 + commands as u64 * BYTES_PER_COMMAND + BYTES_PER_COMMIT;
    }

    /// Notes that the disk refused a write for want of room.
    pub(crate) fn ran_out(&self) {
        self.state().refused_until = Some(Instant::now() + PAUSE);
    }

    /// Gives up the ballast, for what was accepted and has to be written. Whether there was any.
    pub(crate) fn drop_ballast(&self) -> bool {
        drop_ballast(&self.directory)
    }

    fn look(&self, state: &mut State) {
        (state.looked_at, state.written_since) = (Instant::now(), 0);
        if self.reserve == 0 {
            return;
        }
        let Some(free) = self.free() else { return };
        let is_short = free < self.reserve;
        if is_short && !state.is_short {
            tracing::error!(free, reserve = self.reserve, "the disk is nearly full: nothing is accepted");
        } else if !is_short && state.is_short {
            tracing::info!(free, "there is room on the disk again");
        }
        state.is_short = is_short;
        if free > self.reserve.saturating_mul(2) {
            self.take_ballast();
        }
    }

    /// Bytes that are free, if the disk says so.
    fn free(&self) -> Option<u64> {
        match statvfs(&self.directory) {
            Ok(disk) => Some(disk.f_bavail.saturating_mul(disk.f_frsize)),
            Err(error) => {
                tracing::debug!(%error, "the disk does not say how much room it has");
                None
            }
        }
    }

    /// Takes ballast on, where there is none. Without it, too, nothing is lost: it is only for a disk that others fill.
    fn take_ballast(&self) {
        let path = ballast(&self.directory);
        if path.exists() {
            return;
        }
        let allocate = |file: File| fallocate(file, FallocateFlags::empty(), 0, self.reserve / PART_BALLAST);
        let opened = OpenOptions::new().write(true).create_new(true).open(&path);
        if let Err(error) = opened.and_then(|file| Ok(allocate(file)?)) {
            tracing::debug!(%error, "there is no ballast");
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner) // each field is whole by itself
    }
}

/// Gives up the ballast of a directory. Whether there was any.
pub(crate) fn drop_ballast(directory: &Path) -> bool {
    let dropped = std::fs::remove_file(ballast(directory)).is_ok();
    if dropped {
        tracing::warn!("the disk is full: the ballast is given up");
    }
    dropped
}

fn ballast(directory: &Path) -> PathBuf {
    directory.join("ballast")
}
