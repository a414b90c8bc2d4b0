//! The projector: one thread that follows the log and turns each batch into state and deliveries, in this order, and some
//! batches together into the view's rows. It owns the hub, and alone writes the fold and the view.
//!
//! Never writes an event, and never waits for a subscriber.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteSynchronous;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::access::{Identity, Rules};
use crate::delivery::Parcel;
use crate::hub::{ChannelPresence, Hub, Presence, SubscriberId, Subscription, mailbox};
use crate::inbox::{Counts, Inbox, Projection, SharedFold, ViewError, effects_of, noted, view_path};
use crate::log::{Log, Tail};
use crate::metrics::Mailboxes;
use crate::names::{Channel, Tenant, UserKey};
use crate::position::Position;
use crate::rebuild::Replacement;
use crate::resume::{Reach, Recent, Step, Viewer};
use crate::sqlite::{Connection, Thread as OnThread, on_thread, writing};
use crate::subscriber::{Advance, Registration};

/// Requests that may wait for the thread.
const QUEUED_REQUESTS: usize = 16_384;
/// Requests served between two batches, so that a storm of connections does not hold up deliveries.
const REQUESTS_AT_ONCE: usize = 256;
/// Recent effects kept in memory: a minute of a busy server.
const RECENT_KEPT: usize = 65_536;
/// Events whose effects are recalled at the start.
const RECALLED: usize = 16_384;
/// How often counts that broadcasts have changed are told, at most.
const COUNTS_EVERY: Duration = Duration::from_secs(1);

/// How long what was folded may wait to be written into the view, unless somebody waits for it: what is written at once costs
/// less. A crash folds it again.
const WRITE_EVERY: Duration = Duration::from_millis(50);
/// Events folded before they are written, however little time it took: no delivery should wait long for the view.
const EVENTS_PER_WRITE: usize = 256;
/// How often a batch is tried again that the disk had no room for.
const UNWRITTEN_EVERY: Duration = Duration::from_millis(250);

/// What the thread is asked.
pub(crate) enum Request {
    /// A person, brought into memory.
    Load(UserKey, oneshot::Sender<Inbox>),
    /// A new subscriber.
    Subscribe(Subscription, From, oneshot::Sender<Opened>),
    /// What a subscriber gets next; `None` when it has gone.
    Advance(SubscriberId, From, oneshot::Sender<Option<Next>>),
    /// A subscriber watches a channel. Answered when it does, or with `false` when it watches too many.
    Watch(SubscriberId, Channel, oneshot::Sender<bool>),
    /// A subscriber watches a channel no longer.
    Unwatch(SubscriberId, Channel, oneshot::Sender<()>),
    /// A subscriber goes on as another identity of the same user. Answered with what it still watches.
    Renew(SubscriberId, Arc<Identity>, oneshot::Sender<Vec<Channel>>),
    /// Other rules count from now on. Answered when nothing is watched that they do not permit.
    Govern(Arc<Rules>, oneshot::Sender<()>),
    /// Who is online.
    Presence(Tenant, oneshot::Sender<Presence>),
    /// Who of a channel is online.
    ChannelPresence(Tenant, Channel, oneshot::Sender<ChannelPresence>),
    /// What waits for subscribers.
    Mailboxes(oneshot::Sender<Mailboxes>),
    /// Another view takes the place of this one.
    Replace(Replacement),
}

impl Request {
    /// Whom it needs in memory.
    fn whose(&self) -> Option<&UserKey> {
        match self {
            Self::Load(key, _) => Some(key),
            Self::Subscribe(subscription, ..) => Some(&subscription.key),
            _ => None,
        }
    }
}

/// Where a subscriber goes on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// With what comes next.
    Now,
    /// With what came after a position, if no more than so much of it concerns them.
    After(Position, usize),
}

/// A subscription that was begun.
pub(crate) struct Opened {
    pub(crate) registration: Registration,
    pub(crate) channels: Vec<Channel>,
    pub(crate) watching: Vec<Channel>,
    pub(crate) counts: Counts,
    pub(crate) next: Next,
}

