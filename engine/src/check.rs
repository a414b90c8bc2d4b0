//! Checks a data directory: whether the log is what was written, and the views what follows from it. Beside a server, too:
//! it only reads, in pieces; what it needs to write goes into files of its own.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::ConnectOptions;
use tokio_util::sync::CancellationToken;

use crate::backup::copy_pages;
use crate::deliveries::{build_deliveries, deliveries_checkpoint, deliveries_path};
use crate::engine::{StartError, log_path};
use crate::file_lock::FileLock;
use crate::inbox::{
    Pace, ViewError, build_view, compare_views, import_snapshot, is_usable_snapshot, view_checkpoint,
    view_path,
};
use crate::log::Log;
use crate::position::{Cursor, Position};
use crate::progress::Progress;
use crate::rebuild::hold_views;
use crate::sqlite::{Connection, on_thread, reading, remove_database};
use crate::store::sqlite::{SqliteStore, inspect, inspect_snapshots, integrity};
use crate::store::{SnapshotHeader, StoreError};

/// Findings that are listed; the others are counted.
const FINDINGS_LISTED: usize = 100;

/// Something that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: `event 57`, `stream 3`.
    pub place: String,
    /// What is wrong there.
    pub wrong: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.wrong)
    }
}

/// All that was found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The first of them.
    pub listed: Vec<Finding>,
    /// How many there are beyond those.
    pub more: u64,
}

impl Findings {
    pub(crate) fn add(&mut self, place: &str, wrong: impl Into<String>) {
        if self.listed.len() == FINDINGS_LISTED {
            self.more += 1;
        } else {
            self.listed.push(Finding { place: place.to_owned(), wrong: wrong.into() });
        }
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.listed.len() as u64 + self.more
    }
}

/// What a check came to.
#[derive(Debug)]
pub struct Checked {
    /// What is wrong.
    pub findings: Findings,
    /// Events that were looked at.
    pub events: u64,
    /// Of these, written before there were checksums.
    pub without_checksum: u64,
    /// Notifications whose content was erased.
    pub erased: u64,
    /// How the inbox view was checked.
    pub inbox: CheckedView,
    /// How the delivery view was checked.
    pub deliveries: CheckedView,
    /// Snapshots of which a view was built, and compared as well.
    pub snapshots: u64,
}

/// How a view was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedView {
    /// Row for row, up to this position.
    Compared(Position),
    /// There is none, or one of another version or log: the next start builds it.
    ToBeBuilt,
    /// It could not be, as the log cannot be read.
    LogUnreadable,
    /// It could not be, as it cannot be read.
    Unreadable,
}

/// Checks the log and the views in a data directory, whether a server uses it or not.
///
/// # Errors
/// When there is nothing that could be checked. What is wrong with what is there is no error, but a finding.
pub async fn check(
    data: &Path,
    progress: impl Fn(Progress) + Send + Sync + 'static,
) -> Result<Checked, StartError> {
    let progress: Reporter = Arc::new(progress);
    let path = log_path(data);
    if !path.exists() {
        return Err(StartError::NoLog { path: data.to_owned() });
    }
    let store = SqliteStore::open_to_read(&path).await?;
    let report = progress.clone();
    let looked = look(&path, move |connection| {
        let mut findings = Findings::default();
        let inspected = inspect(connection, &mut findings, &*report)?;
        inspect_snapshots(connection, &mut findings).map_err(StoreError::from)?;
        Ok::<_, StoreError>((inspected, findings))
    });
    let (inspected, mut findings) = looked.await??;
    let store = Arc::new(store);
    let place = Place::new(data)?;
    let (inbox, snapshots) = check_inbox(&place, &store, &mut findings, progress.clone()).await?;
    let rebuilt = place.scratch();
    let deliveries =
        check_view(View::Deliveries, &place, &store, &rebuilt.0, &mut findings, progress).await?.0;
    let (events, without_checksum, erased) = (inspected.events, inspected.without_checksum, inspected.erased);
    Ok(Checked { findings, events, without_checksum, erased, inbox, deliveries, snapshots })
}

