//! Events into the fold and the view: what live operation and a rebuild have in common.
//!
//! Used by one thread, which owns the view's connection. Hands out what an event means for those who are connected, but
//! knows nobody who is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::fold::{Changes, Effect, Fold};
use super::page::Inbox;
use super::{concerns, load, timers, view};
use crate::epochs::Epochs;
use crate::event::Events;
use crate::log::TailError;
use crate::names::{Channel, UserKey};
use crate::position::{Position, StreamId};
use crate::resume::Viewer;
use crate::sqlite::{Connection, remove_database};

/// People kept in memory who are not connected: a few hundred bytes each, more for those with many exceptions.
const PEOPLE_KEPT: usize = 50_000;
/// People loaded at once, for the size of what is asked.
const PEOPLE_AT_ONCE: usize = 1_024;

/// Why a projection stopped. What it has is derived, so nothing is lost: it can be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// Its database failed.
    #[error("the inbox view's database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// Its database cannot be opened.
    #[error("the inbox view's database cannot be opened: {0}")]
    Open(#[from] sqlx::Error),
    /// Its file cannot be removed or put in place.
    #[error("the inbox view's file {path} cannot be replaced: {error}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// What was built is not sound.
    #[error("the inbox view that was built is damaged: {0}")]
    Built(String),
    /// It cannot be replaced while another process reads it.
    #[error("the views are being read by another process, such as `tidings check`")]
    Read,
    /// Its thread cannot be set up.
    #[error("the inbox view's thread cannot be set up: {0}")]
    Thread(std::io::Error),
    /// The log cannot be followed.
    #[error(transparent)]
    Tail(#[from] TailError),
    /// The disk has no room for what is to be written.
    #[error("the disk has no room for the inbox view")]
    NoRoom,
    /// The thread of the view is gone.
    #[error("the inbox view is closed")]
    Closed,
}

impl ViewError {
    /// Whether the view itself is at fault, so that it has to be built anew: whatever is not its surroundings.
    pub(crate) fn is_damage(&self) -> bool {
        matches!(self, Self::Database(error) if is_damage(error))
    }

    /// Whether the disk had no room. Nothing was written.
    pub(crate) fn is_full(&self) -> bool {
        let code = match self {
            Self::Database(error) => error.sqlite_error_code(),
            Self::NoRoom => return true,
            _ => None,
        };
        code == Some(rusqlite::ErrorCode::DiskFull)
    }
}

/// Whether an error of the view's database says that it is damaged, not that the disk or the system is in trouble.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OperationInterrupted, OutOfMemory,
        PermissionDenied, ReadOnly, SystemIoFailure,
    };
    let surroundings = [
        CannotOpen,
        DatabaseBusy,
        DatabaseLocked,
        DiskFull,
        OperationInterrupted,
        OutOfMemory,
        PermissionDenied,
        ReadOnly,
        SystemIoFailure,
    ];
    error.sqlite_error_code().is_none_or(|code| !surroundings.contains(&code))
}

/// Removes a view, so that the next start builds it anew: of all of the log, as the snapshots may have been taken of what was
/// wrong.
pub(crate) fn discard(data: &Path) -> Result<(), ViewError> {
    let note = doubt_in(data);
    std::fs::write(&note, "").map_err(|error| ViewError::File { path: note, error })?;
    remove_database(&path_in(data)).map_err(|(path, error)| ViewError::File { path, error })
}

/// A fold that many read and one thread writes.
#[derive(Clone, Default)]
pub(crate) struct SharedFold(Arc<RwLock<Fold>>);