/// What a subscriber gets next.
pub(crate) enum Next {
    /// This.
    Here(Advance),
    /// It goes too far back for the memory: what concerns this viewer is to be read from the view and the log.
    Older(Box<Viewer>),
    /// More than was wished for.
    TooMany,
}

/// How others reach the projector.
#[derive(Clone)]
pub(crate) struct Projector {
    pub(crate) fold: SharedFold,
    /// Everything up to here is in the fold and in the mailboxes.
    pub(crate) folded: watch::Receiver<Position>,
    /// Everything up to here is in the view.
    pub(crate) written: watch::Receiver<Position>,
    /// When the next timer is due, in milliseconds since 1970, by what is in the view.
    pub(crate) due: watch::Receiver<Option<i64>>,
    wanted: Arc<Wanted>,
    requests: mpsc::Sender<Request>,
}

/// How far others want the view to be written.
#[derive(Default)]
struct Wanted {
    position: AtomicU64,
    more: Notify,
}

impl Wanted {
    fn want(&self, position: Position) {
        self.position.fetch_max(position.0, Ordering::Relaxed);
        self.more.notify_one();
    }

    fn is_beyond(&self, written: Position) -> bool {
        self.position.load(Ordering::Relaxed) > written.0
    }
}

impl Projector {
    /// Starts the thread on the view in `data`. It runs until `closing`, and then until all that is in the log is
    /// projected. The returned future says how it ended.
    pub(crate) async fn start(
        data: &Path,
        log: Log,
        kept: Kept,
        closing: CancellationToken,
    ) -> Result<(Self, impl Future<Output = Result<(), ViewError>> + Send + 'static), ViewError> {
        let connection = writing(&view_path(data), SqliteSynchronous::Normal).connect().await?;
        let (fold, folded, written) =
            (SharedFold::default(), watch::Sender::new(Position(0)), watch::Sender::new(Position(0)));
        let (requests, requests_made) = mpsc::channel(QUEUED_REQUESTS);
        let (due, wanted) = (watch::Sender::new(None), Arc::<Wanted>::default());
        let projector = Self {
            fold: fold.clone(),
            folded: folded.subscribe(),
            written: written.subscribe(),
            due: due.subscribe(),
            wanted: wanted.clone(),
            requests,
        };
        let (ready, loaded) = oneshot::channel();
        let (path, epochs_log) = (view_path(data), log.clone());
        let body = move |connection: &Connection| -> Result<Turn, ViewError> {
            let mut projection = Projection::load(connection, log.epochs().clone(), fold.clone())?;
            let recent_kept = kept.recent.unwrap_or(RECENT_KEPT);
            if let Some(people) = kept.people {
                projection = projection.keeping(people);
            }
            projection.bring_everybody()?;
            let position = projection.fold().position();
            let (departures, departed) = mpsc::unbounded_channel();
            let runtime = runtime_of_thread()?;
            let recent = runtime.block_on(recall(&log, connection, position, recent_kept))?;
            due.send_replace(projection.next_due()?);
            let tail = log.tail(position);
            let inputs = Inputs { tail, requests: requests_made, departed, closing };
            let (hub, waiting) = (Hub::counting(log.metrics().clone()), Waiting::Nothing);
            let state = State { log, fold, hub, recent, folded, written, due, wanted, departures, waiting };
            state.folded.send_replace(position);
            state.written.send_replace(position);
            let _ = ready.send(()); // whoever starts the engine waits for it
            runtime.block_on(Thread { projection, state }.run(inputs))
        };
        let thread = on_thread("tidings-projector", connection, body);
        let ended = supervise(thread, path, epochs_log);
        let mut ended = Box::pin(ended);
        tokio::select! {
            biased;
            loaded = loaded => {
                if loaded.is_err() {
                    ended.await?;
                    return Err(ViewError::Closed);
                }
            }
            early = &mut ended => {
                early?;
                return Err(ViewError::Closed);
            }
        }
        Ok((projector, ended))
    }

    /// Says that somebody waits for the view to have everything up to a position.
    pub(crate) fn want_written(&self, position: Position) {
        self.wanted.want(position);
    }

