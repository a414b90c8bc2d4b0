//! The connections that read the view, while it may be put in place anew: who reads finishes on the file they began with,
//! who comes meanwhile waits a moment for the other one.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::sqlite::{Closed, Connection, Database, reading};

/// Connections that read at the same time.
const READERS: usize = 2;

/// Connections that read the view.
pub(crate) struct ViewReaders {
    /// `None` while the view is being put in place.
    open: watch::Sender<Option<Arc<Open>>>,
}

struct Open {
    database: Database,
    closed: CancellationToken,
    /// After `database`: when this is dropped, its connections are closed.
    _closing: DropGuard,
}

impl ViewReaders {
    pub(crate) async fn open(path: &Path) -> Result<Self, sqlx::Error> {
        let readers = Self { open: watch::Sender::new(None) };
        readers.reopen(path).await?;
        Ok(readers)
    }

    /// Runs a job on one of the connections.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        let mut opened = self.open.subscribe();
        let open = opened.wait_for(Option::is_some).await.map_err(|_| Closed)?.clone();
        open.ok_or(Closed)?.database.call(job).await
    }

    /// Waits until everybody has finished and the connections are closed. Who comes now waits until they are reopened.
    pub(crate) async fn close(&self) {
        let Some(open) = self.open.send_replace(None) else { return };
        let closed = open.closed.clone();
        drop(open);
        closed.cancelled().await;
    }

    /// Opens connections to what is there now.
    pub(crate) async fn reopen(&self, path: &Path) -> Result<(), sqlx::Error> {
        let database = Database::open("tidings-view-read", &reading(path), READERS).await?;
        let closed = CancellationToken::new();
        let _closing = closed.clone().drop_guard();
        self.open.send_replace(Some(Arc::new(Open { database, closed, _closing })));
        Ok(())
    }
}