type Reporter = Arc<dyn Fn(Progress) + Send + Sync>;

/// A view that can be checked.
#[derive(Clone, Copy)]
enum View {
    Inbox,
    Deliveries,
}

/// Why a view could not be built to be compared.
enum NotBuilt {
    /// The log cannot be read.
    Log(String),
    Failed(StartError),
}

impl View {
    fn file(self) -> &'static str {
        match self {
            Self::Inbox => "inbox.db",
            Self::Deliveries => "deliveries.db",
        }
    }

    fn path(self, data: &Path) -> PathBuf {
        match self {
            Self::Inbox => view_path(data),
            Self::Deliveries => deliveries_path(data),
        }
    }

    fn checkpoint(self, connection: &Connection) -> Option<Cursor> {
        match self {
            Self::Inbox => view_checkpoint(connection),
            Self::Deliveries => deliveries_checkpoint(connection),
        }
    }

    async fn build(
        self,
        path: &Path,
        log: &Log,
        up_to: Position,
        progress: Reporter,
    ) -> Result<(), NotBuilt> {
        let doing = match self {
            Self::Inbox => "rebuilding the inbox to compare",
            Self::Deliveries => "rebuilding deliveries to compare",
        };
        let report = move |done: Position| progress(Progress { doing, done: done.0, of: up_to.0 });
        match self {
            Self::Inbox => {
                build_view(path, log, up_to, Pace::Full, report).await.map_err(|error| match error {
                    ViewError::Tail(error) => NotBuilt::Log(error.to_string()),
                    error => NotBuilt::Failed(error.into()),
                })
            }
            Self::Deliveries => build_deliveries(path, log, up_to, report).await.map_err(|error| {
                error.of_log().map_or_else(|| NotBuilt::Failed(error.into()), NotBuilt::Log)
            }),
        }
    }
}

/// Checks the inbox view and what the snapshots make of one against a rebuild from the first event; how many snapshots.
async fn check_inbox(
    place: &Place,
    store: &Arc<SqliteStore>,
    findings: &mut Findings,
    progress: Reporter,
) -> Result<(CheckedView, u64), StartError> {
    let rebuilt = place.scratch();
    let (view, log) = check_view(View::Inbox, place, store, &rebuilt.0, findings, progress.clone()).await?;
    let mut checked = 0;
    if let (CheckedView::Compared(position), Some(log)) = (&view, log) {
        for snapshot in log.snapshots().await? {
            if is_usable_snapshot(&snapshot, &log) && snapshot.at.position <= *position {
                let made = place.scratch();
                let views = [made.0.as_path(), rebuilt.0.as_path()];
                check_snapshot(&log, &snapshot, *position, views, findings, progress.clone()).await?;
                checked += 1;
            }
        }
    }
    Ok((view, checked))
}

/// Builds a view of a snapshot, up to a position, and compares it with one that was built from the first event.
async fn check_snapshot(
    log: &Log,
    snapshot: &SnapshotHeader,
    position: Position,
    [made, rebuilt]: [&Path; 2],
    findings: &mut Findings,
    progress: Reporter,
) -> Result<(), StartError> {
    let place = format!("snapshot at {}", snapshot.at.position);
    if let Err(error) = import_snapshot(made, log, snapshot).await {
        // A server may have dropped it meanwhile.
        if log.snapshots().await?.contains(snapshot) {
            findings.add(&place, error.to_string());
        }
        return Ok(());
    }
    let report = progress.clone();
    let building = build_view(made, log, position, Pace::Full, move |done| {
        report(Progress { doing: "going on from a snapshot", done: done.0, of: position.0 });
    });
    if let Err(error) = building.await {
        findings.add(&place, format!("a view cannot be built of it: {error}"));
        return Ok(());
    }
    compare(made, &place, rebuilt, findings, progress).await
}