    /// Asks the thread. `None` when it has ended.
    pub(crate) async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// How much is kept in memory, where it is not the default.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kept {
    /// People who are not connected.
    pub(crate) people: Option<usize>,
    /// Recent effects.
    pub(crate) recent: Option<usize>,
}

/// The effects of the last events before a position, so that those who come back right after a restart cost no look at
/// the database.
async fn recall(
    log: &Log,
    connection: &Connection,
    position: Position,
    kept: usize,
) -> Result<Recent, ViewError> {
    let after = Position(position.0.saturating_sub(RECALLED.min(kept) as u64));
    let mut noted = noted(connection, after)?;
    let mut recent = Recent::starting_after(after, kept);
    let mut tail = log.tail(after);
    while tail.position() < position {
        let events = tail.next().await?;
        let events = events.into_iter().take_while(|event| event.position <= position);
        recent.extend(events.flat_map(|event| effects_of(event, &mut noted)).collect());
    }
    Ok(recent)
}

/// A runtime of its own, so that what the thread owes is done whatever else the process is busy with.
fn runtime_of_thread() -> Result<tokio::runtime::Runtime, ViewError> {
    tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(ViewError::Thread)
}

/// Waits for the thread's end; or, when another view is to take the place of the one it has, lets another thread go on with
/// that one where this one stopped.
async fn supervise(
    mut thread: OnThread<Result<Turn, ViewError>>,
    path: PathBuf,
    log: Log,
) -> Result<(), ViewError> {
    loop {
        let (state, inputs, people_kept, replacement) =
            match thread.ended().await.unwrap_or(Err(ViewError::Closed))? {
                Turn::Ended => return Ok(()),
                Turn::Stopped { state, inputs, people_kept, replacement } => {
                    (state, inputs, people_kept, replacement)
                }
            };
        let stopped_at = inputs.tail.position();
        let put = replacement.put(&log, stopped_at).await;
        replacement.answer(put.map(|()| stopped_at));
        let connection = writing(&path, SqliteSynchronous::Normal).connect().await?;
        thread = on_thread("tidings-projector", connection, move |connection| -> Result<Turn, ViewError> {
            let projection = Projection::load(connection, state.log.epochs().clone(), SharedFold::default())?
                .keeping(people_kept);
            let (projection, changed) = projection.take_place_of(state.fold.clone())?;
            if !changed.is_empty() {
                tracing::warn!(
                    people = changed.len(),
                    "the view that was replaced was wrong for people who are connected"
                );
            }
            let mut thread = Thread { projection, state: *state };
            thread.state.hub.mark_stale(&changed);
            runtime_of_thread()?.block_on(thread.run(inputs))
        });
    }
}

/// Why the thread ended.
enum Turn {
    /// It was told to.
    Ended,
    /// Another view takes the place of its own: all of its state, for the thread that goes on with that.
    Stopped { state: Box<State>, inputs: Inputs, people_kept: usize, replacement: Replacement },
}

/// What comes in.
struct Inputs {
    tail: Tail,
    requests: mpsc::Receiver<Request>,
    departed: mpsc::UnboundedReceiver<SubscriberId>,
    closing: CancellationToken,
}

/// What the thread has beside the view.
struct State {
    log: Log,
    fold: SharedFold,
    hub: Hub,
    recent: Recent,
    folded: watch::Sender<Position>,
    written: watch::Sender<Position>,
    due: watch::Sender<Option<i64>>,
    wanted: Arc<Wanted>,
    departures: mpsc::UnboundedSender<SubscriberId>,
    waiting: Waiting,
}

/// What waits to be written into the view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Nothing,
    /// For others to be written with.
    Until(Instant),
    /// For room on the disk. Nothing more is taken meanwhile: it would be kept in memory alone.
    ForRoom(Instant),
}

impl Waiting {
    fn is_for_room(self) -> bool {
        matches!(self, Self::ForRoom(_))
    }

    /// When it is to be written.
    async fn over(self) {
        match self {
            Self::Nothing => std::future::pending().await,
            Self::Until(at) | Self::ForRoom(at) => tokio::time::sleep_until(at).await,
        }
    }
}

