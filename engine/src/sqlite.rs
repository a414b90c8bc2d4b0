//! A SQLite connection on a thread of its own: sqlx opens it, prepared statements run on its handle.
//!
//! An awaited sqlx statement costs two thread hops; work that is sent here as one closure pays them once, however many
//! statements it runs. The only unsafe code of the engine is in this file.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _, SqliteConnection};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(crate) use rusqlite::Connection;
use rusqlite::Transaction;
use rusqlite::hooks::Wal;

/// Jobs that may wait for a connection. A caller beyond that waits its turn.
const QUEUED_JOBS: usize = 1_024;
/// Prepared statements kept for each connection: more than any part of the engine has.
const PREPARED_STATEMENTS: usize = 64;
/// How long a connection waits for another process's lock, such as a backup's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Frames of a WAL after which it is folded into the file: 16 MiB, four times SQLite's own default. Most pages are written again and
/// again before they are folded.
const FRAMES_PER_CHECKPOINT: i32 = 4_000;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// Connections to one database, each on a thread of its own, taking jobs from one queue.
pub(crate) struct Database {
    jobs: flume::Sender<Job>,
    threads: Vec<Thread<()>>,
}

/// The threads of a database are gone.
#[derive(Debug, thiserror::Error)]
#[error("the database is closed")]
pub(crate) struct Closed;

/// Options for a database that is written: WAL, created when missing.
pub(crate) fn writing(path: &Path, synchronous: SqliteSynchronous) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .busy_timeout(BUSY_TIMEOUT)
}

/// Options for a database that is only read. Not opened read-only: whoever closes a database last folds the WAL into the
/// file, and only a connection that may write can.
pub(crate) fn reading(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new().filename(path).pragma("query_only", "ON").busy_timeout(BUSY_TIMEOUT)
}

/// A path with something after its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut file = path.as_os_str().to_owned();
    file.push(suffix);
    file.into()
}

/// Removes a database file and what SQLite keeps beside it. Says which file it could not.
pub(crate) fn remove_database(path: &Path) -> Result<(), (PathBuf, std::io::Error)> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let file = beside(path, suffix);
        match std::fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err((file, error)),
            _ => {}
        }
    }
    Ok(())
}

impl Database {
    /// Opens `count` connections.
    pub(crate) async fn open(
        name: &str,
        options: &SqliteConnectOptions,
        count: usize,
    ) -> Result<Self, sqlx::Error> {
        let (jobs, queue) = flume::bounded::<Job>(QUEUED_JOBS);
        let mut threads = Vec::with_capacity(count);
        for _ in 0..count {
            let queue = queue.clone();
            let connection = options.connect().await?;
            threads.push(on_thread(name, connection, move |connection| {
                for job in queue {
                    job(connection);
                }
            }));
        }
        Ok(Self { jobs, threads })
    }

    /// Runs a job on one of the connections.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> T + Send + 'static,
    ) -> Result<T, Closed> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let _ = reply.send(job(connection)); // the caller may have gone
        });
        self.jobs.send_async(job).await.map_err(|_| Closed)?;
        answer.await.map_err(|_| Closed)
    }
}

impl Database {
    /// Queues a job that nobody waits for but the drop, unless too many are queued.
    pub(crate) fn last(&self, job: impl FnOnce(&Connection) + Send + 'static) {
        let _ = self.jobs.try_send(Box::new(job));
    }
}

impl Drop for Database {
    /// Waits for the jobs that were queued, then closes the connections, so that the files are whole when this returns.
    fn drop(&mut self) {
        let (nowhere, _) = flume::bounded(0);
        self.jobs = nowhere;
        for thread in self.threads.drain(..) {
            let _ = thread.handle.join();
        }
    }
}

/// A thread that works with a connection.
pub(crate) struct Thread<T> {
    handle: JoinHandle<()>,
    result: oneshot::Receiver<T>,
}

impl<T> Thread<T> {
    /// Waits until it has ended and its connection is closed. Waits as a task does, so that a runtime that is dropped is
    /// not held up.
    pub(crate) async fn ended(self) -> Result<T, Closed> {
        self.result.await.map_err(|_| Closed)
    }
}

static CLOSING: Mutex<()> = Mutex::new(());