impl SharedFold {
    /// Never held across an await: readers take what they need and let go.
    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Fold> {
        self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, Fold> {
        self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The fold and the view it is kept in.
pub(crate) struct Projection<'c> {
    connection: &'c Connection,
    epochs: Epochs,
    fold: SharedFold,
    people_kept: usize,
    unwritten: Unwritten,
}

/// What was folded and is not in the view yet: one batch, for the fold and for the view, however many it came in.
#[derive(Default)]
struct Unwritten {
    changes: Changes,
    /// Those that the view notes.
    effects: Vec<Effect>,
    events: usize,
}

impl<'c> Projection<'c> {
    /// Loads what has to be in memory from a view.
    pub(crate) fn load(
        connection: &'c Connection,
        epochs: Epochs,
        fold: SharedFold,
    ) -> Result<Self, ViewError> {
        let position = view::checkpoint(connection).map_or(Position(0), |checkpoint| checkpoint.position);
        *fold.write() = Fold::loaded(position, view::load_shared_streams(connection)?);
        let unwritten = Unwritten::default();
        Ok(Self { connection, epochs, fold, people_kept: PEOPLE_KEPT, unwritten })
    }

    /// Keeps fewer people in memory, so that tests meet those who were forgotten.
    pub(crate) fn keeping(mut self, people: usize) -> Self {
        self.people_kept = people;
        self
    }

    pub(crate) fn people_kept(&self) -> usize {
        self.people_kept
    }

    pub(crate) fn fold(&self) -> RwLockReadGuard<'_, Fold> {
        self.fold.read()
    }

    /// Folds the next events, and says what they meant. What they change is written by [`write`](Self::write), together with what
    /// was folded before and is not written yet.
    pub(crate) fn apply(&mut self, events: &Events) -> Result<Vec<Effect>, ViewError> {
        self.bring(events.iter().flat_map(|event| Fold::concerned(event)))?;
        let mut effects = Vec::with_capacity(events.len());
        let mut fold = self.fold.write();
        for event in events {
            fold.apply(event, &mut self.unwritten.changes, &mut effects, self.connection)?;
        }
        self.unwritten.events += events.len();
        self.unwritten.effects.extend(effects.iter().filter(|effect| concerns::is_noted(effect)).cloned());
        Ok(effects)
    }

    /// Writes all that is not in the view yet, with its checkpoint, in one transaction.
    pub(crate) fn write(&mut self) -> Result<(), ViewError> {
        if self.unwritten.events > 0 {
            let fold = self.fold.read();
            let reached = self.epochs.cursor(fold.position());
            view::write(self.connection, &fold, &reached, &self.unwritten.changes, &self.unwritten.effects)?;
            drop(fold);
            self.unwritten = Unwritten::default();
        }
        self.forget();
        Ok(())
    }

    /// How many events are folded and not in the view yet.
    pub(crate) fn events_unwritten(&self) -> usize {
        self.unwritten.events
    }

    /// Whether a timer was set or made void that the view does not know of yet.
    pub(crate) fn sets_timers(&self) -> bool {
        !self.unwritten.changes.timers.is_empty()
    }

    /// When the next timer is due, in milliseconds since 1970.
    pub(crate) fn next_due(&self) -> Result<Option<i64>, ViewError> {
        Ok(timers::next_due(self.connection)?)
    }

    /// Forgets people who are not used, if the view has all that they have.
    fn forget(&self) {
        if self.unwritten.events == 0 {
            self.fold.write().forget(self.people_kept);
        }
    }

    /// Brings people into memory.
    pub(crate) fn bring(&self, keys: impl Iterator<Item = UserKey>) -> Result<(), ViewError> {
        let fold = self.fold.read();
        let missing: BTreeSet<UserKey> = keys.filter(|key| !fold.has(key)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let missing: Vec<UserKey> = missing.into_iter().collect();
        let mut loaded = Vec::with_capacity(missing.len());
        for some in missing.chunks(PEOPLE_AT_ONCE) {
            loaded.extend(load::people(self.connection, some, fold.shared(), &self.unwritten.changes)?);
        }
        drop(fold);
        let mut fold = self.fold.write();
        missing.into_iter().zip(loaded).for_each(|(key, person)| fold.keep(key, person));
        Ok(())
    }

    /// Brings everybody into memory, if that is not too many: after a restart, they all come back at once.
    pub(crate) fn bring_everybody(&self) -> Result<(), ViewError> {
        let everybody = load::everybody(self.connection, self.people_kept)?;
        self.bring(everybody.into_iter())
    }

    /// A person as they are now, in memory from here on.
    pub(crate) fn inbox_of(&self, key: &UserKey) -> Result<Inbox, ViewError> {
        self.bring(std::iter::once(key.clone()))?;
        let inbox = Inbox::of(&self.fold.read(), key).ok_or(ViewError::Closed);
        self.forget();
        inbox
    }

    /// A person as they are now, and what a connection of theirs watches.
    pub(crate) fn viewer(&self, key: &UserKey, watches: BTreeSet<Channel>) -> Result<Viewer, ViewError> {
        let inbox = self.inbox_of(key)?;
        let fold = self.fold.read();
        let mut watched_streams: Vec<StreamId> = Vec::new();
        for channel in &watches {
            watched_streams.extend(fold.shared().of_channel(&key.tenant, channel).map(|(id, _)| id));
        }
        Ok(Viewer { inbox, watches, watched_streams })
    }

    /// Takes the place of a projection at the same position, whose fold others read: those who are connected are in memory.
    /// Those of them that are not what they were there.
    pub(crate) fn take_place_of(mut self, theirs: SharedFold) -> Result<(Self, Vec<UserKey>), ViewError> {
        let connected = theirs.read().connected();
        self.bring(connected.iter().map(|(key, _)| key.clone()))?;
        let mut changed = Vec::new();
        {
            let (mut mine, mut theirs) = (self.fold.write(), theirs.write());
            for (key, pins) in connected {
                if mine.person(&key) != theirs.person(&key) {
                    changed.push(key.clone());
                }
                (0..pins).for_each(|_| mine.pin(&key));
            }
            std::mem::swap(&mut *mine, &mut *theirs);
        }
        self.fold = theirs;
        Ok((self, changed))
    }

    /// Keeps a person in memory while a connection of theirs is open.
    pub(crate) fn pin(&self, key: &UserKey) -> Result<(), ViewError> {
        self.bring(std::iter::once(key.clone()))?;
        self.fold.write().pin(key);
        Ok(())
    }

    pub(crate) fn unpin(&self, key: &UserKey) {
        self.fold.write().unpin(key);
    }
}

/// The note that the snapshots may not be right.
pub(super) fn doubt_in(data: &Path) -> PathBuf {
    data.join("inbox.doubt")
}

/// Where the view lies within a data directory.
pub(crate) fn path_in(data: &Path) -> PathBuf {
    data.join("inbox.db")
}
