//! The writers: tasks that each serve many lines, and write to one after the other what is there for it. A batch wakes each
//! of them once, however many it is for.
//!
//! Never waits for a socket: one that does not take everything is left to its connection's own task.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use jiff::Timestamp;
use slab::Slab;
use smallvec::SmallVec;
use tidings_engine::hub::{Ready, ReadyQueue};
use tidings_http::Context;
use tokio::sync::watch;

use crate::line::{Line, Together};

/// Lines that are written to before everybody else in the runtime gets a turn.
const LINES_AT_ONCE: usize = 64;

/// All writers; there are as many as processors.
pub(crate) struct Writers {
    writers: Box<[Arc<Writer>]>,
    next: AtomicUsize,
}

/// One of them.
#[derive(Default)]
struct Writer {
    ready: Arc<ReadyQueue>,
    lines: Mutex<Slab<Arc<Line>>>,
}

/// A line's place with a writer, given up when it is dropped.
pub(crate) struct Place {
    writer: Arc<Writer>,
    number: usize,
}

impl Writers {
    /// As many as there are processors, with nobody to write to.
    pub(crate) fn new() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        Self { writers: (0..count).map(|_| Arc::default()).collect(), next: AtomicUsize::new(0) }
    }

    /// Starts them, each in a task of its own, until the shutdown.
    pub(crate) fn start(&self, context: &Context) {
        for writer in &self.writers {
            let (writer, shutdown) = (writer.clone(), context.shutdown.clone());
            let mut keys = context.tokens.changes();
            context.connections.spawn(async move {
                tokio::select! {
                    () = writer.go_on() => {}
                    () = writer.call_on_changes(&mut keys) => {}
                    () = shutdown.cancelled() => {}
                }
                // What connections are told of the shutdown, they write themselves.
                writer.call();
            });
        }
    }

    /// A place for a line, with each writer in turn.
    pub(crate) fn place(&self, line: &Arc<Line>) -> Place {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let writer = self.writers[turn % self.writers.len()].clone();
        let number = writer.lines().insert(line.clone());
        Place { writer, number }
    }
}

impl Writer {
    /// Runs, again if it has panicked: it is not for one connection's sake that others hear nothing more.
    async fn go_on(&self) {
        while AssertUnwindSafe(self.run()).catch_unwind().await.is_err() {
            tracing::error!("a writer has panicked; it goes on with what comes");
            self.call(); // what it was about to write, the connections write themselves
        }
    }

    async fn run(&self) {
        let mut numbers = Vec::new();
        loop {
            self.ready.wait(&mut numbers).await;
            for some in numbers.chunks(LINES_AT_ONCE) {
                // A runtime that counts what a task does would make a socket look full.
                tokio::task::unconstrained(async { self.write_to(some) }).await;
                tokio::task::yield_now().await;
            }
            numbers.clear();
        }
    }

    /// Lets every connection look up when keys have come or gone.
    async fn call_on_changes(&self, keys: &mut watch::Receiver<()>) {
        while keys.changed().await.is_ok() {
            self.call();
        }
        std::future::pending().await
    }

    fn call(&self) {
        for (_, line) in &*self.lines() {
            line.call();
        }
    }

    fn write_to(&self, numbers: &[u32]) {
        let lines: SmallVec<[Arc<Line>; LINES_AT_ONCE]> = {
            let lines = self.lines();
            numbers.iter().filter_map(|number| lines.get(*number as usize).cloned()).collect()
        };
        let now_ms = Timestamp::now().as_millisecond();
        let mut together = Together::default();
        for line in lines {
            line.write_ready(&mut together, now_ms);
        }
    }

    fn lines(&self) -> MutexGuard<'_, Slab<Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// For the subscription whose messages the writer is to write.
    pub(crate) fn ready(&self) -> Ready {
        self.writer.ready.place(self.number as u32)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.writer.lines().try_remove(self.number);
    }
}
