//! One open connection of one device, seen from both sides: the hub's sender, the transport's receiver.
//!
//! The mailbox between them is bounded in parcels and in bytes; neither side ever waits for the other.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::delivery::Parcel;
use crate::inbox::Counts;
use crate::names::{Channel, Role, SessionId, UserKey};
use crate::position::{Cursor, Position};

/// Parcels that may wait for a subscriber: a second of a busy channel.
const MAILBOX_PARCELS: usize = 256;
/// Bytes that may wait for a subscriber, roughly. Shared bytes count in full: they may be kept alive by this one alone.
const MAILBOX_BYTES: usize = 1 << 20;

/// A subscriber's identity, unique in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriberId(u64);

impl SubscriberId {
    pub(crate) fn next() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Who subscribes, and how.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Whose connection it is.
    pub key: UserKey,
    /// What their token says they are, for presence.
    pub roles: Vec<Role>,
    /// Their login session, for presence.
    pub session: Option<SessionId>,
    /// The transport, for presence.
    pub transport: &'static str,
    /// Channels to watch from the start.
    pub watches: Vec<Channel>,
}

/// What a subscriber starts from: everything after `cursor` comes through the mailbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The channels the user is a member of.
    pub channels: Vec<Channel>,
    /// Where the log stood.
    pub cursor: Cursor,
    /// The user's counts there.
    pub counts: Counts,
}

/// Why a subscription ended from the engine's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The mailbox was full.
    Slow,
    /// The engine stops.
    Stopped,
}

/// What both sides know.
#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    ended: OnceLock<Ended>,
}

/// The hub's end of a mailbox.
#[derive(Debug)]
pub(crate) struct Sender {
    id: SubscriberId,
    parcels: mpsc::Sender<Arc<Parcel>>,
    shared: Arc<Shared>,
}

impl Sender {
    pub(crate) fn id(&self) -> SubscriberId {
        self.id
    }

    /// Whether there was room. When there was not, the subscription has ended.
    pub(crate) fn send(&self, parcel: Arc<Parcel>) -> bool {
        if self.shared.ended.get().is_some() {
            return false;
        }
        let weight = parcel.weight();
        let waiting = self.shared.waiting_bytes.fetch_add(weight, Ordering::Relaxed);
        // A parcel that is larger than the bound alone still goes into an empty mailbox.
        let fits = waiting == 0 || waiting + weight <= MAILBOX_BYTES;
        if fits && self.parcels.try_send(parcel).is_ok() {
            return true;
        }
        self.end(Ended::Slow);
        false
    }

    pub(crate) fn end(&self, why: Ended) {
        let _ = self.shared.ended.set(why); // the first reason stands
    }
}

/// A subscriber: what a transport reads from.
#[derive(Debug)]
pub struct Subscriber {
    id: SubscriberId,
    hello: Hello,
    parcels: mpsc::Receiver<Arc<Parcel>>,
    shared: Arc<Shared>,
    departures: mpsc::UnboundedSender<SubscriberId>,
    position: Position,
}

/// The two ends of a new mailbox.
pub(crate) fn mailbox(hello: Hello, departures: mpsc::UnboundedSender<SubscriberId>) -> (Sender, Subscriber) {
    let (sender, parcels) = mpsc::channel(MAILBOX_PARCELS);
    let shared = Arc::new(Shared::default());
    let (id, position) = (SubscriberId::next(), hello.cursor.position);
    let subscriber = Subscriber { id, hello, parcels, shared: shared.clone(), departures, position };
    (Sender { id, parcels: sender, shared }, subscriber)
}

impl Subscriber {
    /// Its identity.
    #[must_use]
    pub fn id(&self) -> SubscriberId {
        self.id
    }

    /// What it starts from.
    #[must_use]
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// The next parcel; waits for one. May be dropped and called again.
    ///
    /// # Errors
    /// Why there will be no more: what was in the mailbox then has been handed out.
    pub async fn next(&mut self) -> Result<Arc<Parcel>, Ended> {
        let Some(parcel) = self.parcels.recv().await else {
            return Err(*self.shared.ended.get().unwrap_or(&Ended::Stopped));
        };
        Ok(self.take(parcel))
    }

    /// The next parcel, if one is there already.
    pub fn try_next(&mut self) -> Option<Arc<Parcel>> {
        let parcel = self.parcels.try_recv().ok()?;
        Some(self.take(parcel))
    }

    fn take(&mut self, parcel: Arc<Parcel>) -> Arc<Parcel> {
        self.shared.waiting_bytes.fetch_sub(parcel.weight(), Ordering::Relaxed);
        self.position = parcel.position();
        parcel
    }

    /// The position up to which it has been given everything.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.departures.send(self.id); // the hub may have gone first
    }
}
