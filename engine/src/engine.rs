//! The engine: the log, its projections and the hub, put together. What a transport holds.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::access::{Identity, Rules};
use crate::clock::{Clock, SystemClock};
use crate::deliveries::{DeliveriesError, DeliveryView, Reports};
use crate::delivery::{ENCODINGS_MOST, Encoding, Message, to_json};
use crate::error::Error;
use crate::event::{Fact, Started};
use crate::file_lock::FileLock;
use crate::hub::{SubscriberId, Subscription};
use crate::inbox::{Source, ViewError, ViewReaders, discard_view, ensure_view, is_damage, view_path};
use crate::known_head;
use crate::limits;
use crate::log::{Append, Appended, Log, LogError, to_millisecond};
use crate::metrics::{Mailboxes, Metrics, Progressed};
use crate::names::{Channel, Tenant};
use crate::plugin::Plugin;
use crate::position::Position;
use crate::projector::{Kept, Projector, Request};
use crate::snapshot;
use crate::space::{Space, drop_ballast};
use crate::store::sqlite::SqliteStore;
use crate::store::{EventStore, StoreError};
use crate::subscriber::{Opening, Subscriber};
use crate::timers;

/// How often it is recorded how far devices have come: what a crash forgets of it at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

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
}

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

/// The engine. Cheap to clone; [`shutdown`](Self::shutdown) ends it for all.
///
/// Dropped without a shutdown, it ends by itself once the last clone is gone; what was accepted is durable either way.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    data: PathBuf,
    log: Log,
    projector: Projector,
    view: Arc<ViewReaders>,
    /// One rebuild at a time.
    rebuilding: Arc<Semaphore>,
    /// One snapshot at a time, and none while another view is put in place.
    snapshotting: Arc<Semaphore>,
    plugins: Vec<Arc<dyn Plugin>>,
    clock: Arc<dyn Clock>,
    rules: RwLock<Arc<Rules>>,
    encodings: AtomicUsize,
    json: Encoding,
    /// Where this engine was started.
    run: Position,
    deliveries: DeliveryView,
    /// How far devices have come, unless delivery status is switched off.
    reports: Option<Arc<Reports>>,
    life: Life,
    /// Held as long as the engine lives, so that no other process uses the directory.
    _lock: FileLock,
}

/// Tasks and their end.
struct Life {
    closing_progress: CancellationToken,
    closing_log: CancellationToken,
    closing_projector: CancellationToken,
    closing_deliveries: CancellationToken,
    progress_task: TaskTracker,
    log_task: TaskTracker,
    projector_task: TaskTracker,
    deliveries_task: TaskTracker,
    /// Why the engine failed, if it did.
    failure: watch::Sender<Option<Arc<str>>>,
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

        // Before anything is served, so that what an earlier process left unsynced is on disk.
        let started = Fact::Started(Started { version: env!("CARGO_PKG_VERSION").to_owned() });
        let started = || Append { tenant: Tenant::server(), key: None, facts: vec![started.clone()] };
        let appended = match log.append_from_reserve(vec![started()]).await {
            Err(LogError::Full) if log.space().drop_ballast() => {
                log.append_from_reserve(vec![started()]).await?
            }
            appended => appended?,
        };
        let run = match appended.first() {
            Some(Appended::Events(events)) => events.first().map_or(log.head(), |event| event.position),
            _ => log.head(), // without a key there is nothing to be a duplicate of
        };

        ensure_view(&options.data, &log, None, report_progress(log.head())).await?;
        let kept = Kept { people: options.people_kept, recent: options.recent_kept };
        let start = || follow(&options.data, &log, kept, closing_projector.clone());
        let (projector, projecting) = match start().await {
            Err(error) if error.is_damage() => {
                tracing::warn!(%error, "the inbox view is damaged");
                let source = Some(Source::FirstEvent);
                ensure_view(&options.data, &log, source, report_progress(log.head())).await?;
                start().await?
            }
            started => started?,
        };
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

    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// The native encoding of messages: JSON.
    #[must_use]
    pub fn json(&self) -> &Encoding {
        &self.inner.json
    }

