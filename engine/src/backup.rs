//! Backups of the log, made while a server appends to it, and their way back. Of the log alone: everything else is derived
//! from it, but for the secret, which does not belong beside what it protects.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use rusqlite::backup::{Backup, StepResult};
use sqlx::ConnectOptions;

use crate::check::Findings;
use crate::engine::{StartError, lock_directory, log_path};
use crate::known_head;
use crate::position::Position;
use crate::progress::{Progress, Report};
use crate::sqlite::{Connection, beside, on_thread, reading, remove_database};
use crate::store::sqlite::{SqliteStore, inspect};
use crate::store::{EventStore, StoreError};

/// Pages copied at a time: a mebibyte. After each, the disk is left to others for as long as it took.
const PAGES_AT_ONCE: std::ffi::c_int = 256;

/// Why a log was not backed up or restored. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The data directory cannot be used, or there is no log in it.
    #[error(transparent)]
    Start(#[from] StartError),
    /// There is something at the place already.
    #[error("{path} is there already")]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// There is a log in the data directory.
    #[error("there is a log in {path} already")]
    NotEmpty {
        /// The data directory.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{path} cannot be used: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// It is no backup of a log, or cannot be read.
    #[error("{path} is no backup of a log that can be read: {error}")]
    NoBackup {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: StoreError,
    },
    /// The database said so.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backup is not what was written.
    #[error("the backup is damaged: {first}{}", and_more(*count))]
    Damaged {
        /// What was found first.
        first: String,
        /// How many things were found.
        count: u64,
    },
}

fn and_more(count: u64) -> String {
    if count > 1 { format!(", and {} more", count - 1) } else { String::new() }
}

/// Copies the log of a data directory, as it is at one moment, into a new file, and fsyncs it; its last position. A server
/// may use the directory. `path` is there when the copy is complete, and not before.
///
/// # Errors
/// [`BackupError`].
pub async fn backup(
    data: &Path,
    path: &Path,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Position, BackupError> {
    let log = log_path(data);
    if !log.exists() {
        return Err(StartError::NoLog { path: data.to_owned() }.into());
    }
    if path.exists() {
        return Err(BackupError::Exists { path: path.to_owned() });
    }
    let building = Building::new(beside(path, ".building"))?;
    let connection = reading(&log).connect().await.map_err(StoreError::from)?;
    let to = building.0.clone();
    let job = move |connection: &Connection| copy_log(connection, &to, &progress);
    let head = on_thread("tidings-backup", connection, job).ended().await.map_err(StoreError::from)??;
    building.put_at(path)?;
    Ok(head)
}

fn copy_log(connection: &Connection, to: &Path, report: Report<'_>) -> Result<Position, StoreError> {
    copy_pages(connection, to, "copying the log", report)?;
    let copy = Connection::open(to)?;
    // One file, which needs nothing beside it.
    copy.pragma_update(None, "journal_mode", "delete")?;
    report(Progress { doing: "checking the copy", done: 0, of: 1 });
    let verdict: String = copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(StoreError::Other(verdict.into()));
    }
    Ok(Position::from_sql(copy.query_row("SELECT position FROM head", [], |row| row.get(0))?))
}

/// Copies a database as it is at one moment, at half speed.
pub(crate) fn copy_pages(
    connection: &Connection,
    to: &Path,
    doing: &'static str,
    report: Report<'_>,
) -> Result<(), StoreError> {
    let mut copy = Connection::open(to)?;
    // A transaction that reads keeps the moment, whatever is appended meanwhile: without it the copy would begin anew
    // with every commit of another process.
    let moment = connection.unchecked_transaction()?;
    moment.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    let backup = Backup::new(&moment, &mut copy)?;
    loop {
        let begun = Instant::now();
        let step = backup.step(PAGES_AT_ONCE)?;
        let pages = backup.progress();
        let of = pages.pagecount.unsigned_abs().into();
        report(Progress { doing, done: of - u64::from(pages.remaining.unsigned_abs()), of });
        if step == StepResult::Done {
            return Ok(());
        }
        std::thread::sleep(begun.elapsed());
    }
}

/// Puts a backup into a data directory that no server uses, once it has been checked; its last position. The log that was
/// there is kept as `log.replaced.db` if `replace`, or else nothing is done.
///
/// # Errors
/// [`BackupError`].
pub async fn restore(
    backup: &Path,
    data: &Path,
    replace: bool,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Position, BackupError> {
    let progress: Arc<dyn Fn(Progress) + Send + Sync> = Arc::new(progress);
    if let Err(error) = File::open(backup) {
        return Err(BackupError::File { path: backup.to_owned(), error });
    }
    let _lock = lock_directory(data)?;
    let log = log_path(data);
    if log.exists() && !replace {
        return Err(BackupError::NotEmpty { path: data.to_owned() });
    }
    let building = Building::new(data.join("log.restoring.db"))?;
    let (connection, to) = (reading(backup).connect().await.map_err(StoreError::from)?, building.0.clone());
    let report = progress.clone();
    let job = move |connection: &Connection| {
        // Whatever else is a database would be made a log, and an empty one be taken for a loss of everything.
        connection.query_row("SELECT position FROM head", [], |_| Ok(()))?;
        copy_pages(connection, &to, "copying the backup", &*report)
    };
    let copied = on_thread("tidings-restore", connection, job).ended().await.map_err(StoreError::from)?;
    copied.map_err(|error| BackupError::NoBackup { path: backup.to_owned(), error })?;
    // Brings old tables up to date, and begins an epoch: devices that saw more than the backup has are reset.
    let store = SqliteStore::open(&building.0).await?;
    let head = store.head().await?.position;
    drop(store);
    check(&building.0, progress).await?;
    put_aside(&log)?;
    building.put_at(&log)?;
    // What was known of the log that was replaced is not known of this one.
    let _ = std::fs::remove_file(known_head::path_in(data));
    Ok(head)
}

async fn check(path: &Path, progress: Arc<dyn Fn(Progress) + Send + Sync>) -> Result<(), BackupError> {
    let connection = reading(path).connect().await.map_err(StoreError::from)?;
    let job = move |connection: &Connection| {
        let mut findings = Findings::default();
        inspect(connection, &mut findings, &*progress).map(|_| findings)
    };
    let findings =
        on_thread("tidings-restore", connection, job).ended().await.map_err(StoreError::from)??;
    match findings.listed.first() {
        Some(first) => Err(BackupError::Damaged { first: first.to_string(), count: findings.count() }),
        None => Ok(()),
    }
}

/// The log that was there, and what SQLite keeps beside it.
fn put_aside(log: &Path) -> Result<(), BackupError> {
    let aside = log.with_file_name("log.replaced.db");
    remove_database(&aside).map_err(|(path, error)| BackupError::File { path, error })?;
    for suffix in ["-wal", "-shm", ""] {
        let (from, to) = (beside(log, suffix), beside(&aside, suffix));
        match std::fs::rename(&from, to) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(BackupError::File { path: from, error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// A database that is not complete yet: gone when this is dropped.
struct Building(PathBuf);

impl Building {
    /// For its owner's eyes only, as what is in it is.
    fn new(path: PathBuf) -> Result<Self, BackupError> {
        remove_database(&path).map_err(|(path, error)| BackupError::File { path, error })?;
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path).map_err(|error| BackupError::File { path: path.clone(), error })?;
        Ok(Self(path))
    }

    /// Puts it in place, with everything in it on disk before its name is, and the name before this returns.
    fn put_at(self, path: &Path) -> Result<(), BackupError> {
        let put = || {
            File::open(&self.0)?.sync_all()?;
            if path.exists() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            std::fs::rename(&self.0, path)?;
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
        };
        put().map_err(|error| BackupError::File { path: path.to_owned(), error })
    }
}

impl Drop for Building {
    fn drop(&mut self) {
        let _ = remove_database(&self.0); // the next one does it
    }
}
