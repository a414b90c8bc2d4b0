//! Snapshots: taken from the inbox view while it is served, now and then or when asked for, and kept with the log. The next
//! view is built from the newest one and what came after it.
//!
//! A snapshot is of use, never of need: without one, everything is built from the first event.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use sqlx::ConnectOptions;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::engine::{Engine, StartError, WeakEngine, lock_directory, log_path};
use crate::error::Error;
use crate::inbox::{ExportError, ensure_view, export_snapshot, is_damage, snapshot_header, view_path};
use crate::log::{Log, LogError};
use crate::sqlite::{Closed, on_thread, reading};
use crate::store::SnapshotHeader;
use crate::store::sqlite::SqliteStore;

/// Snapshots kept: if the newest cannot be used, there is another.
const KEPT: usize = 2;
/// Parts that wait to be written.
const PARTS_AHEAD: usize = 1;
/// Of a view, what a snapshot of it takes at most: it has no content.
const PART_OF_VIEW: u64 = 2;
/// After a snapshot that could not be taken.
const PAUSE: Duration = Duration::from_secs(60);

/// How fast a snapshot is taken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pace {
    Full,
    /// Half as fast, beside a server.
    Beside,
}

/// Why a snapshot was not taken. What was there is there.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The data directory, its log or its view cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The log cannot be written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The view cannot be read.
    #[error("the inbox view cannot be read: {0}")]
    View(rusqlite::Error),
    /// There is nothing to take it from, or nobody wants it any more.
    #[error("{0}")]
    GivenUp(String),
}

impl From<Closed> for SnapshotError {
    fn from(closed: Closed) -> Self {
        Self::GivenUp(closed.to_string())
    }
}

impl From<ExportError> for SnapshotError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Database(error) => Self::View(error),
            error => Self::GivenUp(error.to_string()),
        }
    }
}

impl Engine {
    /// Takes a snapshot of what the view has now. Waits for one that is being taken.
    ///
    /// # Errors
    /// [`Error::InsufficientStorage`] when there is no room for it; [`Error::Internal`] when it failed.
    pub async fn take_snapshot(&self) -> Result<SnapshotHeader, Error> {
        let alone = self.snapshotting().clone().acquire_owned().await.map_err(|_| Error::Stopping)?;
        self.reach_view(self.log().head()).await?; // whoever asks has what was published before in it
        take(self.data(), self.log(), Pace::Beside, Some(alone)).await.map_err(|error| {
            if let SnapshotError::View(error) = &error
                && is_damage(error)
            {
                self.fail_view(error);
            }
            match error {
                SnapshotError::Log(error) => error.into(),
                error => {
                    tracing::error!(%error, "a snapshot cannot be taken");
                    Error::Internal
                }
            }
        })
    }
}

/// Takes a snapshot in a data directory that no server uses, of the view as it was left; one is built if there is none.
///
/// # Errors
/// [`SnapshotError`].
pub async fn snapshot(data: &Path) -> Result<SnapshotHeader, SnapshotError> {
    if !log_path(data).exists() {
        return Err(StartError::NoLog { path: data.to_owned() }.into());
    }
    let _lock = lock_directory(data)?;
    let store = SqliteStore::open(&log_path(data)).await.map_err(StartError::from)?;
    // The append task is never run: no event is written.
    let (log, _append_task) = Log::open(Arc::new(store), CancellationToken::new()).await?;
    ensure_view(data, &log, None, |_| {}).await.map_err(StartError::from)?;
    take(data, &log, Pace::Full, None).await
}

/// Takes a snapshot whenever so many events have come since the last one, as long as the engine lives.
pub(crate) async fn keep(engine: WeakEngine, every: u64, closing: CancellationToken) {
    loop {
        let Some(live) = engine.upgrade() else { return };
        let (mut heads, log) = (live.log().heads(), live.log().clone());
        drop(live);
        let newest = log.snapshots().await.map_or_else(
            |error| {
                tracing::warn!(%error, "the snapshots cannot be read");
                heads.borrow().0 // as if one had been taken
            },
            |snapshots| snapshots.first().map_or(0, |snapshot| snapshot.at.position.0),
        );
        drop(log);
        tokio::select! {
            () = closing.cancelled() => return,
            due = heads.wait_for(|head| head.0 >= newest.saturating_add(every)) => {
                if due.is_err() {
                    return;
                }
            }
        }
        let Some(live) = engine.upgrade() else { return };
        let taken = tokio::select! {
            () = closing.cancelled() => return,
            taken = live.take_snapshot() => taken,
        };
        drop(live);
        if let Err(error) = taken {
            tracing::warn!(%error, "no snapshot was taken; it is tried again");
            tokio::select! {
                () = closing.cancelled() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

/// Takes a snapshot; what was written of one that is given up is dropped.
async fn take(
    data: &Path,
    log: &Log,
    pace: Pace,
    alone: Option<OwnedSemaphorePermit>,
) -> Result<SnapshotHeader, SnapshotError> {
    // Until the last part is listed, and until the view is closed again, whichever is later.
    let alone = Arc::new(alone);
    let begun = Instant::now();
    drop_others(log).await?; // parts of one that was cut short
    let newest = log.snapshots().await?.into_iter().next();
    let expected = newest.map_or_else(|| file_size(&view_path(data)) / PART_OF_VIEW, |newest| newest.bytes);
    if log.space().is_short() || !log.space().has_room_for(expected) {
        return Err(LogError::Full.into());
    }
    let taken = write_parts(data, log, pace, alone.clone()).await;
    if taken.is_err() {
        let _ = drop_others(log).await; // else it is done before the next one
    }
    let snapshot = taken?;
    drop(alone);
    let (position, bytes, took) = (snapshot.at.position, snapshot.bytes, begun.elapsed());
    tracing::info!(%position, bytes, ?took, "took a snapshot");
    Ok(snapshot)
}

async fn write_parts(
    data: &Path,
    log: &Log,
    pace: Pace,
    alone: Arc<Option<OwnedSemaphorePermit>>,
) -> Result<SnapshotHeader, SnapshotError> {
    let connection = reading(&view_path(data)).connect().await;
    let connection = connection.map_err(|error| SnapshotError::GivenUp(error.to_string()))?;
    let (parts, exported) = flume::bounded(PARTS_AHEAD);
    let thread = on_thread("tidings-snapshot", connection, move |connection| {
        let _alone = alone; // as long as the view is open here, no other is put in its place
        export_snapshot(connection, |at, number, part| parts.send((at, number, part)).is_ok())
    });
    let mut bytes = 0;
    while let Ok((at, number, part)) = exported.recv_async().await {
        let begun = Instant::now();
        bytes += part.len() as u64;
        log.put_snapshot_part(at, number, part).await?;
        if log.space().is_short() {
            return Err(LogError::Full.into());
        }
        if pace == Pace::Beside {
            tokio::time::sleep(begun.elapsed()).await;
        }
    }
    let snapshot = snapshot_header(thread.ended().await??, Timestamp::now(), bytes);
    log.complete_snapshot(snapshot.clone()).await?;
    drop_others(log).await?;
    Ok(snapshot)
}

fn file_size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

async fn drop_others(log: &Log) -> Result<(), LogError> {
    while log.drop_snapshots(KEPT).await? {}
    Ok(())
}
