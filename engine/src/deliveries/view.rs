//! The delivery view: a database of its own, and a thread of its own that follows the log and answers questions.
//!
//! Off the way of deliveries: it looks at the log a few times a second, and at once when it is asked. Built anew, while
//! everything else is served, when it is missing, damaged, of another version or of another log.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteSynchronous;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::fold::State;
use crate::epochs::Epochs;
use crate::error::Error;
use crate::inbox::{ViewError, checkpoint_of, is_damage};
use crate::log::{Log, Tail, TailError};
use crate::position::{Cursor, Position};
use crate::rebuild::alone_with_views;
use crate::sqlite::{Connection, committed, on_thread, remove_database, writing};

/// Of the schema and of the fold. A view of another version is built anew.
const VERSION: i64 = 2;
const SCHEMA: &str = include_str!("sql/schema.sql");
/// Questions that may wait.
const QUEUED_JOBS: usize = 256;
/// How long a question waits for its answer: a view that is being built takes longer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long to leave the log alone between two looks at it: the more events at once, the cheaper each.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long what was folded may wait to be committed. A crash folds it again.
const COMMIT_EVERY: Duration = Duration::from_secs(5);
/// Events folded before they are committed, however little time it took.
const EVENTS_PER_COMMIT: u64 = 20_000;
/// How long a view has to hold for its damage to be the first.
const DAMAGED_ONCE: Duration = Duration::from_secs(60);
/// How long to wait before the view is opened again after it failed: at first, and at most, each time twice as long.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(60);
/// How long it has to hold for the next failure to be a first one again.
const HELD: Duration = Duration::from_secs(120);

/// Why the view stopped. What it has is derived, so nothing is lost.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("its database failed: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("its database cannot be opened: {0}")]
    Open(#[from] sqlx::Error),
    #[error("its file {0} cannot be removed: {1}")]
    File(PathBuf, std::io::Error),
    #[error("its thread cannot be set up: {0}")]
    Thread(std::io::Error),
    #[error("its thread is gone")]
    Gone,
    #[error("its thread panicked: {0}")]
    Panicked(String),
    #[error(transparent)]
    InUse(ViewError),
    #[error(transparent)]
    Tail(#[from] TailError),
}

type Job = Box<dyn FnOnce(&mut State<'_>) -> rusqlite::Result<()> + Send>;

/// How others reach the view.
pub(crate) struct DeliveryView {
    jobs: mpsc::Sender<Job>,
    replace: mpsc::Sender<Replace>,
    reached: watch::Receiver<Position>,
    data: PathBuf,
    log: Log,
}

/// A wish that the view be replaced by one that was built beside it; the answer says whether it was.
type Replace = oneshot::Sender<Result<(), Failure>>;

/// Why the view's thread came to its end.
enum Turn {
    /// It was told to.
    Ended,
    /// Another view takes its place.
    Stopped(Replace),
}

/// Where a view is built within a data directory.
fn building_path(data: &Path) -> PathBuf {
    data.join("deliveries.building.db")
}

/// Where the view lies within a data directory.
pub(crate) fn path_in(data: &Path) -> PathBuf {
    data.join("deliveries.db")
}

/// How the view ended, for whoever runs it: never, or when it was told to.
pub(crate) type Running = futures_util::future::BoxFuture<'static, ()>;

impl DeliveryView {
    /// The view of a log in a directory, and what runs it until `closing`.
    pub(crate) fn of(data: &Path, log: &Log, closing: CancellationToken) -> (Self, Running) {
        let (jobs, queue) = mpsc::channel(QUEUED_JOBS);
        let ((replace, replacements), reached) = (mpsc::channel(1), watch::Sender::new(Position(0)));
        let (log, data) = (log.clone(), data.to_owned());
        let (tail, epochs) = (log.tail(Position(0)), log.epochs().clone());
        let view = Self { jobs, replace, reached: reached.subscribe(), data: data.clone(), log };
        let keeper = Keeper { data, epochs, tail, queue, replacements, reached, closing };
        (view, Box::pin(keeper.keep()))
    }

    /// Builds it anew beside the old one, which goes on, and puts it in place when it has come to where the log is now. One at a
    /// time. `progress` is told how far it has come.
    pub(crate) async fn rebuild(
        &self,
        progress: impl FnMut(Position) + Send + 'static,
    ) -> Result<(), DeliveriesError> {
        let path = building_path(&self.data);
        remove_database(&path).map_err(|(path, error)| Failure::File(path, error))?;
        build(&path, &self.log, self.log.head(), progress).await?;
        let (reply, answer) = oneshot::channel();
        self.replace.send(reply).await.map_err(|_| Failure::Gone)?;
        Ok(answer.await.map_err(|_| Failure::Gone)??)
    }

    /// How far it has come, as far as it has said so.
    pub(crate) fn reached(&self) -> Position {
        *self.reached.borrow()
    }

    /// Asks the view, once it has everything that is in the log now.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut State<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let wanted = self.log.head();
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |state| {
            if reply.is_closed() {
                return Ok(()); // it took too long
            }
            let _ = reply.send(ask(state)?);
            Ok(())
        });
        let asked = async {
            self.jobs.send(job).await.map_err(|_| Error::Stopping)?;
            answer.await.map_err(|_| Error::Internal)
        };
        let late = |_| Error::NotReached { wanted, reached: *self.reached.borrow() };
        tokio::time::timeout(PATIENCE, asked).await.map_err(late)?
    }
}

