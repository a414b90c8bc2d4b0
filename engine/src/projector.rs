//! The projector: one thread that follows the log and turns each batch into state, deliveries and the view's rows, in
//! this order. It owns the hub, and alone writes the fold and the view.
//!
//! Never writes an event, and never waits for a subscriber.

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteSynchronous;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::hub::{
    ChannelPresence, Hello, Hub, Presence, Sender, Subscriber, SubscriberId, Subscription, mailbox,
};
use crate::inbox::{Projection, SharedFold, Snapshot, ViewError, view_path};
use crate::log::{Log, Tail};
use crate::names::{Channel, Tenant, UserKey};
use crate::position::Position;
use crate::sqlite::{Connection, on_thread, writing};

/// Requests that may wait for the thread.
const QUEUED_REQUESTS: usize = 16_384;
/// Requests served between two batches, so that a storm of connections does not hold up deliveries.
const REQUESTS_AT_ONCE: usize = 256;
/// How often counts that broadcasts have changed are told, at most.
const COUNTS_EVERY: Duration = Duration::from_secs(1);

/// What the thread is asked.
pub(crate) enum Request {
    /// A person, brought into memory.
    Load(UserKey, oneshot::Sender<Snapshot>),
    /// A new subscriber.
    Subscribe(Subscription, oneshot::Sender<Subscriber>),
    /// A subscriber watches a channel. Answered when it does, or with `false` when it watches too many.
    Watch(SubscriberId, Channel, oneshot::Sender<bool>),
    /// A subscriber watches a channel no longer.
    Unwatch(SubscriberId, Channel, oneshot::Sender<()>),
    /// Who is online.
    Presence(Tenant, oneshot::Sender<Presence>),
    /// Who of a channel is online.
    ChannelPresence(Tenant, Channel, oneshot::Sender<ChannelPresence>),
}

/// How others reach the projector.
#[derive(Clone)]
pub(crate) struct Projector {
    pub(crate) fold: SharedFold,
    /// Everything up to here is in the fold and in the mailboxes.
    pub(crate) folded: watch::Receiver<Position>,
    /// Everything up to here is in the view.
    pub(crate) written: watch::Receiver<Position>,
    requests: mpsc::Sender<Request>,
}

impl Projector {
    /// Starts the thread on the view in `data`. It runs until `closing`, and then until all that is in the log is
    /// projected. The returned future says how it ended.
    pub(crate) async fn start(
        data: &Path,
        log: Log,
        people_kept: Option<usize>,
        closing: CancellationToken,
    ) -> Result<(Self, impl Future<Output = Result<(), ViewError>> + Send + 'static), ViewError> {
        let connection = writing(&view_path(data), SqliteSynchronous::Normal).connect().await?;
        let (fold, folded, written) =
            (SharedFold::default(), watch::Sender::new(Position(0)), watch::Sender::new(Position(0)));
        let (requests, requested) = mpsc::channel(QUEUED_REQUESTS);
        let projector =
            Self { fold: fold.clone(), folded: folded.subscribe(), written: written.subscribe(), requests };
        let (ready, loaded) = oneshot::channel();
        let body = move |connection: &Connection| -> Result<(), ViewError> {
            let mut projection = Projection::load(connection, fold)?;
            if let Some(people) = people_kept {
                projection = projection.keeping(people);
            }
            let position = projection.fold().position();
            let (departures, departed) = mpsc::unbounded_channel();
            let tail = log.tail(position);
            let hub = Hub::default();
            folded.send_replace(position);
            written.send_replace(position);
            let _ = ready.send(()); // whoever starts the engine waits for it
            let thread = Thread { log, projection, hub, folded, written, departures };
            // A runtime of its own, so that what it owes is done whatever else the process is busy with.
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            runtime.map_err(ViewError::Thread)?.block_on(thread.run(tail, requested, departed, closing))
        };
        let thread = on_thread("tidings-projector", connection, body);
        let ended = async move { thread.ended().await.unwrap_or(Err(ViewError::Closed)) };
        if loaded.await.is_err() {
            ended.await?;
            return Err(ViewError::Closed);
        }
        Ok((projector, ended))
    }

