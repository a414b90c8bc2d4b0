//! Views built from the log: in a file of their own, and put in place when they are complete. Whatever happens meanwhile,
//! the view that was there is there until then.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::ConnectOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqliteSynchronous};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::projection::{Projection, SharedFold, ViewError, doubt_in, path_in};
use super::{snapshot, view};
use crate::event::Events;
use crate::log::{Log, Tail, TailError};
use crate::position::Position;
use crate::sqlite::{on_thread, remove_database, writing};

/// Events folded and written at once: what is written once for all of them is written less often.
const EVENTS_AT_ONCE: usize = 16_384;
/// The same beside a server, which should not have to wait for a core.
const EVENTS_AT_ONCE_BESIDE: usize = 2_048;
/// Memory that they take, roughly.
const WEIGHT_AT_ONCE: usize = 32 << 20;
/// Batches that are read and decoded before they are needed.
const BATCHES_AHEAD: usize = 1;
/// Parts of a snapshot that are read before they are needed.
pub(super) const PARTS_AHEAD: usize = 1;
/// Of pages in memory while a view is built: 64 MiB.
const CACHE: &str = "-65536";

/// How fast a view is built.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// As fast as it goes: nobody is served meanwhile.
    Full,
    /// Half as fast, beside a server, until it is cancelled.
    Beside(CancellationToken),
}

/// What a view is built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The newest snapshot that can be used, and what came after it; all of the log if there is none.
    Snapshot,
    /// All of the log. For a view in which something was wrong: it may have been so when the snapshots were taken.
    FirstEvent,
}

/// Where a view is built within a data directory.
pub(crate) fn building_path(data: &Path) -> PathBuf {
    data.join("inbox.building.db")
}

/// Makes sure that the view in `data` can be used with this log: rebuilds it when it is missing, of another version or
/// of another log, or in any case from the source that is named. `progress` is told how far a rebuild has come.
pub(crate) async fn ensure_view(
    data: &Path,
    log: &Log,
    anew: Option<Source>,
    progress: impl FnMut(Position) + Send + 'static,
) -> Result<(), ViewError> {
    let (path, building) = (path_in(data), building_path(data));
    remove(&building)?; // of a rebuild that did not come to its end
    if anew.is_none() && path.exists() && is_usable(&path, log).await {
        return Ok(());
    }
    tracing::info!(view = %path.display(), head = %log.head(), "rebuilding the inbox view");
    let doubt = doubt_in(data);
    let source = if doubt.exists() { Source::FirstEvent } else { anew.unwrap_or(Source::Snapshot) };
    begin(&building, log, source).await?;
    build(&building, log, log.head(), Pace::Full, progress).await?;
    put_at(&building, &path)?;
    if source == Source::FirstEvent {
        forget_snapshots(log).await;
    }
    let _ = std::fs::remove_file(doubt); // most often there is none
    Ok(())
}

/// Drops the snapshots after a view was built without them: what was wrong in the one before may be so in them.
pub(crate) async fn forget_snapshots(log: &Log) {
    loop {
        match log.drop_snapshots(0).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(%error, "the snapshots cannot be dropped");
                return;
            }
        }
    }
}

async fn is_usable(path: &Path, log: &Log) -> bool {
    let Ok(connection) = writing(path, SqliteSynchronous::Normal).connect().await else {
        return false;
    };
    let thread = on_thread("tidings-view-check", connection, view::checkpoint);
    let Ok(Some(checkpoint)) = thread.ended().await else { return false };
    log.epochs().hold(&checkpoint) && checkpoint.position <= log.head()
}

/// Begins a view with the newest snapshot that can be used, if it is to be built from one and there is any.
pub(crate) async fn begin(path: &Path, log: &Log, source: Source) -> Result<(), ViewError> {
    if source == Source::FirstEvent {
        return Ok(());
    }
    let snapshots = log.snapshots().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the snapshots cannot be read");
        Vec::new()
    });
    for snapshot in snapshots.iter().filter(|snapshot| snapshot::is_usable(snapshot, log)) {
        let position = snapshot.at.position;
        match snapshot::import(path, log, snapshot).await {
            Ok(()) => {
                tracing::info!(%position, "the view begins with a snapshot");
                return Ok(());
            }
            Err(error) => tracing::warn!(%position, %error, "a snapshot cannot be used"),
        }
        remove(path)?;
    }
    Ok(())
}