/// Keeps the view running.
struct Keeper {
    data: PathBuf,
    epochs: Epochs,
    tail: Tail,
    queue: mpsc::Receiver<Job>,
    replacements: mpsc::Receiver<Replace>,
    reached: watch::Sender<Position>,
    closing: CancellationToken,
}

impl Keeper {
    async fn keep(mut self) {
        let (mut anew, mut damaged_at, mut pause) = (false, None, RETRY_FIRST);
        loop {
            let began = Instant::now();
            let (keeper, ended) = match self.run(anew).await {
                Ok(ended) => ended,
                Err(error) => {
                    tracing::error!(%error, "the delivery view is closed");
                    return;
                }
            };
            self = keeper;
            let error = match ended {
                Ok(Turn::Ended) => return,
                Ok(Turn::Stopped(replace)) => {
                    let _ = replace.send(self.put_in_place()); // whoever asked may have gone
                    anew = false;
                    continue;
                }
                Err(error) => error,
            };
            if matches!(&error, Failure::Database(error) if is_damage(error)) {
                tracing::warn!(%error, "the delivery view is damaged and is built anew");
                anew = true;
                // Once at once; then with pauses, as something is wrong that a new one does not mend.
                let is_first = damaged_at.is_none_or(|at: Instant| at.elapsed() > DAMAGED_ONCE);
                damaged_at = Some(Instant::now());
                if is_first {
                    continue;
                }
            }
            // What was to be removed still is.
            anew &= matches!(error, Failure::InUse(_) | Failure::File(..) | Failure::Database(_));
            if began.elapsed() > HELD {
                pause = RETRY_FIRST;
            }
            tracing::error!(%error, after = ?pause, "the delivery view failed and is opened again");
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (2 * pause).min(RETRY_MOST);
        }
    }

    /// Runs the view on a thread until it fails or is told to end. The error is that there is no thread.
    async fn run(self, anew: bool) -> Result<(Self, Result<Turn, Failure>), Failure> {
        if anew && let Err(failure) = self.remove() {
            return Ok((self, Err(failure)));
        }
        let connection = match writing(&path_in(&self.data), SqliteSynchronous::Normal).connect().await {
            Ok(connection) => connection,
            // What is not a database cannot be opened as one.
            Err(error) if !anew && is_no_database(&error) => {
                tracing::warn!(%error, "the delivery view is damaged and is built anew");
                return Box::pin(self.run(true)).await;
            }
            Err(error) => return Ok((self, Err(error.into()))),
        };
        let thread = on_thread("tidings-deliveries", connection, move |connection| {
            let mut keeper = self;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let ended = match runtime {
                Ok(runtime) => {
                    // What was begun is rolled back with the connection, and what it has begins at its checkpoint again.
                    let following = AssertUnwindSafe(|| runtime.block_on(keeper.follow(connection)));
                    catch_unwind(following).unwrap_or_else(|panic| Err(Failure::Panicked(said(&*panic))))
                }
                Err(error) => Err(Failure::Thread(error)),
            };
            (keeper, ended)
        });
        thread.ended().await.map_err(|_| Failure::Gone)
    }

