//! Rebuilding the views while they are served. The inbox view: built beside it from the log, at half speed; then the projector stops between
//! two batches, the new file takes the place of the old one, and the projector goes on with it from the same position.
//!
//! Until that moment the old view is in use, and a crash leaves it so. The delivery view is off the way of everything else, and is
//! built in its place.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use sqlx::ConnectOptions;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio_util::sync::CancellationToken;

use crate::deliveries::{build_deliveries, deliveries_path};
use crate::engine::{Engine, StartError, lock_directory, log_path};
use crate::error::Error;
use crate::file_lock::FileLock;
use crate::inbox::{
    Pace, Source, ViewError, ViewReaders, begin_view, build_view, building_path, ensure_view,
    forget_snapshots, put_view_at, view_path,
};
use crate::log::Log;
use crate::position::Position;
use crate::progress::Progress;
use crate::projector::Request;
use crate::sqlite::{on_thread, reading, remove_database};
use crate::store::sqlite::SqliteStore;

/// With no more events than this to catch up, the projector is stopped for the rest: a few milliseconds.
const GAP_MOST: u64 = 1_024;
/// How often it is tried to get as close. If the log grows faster than that, the projector waits longer.
const CATCH_UPS: usize = 20;

const INBOX: &str = "rebuilding the inbox view";
const DELIVERIES: &str = "rebuilding the delivery view";

/// Is told how far something has come, and of how far.
type Tell = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// A view that is nearly complete, to be put in place.
pub(crate) struct Replacement {
    data: PathBuf,
    readers: Arc<ViewReaders>,
    reply: oneshot::Sender<Result<Position, ViewError>>,
    /// Nobody builds another one, or has the old one open for a snapshot, until this one is in place or refused; whether the
    /// caller waits for it or not.
    _alone: [OwnedSemaphorePermit; 2],
}

impl Engine {
    /// Builds the inbox view anew and puts it in place, while everything goes on, and then the delivery view, while what is
    /// asked of it waits. Dropped before the first is in place, it leaves everything as it was. The position at which it was put in
    /// place.
    ///
    /// # Errors
    /// [`Error::Rebuilding`] when it is being done already; [`Error::Internal`] when it failed: the view is the old one then.
    pub async fn rebuild_views(
        &self,
        source: Source,
        progress: impl Fn(Progress) + Send + Sync + 'static,
    ) -> Result<Position, Error> {
        let alone = self.rebuilding().clone().try_acquire_owned().map_err(|_| Error::Rebuilding)?;
        let progress = Arc::new(progress);
        let (told, tell) = (progress.clone(), |done: Position, of: Position| Progress {
            doing: DELIVERIES,
            done: done.0,
            of: of.0,
        });
        let tell_inbox = move |done, of| told(Progress { doing: INBOX, done, of });
        let position = self.rebuild_inbox(source, alone, Arc::new(tell_inbox)).await?;
        // Again, as the first went with the view.
        let _alone = self.rebuilding().clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        let head = self.log().head();
        let rebuilt = self.delivery_view().rebuild(move |done| progress(tell(done, head)));
        rebuilt.await.map_err(|error| {
            tracing::error!(%error, "the delivery view cannot be rebuilt; the old one stays in use");
            Error::Internal
        })?;
        Ok(position)
    }

    async fn rebuild_inbox(
        &self,
        source: Source,
        alone: OwnedSemaphorePermit,
        progress: Tell,
    ) -> Result<Position, Error> {
        let cancelled = CancellationToken::new();
        let _cancel = cancelled.clone().drop_guard();
        let built = self.build_inbox_beside(source, cancelled, progress).await;
        let placed = match built {
            Ok(no_snapshot) => {
                let (data, readers) = (self.data().to_owned(), self.view().clone());
                let _alone = [alone, no_snapshot];
                let asked = self
                    .projector()
                    .ask(|reply| Request::Replace(Replacement { data, readers, reply, _alone }));
                asked.await.ok_or(Error::Stopping)?
            }
            Err(error) => {
                let _ = remove_database(&building_path(self.data())); // else the next one does it
                Err(error)
            }
        };
        if placed.is_ok() && source == Source::FirstEvent {
            forget_snapshots(self.log()).await;
        }
        placed.map_err(|error| {
            tracing::error!(%error, "the inbox view cannot be rebuilt; the old one stays in use");
            if error.is_full() { Error::InsufficientStorage } else { Error::Internal }
        })
    }

