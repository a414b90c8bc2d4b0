//! How far the log is known to have come, kept in a small file beside it: so that the operator is told when a log that is
//! opened has lost its end, be it that an older copy was put back or that a disk did not keep what it had promised.
//!
//! Nothing else depends on it: that nobody is served less than they had seen follows from the [epochs](crate::epochs)
//! alone. So it is written behind the log, once a second, and not fsynced: a power failure may leave it older or empty,
//! never ahead of what is durable in the log.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::epochs::Epochs;
use crate::log::Log;
use crate::position::{Cursor, Position};

/// How often it is written, at most.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// Where it lies within a data directory.
pub(crate) fn path_in(data: &Path) -> PathBuf {
    data.join("known-head")
}

/// Says so, if the log has not everything that it is known to have had.
pub(crate) fn compare(data: &Path, log: &Log) {
    let path = path_in(data);
    let Ok(text) = std::fs::read_to_string(&path) else { return };
    let Ok(known) = text.trim().parse::<Cursor>() else { return };
    let head = log.head();
    if known.position > head || !log.epochs().hold(&known) {
        tracing::error!(
            known = %known.position,
            %head,
            "the event log has lost its end: it had come further than it goes now; devices that saw more are reset",
        );
    }
}

/// Keeps the file up to date until `closing`, or until the log is gone.
pub(crate) async fn keep(
    data: PathBuf,
    epochs: Epochs,
    mut head: watch::Receiver<Position>,
    closing: CancellationToken,
) {
    let mut fails = false;
    loop {
        let position = *head.borrow_and_update();
        let (path, known) = (path_in(&data), epochs.cursor(position));
        let written = tokio::task::spawn_blocking(move || write(&path, &known)).await;
        let failed = !matches!(written, Ok(Ok(())));
        if failed && !fails {
            tracing::warn!(?written, "how far the log has come cannot be noted beside it");
        }
        fails = failed;
        let more = async {
            tokio::time::sleep(WRITE_EVERY).await;
            head.changed().await.is_ok()
        };
        let goes_on = tokio::select! {
            () = closing.cancelled() => false,
            goes_on = more => goes_on,
        };
        if !goes_on && *head.borrow() == position {
            return;
        }
    }
}

/// Whole or not at all: written beside it and renamed into place.
fn write(path: &Path, known: &Cursor) -> std::io::Result<()> {
    let building = path.with_extension("new");
    std::fs::write(&building, format!("{known}\n"))?;
    std::fs::rename(&building, path)
}
