//! The event store on SQLite: embedded, no set-up, one file.
//!
//! One connection writes, in transactions that fsync; others only read. Numbers come from SQL inside the append. Every row
//! of an event carries a checksum, and one that does not fit is an error, never an event.

mod append;
mod checksum;
mod inspect;
mod numbering;
mod snapshots;

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use rusqlite::{ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteSynchronous;

use super::{
    AppendItem, AppendOutcome, EventStore, Head, KeyClaim, KeyHolder, SnapshotStore, StoreError, StoredEvent,
    StreamName,
};
use crate::epochs::Epochs;
use crate::metrics::{Distribution, Histogram};
use crate::names::Tenant;
use crate::position::{Epoch, Offset, Position};
use crate::sqlite::{Closed, Connection, Database, commit, reading, writing};

use append::append;
use checksum::EventRow;
pub(crate) use inspect::{inspect, inspect_snapshots, integrity};
use numbering::Numbering;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../migrations/sqlite");

/// Connections that read, so that a long read does not hold up every other one.
const READERS: usize = 2;
/// How long an idempotency key is kept.
pub const KEYS_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often keys that are older are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// Keys forgotten at a time, so that no append waits for long. While there are more, every append forgets as many.
const FORGET_AT_ONCE: usize = 500;
/// Epochs kept: one a start. Whoever was away for more starts than these has to reset.
const EPOCHS_KEPT: i64 = 4_096;
/// Bytes of events read at a time, roughly.
const BYTES_AT_ONCE: usize = 8 << 20;

/// The event log in a SQLite file.
pub struct SqliteStore {
    /// `None` for one that is only read.
    writer: Option<Database>,
    readers: Database,
    /// For the thread that writes alone.
    numbering: Arc<Mutex<Numbering>>,
    /// When no more old keys were found.
    forgot_at: Arc<AtomicI64>,
    /// How long commits of appends took: writing the WAL, its fsync, and now and then folding it into the file.
    sync_seconds: Arc<Histogram>,
}

impl SqliteStore {
    /// Opens a log, and makes it when there is none.
    ///
    /// # Errors
    /// When the file cannot be opened or migrated, or when SQLite would not fsync.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = writing(path, SqliteSynchronous::Full);
        let mut connection = options.connect().await?;
        MIGRATIONS.run_direct(None, &mut connection, false).await?;
        sqlx::Connection::close(connection).await?;
        let writer = Database::open("tidings-log", &options, 1).await?;
        writer.call(prepare).await??;
        let readers = Database::open("tidings-log-read", &reading(path), READERS).await?;
        Ok(Self::of(Some(writer), readers))
    }

    /// Opens a log that is there, to read it: another process may go on appending. Its tables have to be of this version.
    ///
    /// # Errors
    /// When the file cannot be opened, or is no log of this version.
    pub async fn open_to_read(path: &Path) -> Result<Self, StoreError> {
        let readers = Database::open("tidings-log-read", &reading(path), READERS).await?;
        readers.call(require_this_version).await??;
        Ok(Self::of(None, readers))
    }

    fn of(writer: Option<Database>, readers: Database) -> Self {
        let (numbering, forgot_at) = (Arc::default(), Arc::default());
        Self { writer, readers, numbering, forgot_at, sync_seconds: Arc::new(Histogram::of_disk()) }
    }

    /// Runs a transaction on the connection that writes.
    fn write<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, StoreError>> {
        let numbering = self.numbering.clone();
        let job = move |connection: &Connection| {
            let done = job(connection).map_err(|error| full_or(error, connection));
            let mut numbering = numbering.lock().unwrap_or_else(PoisonError::into_inner);
            match &done {
                Ok(_) => {}
                Err(StoreError::Full) => numbering.take_back(),
                Err(_) => numbering.forget(),
            }
            done
        };
        async move { self.writer.as_ref().ok_or(StoreError::Closed)?.call(job).await? }.boxed()
    }

    /// When the keys of this moment are too old, if it is time to look.
    fn forget_before(&self) -> Option<i64> {
        let now = Timestamp::now().as_millisecond();
        let due = now - self.forgot_at.load(Ordering::Relaxed) >= FORGET_EVERY.as_millis() as i64;
        due.then(|| now - KEYS_KEPT.as_millis() as i64)
    }
}

