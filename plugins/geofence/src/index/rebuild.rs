//! Builds the main tree anew on a thread of its own, while queries and changes go on.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, OnceLock};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::fence_index::Shared;
use super::run::Run;
use super::{FenceId, Version};

/// With fewer changes than this, a rebuild is not worth a thread.
const FEWEST: usize = 4_096;

/// One in so many fences changed: time for a rebuild. More often, building costs more; more rarely, asking does.
const ONE_IN: usize = 16;

/// Whoever asks is done in microseconds. A version that somebody keeps for longer than this is freed by them.
pub(super) const WAIT_FOR_READERS: Duration = Duration::from_secs(1);

/// Whether so much has changed that the main tree should be built anew.
pub(super) fn is_due<'a>(main: &Run, changes: impl Iterator<Item = &'a Arc<Run>>, len: usize) -> bool {
    let changed: usize = changes.map(|run| run.len()).sum();
    let gone = (main.len() + changed).saturating_sub(len);
    changed.max(gone) > FEWEST.max(main.len() / ONE_IN)
}

/// Starts a thread for a piece of work.
pub(super) type Spawn = fn(Box<dyn FnOnce() + Send>) -> io::Result<()>;

/// Starts it with the operating system. Nobody joins it.
pub(super) fn spawn(work: Box<dyn FnOnce() + Send>) -> io::Result<()> {
    Builder::new().name("geofence-rebuild".to_owned()).spawn(work).map(drop)
}

/// A rebuild that goes on.
#[derive(Debug)]
pub(super) struct Rebuild {
    /// Where its thread waits for what to build of.
    version: Sender<Arc<Version>>,
    in_place: InPlace,
    /// The fences that were replaced or removed since it began.
    pub(super) ended: Vec<FenceId>,
}

/// Set when the new tree is in place, or never will be.
pub(super) type InPlace = Arc<OnceLock<()>>;

impl Rebuild {
    /// A thread for one; it waits for the version. `None` if there is no thread to be had.
    pub(super) fn prepare(shared: &Arc<Shared>) -> Option<Self> {
        let (version, given) = mpsc::channel::<Arc<Version>>();
        let in_place = InPlace::default();
        let (settled, shared) = (Settled(in_place.clone()), shared.clone());
        let spawn = shared.spawn;
        let work = move || {
            // Whoever prepared it panicked.
            let Ok(version) = given.recv() else { return };
            let main = Arc::new(Run::new(version.fences().collect()));
            drop(version);
            let old = put_in_place(&shared, main);
            drop((shared, settled));
            wait_for_readers(&old.0);
        };
        spawn(Box::new(work)).ok()?;
        Some(Self { version, in_place, ended: Vec::new() })
    }

    /// Begins, with a version that has just been put in place and has what is to be in the tree.
    pub(super) fn begin(&self, version: Arc<Version>) {
        // The thread is gone only if it panicked, and told it there.
        let _ = self.version.send(version);
    }

    /// Whether it has come to its end, however it did.
    pub(super) fn is_finished(&self) -> bool {
        self.in_place.get().is_some()
    }

    /// To wait for its end.
    pub(super) fn in_place(&self) -> InPlace {
        self.in_place.clone()
    }
}

/// Says so when it goes, in a panic, too.
struct Settled(InPlace);

impl Drop for Settled {
    fn drop(&mut self) {
        let _ = self.0.set(());
    }
}

/// Makes the version in which a new main tree stands for the old one and what was frozen, and returns these.
fn put_in_place(shared: &Shared, main: Arc<Run>) -> (Arc<Run>, Vec<Arc<Run>>) {
    let mut rebuild = shared.rebuild();
    let current = shared.current.load_full();
    let number = current.number + 1;
    // What ended since it was begun is in it still.
    for id in rebuild.iter_mut().flat_map(|rebuild| rebuild.ended.drain(..)) {
        if let Some(entry) = main.find(id) {
            entry.end(number);
        }
    }
    let levels = current.levels.clone();
    let next = Version { number, len: current.len, main, frozen: Vec::new(), levels };
    shared.current.store(Arc::new(next));
    (current.main.clone(), current.frozen.clone())
}

/// Freeing a million fences takes milliseconds, which should not be a reader's.
fn wait_for_readers(old: &Arc<Run>) {
    let begun = Instant::now();
    while Arc::strong_count(old) > 1 && begun.elapsed() < WAIT_FOR_READERS {
        std::thread::sleep(Duration::from_millis(1));
    }
}
