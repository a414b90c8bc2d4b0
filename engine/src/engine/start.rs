//! How an engine starts: its options, its directory, and the order in which its parts come up.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::life::{Life, record_progress, watch_over};
use super::{Engine, Inner};
use crate::access::Rules;
use crate::clock::{Clock, SystemClock};
use crate::deliveries::{DeliveriesError, DeliveryView, Reports};
use crate::delivery::{Encoding, to_json};
use crate::event::{Fact, Started};
use crate::file_lock::FileLock;
use crate::inbox::{Source, ViewError, ViewReaders, ensure_view, view_path};
use crate::log::{Append, Appended, Log, LogError};
use crate::names::Tenant;
use crate::plugin::Plugin;
use crate::position::Position;
use crate::progress::Progress;
use crate::projector::{Kept, Projector};
use crate::space::{Space, drop_ballast};
use crate::store::sqlite::SqliteStore;
use crate::store::{EventStore, StoreError};
use crate::{known_head, limits, snapshot, timers};

/// How often it is recorded how far devices have come: what a crash forgets of it at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// What runs until the projector ends.
type Projecting = BoxFuture<'static, Result<(), ViewError>>;

/// How an engine is put together.
pub struct Options {
    /// Where its files are: the log, if it keeps it itself, and the views.
    pub data: PathBuf,
    /// Where the log is kept; without it, in SQLite in `data`.
    pub store: Option<Arc<dyn EventStore>>,
    /// What is added to the engine; their rules are asked in this order.
    pub plugins: Vec<Arc<dyn Plugin>>,
    /// People kept in memory who are not connected; without it, as many as is sensible.
    pub people_kept: Option<usize>,
    /// The clock that timers go by; without it, the system's.
    pub clock: Option<Arc<dyn Clock>>,
    /// Bytes of the disk that are kept free: when there are fewer, nothing more is accepted. 0 for none.
    pub reserve_bytes: u64,
    /// Recent events whose effects are kept in memory for those who come back; without it, as many as is sensible.
    pub recent_kept: Option<usize>,
    /// A snapshot is taken whenever so many events have come since the last one; 0 for never.
    pub snapshot_events: u64,
    /// How often it is recorded how far devices have come, if anything changed; `None` switches delivery status off.
    pub progress_every: Option<Duration>,
    /// Who may do what with which channels, beside what tokens say.
    pub rules: Rules,
    /// Told how far the start has come while a view is built. Called often: it must not wait.
    pub progress: Option<Tell>,
}

/// Takes progress.
type Tell = Arc<dyn Fn(Progress) + Send + Sync>;