    /// Removes what is there, unless another process reads it.
    fn remove(&self) -> Result<(), Failure> {
        let _alone = alone_with_views(&self.data).map_err(Failure::InUse)?;
        remove_database(&path_in(&self.data)).map_err(|(path, error)| Failure::File(path, error))
    }

    /// Puts the view that was built beside it in its place, unless another process reads it.
    fn put_in_place(&self) -> Result<(), Failure> {
        self.remove()?;
        let (from, to) = (building_path(&self.data), path_in(&self.data));
        std::fs::rename(&from, &to).map_err(|error| Failure::File(to, error))
    }

    fn has_reached(&self, position: Position) {
        self.reached.send_replace(position);
    }

    async fn follow(&mut self, connection: &Connection) -> Result<Turn, Failure> {
        prepare(connection, &self.epochs, self.tail.head())?;
        let mut state = State::load(connection, self.epochs.clone())?;
        self.tail.rewind(state.position);
        self.has_reached(state.position);
        let (mut looked, mut committed) = (Instant::now() - LOOK_EVERY, Instant::now());
        connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut committed_at = state.position;
        let ended = loop {
            let (next_look, next_commit) = (looked + LOOK_EVERY, committed + COMMIT_EVERY);
            let has_news = state.position > committed_at;
            tokio::select! {
                biased;
                () = self.closing.cancelled() => break Turn::Ended,
                Some(replace) = self.replacements.recv() => break Turn::Stopped(replace),
                job = self.queue.recv() => {
                    let Some(job) = job else { break Turn::Ended }; // the engine was dropped without a shutdown
                    while self.tail.position() < self.tail.head() && !self.closing.is_cancelled() {
                        apply(&mut state, &mut self.tail).await?;
                        commit_many(connection, &mut state, &mut committed_at)?;
                    }
                    if self.closing.is_cancelled() {
                        break Turn::Ended; // it would be answered by a view that is behind
                    }
                    state.write()?;
                    self.has_reached(state.position);
                    job(&mut state)?;
                }
                () = tokio::time::sleep_until(next_commit), if has_news => {
                    commit(connection, &mut state, &mut committed_at)?;
                    committed = Instant::now();
                }
                () = tokio::time::sleep_until(next_look), if next_look > Instant::now() => {}
                applied = apply(&mut state, &mut self.tail), if next_look <= Instant::now() => {
                    applied?;
                    // What waits is read on; then there is a pause.
                    if self.tail.position() >= self.tail.head() {
                        looked = Instant::now();
                        self.has_reached(state.position);
                    }
                    if !has_news {
                        committed = Instant::now();
                    }
                    if commit_many(connection, &mut state, &mut committed_at)? {
                        self.has_reached(state.position);
                    }
                }
            }
        };
        commit(connection, &mut state, &mut committed_at)?;
        Ok(ended)
    }
}

/// What a panic says.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "nothing".to_owned())
}

/// Folds the next events.
async fn apply(state: &mut State<'_>, tail: &mut Tail) -> Result<(), Failure> {
    for event in tail.next().await? {
        state.apply(&event)?;
    }
    Ok(())
}

/// Whether there was enough.
fn commit_many(
    connection: &Connection,
    state: &mut State<'_>,
    committed: &mut Position,
) -> Result<bool, Failure> {
    let many = state.position.0 - committed.0 >= EVENTS_PER_COMMIT;
    if many {
        commit(connection, state, committed)?;
    }
    Ok(many)
}

