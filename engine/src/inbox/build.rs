//! Views built from the log: in a file of their own, and put in place when they are complete. Whatever happens meanwhile,
//! the view that was there is there until then.

use std::path::{Path, PathBuf};
use std::time::Instant;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteSynchronous;
use tokio_util::sync::CancellationToken;

use super::projection::{Projection, SharedFold, ViewError, path_in};
use super::view;
use crate::log::Log;
use crate::position::Position;
use crate::sqlite::{on_thread, remove_database, writing};

/// How fast a view is built.
#[derive(Clone, Debug)]
pub(crate) enum Pace {
    /// As fast as it goes: nobody is served meanwhile.
    Full,
    /// Half as fast, beside a server, until it is cancelled.
    Beside(CancellationToken),
}

/// Where a view is built within a data directory.
pub(crate) fn building_path(data: &Path) -> PathBuf {
    data.join("inbox.building.db")
}

/// Makes sure that the view in `data` can be used with this log: rebuilds it when it is missing, of another version or
/// of another log, or when `anew`. `progress` is told how far a rebuild has come.
pub(crate) async fn ensure_view(
    data: &Path,
    log: &Log,
    anew: bool,
    progress: impl FnMut(Position) + Send + 'static,
) -> Result<(), ViewError> {
    let (path, building) = (path_in(data), building_path(data));
    remove(&building)?; // of a rebuild that did not come to its end
    if !anew && path.exists() && is_usable(&path, log).await {
        return Ok(());
    }
    tracing::info!(view = %path.display(), head = %log.head(), "rebuilding the inbox view");
    build(&building, log, log.head(), Pace::Full, progress).await?;
    remove(&path)?;
    put_at(&building, &path)
}

async fn is_usable(path: &Path, log: &Log) -> bool {
    let Ok(connection) = writing(path, SqliteSynchronous::Normal).connect().await else {
        return false;
    };
    let thread = on_thread("tidings-view-check", connection, view::checkpoint);
    let Ok(Some(checkpoint)) = thread.ended().await else { return false };
    log.epochs().hold(&checkpoint) && checkpoint.position <= log.head()
}

/// Builds a view up to a position, which the log has reached, and no further; or goes on with one that was begun.
pub(crate) async fn build(
    path: &Path,
    log: &Log,
    up_to: Position,
    pace: Pace,
    mut progress: impl FnMut(Position) + Send + 'static,
) -> Result<(), ViewError> {
    let connection = writing(path, SqliteSynchronous::Normal).connect().await?;
    let log = log.clone();
    let runtime = tokio::runtime::Handle::current();
    let thread = on_thread("tidings-rebuild", connection, move |connection| -> Result<(), ViewError> {
        if view::checkpoint(connection).is_none() {
            view::create(connection, &log.epochs().cursor(Position(0)))?;
        }
        let projection = Projection::load(connection, log.epochs().clone(), SharedFold::default())?;
        let mut tail = log.tail(projection.fold().position());
        while tail.position() < up_to {
            let begun = Instant::now();
            let mut events = runtime.block_on(tail.next())?;
            events.retain(|event| event.position <= up_to);
            let folded = projection.apply(&events)?;
            projection.write(&folded)?;
            progress(tail.position().min(up_to));
            if let Pace::Beside(cancelled) = &pace {
                if cancelled.is_cancelled() {
                    return Err(ViewError::Closed);
                }
                std::thread::sleep(begun.elapsed());
            }
        }
        Ok(())
    });
    thread.ended().await.unwrap_or(Err(ViewError::Closed))
}

/// Puts a view that is complete in place of another. Nobody has either open.
pub(crate) fn put_at(building: &Path, path: &Path) -> Result<(), ViewError> {
    std::fs::rename(building, path).map_err(|error| ViewError::File { path: path.to_owned(), error })
}

fn remove(path: &Path) -> Result<(), ViewError> {
    remove_database(path).map_err(|(path, error)| ViewError::File { path, error })
}
