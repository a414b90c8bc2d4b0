//! The engine: the log, its projections and the hub, put together. What a transport holds.

mod life;
mod start;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::access::{Identity, Rules};
use crate::clock::Clock;
use crate::deliveries::{DeliveryView, Reports};
use crate::delivery::{ENCODINGS_MOST, Encoding, Message};
use crate::error::Error;
use crate::file_lock::FileLock;
use crate::hub::{SubscriberId, Subscription};
use crate::inbox::ViewReaders;
use crate::limits;
use crate::log::{Log, to_millisecond};
use crate::metrics::{Mailboxes, Metrics, Progressed};
use crate::names::Channel;
use crate::plugin::Plugin;
use crate::position::Position;
use crate::projector::{Projector, Request};
use crate::subscriber::{Hello, Opening, Subscriber};

use life::{Life, give_up_view};
pub use start::{Options, StartError};
pub(crate) use start::{lock_directory, log_path};

/// The engine. Cheap to clone; [`shutdown`](Self::shutdown) ends it for all.
///
/// Dropped without a shutdown, it ends by itself once the last clone is gone; what was accepted is durable either way.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    data: PathBuf,
    log: Log,
    projector: Projector,
    view: Arc<ViewReaders>,
    /// One rebuild at a time.
    rebuilding: Arc<Semaphore>,
    /// One snapshot at a time, and none while another view is put in place.
    snapshotting: Arc<Semaphore>,
    plugins: Vec<Arc<dyn Plugin>>,
    clock: Arc<dyn Clock>,
    rules: RwLock<Arc<Rules>>,
    encodings: AtomicUsize,
    json: Encoding,
    /// Where this engine was started.
    run: Position,
    deliveries: DeliveryView,
    /// How far devices have come, unless delivery status is switched off.
    reports: Option<Arc<Reports>>,
    life: Life,
    /// Held as long as the engine lives, so that no other process uses the directory.
    _lock: FileLock,
}

impl Engine {
    /// The log.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// The native encoding of messages: JSON.
    #[must_use]
    pub fn json(&self) -> &Encoding {
        &self.inner.json
    }

