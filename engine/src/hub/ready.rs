//! Which of many subscribers have something in their mailboxes: so that one task serves them all, and is woken once for
//! a batch, not once for each.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// The subscribers of one task that have something in their mailboxes, by the numbers that the task gave them.
#[derive(Default)]
pub struct ReadyQueue {
    ready: Mutex<Vec<u32>>,
    told: Notify,
}

impl ReadyQueue {
    /// An empty one.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// A place in it, for the subscription of the subscriber with this number.
    #[must_use]
    pub fn place(self: &Arc<Self>, number: u32) -> Ready {
        Ready { queue: self.clone(), number }
    }

    /// Waits until there are some, and puts their numbers into `numbers`, in the order in which they became ready; a number may come
    /// although nothing is there any more. May be dropped and called again; by one task at a time.
    pub async fn wait(&self, numbers: &mut Vec<u32>) {
        loop {
            std::mem::swap(&mut *self.ready(), numbers);
            if !numbers.is_empty() {
                return;
            }
            self.told.notified().await;
        }
    }

    /// Adds some.
    pub(super) fn extend(&self, numbers: &[u32]) {
        self.ready().extend_from_slice(numbers);
        self.told.notify_one();
    }

    fn ready(&self) -> MutexGuard<'_, Vec<u32>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ReadyQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyQueue").finish_non_exhaustive()
    }
}

/// A subscriber's place in a [`ReadyQueue`].
#[derive(Clone, Debug)]
pub struct Ready {
    pub(super) queue: Arc<ReadyQueue>,
    pub(super) number: u32,
}

impl Ready {
    pub(super) fn tell(&self) {
        self.queue.extend(&[self.number]);
    }
}

/// Who became ready in one batch: each queue is told once.
#[derive(Default)]
pub(super) struct Told<'a> {
    queues: Vec<(&'a Arc<ReadyQueue>, Vec<u32>)>,
}

impl<'a> Told<'a> {
    pub(super) fn add(&mut self, ready: &'a Ready) {
        // There are as many as tasks: few.
        match self.queues.iter_mut().find(|(queue, _)| Arc::ptr_eq(queue, &ready.queue)) {
            Some((_, numbers)) => numbers.push(ready.number),
            None => self.queues.push((&ready.queue, vec![ready.number])),
        }
    }

    pub(super) fn tell(self) {
        for (queue, numbers) in self.queues {
            queue.extend(&numbers);
        }
    }
}