    /// Builds an inbox view that is nearly complete; the permit keeps snapshots from being taken of the old one.
    async fn build_inbox_beside(
        &self,
        source: Source,
        cancelled: CancellationToken,
        progress: Tell,
    ) -> Result<OwnedSemaphorePermit, ViewError> {
        drop(alone_with_views(self.data())?); // that it can be put in place is known before it is built
        let size = std::fs::metadata(view_path(self.data())).map_or(0, |file| file.len());
        if !self.log().space().has_room_for(size) {
            return Err(ViewError::NoRoom);
        }
        build_beside(self.data(), self.log(), source, cancelled.clone(), progress.clone()).await?;
        let no_snapshot = self.snapshotting().clone().acquire_owned().await.map_err(|_| ViewError::Closed)?;
        // What came while it was looked at, and while a snapshot was taken.
        catch_up(self.data(), self.log(), cancelled, progress).await?;
        Ok(no_snapshot)
    }
}

async fn build_beside(
    data: &Path,
    log: &Log,
    source: Source,
    cancelled: CancellationToken,
    progress: Tell,
) -> Result<(), ViewError> {
    let path = building_path(data);
    remove_database(&path).map_err(|(path, error)| ViewError::File { path, error })?;
    begin_view(&path, log, source).await?;
    catch_up(data, log, cancelled, progress).await?;
    verify(&path).await
}

/// Goes on with a view until it is close to the head.
async fn catch_up(
    data: &Path,
    log: &Log,
    cancelled: CancellationToken,
    progress: Tell,
) -> Result<(), ViewError> {
    let path = building_path(data);
    let mut reached = Position(0);
    for _ in 0..CATCH_UPS {
        let (head, progress) = (log.head(), progress.clone());
        if reached.0 + GAP_MOST >= head.0 {
            break;
        }
        build_view(&path, log, head, Pace::Beside(cancelled.clone()), move |done| progress(done.0, head.0))
            .await?;
        reached = head;
    }
    Ok(())
}

/// Rebuilds the views of a data directory that no server uses. How far the log goes.
///
/// # Errors
/// [`StartError`].
pub async fn rebuild(
    data: &Path,
    source: Source,
    progress: impl Fn(Progress) + Clone + Send + 'static,
) -> Result<Position, StartError> {
    if !log_path(data).exists() {
        return Err(StartError::NoLog { path: data.to_owned() });
    }
    let _lock = lock_directory(data)?;
    let store = Arc::new(SqliteStore::open(&log_path(data)).await?);
    // The append task is never run: nothing is written.
    let (log, _append_task) = Log::open(store, CancellationToken::new()).await?;
    let head = log.head();
    let tell = |doing| {
        let progress = progress.clone();
        move |done: Position| progress(Progress { doing, done: done.0, of: head.0 })
    };
    ensure_view(data, &log, Some(source), tell(INBOX)).await?;
    let path = deliveries_path(data);
    remove_database(&path).map_err(|(path, error)| StartError::Directory { path, error })?;
    build_deliveries(&path, &log, head, tell(DELIVERIES)).await?;
    Ok(head)
}

/// Whether the file is what SQLite would have it be: what is in it follows from the log by the same fold.
async fn verify(path: &Path) -> Result<(), ViewError> {
    if !path.exists() {
        return Ok(()); // the log is so short that all of it is built at once
    }
    let check = |connection: &crate::sqlite::Connection| {
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get::<_, String>(0))
    };
    let verdict = on_thread("tidings-rebuild", reading(path).connect().await?, check).ended().await;
    match verdict.map_err(|_| ViewError::Closed)??.as_str() {
        "ok" => Ok(()),
        wrong => Err(ViewError::Built(wrong.to_owned())),
    }
}

impl Replacement {
    /// Puts the view in place, brought up to the position at which the projector stopped. The projector's connection is
    /// closed. When this fails, the old view is in place, and read again.
    pub(crate) async fn put(&self, log: &Log, stopped_at: Position) -> Result<(), ViewError> {
        if self.reply.is_closed() {
            return Err(ViewError::Closed); // nobody wants it any more
        }
        let (building, path) = (building_path(&self.data), view_path(&self.data));
        build_view(&building, log, stopped_at, Pace::Full, |_| {}).await?;
        let _alone = alone_with_views(&self.data)?;
        self.readers.close().await;
        let put = put_view_at(&building, &path);
        self.readers.reopen(&path).await?;
        put
    }

    /// Whoever asked may have gone.
    pub(crate) fn answer(self, outcome: Result<Position, ViewError>) {
        let _ = self.reply.send(outcome);
    }
}

/// What says that another process has a view open: SQLite would take its files beside the new view for the new view's.
fn views_lock(data: &Path) -> PathBuf {
    data.join("views.lock")
}

pub(crate) fn alone_with_views(data: &Path) -> Result<FileLock, ViewError> {
    let path = views_lock(data);
    let lock = FileLock::exclusive(&path).map_err(|error| ViewError::File { path, error })?;
    lock.ok_or(ViewError::Read)
}

/// Keeps a server from putting other views in place, as long as the lock is held.
pub(crate) fn hold_views(data: &Path) -> Result<FileLock, ViewError> {
    let path = views_lock(data);
    FileLock::shared(&path).map_err(|error| ViewError::File { path, error })
}
