//! Builds the main tree anew on a thread of its own, while queries and changes go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use super::fence_index::Shared;
use super::run::Run;
use super::{FenceId, Version};

/// With fewer changes than this, a rebuild is not worth a thread.
const FEWEST: usize = 4_096;

/// One in so many fences changed: time for a rebuild. More often, building costs more; more rarely, asking does.
const ONE_IN: usize = 16;

/// Whoever asks is done in microseconds. A version that somebody keeps for longer than this is freed by them.
const WAIT_FOR_READERS: Duration = Duration::from_secs(1);

/// Whether so much has changed that the main tree should be built anew.
pub(super) fn is_due<'a>(main: &Run, changes: impl Iterator<Item = &'a Arc<Run>>, len: usize) -> bool {
    let changed: usize = changes.map(|run| run.len()).sum();
    let gone = (main.len() + changed).saturating_sub(len);
    changed.max(gone) > FEWEST.max(main.len() / ONE_IN)
}

/// A rebuild that goes on.
#[derive(Debug)]
pub(super) struct Rebuild {
    /// None while somebody waits for it.
    thread: Option<JoinHandle<()>>,
    is_done: Arc<AtomicBool>,
    /// The fences that were replaced or removed since it began.
    pub(super) ended: Vec<FenceId>,
}

impl Rebuild {
    /// Starts one of a version that has just been put in place. `None` if there is no thread to be had: then the next change
    /// tries again.
    pub(super) fn start(shared: &Arc<Shared>, version: Arc<Version>) -> Option<Self> {
        let is_done = Arc::new(AtomicBool::new(false));
        let done = Done(is_done.clone());
        let shared = shared.clone();
        let work = move || {
            let _done = done;
            let main = Arc::new(Run::new(version.fences().collect()));
            drop(version);
            put_in_place(&shared, main);
        };
        let thread = Builder::new().name("geofence-rebuild".to_owned()).spawn(work).ok()?;
        Some(Self { thread: Some(thread), is_done, ended: Vec::new() })
    }

    /// Whether its thread has come to its end, however it did.
    pub(super) fn is_finished(&self) -> bool {
        self.is_done.load(Ordering::Acquire)
    }

    /// The thread, for whoever waits for it.
    pub(super) fn take_thread(&mut self) -> Option<JoinHandle<()>> {
        self.thread.take()
    }
}

/// Says so when it goes, in a panic, too.
struct Done(Arc<AtomicBool>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Makes the version in which a new main tree stands for the old one and what was frozen.
fn put_in_place(shared: &Shared, main: Arc<Run>) {
    let old = {
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
    };
    // Freeing a million fences takes milliseconds, which should not be a reader's.
    let begun = Instant::now();
    while Arc::strong_count(&old.0) > 1 && begun.elapsed() < WAIT_FOR_READERS {
        std::thread::sleep(Duration::from_millis(1));
    }
}