    /// Another encoding of messages, to be made once by each transport or dialect that has one. `None` when there are
    /// [`ENCODINGS_MOST`] already.
    pub fn encoding(&self, encode: impl Fn(&Message) -> Bytes + Send + Sync + 'static) -> Option<Encoding> {
        let taken = self.inner.encodings.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |slot| {
            (slot < ENCODINGS_MOST).then_some(slot + 1)
        });
        taken.ok().map(|slot| Encoding::new(slot, encode))
    }

    /// Opens a subscription to everything that concerns the identity's user from now on, and says what it starts from.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn subscribe(
        &self,
        identity: &Arc<Identity>,
        opening: Opening,
    ) -> Result<(Subscriber, Hello), Error> {
        let key = self.admit(identity).await?;
        let mut watches: Vec<Channel> =
            identity.session.as_ref().map(Channel::of_session).into_iter().collect();
        for channel in opening.watches {
            identity.require_watch(&self.rules(), &channel)?;
            watches.push(channel);
        }
        if watches.len() > limits::WATCHES_PER_SUBSCRIBER {
            return Err(too_many_watches());
        }
        let Opening { transport, ready, .. } = opening;
        let subscription = Subscription { key, identity: identity.clone(), transport, watches, ready };
        self.open(subscription, opening.resume, opening.device).await
    }

    pub(crate) fn downgrade(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.inner))
    }

    /// Lets a subscriber see a channel live, where the token permits. It has when this returns.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn watch(
        &self,
        identity: &Identity,
        subscriber: SubscriberId,
        channel: Channel,
    ) -> Result<(), Error> {
        identity.require_watch(&self.rules(), &channel)?;
        let asked = self.projector().ask(|reply| Request::Watch(subscriber, channel, reply)).await;
        match asked {
            Some(true) => Ok(()),
            Some(false) => Err(too_many_watches()),
            None => Err(Error::Stopping),
        }
    }

    /// Ends that.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn unwatch(&self, subscriber: SubscriberId, channel: Channel) -> Result<(), Error> {
        self.projector()
            .ask(|reply| Request::Unwatch(subscriber, channel, reply))
            .await
            .ok_or(Error::Stopping)
    }

    /// Lets a subscriber go on as another identity of the same user: the memberships that its roles make are settled, and
    /// it ceases to watch what this identity may not. What it still watches.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn renew(
        &self,
        identity: &Arc<Identity>,
        subscriber: SubscriberId,
    ) -> Result<Vec<Channel>, Error> {
        self.admit(identity).await?;
        let identity = identity.clone();
        self.projector().ask(|reply| Request::Renew(subscriber, identity, reply)).await.ok_or(Error::Stopping)
    }

    /// Goes by other rules from now on: also connections that are open cease to watch what they do not permit.
    pub async fn govern(&self, rules: Rules) {
        let rules = Arc::new(rules);
        *self.inner.rules.write().unwrap_or_else(PoisonError::into_inner) = rules.clone();
        self.projector().ask(|reply| Request::Govern(rules, reply)).await; // when it stops, nothing is watched
    }

    /// The rules of this moment.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.inner.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether it serves: it has not failed and is not stopping.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.inner.life.closing_log.is_cancelled() && self.inner.life.failure.borrow().is_none()
    }

    /// Whether it takes anything new. While the disk is nearly full it does not; reading and delivery go on.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.is_ready() && !self.log().space().is_short()
    }

    /// What it counts.
    #[must_use]
    pub fn metrics(&self) -> &Metrics {
        self.log().metrics()
    }

    /// How far it has come.
    #[must_use]
    pub fn progressed(&self) -> Progressed {
        let (folded, written) = (*self.projector().folded.borrow(), *self.projector().written.borrow());
        let delivered = self.delivery_view().reached().0;
        Progressed { head: self.log().head().0, folded: folded.0, written: written.0, delivered }
    }

    /// What waits for those who are connected; looked up, so not for every delivery. `None` when it has stopped.
    pub async fn mailboxes(&self) -> Option<Mailboxes> {
        self.projector().ask(Request::Mailboxes).await
    }

    /// Waits until the engine fails, and says why. Whoever runs it must then exit: what was being written is not known.
    pub async fn failed(&self) -> Arc<str> {
        let mut failure = self.inner.life.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Ends everything because the view turned out to be damaged: the next start builds it anew.
    pub(crate) fn fail_view(&self, error: &rusqlite::Error) {
        give_up_view(&self.inner.data, &self.inner.life.failure, error);
    }

    /// Where this engine was started.
    pub(crate) fn run(&self) -> Position {
        self.inner.run
    }

    pub(crate) fn reports(&self) -> Option<&Arc<Reports>> {
        self.inner.reports.as_ref()
    }

    /// The tasks that record how far devices have come.
    pub(crate) fn recording(&self) -> &TaskTracker {
        &self.inner.life.progress_task
    }

    pub(crate) fn delivery_view(&self) -> &DeliveryView {
        &self.inner.deliveries
    }

    pub(crate) fn plugins(&self) -> &[Arc<dyn Plugin>] {
        &self.inner.plugins
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.inner.clock
    }

    /// What time it is, to the millisecond that a store keeps.
    pub(crate) fn now(&self) -> Timestamp {
        to_millisecond(self.clock().now())
    }

    pub(crate) fn projector(&self) -> &Projector {
        &self.inner.projector
    }

    pub(crate) fn view(&self) -> &Arc<ViewReaders> {
        &self.inner.view
    }

    pub(crate) fn rebuilding(&self) -> &Arc<Semaphore> {
        &self.inner.rebuilding
    }

    pub(crate) fn snapshotting(&self) -> &Arc<Semaphore> {
        &self.inner.snapshotting
    }

    /// Where its files are.
    pub(crate) fn data(&self) -> &Path {
        &self.inner.data
    }
}

/// An engine that is not kept alive by whoever holds this.
#[derive(Clone)]
pub(crate) struct WeakEngine(Weak<Inner>);

impl WeakEngine {
    pub(crate) fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(|inner| Engine { inner })
    }
}

fn too_many_watches() -> Error {
    let most = limits::WATCHES_PER_SUBSCRIBER;
    Error::field("channel", format!("expected at most {most} watched channels on a connection"))
}