/// Builds a view up to a position, which the log has reached, and no further; or goes on with one that was begun. Without
/// a journal and without an fsync: what breaks off is thrown away.
pub(crate) async fn build(
    path: &Path,
    log: &Log,
    up_to: Position,
    pace: Pace,
    mut progress: impl FnMut(Position) + Send + 'static,
) -> Result<(), ViewError> {
    let connection = building(path).connect().await?;
    let epochs = log.epochs().clone();
    let (start, started) = oneshot::channel();
    let (batches, decoded) = flume::bounded(BATCHES_AHEAD);
    let at_once = match pace {
        Pace::Full => EVENTS_AT_ONCE,
        Pace::Beside(_) => EVENTS_AT_ONCE_BESIDE,
    };
    let thread = on_thread("tidings-rebuild", connection, move |connection| -> Result<(), ViewError> {
        if view::checkpoint(connection).is_none() {
            view::create_tables(connection, &epochs.cursor(Position(0)))?;
        }
        let mut projection = Projection::load(connection, epochs, SharedFold::default())?;
        let _ = start.send(projection.fold().position());
        for batch in decoded {
            let begun = Instant::now();
            let events: Events = batch?;
            projection.apply(&events)?;
            projection.write()?;
            progress(projection.fold().position());
            if let Pace::Beside(cancelled) = &pace {
                if cancelled.is_cancelled() {
                    return Err(ViewError::Closed);
                }
                std::thread::sleep(begun.elapsed());
            }
        }
        Ok(view::create_late_indexes(connection)?)
    });
    if let Ok(position) = started.await {
        // Read and decoded here, while the thread folds and writes. When it has failed, it says why.
        let _ = read_ahead(log.tail(position), up_to, at_once, batches).await;
    }
    thread.ended().await.unwrap_or(Err(ViewError::Closed))
}

/// Options for a file that is thrown away if anything goes wrong, and that nobody else has open.
pub(super) fn building(path: &Path) -> SqliteConnectOptions {
    writing(path, SqliteSynchronous::Off)
        .journal_mode(SqliteJournalMode::Off)
        .locking_mode(SqliteLockingMode::Exclusive)
        .pragma("cache_size", CACHE)
}

/// Hands out what is in the log up to a position, in large batches. An error is the last of them.
async fn read_ahead(
    mut tail: Tail,
    up_to: Position,
    at_once: usize,
    batches: flume::Sender<Result<Events, TailError>>,
) -> Result<(), flume::SendError<Result<Events, TailError>>> {
    while tail.position() < up_to {
        let (mut batch, mut weight) = (Events::new(), 0);
        while tail.position() < up_to && batch.len() < at_once && weight < WEIGHT_AT_ONCE {
            match tail.next().await {
                Ok(mut events) => {
                    events.retain(|event| event.position <= up_to);
                    weight += events.iter().map(|event| event.weight()).sum::<usize>();
                    for event in &events {
                        let _ = event.document(); // encoded once, and here, so that the thread need not
                    }
                    batch.append(&mut events);
                }
                Err(error) => return batches.send_async(Err(error)).await,
            }
        }
        batches.send_async(Ok(batch)).await?;
    }
    Ok(())
}

/// Puts a view that is complete in place of another. Nobody has either open.
pub(crate) fn put_at(building: &Path, path: &Path) -> Result<(), ViewError> {
    let failed = |error| ViewError::File { path: path.to_owned(), error };
    // On disk before it is in place: a power failure between the two would leave a damaged view.
    File::open(building).and_then(|file| file.sync_all()).map_err(failed)?;
    // The old one's WAL may still be there, when two connections were closed in the same moment and each took the other for
    // the last: SQLite would read it as the new one's. The file goes first, so that nobody ever has it without its WAL.
    remove(path)?;
    std::fs::rename(building, path).map_err(failed)
}

fn remove(path: &Path) -> Result<(), ViewError> {
    remove_database(path).map_err(|(path, error)| ViewError::File { path, error })
}
