//! The bounded mailbox between the hub and one subscriber, and what the hub knows of whom it belongs to.
//!
//! Neither side ever waits for the other. A mailbox that is full is taken away from the hub: what is in it can still be
//! read, and what came after has to be read from the log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::access::Identity;
use crate::delivery::Parcel;
use crate::names::{Channel, UserKey};

/// Parcels that may wait for a subscriber: a second of a busy channel.
const MAILBOX_PARCELS: usize = 256;
/// Bytes that may wait for a subscriber, roughly. Shared bytes count in full: they may be kept alive by this one alone.
const MAILBOX_BYTES: usize = 128 << 10;

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
}

/// The hub's end of a mailbox.
#[derive(Debug)]
pub(crate) struct Sender {
    parcels: mpsc::Sender<Arc<Parcel>>,
    waiting_bytes: Arc<AtomicUsize>,
}

impl Sender {
    /// Whether there was room. A mailbox that had none is not to be sent to again: it would have a gap.
    pub(crate) fn send(&self, parcel: Arc<Parcel>) -> bool {
        let weight = parcel.weight();
        let waiting = self.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        // A parcel that is larger than the bound alone still goes into an empty mailbox.
        let fits = waiting == 0 || waiting + weight <= MAILBOX_BYTES;
        fits && self.parcels.try_send(parcel).is_ok()
    }

    /// Parcels that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.parcels.max_capacity() - self.parcels.capacity()
    }
}

/// The subscriber's end of a mailbox.
#[derive(Debug)]
pub(crate) struct Mailbox {
    parcels: mpsc::Receiver<Arc<Parcel>>,
    waiting_bytes: Arc<AtomicUsize>,
}

/// The two ends of a new mailbox.
pub(crate) fn mailbox() -> (Sender, Mailbox) {
    let (sender, parcels) = mpsc::channel(MAILBOX_PARCELS);
    let waiting_bytes = Arc::new(AtomicUsize::new(0));
    (Sender { parcels: sender, waiting_bytes: waiting_bytes.clone() }, Mailbox { parcels, waiting_bytes })
}

impl Mailbox {
    /// The next parcel; waits for one. `None` when it is empty and was taken away from the hub.
    pub(crate) async fn receive(&mut self) -> Option<Arc<Parcel>> {
        let parcel = self.parcels.recv().await?;
        Some(self.taken(parcel))
    }

    /// The next parcel, if one is there already.
    pub(crate) fn try_receive(&mut self) -> Option<Arc<Parcel>> {
        let parcel = self.parcels.try_recv().ok()?;
        Some(self.taken(parcel))
    }

    /// Whether nothing waits and nothing was left out: everything sent so far has been taken.
    pub(crate) fn is_settled(&self) -> bool {
        self.parcels.is_empty() && !self.parcels.is_closed()
    }

    fn taken(&self, parcel: Arc<Parcel>) -> Arc<Parcel> {
        self.waiting_bytes.fetch_sub(parcel.weight(), Ordering::Relaxed);
        parcel
    }
}