    /// Another encoding of messages, to be made once by each transport or dialect that has one. `None` when there are
    /// [`ENCODINGS_MOST`] already.
    pub fn encoding(&self, encode: impl Fn(&Message) -> Bytes + Send + Sync + 'static) -> Option<Encoding> {
        let taken = self.inner.encodings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |slot| {
            (slot < ENCODINGS_MOST).then_some(slot + 1)
        });
        taken.ok().map(|slot| Encoding::new(slot, encode))
    }

    /// Opens a subscription to everything that concerns the identity's user from now on.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn subscribe(&self, identity: &Identity, opening: Opening) -> Result<Subscriber, Error> {
        let key = self.admit(identity).await?;
        let mut watches: Vec<Channel> =
            identity.session.as_ref().map(Channel::of_session).into_iter().collect();
        for channel in opening.watches {
            identity.require_watch(&self.rules(), &channel)?;
            watches.push(channel);
        }
        if watches.len() > limits::WATCHES_PER_SUBSCRIBER {
            return Err(too_many_watches());
        }
        let subscription =
            Subscription { key, identity: Arc::new(identity.clone()), transport: opening.transport, watches };
        self.open(subscription, opening.resume, opening.device).await
    }

    pub(crate) fn downgrade(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.inner))
    }

    /// Lets a subscriber see a channel live, where the token permits. It has when this returns.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch(
        &self,
        identity: &Identity,
        subscriber: SubscriberId,
        channel: Channel,
    ) -> Result<(), Error> {
        identity.require_watch(&self.rules(), &channel)?;
        let asked = self.projector().ask(|reply| Request::Watch(subscriber, channel, reply)).await;
        match asked {
            Some(true) => Ok(()),
            Some(false) => Err(too_many_watches()),
            None => Err(Error::Stopping),
        }
    }

    /// Ends that.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unwatch(&self, subscriber: SubscriberId, channel: Channel) -> Result<(), Error> {
        self.projector()
            .ask(|reply| Request::Unwatch(subscriber, channel, reply))
            .await
            .ok_or(Error::Stopping)
    }

    /// Lets a subscriber go on as another identity of the same user: the memberships that its roles make are settled, and
    /// it ceases to watch what this identity may not. What it still watches.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn renew(&self, identity: &Identity, subscriber: SubscriberId) -> Result<Vec<Channel>, Error> {
        self.admit(identity).await?;
        let identity = Arc::new(identity.clone());
        self.projector().ask(|reply| Request::Renew(subscriber, identity, reply)).await.ok_or(Error::Stopping)
    }

    /// Goes by other rules from now on: also connections that are open cease to watch what they do not permit.
    pub async fn govern(&self, rules: Rules) {
        let rules = Arc::new(rules);
        *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.clone();
        self.projector().ask(|reply| Request::Govern(rules, reply)).await; // when it stops, nothing is watched
    }

    /// The rules of this moment.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it serves: it has not failed and is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.inner.life.closing_log.is_cancelled() && self.inner.life.failure.borrow().is_none()
    }

    /// Whether it takes anything new. While the disk is nearly full it does not; reading and delivery go on.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.is_ready() && !self.log().space().is_short()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.log().metrics()
    }

    /// How far it has come.
    #[must_use]
    pub fn progressed(&self) -> Progressed {
        let (folded, written) = (*self.projector().folded.borrow(), *self.projector().written.borrow());
        Progressed { head: self.log().head().0, folded: folded.0, written: written.0 }
    }

    /// What waits for those who are connected; looked up, so not for every delivery. `None` when it has stopped.
    pub async fn mailboxes(&self) -> Option<Mailboxes> {
        self.projector().ask(Request::Mailboxes).await
    }

    /// Waits until the engine fails, and says why. Whoever runs it must then exit: what was being written is not known.
    pub async fn failed(&self) -> Arc<str> {
        let mut failure = self.inner.life.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

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

    /// Ends everything because the view turned out to be damaged: the next start builds it anew.
    pub(crate) fn fail_view(&self, error: &rusqlite::Error) {
        give_up_view(&self.inner.data, &self.inner.life.failure, error);
    }

    /// Where this engine was started.
    pub(crate) fn run(&self) -> Position {
        self.inner.run
    }

    pub(crate) fn reports(&self) -> Option<&Arc<Reports>> {
        self.inner.reports.as_ref()
    }

    /// The tasks that record how far devices have come.
    pub(crate) fn recording(&self) -> &TaskTracker {
        &self.inner.life.progress_task
    }

    pub(crate) fn delivery_view(&self) -> &DeliveryView {
        &self.inner.deliveries
    }

    pub(crate) fn plugins(&self) -> &[Arc<dyn Plugin>] {
        &self.inner.plugins
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// What time it is, to the millisecond that a store keeps.
    pub(crate) fn now(&self) -> Timestamp {
        to_millisecond(self.clock().now())
    }

    pub(crate) fn projector(&self) -> &Projector {
        &self.inner.projector
    }

    pub(crate) fn view(&self) -> &Arc<ViewReaders> {
        &self.inner.view
    }

    pub(crate) fn rebuilding(&self) -> &Arc<Semaphore> {
        &self.inner.rebuilding
    }

    pub(crate) fn snapshotting(&self) -> &Arc<Semaphore> {
        &self.inner.snapshotting
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> &Path {
        &self.inner.data
    }
}

/// An engine that is not kept alive by whoever holds this.
#[derive(Clone)]
pub(crate) struct WeakEngine(Weak<Inner>);

impl WeakEngine {
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(|inner| Engine { inner })
    }
}

/// Records how far devices have come, as long as the engine lives and is not told to stop.
async fn record_progress(engine: WeakEngine, every: Duration, closing: CancellationToken) {
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

fn too_many_watches() -> Error {
    let most = limits::WATCHES_PER_SUBSCRIBER;
    Error::field("channel", format!("expected at most {most} watched channels on a connection"))
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

/// Says every few seconds how far a rebuild has come.
fn report_progress(head: Position) -> impl FnMut(Position) + Send + 'static {
    let mut said = std::time::Instant::now();
    move |position| {
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
) -> Result<(Projector, impl Future<Output = Result<(), ViewError>> + Send + Unpin + 'static), ViewError> {
    let (projector, projecting) = Projector::start(data, log.clone(), kept, closing).await?;
    let (mut projecting, head) = (Box::pin(projecting), log.head());
    let mut written = projector.written.clone();
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

fn give_up_view(data: &Path, failure: &watch::Sender<Option<Arc<str>>>, error: &rusqlite::Error) {
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
async fn watch_over(
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