struct Thread<'c> {
    projection: Projection<'c>,
    state: State,
}

impl Thread<'_> {
    async fn run(mut self, mut inputs: Inputs) -> Result<Turn, ViewError> {
        let mut counts_tick = tokio::time::interval(COUNTS_EVERY);
        counts_tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let wanted = self.state.wanted.clone();
        let mut asked = Vec::new();
        loop {
            tokio::select! {
                () = inputs.closing.cancelled() => break,
                events = inputs.tail.next(), if !self.state.waiting.is_for_room() => self.project(&events?)?,
                count = inputs.requests.recv_many(&mut asked, REQUESTS_AT_ONCE) => {
                    if count == 0 {
                        break; // the engine was dropped without a shutdown
                    }
                    self.projection.bring(asked.iter().filter_map(Request::whose).cloned())?;
                    let mut replacement = None;
                    for request in asked.drain(..) {
                        match request {
                            // The new view would be behind what was handed out, or have it twice.
                            Request::Replace(asked) if !self.write()? => asked.answer(Err(ViewError::NoRoom)),
                            Request::Replace(asked) => replacement = Some(asked),
                            request => self.serve(request)?,
                        }
                    }
                    if let Some(replacement) = replacement {
                        let people_kept = self.projection.people_kept();
                        let state = Box::new(self.state);
                        return Ok(Turn::Stopped { state, inputs, people_kept, replacement });
                    }
                }
                Some(id) = inputs.departed.recv() => self.depart(id),
                () = self.state.waiting.over() => drop(self.write()?),
                () = wanted.more.notified(), if !self.state.waiting.is_for_room() => self.write_if_wanted()?,
                _ = counts_tick.tick() => self.tell_stale_counts(),
            }
        }
        // What the disk has no room for is projected at the next start.
        while inputs.tail.position() < self.state.log.head() && !self.state.waiting.is_for_room() {
            self.project(&inputs.tail.next().await?)?;
        }
        self.write()?;
        self.state.hub.close();
        Ok(Turn::Ended)
    }

    fn project(&mut self, events: &crate::event::Events) -> Result<(), ViewError> {
        let effects = self.projection.apply(events)?;
        {
            let fold = self.projection.fold();
            self.state.hub.hand_out(&effects, &fold);
        }
        for event in events {
            if let Some(request) = &event.request {
                tracing::debug!(%request, position = %event.position, "folded, and put into mailboxes");
            }
        }
        // After the mailboxes: whoever is answered at a position has been sent everything up to it.
        self.state.folded.send_replace(self.projection.fold().position());
        self.state.recent.extend(effects);
        if self.state.waiting == Waiting::Nothing {
            self.state.waiting = Waiting::Until(Instant::now() + WRITE_EVERY);
        }
        let many = self.projection.events_unwritten() >= EVENTS_PER_WRITE;
        if many || self.projection.sets_timers() {
            return self.write().map(drop);
        }
        self.write_if_wanted()
    }

    /// Writes what is not in the view yet, if somebody waits for it.
    fn write_if_wanted(&mut self) -> Result<(), ViewError> {
        let written = *self.state.written.borrow();
        if self.state.wanted.is_beyond(written) { self.write().map(drop) } else { Ok(()) }
    }

    /// Writes what is not in the view yet. Whether the disk had room for it.
    fn write(&mut self) -> Result<bool, ViewError> {
        let sets_timers = self.projection.sets_timers();
        let mut written = self.projection.write();
        if written.as_ref().is_err_and(ViewError::is_full) {
            self.state.log.space().ran_out();
            if self.state.log.space().drop_ballast() {
                written = self.projection.write();
            }
        }
        match written {
            Err(error) if error.is_full() => {
                if !self.state.waiting.is_for_room() {
                    tracing::error!("the disk has no room for the inbox view: what comes next has to wait");
                }
                self.state.waiting = Waiting::ForRoom(Instant::now() + UNWRITTEN_EVERY);
                return Ok(false);
            }
            written => written?,
        }
        if sets_timers {
            self.state.due.send_replace(self.projection.next_due()?);
        }
        self.state.waiting = Waiting::Nothing;
        self.state.written.send_replace(self.projection.fold().position());
        Ok(true)
    }

    fn tell_stale_counts(&mut self) {
        let fold = self.projection.fold();
        self.state.hub.tell_stale_counts(&fold);
    }

    fn depart(&mut self, id: SubscriberId) {
        if let Some(key) = self.state.hub.unsubscribe(id) {
            self.projection.unpin(&key);
        }
    }

    /// Whoever asked may have gone: an answer that nobody takes is dropped.
    fn serve(&mut self, request: Request) -> Result<(), ViewError> {
        match request {
            Request::Load(key, reply) => drop(reply.send(self.projection.inbox_of(&key)?)),
            Request::Subscribe(subscription, from, reply) => {
                drop(reply.send(self.subscribe(subscription, from)?));
            }
            Request::Advance(id, from, reply) => drop(reply.send(self.advance(id, from)?)),
            Request::Watch(id, channel, reply) => drop(reply.send(self.state.hub.watch(id, channel))),
            Request::Unwatch(id, channel, reply) => {
                self.state.hub.unwatch(id, &channel);
                let _ = reply.send(());
            }
            Request::Renew(id, identity, reply) => drop(reply.send(self.state.hub.renew(id, identity))),
            Request::Govern(rules, reply) => {
                self.state.hub.govern(rules);
                let _ = reply.send(());
            }
            Request::Presence(tenant, reply) => drop(reply.send(self.state.hub.presence(&tenant))),
            Request::ChannelPresence(tenant, channel, reply) => {
                drop(reply.send(self.state.hub.channel_presence(&tenant, &channel)));
            }
            Request::Mailboxes(reply) => drop(reply.send(self.state.hub.mailboxes())),
            Request::Replace(_) => {} // by the loop, between two batches
        }
        Ok(())
    }

    /// Between two batches, so that what the hello says and what comes afterwards meet without a gap.
    fn subscribe(&mut self, subscription: Subscription, from: From) -> Result<Opened, ViewError> {
        let registration = Registration::new(self.state.departures.clone());
        self.projection.pin(&subscription.key)?;
        let inbox = self.projection.inbox_of(&subscription.key)?;
        let channels: Vec<Channel> = inbox.person.channels().cloned().collect();
        let mut watching = subscription.watches.clone();
        self.state.hub.subscribe(registration.id, subscription, channels.iter());
        watching.retain(|channel| self.state.hub.watches(registration.id, channel));
        let next = self.advance(registration.id, from)?.unwrap_or(Next::TooMany);
        Ok(Opened { registration, channels, watching, counts: inbox.counts, next })
    }

    /// What a subscriber gets next. When that is everything there is, it is live from here on.
    fn advance(&mut self, id: SubscriberId, from: From) -> Result<Option<Next>, ViewError> {
        let Some((key, watches)) = self.state.hub.subscriber(id) else { return Ok(None) };
        let (key, watches) = (key.clone(), watches.clone());
        let position = self.projection.fold().position();
        let From::After(after, most) = from else {
            return Ok(Some(Next::Here(self.attach(id, Vec::new(), position))));
        };
        let viewer = self.projection.viewer(&key, watches)?;
        let gathered = match self.state.recent.missed(&viewer, after, position, most) {
            Reach::Here(gathered) => gathered,
            Reach::TooMany => return Ok(Some(Next::TooMany)),
            Reach::Older => return Ok(Some(Next::Older(Box::new(viewer)))),
        };
        if gathered.reached < position {
            let Step { parcels, position } = gathered.into_step();
            return Ok(Some(Next::Here(Advance { parcels, position, mailbox: None })));
        }
        let gathered = gathered.caught_up(viewer.inbox.counts);
        let parcels = gathered.into_step().parcels;
        Ok(Some(Next::Here(self.attach(id, parcels, position))))
    }

    fn attach(&mut self, id: SubscriberId, parcels: Vec<Arc<Parcel>>, position: Position) -> Advance {
        let (sender, mailbox) = mailbox(self.state.hub.ready(id));
        self.state.hub.attach(id, sender);
        Advance { parcels, position, mailbox: Some(mailbox) }
    }
}