/// Lends a connection of sqlx to `body`, on a thread of its own, and closes it afterwards.
pub(crate) fn on_thread<T: Send + 'static>(
    name: &str,
    mut connection: SqliteConnection,
    body: impl FnOnce(&Connection) -> T + Send + 'static,
) -> Thread<T> {
    let runtime = Handle::current();
    let (done, result) = oneshot::channel();
    let builder = std::thread::Builder::new().name(name.to_owned());
    let handle = builder.spawn(move || {
        let result = lend(&runtime, &mut connection, body);
        {
            // One after the other: two that close in the same moment each take the other for the last, and nobody folds
            // the WAL into the file.
            let _alone = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
            // A failed close loses nothing: what was committed is in the file or its WAL.
            let _ = runtime.block_on(connection.close());
        }
        let _ = done.send(result); // nobody has to wait for it
    });
    let handle = handle.unwrap_or_else(|error| panic!("the system refuses a thread: {error}"));
    Thread { handle, result }
}

thread_local! {
    /// What failed while the WAL was folded after the last commit. SQLite itself then only says that something did.
    static FOLDING_FAILED: RefCell<Option<rusqlite::Error>> = const { RefCell::new(None) };
}

/// Commits; an error is the commit's, or that of folding the WAL afterwards.
pub(crate) fn commit(transaction: Transaction<'_>) -> rusqlite::Result<()> {
    committed(transaction.commit())
}

/// The outcome of a commit, or of folding the WAL afterwards.
pub(crate) fn committed(outcome: rusqlite::Result<()>) -> rusqlite::Result<()> {
    FOLDING_FAILED.take().map_or(outcome, Err)
}

/// Folds the WAL into the file, after a commit. SQLite does the same by itself, but says nothing when it fails: after an
/// fsync that failed once, the next one succeeds although what was to be synced is lost, and the WAL would be overwritten.
fn fold_wal(wal: &Wal, frames: i32) -> rusqlite::Result<()> {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked, DiskFull};
    if frames < FRAMES_PER_CHECKPOINT {
        return Ok(());
    }
    let Err(error) = wal.checkpoint() else { return Ok(()) };
    // The WAL grows meanwhile; the next commit tries again.
    if matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked | DiskFull)) {
        return Ok(());
    }
    FOLDING_FAILED.set(Some(error));
    Err(rusqlite::Error::ExecuteReturnedResults) // any will do: it becomes SQLITE_ERROR
}

#[allow(unsafe_code)]
fn lend<T>(runtime: &Handle, connection: &mut SqliteConnection, body: impl FnOnce(&Connection) -> T) -> T {
    let mut locked = runtime
        .block_on(connection.lock_handle())
        .unwrap_or_else(|error| panic!("a connection just opened has a handle: {error}"));
    let handle = locked.as_raw_handle();
    // SAFETY: the handle is open and stays so while `locked` lives, which is longer than `borrowed`; `locked` keeps
    // sqlx's own thread from using it meanwhile; `from_handle` does not close it on drop. Both crates link the same
    // SQLite, as only one may be linked.
    let borrowed = unsafe { Connection::from_handle(handle.as_ptr()) }
        .unwrap_or_else(|error| panic!("an open handle can be borrowed: {error}"));
    borrowed.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    borrowed.wal_hook(Some(fold_wal));
    body(&borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn jobs_share_connections_and_a_drop_waits_for_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("t.db");
        let writer = Database::open("w", &writing(&path, SqliteSynchronous::Full), 1).await.unwrap();
        let made = writer.call(|c| c.execute_batch("create table t (x)")).await.unwrap();
        made.unwrap();
        let readers = Database::open("r", &reading(&path), 2).await.unwrap();
        writer.call(|c| c.execute("insert into t values (7)", [])).await.unwrap().unwrap();
        let read = |c: &Connection| c.query_row("select x from t", [], |row| row.get::<_, i64>(0));
        assert_eq!(readers.call(read).await.unwrap().unwrap(), 7);
        assert!(
            readers.call(|c| c.execute("delete from t", [])).await.unwrap().is_err(),
            "readers only read"
        );
        drop((writer, readers));
        assert!(!path.with_extension("db-wal").exists(), "the last close folds the WAL into the file");
    }
}
