//! The bounded mailbox between the hub and one subscriber, and what the hub knows of whom it belongs to.
//!
//! Neither side ever waits for the other. A mailbox that is full is taken away from the hub: what is in it can still be
//! read, and what came after has to be read from the log.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::ready::Ready;
use crate::access::Identity;
use crate::delivery::Parcel;
use crate::names::{Channel, UserKey};

/// Parcels that may wait for a subscriber: a second of a busy channel.
const MAILBOX_PARCELS: usize = 256;
/// Bytes that may wait for a subscriber, roughly. Shared bytes count in full: they may be kept alive by this one alone.
const MAILBOX_BYTES: usize = 128 << 10;
/// Parcels for which an empty mailbox keeps room.
const PARCELS_KEPT: usize = 4;

/// A subscriber's identity, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(u64);

impl SubscriberId {
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

impl fmt::Display for SubscriberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who subscribes, and how.
#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    /// Whose connection it is.
    pub(crate) key: UserKey,
    /// Who they are, for presence, and for what they may watch.
    pub(crate) identity: Arc<Identity>,
    /// The transport, for presence.
    pub(crate) transport: &'static str,
    /// Channels to watch from the start.
    pub(crate) watches: Vec<Channel>,
    /// Who is told that there is something in its mailbox, beside whoever waits for it.
    pub(crate) ready: Option<Ready>,
}

/// The hub's end of a mailbox. Dropping it takes the mailbox away from the hub.
#[derive(Debug)]
pub(crate) struct Sender {
    shared: Arc<Shared>,
    /// Who is told that there is something, beside whoever waits.
    ready: Option<Ready>,
}

/// The subscriber's end of a mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    content: Mutex<Content>,
    /// Whoever waits for the next parcel.
    waiting: AtomicWaker,
}

#[derive(Debug, Default)]
struct Content {
    parcels: VecDeque<Arc<Parcel>>,
    bytes: usize,
    /// Nothing more comes: the mailbox was taken away from the hub.
    is_closed: bool,
}

/// What became of a parcel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// It is the only one in the mailbox.
    First,
    /// There are others before it.
    Another,
    /// There was no room: the mailbox is not to be sent to again, as it would have a gap.
    Full,
}

/// The two ends of a new mailbox.
pub(crate) fn mailbox(ready: Option<Ready>) -> (Sender, Mailbox) {
    let shared = Arc::new(Shared::default());
    (Sender { shared: shared.clone(), ready }, Mailbox { shared })
}

impl Shared {
    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sender {
    /// Puts a parcel in, if there is room.
    pub(crate) fn send(&self, parcel: Arc<Parcel>) -> Sent {
        let mut content = self.shared.content();
        let weight = parcel.weight();
        // A parcel that is larger than the bound alone still goes into an empty mailbox.
        let is_first = content.parcels.is_empty();
        let fits = content.parcels.len() < MAILBOX_PARCELS && content.bytes + weight <= MAILBOX_BYTES;
        if !(is_first || fits) {
            return Sent::Full;
        }
        content.bytes += weight;
        content.parcels.push_back(parcel);
        drop(content);
        self.shared.waiting.wake();
        if is_first { Sent::First } else { Sent::Another }
    }

    /// Who is to be told that there is something.
    pub(crate) fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }

    /// Parcels that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.shared.content().parcels.len()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.content().is_closed = true;
        self.shared.waiting.wake();
        if let Some(ready) = &self.ready {
            ready.tell();
        }
    }
}

impl Mailbox {
    /// The next parcel; `None` when it is empty and was taken away from the hub.
    pub(crate) fn poll_receive(&mut self, context: &mut Context<'_>) -> Poll<Option<Arc<Parcel>>> {
        match self.try_receive() {
            Some(parcel) => return Poll::Ready(Some(parcel)),
            None => self.shared.waiting.register(context.waker()),
        }
        // It may have come before it was known that somebody waits.
        let mut content = self.shared.content();
        match content.take() {
            None if !content.is_closed => Poll::Pending,
            parcel => Poll::Ready(parcel),
        }
    }

    /// The next parcel, if one is there already.
    pub(crate) fn try_receive(&mut self) -> Option<Arc<Parcel>> {
        self.shared.content().take()
    }

    /// Whether nothing more comes, and nothing is left.
    pub(crate) fn is_over(&self) -> bool {
        let content = self.shared.content();
        content.is_closed && content.parcels.is_empty()
    }

    /// Whether nothing waits and nothing was left out: everything sent so far has been taken.
    pub(crate) fn is_settled(&self) -> bool {
        let content = self.shared.content();
        !content.is_closed && content.parcels.is_empty()
    }
}

impl Content {
    fn take(&mut self) -> Option<Arc<Parcel>> {
        let parcel = self.parcels.pop_front()?;
        self.bytes -= parcel.weight();
        // What a burst took up is not kept by a quiet subscriber.
        if self.parcels.is_empty() && self.parcels.capacity() > PARCELS_KEPT {
            self.parcels = VecDeque::new();
        }
        Some(parcel)
    }
}