    /// Asks the thread. `None` when it has ended.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

struct Thread<'c> {
    log: Log,
    projection: Projection<'c>,
    hub: Hub,
    folded: watch::Sender<Position>,
    written: watch::Sender<Position>,
    departures: mpsc::UnboundedSender<SubscriberId>,
}

impl Thread<'_> {
    async fn run(
        mut self,
        mut tail: Tail,
        mut requests: mpsc::Receiver<Request>,
        mut departed: mpsc::UnboundedReceiver<SubscriberId>,
        closing: CancellationToken,
    ) -> Result<(), ViewError> {
        let mut counts_tick = tokio::time::interval(COUNTS_EVERY);
        counts_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut asked = Vec::new();
        loop {
            tokio::select! {
                () = closing.cancelled() => break,
                events = tail.next() => self.project(&events?)?,
                count = requests.recv_many(&mut asked, REQUESTS_AT_ONCE) => {
                    if count == 0 {
                        break; // the engine was dropped without a shutdown
                    }
                    for request in asked.drain(..) {
                        self.serve(request)?;
                    }
                }
                Some(id) = departed.recv() => self.depart(id),
                _ = counts_tick.tick() => self.tell_stale_counts(),
            }
        }
        while tail.position() < self.log.head() {
            self.project(&tail.next().await?)?;
        }
        self.hub.close();
        Ok(())
    }

    fn project(&mut self, events: &crate::event::Events) -> Result<(), ViewError> {
        let folded = self.projection.apply(events)?;
        let let_go = {
            let fold = self.projection.fold();
            self.hub.hand_out(&folded.effects, fold.position(), |key| fold.counts(key))
        };
        // After the mailboxes: whoever is answered at a position has been sent everything up to it.
        self.folded.send_replace(self.projection.fold().position());
        self.projection.write(&folded)?;
        self.written.send_replace(self.projection.fold().position());
        let_go.into_iter().for_each(|id| self.depart(id));
        Ok(())
    }

    fn tell_stale_counts(&mut self) {
        let let_go = {
            let fold = self.projection.fold();
            self.hub.tell_stale_counts(fold.position(), |key| fold.counts(key))
        };
        let_go.into_iter().for_each(|id| self.depart(id));
    }

    fn depart(&mut self, id: SubscriberId) {
        if let Some(key) = self.hub.unsubscribe(id) {
            self.projection.unpin(&key);
        }
    }

    /// Whoever asked may have gone: an answer that nobody takes is dropped.
    fn serve(&mut self, request: Request) -> Result<(), ViewError> {
        match request {
            Request::Load(key, reply) => drop(reply.send(self.projection.snapshot(&key)?)),
            Request::Subscribe(subscription, reply) => self.subscribe(subscription, reply)?,
            Request::Watch(id, channel, reply) => drop(reply.send(self.hub.watch(id, channel))),
            Request::Unwatch(id, channel, reply) => {
                self.hub.unwatch(id, &channel);
                let _ = reply.send(());
            }
            Request::Presence(tenant, reply) => drop(reply.send(self.hub.presence(&tenant))),
            Request::ChannelPresence(tenant, channel, reply) => {
                drop(reply.send(self.hub.channel_presence(&tenant, &channel)));
            }
        }
        Ok(())
    }

    /// Between two batches, so that what the hello says and what the mailbox brings meet without a gap.
    fn subscribe(
        &mut self,
        subscription: Subscription,
        reply: oneshot::Sender<Subscriber>,
    ) -> Result<(), ViewError> {
        self.projection.pin(&subscription.key)?;
        let snapshot = self.projection.snapshot(&subscription.key)?;
        let channels: Vec<Channel> = snapshot.person.channels().cloned().collect();
        let hello = Hello { channels, cursor: self.log.cursor(snapshot.position()), counts: snapshot.counts };
        let (sender, subscriber): (Sender, Subscriber) = mailbox(hello, self.departures.clone());
        self.hub.subscribe(subscriber.id(), subscription, snapshot.person.channels(), sender);
        let _ = reply.send(subscriber); // one that nobody takes departs when it is dropped
        Ok(())
    }
}