impl Drop for SqliteStore {
    /// Leaves a file whose index is whole, for whoever looks into it. What fails here is done at the next start.
    fn drop(&mut self) {
        let numbering = self.numbering.clone();
        if let Some(writer) = &self.writer {
            writer.last(move |connection| {
                let finished = numbering.lock().unwrap_or_else(PoisonError::into_inner).finish(connection);
                if let Err(error) = finished {
                    tracing::warn!(%error, "the index of the streams is left to be finished at the next start");
                }
            });
        }
    }
}

/// Makes sure that a commit is an fsync, and begins an epoch: what was given from here on is told from what may have been
/// lost.
fn prepare(connection: &Connection) -> Result<(), StoreError> {
    let synchronous: i64 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0))?;
    if synchronous < 2 {
        return Err(StoreError::NotDurable { expected: "synchronous=FULL", found: synchronous.to_string() });
    }
    let journal: String = connection.query_row("PRAGMA journal_mode", [], |row| row.get(0))?;
    if journal != "wal" {
        return Err(StoreError::NotDurable { expected: "journal_mode=wal", found: journal });
    }
    sync_what_was_recovered(connection)?;
    begin_epoch(connection).map_err(|error| full_or(error, connection))
}

/// What is given from here on is told from what may have been lost.
fn begin_epoch(connection: &Connection) -> Result<(), StoreError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute("INSERT INTO head VALUES (1, 0, 0) ON CONFLICT DO NOTHING", [])?;
    transaction.execute(include_str!("sqlite/begin_epoch.sql"), [Epoch::random().as_str()])?;
    transaction.execute(include_str!("sqlite/forget_epochs.sql"), [EPOCHS_KEPT])?;
    commit(transaction)?;
    Ok(())
}

/// Folds what an earlier process left in the WAL into the file, and syncs it. It was read from memory, and after an fsync
/// that failed the disk may never have had it: written anew it is synced, or the error is seen, before anything is built
/// on it.
fn sync_what_was_recovered(connection: &Connection) -> Result<(), StoreError> {
    match connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DiskFull) => {
            tracing::warn!("the disk has no room to fold the write-ahead log into the event log");
            Ok(())
        }
        folded => Ok(folded?),
    }
}

impl EventStore for SqliteStore {
    fn append(&self, items: Vec<AppendItem>) -> BoxFuture<'_, Result<Vec<AppendOutcome>, StoreError>> {
        async move {
            let (forget_before, forgot_at) = (self.forget_before(), self.forgot_at.clone());
            let (numbering, sync_seconds) = (self.numbering.clone(), self.sync_seconds.clone());
            self.write(move |connection| {
                // Poisoned it is never seen again: a panic ends the one thread that writes.
                let mut numbering = numbering.lock().unwrap_or_else(PoisonError::into_inner);
                let appended = append(connection, &items, &mut numbering, forget_before, &sync_seconds);
                let (outcomes, forgotten) = appended?;
                numbering.commit();
                if forgotten < FORGET_AT_ONCE && forget_before.is_some() {
                    forgot_at.store(Timestamp::now().as_millisecond(), Ordering::Relaxed);
                }
                Ok(outcomes)
            })
            .await
        }
        .boxed()
    }

    fn read(&self, after: Position, limit: usize) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>> {
        async move {
            let job = move |connection: &Connection| {
                let mut statement = connection.prepare_cached(include_str!("sqlite/read_events.sql"))?;
                let rows = statement.query_and_then(params![after.sql(), limit as i64], stored_event)?;
                let (mut events, mut bytes) = (Vec::new(), 0);
                for event in rows {
                    let event = event?;
                    bytes += event.bytes();
                    events.push(event);
                    if bytes > BYTES_AT_ONCE {
                        break;
                    }
                }
                Ok(events)
            };
            self.readers.call(job).await?
        }
        .boxed()
    }

    fn read_at(&self, positions: Vec<Position>) -> BoxFuture<'_, Result<Vec<StoredEvent>, StoreError>> {
        async move {
            let job = move |connection: &Connection| {
                let mut statement = connection.prepare_cached(include_str!("sqlite/read_events_at.sql"))?;
                let wanted: Vec<i64> = positions.iter().map(|position| position.sql()).collect();
                let rows = statement.query_and_then([serde_json::json!(wanted).to_string()], stored_event)?;
                rows.collect()
            };
            self.readers.call(job).await?
        }
        .boxed()
    }

    fn read_stream(
        &self,
        tenant: &Tenant,
        stream: &StreamName,
        after: Offset,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Offset, StoredEvent)>, StoreError>> {
        let (tenant, name) = (tenant.clone(), stream.key());
        async move {
            let job = move |connection: &Connection| {
                let mut statement = connection.prepare_cached(include_str!("sqlite/read_stream.sql"))?;
                let arguments = params![tenant.as_str(), name, after.sql(), limit as i64];
                let rows = statement.query_and_then(arguments, |row| {
                    let offset = Offset::from_sql(row.get(10)?);
                    Ok((offset, stored_event(row)?))
                })?;
                rows.collect()
            };
            self.readers.call(job).await?
        }
        .boxed()
    }

    fn find_key(
        &self,
        tenant: &Tenant,
        claim: &KeyClaim,
    ) -> BoxFuture<'_, Result<Option<KeyHolder>, StoreError>> {
        let (tenant, claim) = (tenant.clone(), claim.clone());
        async move {
            self.readers.call(move |connection: &Connection| find_key(connection, &tenant, &claim)).await?
        }
        .boxed()
    }

    fn head(&self) -> BoxFuture<'_, Result<Head, StoreError>> {
        async move {
            let job = |connection: &Connection| head(connection);
            self.readers.call(job).await?
        }
        .boxed()
    }

    fn sync_seconds(&self) -> Option<Distribution> {
        Some(self.sync_seconds.distribution())
    }

    fn snapshots(&self) -> &dyn SnapshotStore {
        self
    }
}

