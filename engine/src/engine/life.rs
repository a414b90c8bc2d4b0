//! The tasks of an engine, how they end, and what it means when one ends by itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Engine, WeakEngine};
use crate::inbox::{ViewError, discard_view, is_damage};
use crate::log::{Log, LogError};

/// Tasks and their end.
pub(super) struct Life {
    pub(super) closing_progress: CancellationToken,
    pub(super) closing_log: CancellationToken,
    pub(super) closing_projector: CancellationToken,
    pub(super) closing_deliveries: CancellationToken,
    pub(super) progress_task: TaskTracker,
    pub(super) log_task: TaskTracker,
    pub(super) projector_task: TaskTracker,
    pub(super) deliveries_task: TaskTracker,
    /// Why the engine failed, if it did.
    pub(super) failure: watch::Sender<Option<Arc<str>>>,
}

impl Engine {
    /// Stops: what was accepted is written and projected, then everything is closed.
    pub async fn shutdown(&self) {
        let life = &self.inner.life;
        life.closing_progress.cancel();
        life.progress_task.close();
        life.progress_task.wait().await;
        if let Err(error) = self.record_progress().await {
            tracing::warn!(%error, "how far devices have come in the last second is not recorded");
        }
        life.closing_log.cancel();
        life.log_task.close();
        life.log_task.wait().await;
        life.closing_projector.cancel();
        life.projector_task.close();
        life.projector_task.wait().await;
        life.closing_deliveries.cancel();
        life.deliveries_task.close();
        life.deliveries_task.wait().await;
    }
}

/// Records how far devices have come, as long as the engine lives and is not told to stop.
pub(super) async fn record_progress(engine: WeakEngine, every: Duration, closing: CancellationToken) {
    let mut tick = tokio::time::interval(every);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = closing.cancelled() => return,
            _ = tick.tick() => {}
        }
        let Some(engine) = engine.upgrade() else { return };
        match engine.record_progress().await {
            Ok(()) | Err(LogError::Busy | LogError::Full) => {} // tried again the next time
            Err(_) => return,                                   // the log says why
        }
    }
}

pub(super) fn give_up_view(data: &Path, failure: &watch::Sender<Option<Arc<str>>>, error: &rusqlite::Error) {
    if failure.borrow().is_some() {
        return;
    }
    tracing::error!(%error, "the inbox view is damaged; the next start builds it anew");
    if let Err(error) = discard_view(data) {
        tracing::error!(%error, "the inbox view cannot be removed: run `tidings rebuild`");
    }
    failure.send_replace(Some("the inbox view is damaged".into()));
}

/// Notes why the log or the projector ended, if it was not told to.
pub(super) async fn watch_over(
    data: PathBuf,
    log: Log,
    projecting: impl Future<Output = Result<(), ViewError>>,
    failure: watch::Sender<Option<Arc<str>>>,
) {
    let mut projecting = std::pin::pin!(projecting);
    tokio::select! {
        () = log.failed() => {
            failure.send_replace(Some("the event log failed".into()));
            let _ = projecting.await; // it still hands out what was durable
        }
        ended = &mut projecting => {
            if let Err(ViewError::Database(error)) = &ended
                && is_damage(error)
            {
                give_up_view(&data, &failure, error);
            } else if let Err(error) = ended {
                tracing::error!(%error, "the inbox view failed");
                failure.send_replace(Some(error.to_string().into()));
            }
        }
    }
}