fn commit(connection: &Connection, state: &mut State<'_>, reached: &mut Position) -> Result<(), Failure> {
    state.write()?;
    committed(connection.execute_batch("COMMIT"))?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    *reached = state.position;
    Ok(())
}

/// How far the view has come; `None` when it is not a view of this version.
pub(crate) fn checkpoint(connection: &Connection) -> Option<Cursor> {
    checkpoint_of(connection, VERSION)
}

/// Builds a view up to a position, which the log has reached, in a file that nobody has open; goes on with one that is there.
pub(crate) async fn build(
    path: &Path,
    log: &Log,
    up_to: Position,
    mut progress: impl FnMut(Position) + Send + 'static,
) -> Result<(), DeliveriesError> {
    let connection = writing(path, SqliteSynchronous::Normal).connect().await.map_err(Failure::Open)?;
    let (epochs, mut tail) = (log.epochs().clone(), log.tail(Position(0)));
    let runtime = Handle::current();
    let thread = on_thread("tidings-deliveries", connection, move |connection| -> Result<(), Failure> {
        prepare(connection, &epochs, tail.head())?;
        let mut state = State::load(connection, epochs)?;
        tail.rewind(state.position);
        let mut committed = state.position;
        connection.execute_batch("BEGIN IMMEDIATE")?;
        while state.position < up_to {
            for event in runtime.block_on(tail.next())?.iter().take_while(|event| event.position <= up_to) {
                state.apply(event)?;
            }
            commit_many(connection, &mut state, &mut committed)?;
            progress(state.position);
        }
        commit(connection, &mut state, &mut committed)
    });
    Ok(thread.ended().await.map_err(|_| Failure::Gone)??)
}

/// Why the delivery view could not be built.
#[derive(Debug, thiserror::Error)]
#[error("the delivery view cannot be built")]
pub struct DeliveriesError(#[from] Failure);

impl DeliveriesError {
    /// What is wrong with the log, if it is that.
    pub(crate) fn of_log(&self) -> Option<String> {
        matches!(self.0, Failure::Tail(_)).then(|| self.0.to_string())
    }
}

/// Makes the tables, unless they are there, of this version and of this log.
fn prepare(connection: &Connection, epochs: &Epochs, head: Position) -> rusqlite::Result<()> {
    if checkpoint(connection).is_some_and(|reached| epochs.hold(&reached) && reached.position <= head) {
        return Ok(());
    }
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'")?;
    let names: Vec<String> = tables.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    drop(tables);
    for name in names {
        connection.execute_batch(&format!("DROP TABLE \"{name}\""))?;
    }
    connection.execute_batch(SCHEMA)?;
    connection.execute(
        "INSERT INTO checkpoint VALUES (1, ?1, ?2, 0, 0, 0)",
        (VERSION, epochs.cursor(Position(0)).epoch.as_str()),
    )?;
    Ok(())
}

fn is_no_database(error: &sqlx::Error) -> bool {
    // SQLITE_NOTADB and SQLITE_CORRUPT.
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "26" || code == "11")
}

#[cfg(test)]
mod tests {
    use crate::names::Tenant;
    use crate::{Draft, Engine, Identity, Options};

    use super::*;

    #[tokio::test]
    async fn a_view_that_panics_goes_on_from_its_checkpoint() {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::start(Options::new(directory.path())).await.unwrap();
        let service = Identity::service(Tenant::default());
        let draft = r#"{ "type": "note", "audience": { "users": ["ada"] } }"#;
        for _ in 0..2 {
            let draft: Draft = serde_json::from_str(draft).unwrap();
            let receipt = engine.publish(&service, draft.into()).await.unwrap();
            let lost = engine.delivery_view().ask::<()>(|_| panic!("on purpose")).await;
            assert!(matches!(lost, Err(Error::Internal)), "{lost:?}");
            let reached = engine.delivery_view().ask(|state| Ok(state.position)).await.unwrap();
            assert!(reached >= receipt.position, "{reached}");
        }
        engine.shutdown().await;
    }
}