/// What a failed append means, once its transaction is over. A disk without room refuses a frame of the WAL before the
/// one that commits is whole, and before any fsync: no reader and no recovery takes such frames for a commit, and the
/// next append overwrites them.
fn full_or(error: StoreError, connection: &Connection) -> StoreError {
    match &error {
        StoreError::Database(cause)
            if cause.sqlite_error_code() == Some(ErrorCode::DiskFull) && connection.is_autocommit() =>
        {
            StoreError::Full
        }
        _ => error,
    }
}

/// Reading does not bring tables up to date.
fn require_this_version(connection: &Connection) -> Result<(), StoreError> {
    let expected = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let sql = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations";
    let found: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if found == expected { Ok(()) } else { Err(StoreError::OtherVersion { expected, found }) }
}

fn head(connection: &Connection) -> Result<Head, StoreError> {
    // In this order: whatever is appended meanwhile is of the last epoch.
    let mut statement = connection.prepare_cached("SELECT first, epoch FROM epochs ORDER BY first")?;
    let began = statement.query_map([], |row| {
        let epoch: String = row.get(1)?;
        Ok((Position::from_sql(row.get(0)?), Epoch::from_stored(&epoch)))
    })?;
    let epochs = Epochs::new(began.collect::<Result<Vec<_>, _>>()?);
    let epochs = epochs.map_err(|error| StoreError::Other(error.into()))?;
    let mut statement = connection.prepare_cached("SELECT position FROM head")?;
    let position = statement.query_row([], |row| row.get(0)).map(Position::from_sql)?;
    Ok(Head { epochs, position })
}

fn find_key(
    connection: &Connection,
    tenant: &Tenant,
    claim: &KeyClaim,
) -> Result<Option<KeyHolder>, StoreError> {
    let mut find = connection.prepare_cached(include_str!("sqlite/find_key.sql"))?;
    let named = params![tenant.as_str(), claim.publisher.as_str(), claim.key.as_str()];
    let found = find.query_row(named, |row| Ok((Position::from_sql(row.get(0)?), row.get(1)?)));
    Ok(found.optional()?)
}

fn stored_event(row: &Row<'_>) -> Result<StoredEvent, StoreError> {
    let position: i64 = row.get(0)?;
    let corrupt = |reason| StoreError::Corrupt { position: Position::from_sql(position), reason };
    verified_event(row, position).map_err(corrupt)
}

/// Reads a row but for its payload, without a copy, and takes it only if it is what was written.
fn verified_row<'r>(row: &'r Row<'_>, position: i64) -> Result<EventRow<'r>, String> {
    let text = |column: usize| row.get_ref(column).map_err(said)?.as_str().map_err(said);
    let some_text = |column: usize| row.get_ref(column).map_err(said)?.as_str_or_null().map_err(said);
    let event = EventRow {
        position,
        tenant: text(1)?,
        type_name: text(2)?,
        version: row.get(3).map_err(said)?,
        recorded_at: row.get(4).map_err(said)?,
        envelope: text(5)?,
        entries: some_text(6)?,
    };
    let stored: Option<u32> = row.get(8).map_err(said)?;
    if stored.is_some_and(|stored| stored != event.checksum()) {
        return Err("its checksum does not fit".to_owned());
    }
    Ok(event)
}