impl Options {
    /// An engine with everything in one directory.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        Self {
            data: data.into(),
            store: None,
            plugins: Vec::new(),
            people_kept: None,
            clock: None,
            reserve_bytes: limits::RESERVE_BYTES,
            recent_kept: None,
            snapshot_events: limits::SNAPSHOT_EVENTS,
            progress_every: Some(PROGRESS_EVERY),
            rules: Rules::default(),
            progress: None,
        }
    }
}

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error("the data directory {path} cannot be used: {error}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error("the data directory {path} is in use by another process")]
    InUse {
        /// Which.
        path: PathBuf,
    },
    /// There is no log in the data directory.
    #[error("there is no event log in {path}")]
    NoLog {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be read or written.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The view cannot be opened or rebuilt.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The delivery view cannot be built.
    #[error(transparent)]
    Deliveries(#[from] DeliveriesError),
}

impl Engine {
    /// Starts an engine: opens the log, brings the view up to date, and records that it serves.
    ///
    /// # Errors
    /// [`StartError`], which says what is wrong and where.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let lock = lock_directory(&options.data)?;
        let store = match options.store {
            Some(store) => store,
            None => Arc::new(open_store(&options.data).await?),
        };
        let (closing_log, closing_projector) = (CancellationToken::new(), CancellationToken::new());
        let space = Space::new(&options.data, options.reserve_bytes);
        let (log, append_task) = Log::open_with(store, space, closing_log.clone()).await?;
        known_head::compare(&options.data, &log);
        let log_task = TaskTracker::new();
        log_task.spawn(append_task);

        let run = record_start(&log).await?;
        let kept = Kept { people: options.people_kept, recent: options.recent_kept };
        let (projector, projecting) =
            project(&options.data, &log, kept, &closing_projector, options.progress).await?;
        let failure = watch::Sender::new(None);
        let projector_task = TaskTracker::new();
        projector_task.spawn(watch_over(options.data.clone(), log.clone(), projecting, failure.clone()));
        let (epochs, head) = (log.epochs().clone(), log.heads());
        projector_task.spawn(known_head::keep(options.data.clone(), epochs, head, closing_projector.clone()));

        let view = ViewReaders::open(&view_path(&options.data)).await.map_err(ViewError::from)?;
        let clock = options.clock.unwrap_or_else(|| Arc::new(SystemClock));
        let closing_deliveries = CancellationToken::new();
        let (deliveries, keeping) = DeliveryView::of(&options.data, &log, closing_deliveries.clone());
        let deliveries_task = TaskTracker::new();
        deliveries_task.spawn(keeping);
        let epochs = log.epochs().clone();
        let json = Encoding::new(0, move |message| to_json(&epochs, message));
        let inner = Inner {
            data: options.data,
            log,
            projector,
            view: Arc::new(view),
            rebuilding: Arc::new(Semaphore::new(1)),
            snapshotting: Arc::new(Semaphore::new(1)),
            plugins: options.plugins,
            clock: clock.clone(),
            rules: RwLock::default(),
            encodings: AtomicUsize::new(1),
            json,
            run,
            deliveries,
            reports: options.progress_every.map(|_| Arc::new(Reports::of(run))),
            life: Life {
                closing_progress: CancellationToken::new(),
                closing_log,
                closing_projector,
                closing_deliveries,
                progress_task: TaskTracker::new(),
                log_task,
                projector_task,
                deliveries_task,
                failure,
            },
            _lock: lock,
        };
        let engine = Self { inner: Arc::new(inner) };
        engine.govern(options.rules).await;
        let due = engine.projector().due.clone();
        engine.inner.life.projector_task.spawn(timers::run(engine.downgrade(), clock, due));
        if options.snapshot_events > 0 {
            let life = &engine.inner.life;
            let closing = life.closing_projector.clone();
            life.projector_task.spawn(snapshot::keep(engine.downgrade(), options.snapshot_events, closing));
        }
        if let Some(every) = options.progress_every {
            let life = &engine.inner.life;
            let recording = record_progress(engine.downgrade(), every, life.closing_progress.clone());
            life.progress_task.spawn(recording);
        }
        Ok(engine)
    }
}

/// Records that it serves, before anything is served, so that what an earlier process left unsynced is on disk. Where.
async fn record_start(log: &Log) -> Result<Position, LogError> {
    let started = Fact::Started(Started { version: env!("CARGO_PKG_VERSION").to_owned() });
    let started = || Append { tenant: Tenant::server(), key: None, facts: vec![started.clone()] };
    let appended = match log.append_from_reserve(vec![started()]).await {
        Err(LogError::Full) if log.space().drop_ballast() => log.append_from_reserve(vec![started()]).await?,
        appended => appended?,
    };
    Ok(match appended.first() {
        Some(Appended::Events(events)) => events.first().map_or(log.head(), |event| event.position),
        _ => log.head(), // without a key there is nothing to be a duplicate of
    })
}

/// Starts the projector on a view that can be used; on one that is built anew when this one turns out to be damaged.
async fn project(
    data: &Path,
    log: &Log,
    kept: Kept,
    closing: &CancellationToken,
    tell: Option<Tell>,
) -> Result<(Projector, Projecting), StartError> {
    ensure_view(data, log, None, report_progress(log.head(), tell.clone())).await?;
    match follow(data, log, kept, closing.clone()).await {
        Err(error) if error.is_damage() => {
            tracing::warn!(%error, "the inbox view is damaged");
            ensure_view(data, log, Some(Source::FirstEvent), report_progress(log.head(), tell)).await?;
            Ok(follow(data, log, kept, closing.clone()).await?)
        }
        started => Ok(started?),
    }
}

/// Where the log lies within a data directory.
pub(crate) fn log_path(data: &Path) -> PathBuf {
    data.join("log.db")
}

/// Opens the log of a directory; on a full disk, with the room of the ballast.
async fn open_store(data: &Path) -> Result<SqliteStore, StoreError> {
    match SqliteStore::open(&log_path(data)).await {
        Err(StoreError::Full) if drop_ballast(data) => SqliteStore::open(&log_path(data)).await,
        opened => opened,
    }
}

/// Makes the directory and claims it for this process.
pub(crate) fn lock_directory(data: &Path) -> Result<FileLock, StartError> {
    let failed = |error| StartError::Directory { path: data.to_owned(), error };
    let mut directory = std::fs::DirBuilder::new();
    directory.recursive(true);
    #[cfg(unix)] // what is in it is for nobody else's eyes
    std::os::unix::fs::DirBuilderExt::mode(&mut directory, 0o700);
    directory.create(data).map_err(failed)?;
    let lock = FileLock::exclusive(&data.join("lock")).map_err(failed)?;
    lock.ok_or_else(|| StartError::InUse { path: data.to_owned() })
}

/// Says every few seconds how far a rebuild has come, and tells whoever wants to know each step.
fn report_progress(head: Position, tell: Option<Tell>) -> impl FnMut(Position) + Send + 'static {
    let mut said = std::time::Instant::now();
    move |position| {
        if let Some(tell) = &tell {
            tell(Progress { doing: "rebuilding the inbox view", done: position.0, of: head.0 });
        }
        if said.elapsed().as_secs() >= 2 {
            said = std::time::Instant::now();
            tracing::info!(%position, %head, "rebuilding the inbox view");
        }
    }
}

/// Starts the projector, and waits until the view has everything that is in the log now.
async fn follow(
    data: &Path,
    log: &Log,
    kept: Kept,
    closing: CancellationToken,
) -> Result<(Projector, Projecting), ViewError> {
    let (projector, projecting) = Projector::start(data, log.clone(), kept, closing).await?;
    let (mut projecting, head): (Projecting, _) = (Box::pin(projecting), log.head());
    let mut written = projector.written.clone();
    projector.want_written(head);
    let caught_up = tokio::select! {
        biased;
        caught_up = written.wait_for(|position| *position >= head) => caught_up.is_ok(),
        ended = &mut projecting => return Err(ended.err().unwrap_or(ViewError::Closed)),
    };
    if !caught_up {
        return Err(projecting.await.err().unwrap_or(ViewError::Closed));
    }
    Ok((projector, projecting))
}