/// Checks a view against a rebuild in `rebuilt`; and the log, as it was when the view was looked at.
async fn check_view(
    kind: View,
    place: &Place,
    store: &Arc<SqliteStore>,
    rebuilt: &Path,
    findings: &mut Findings,
    progress: Reporter,
) -> Result<(CheckedView, Option<Log>), StartError> {
    let (view, file) = (kind.path(&place.data), kind.file());
    if !view.exists() {
        return Ok((CheckedView::ToBeBuilt, None));
    }
    let copied = place.scratch();
    // A server may use it, or begin to: what is compared is a copy of one moment.
    let held = hold_views(&place.data)?;
    let (to, report) = (copied.0.clone(), progress.clone());
    let copying = look(&view, move |connection| copy_pages(connection, &to, "copying the view", &*report));
    if let Err(error) = copying.await? {
        findings.add(file, format!("it cannot be read: {error}"));
        return Ok((CheckedView::Unreadable, None));
    }
    drop(held);
    let view = copied.0.clone();
    let checkpoint = look(&view, move |connection| kind.checkpoint(connection)).await?;
    // After the copy, so that the log has all that is in it. The append task is never run: nothing is written.
    let (log, _append_task) = Log::open(store.clone(), CancellationToken::new()).await?;
    let Some(Cursor { position, .. }) = checkpoint.filter(|cursor| is_of(&log, cursor)) else {
        return Ok((CheckedView::ToBeBuilt, None));
    };
    match kind.build(rebuilt, &log, position, progress.clone()).await {
        Ok(()) => {}
        Err(NotBuilt::Log(error)) => {
            findings.add(file, format!("it cannot be compared: {error}"));
            return Ok((CheckedView::LogUnreadable, None));
        }
        Err(NotBuilt::Failed(error)) => return Err(error),
    }
    compare(&view, file, rebuilt, findings, progress).await?;
    Ok((CheckedView::Compared(position), Some(log)))
}

/// Compares a view, called `name` in the findings, with one that was built from the first event.
async fn compare(
    view: &Path,
    name: &str,
    rebuilt: &Path,
    findings: &mut Findings,
    progress: Reporter,
) -> Result<(), StartError> {
    let (mut found, name, rebuilt) = (std::mem::take(findings), name.to_owned(), rebuilt.to_owned());
    *findings = look(view, move |connection| {
        let looked = integrity(connection, &name, &mut found)
            .and_then(|()| compare_views(connection, &name, &rebuilt, &mut found, &*progress));
        if let Err(error) = looked {
            found.add(&name, format!("it cannot be read: {error}"));
        }
        found
    })
    .await?;
    Ok(())
}

fn is_of(log: &Log, cursor: &Cursor) -> bool {
    log.epochs().hold(cursor) && cursor.position <= log.head()
}

/// Lends a connection that only reads.
async fn look<T: Send + 'static>(
    path: &Path,
    body: impl FnOnce(&Connection) -> T + Send + 'static,
) -> Result<T, StoreError> {
    let connection = reading(path).connect().await?;
    on_thread("tidings-check", connection, body).ended().await.map_err(StoreError::from)
}

/// Where a check writes: a folder of its own, which is gone when this is. One check at a time.
struct Place {
    data: PathBuf,
    folder: PathBuf,
    files: AtomicU32,
    _alone: FileLock,
}

impl Place {
    fn new(data: &Path) -> Result<Self, StartError> {
        let folder = data.join("check");
        let failed = |error| StartError::Directory { path: folder.clone(), error };
        let lock = FileLock::exclusive(&data.join("check.lock")).map_err(failed)?;
        let lock = lock.ok_or_else(|| StartError::InUse { path: folder.clone() })?;
        // What a check left that was killed.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(failed)?;
        }
        std::fs::create_dir(&folder).map_err(failed)?;
        Ok(Self { data: data.to_owned(), folder, files: AtomicU32::new(0), _alone: lock })
    }

    fn scratch(&self) -> Scratch {
        Scratch(self.folder.join(format!("{}.db", self.files.fetch_add(1, Ordering::Relaxed))))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder); // else the next check does it
    }
}

/// A file that is gone when this is.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_database(&self.0); // else it goes with its folder
    }
}