/// The same with its payload.
fn verified_event(row: &Row<'_>, position: i64) -> Result<StoredEvent, String> {
    let event = verified_row(row, position)?;
    let payload = row.get_ref(7).map_err(said)?.as_str_or_null().map_err(said)?;
    let of_payload: Option<u32> = row.get(9).map_err(said)?;
    if let (Some(payload), Some(stored)) = (payload, of_payload)
        && stored != checksum::of_payload(position, payload)
    {
        return Err("the checksum of its payload does not fit".to_owned());
    }
    Ok(StoredEvent {
        position: Position::from_sql(position),
        tenant: Tenant::stored(event.tenant),
        type_name: event.type_name.to_owned(),
        version: event.version,
        recorded_at: Timestamp::from_millisecond(event.recorded_at).map_err(said)?,
        envelope: event.envelope.to_owned(),
        payload: payload.map(str::to_owned),
        entries: event.entries()?,
    })
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl From<Closed> for StoreError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{OpenStore, event_store};

    struct InDirectory(tempfile::TempDir);

    impl OpenStore for InDirectory {
        fn open(&mut self) -> BoxFuture<'_, Arc<dyn EventStore>> {
            let path = self.0.path().join("log.db");
            async move { Arc::new(SqliteStore::open(&path).await.unwrap()) as Arc<dyn EventStore> }.boxed()
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sqlite_keeps_the_laws_of_an_event_store() {
        event_store(InDirectory(tempfile::tempdir().unwrap())).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_database_that_would_not_fsync_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let options = writing(&directory.path().join("log.db"), SqliteSynchronous::Normal);
        let mut connection = options.connect().await.unwrap();
        MIGRATIONS.run_direct(None, &mut connection, false).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
        let database = Database::open("t", &options, 1).await.unwrap();
        let refused = database.call(prepare).await.unwrap().unwrap_err();
        assert!(refused.to_string().contains("synchronous=FULL"), "{refused}");
    }

    /// A log as version 0.1 first made it: no epochs but one, no checksums.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_log_from_before_epochs_and_checksums_goes_on_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.db");
        let first = MIGRATIONS.iter().take(1).cloned().collect();
        let first = sqlx::migrate::Migrator::with_migrations(first);
        let mut connection = writing(&path, SqliteSynchronous::Full).connect().await.unwrap();
        first.run_direct(None, &mut connection, false).await.unwrap();
        sqlx::Connection::close(connection).await.unwrap();
        let old = rusqlite::Connection::open(&path).unwrap();
        old.execute_batch(
            "INSERT INTO head VALUES (1, '0123456789ab', 1);
             INSERT INTO events VALUES (1, 't', 'Seen', 1, 0, '{\"user\":\"ada\",\"upTo\":0}', NULL);",
        )
        .unwrap();
        drop(old);
        let refused = SqliteStore::open_to_read(&path).await.err().map(|error| error.to_string());
        assert!(refused.unwrap().contains("of version 1, expected"), "reading changes nothing");
        let store = SqliteStore::open(&path).await.unwrap();
        let head = store.head().await.unwrap();
        assert!(head.epochs.hold(&"0123456789ab.1".parse().unwrap()), "its cursors go on");
        assert!(!head.epochs.hold(&"0123456789ab.2".parse().unwrap()), "what comes is of another epoch");
        assert_eq!(store.read(Position(0), 9).await.unwrap().len(), 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_are_forgotten_when_they_are_old_and_not_before() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
        let keys = |now: i64| {
            move |connection: &Connection| {
                connection.execute_batch(
                    "INSERT INTO idempotency_keys VALUES (101, 't', 'p', 'old', x'00', 1000);
                     INSERT INTO idempotency_keys VALUES (102, 't', 'p', 'new', x'00', 5000);",
                )?;
                append(connection, &[], &mut Numbering::default(), Some(now), &Histogram::of_disk())?;
                let mut statement = connection.prepare("SELECT key FROM idempotency_keys")?;
                let keys =
                    statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
                Ok::<_, StoreError>(keys)
            }
        };
        assert_eq!(store.writer.as_ref().unwrap().call(keys(3_000)).await.unwrap().unwrap(), ["new"]);
    }
}
