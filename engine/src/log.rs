//! The log as the engine sees it: one task appends in groups, everybody else reads what was appended.
//!
//! Nothing is answered, read or followed before it is durable. After a failed append nothing more is accepted: whether
//! it was written is not known, so the process has to stop and open the log anew.

mod read_again;
mod ring;
mod tail;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::epochs::Epochs;
use crate::event::codec::DecodeError;
use crate::event::{Event, Events, Fact, codec};
use crate::metrics::{Distribution, Metrics};
use crate::names::Tenant;
use crate::position::{Cursor, Position};
use crate::request::{self, RequestId};
use crate::space::Space;
use crate::store::{
    AppendItem, AppendOutcome, EventStore, KeyClaim, KeyHolder, NewEvent, SnapshotHeader, StoreError,
};

use read_again::ReadAgain;
use ring::Ring;
pub use tail::{Tail, TailError};

/// Commands that may wait for the append task. More than that means the disk does not keep up.
const QUEUED_COMMANDS: usize = 8_192;
/// With this many commands a commit takes no more: beyond that, sharing saves nothing and only makes the first wait.
const COMMANDS_PER_COMMIT: usize = 1_024;
/// How long others may go first before a commit, as long as there are any.
const GATHER_MOST: Duration = Duration::from_millis(5);
/// Bytes of events that may wait: a few batches of the largest size.
const QUEUED_BYTES: usize = 64 << 20;
/// With this many bytes a commit takes no more.
const BYTES_PER_COMMIT: usize = 4 << 20;
/// How long a command waits for a place in the queue before it is refused.
const QUEUE_PATIENCE: Duration = Duration::from_secs(2);

/// What a command adds to the log: its facts together, or nothing.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) tenant: Tenant,
    pub(crate) key: Option<KeyClaim>,
    pub(crate) facts: Vec<Fact>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Appended {
    /// These events are in the log now.
    Events(Events),
    /// It was in the log already, here.
    Duplicate(Position),
    /// Its key stands for something else.
    KeyReused,
}

/// Why nothing can be said about an append, or nothing be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// More is waiting than the disk can take. Nothing was written.
    #[error("the event log has more to write than it can")]
    Busy,
    /// The disk is full, or nearly. Nothing was written.
    #[error("the disk of the data directory is full")]
    Full,
    /// The log failed meanwhile: it is not known whether it was written.
    #[error("the event log failed: it is not known whether this was written")]
    OutcomeUnknown,
    /// The log was closed before. Nothing was written.
    #[error("the event log is closed")]
    Closed,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An event could not be decoded.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// The log. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Submission>,
    room: Arc<Semaphore>,
}

struct Shared {
    store: Arc<dyn EventStore>,
    epochs: Epochs,
    head: watch::Sender<Position>,
    ring: RwLock<Ring>,
    read_again: Mutex<ReadAgain>,
    failed: CancellationToken,
    space: Space,
    metrics: Arc<Metrics>,
}

/// What is said of commands that there is no room for.
struct Full;

/// A command, and what the store is to keep of it: encoded by whoever sends it, not by the append task.
struct Item {
    command: Append,
    events: Vec<NewEvent>,
}

impl Item {
    fn encode(command: Append, recorded_at: Timestamp) -> Self {
        let events = command.facts.iter().map(|fact| fact.encoded(recorded_at)).collect();
        Self { command, events }
    }

    fn bytes(&self) -> usize {
        self.events.iter().map(NewEvent::bytes).sum()
    }
}

struct Submission {
    items: Vec<Item>,
    recorded_at: Timestamp,
    /// Whether it is written where nothing else is accepted any more.
    from_reserve: bool,
    /// The request that it is for.
    request: Option<RequestId>,
    reply: oneshot::Sender<Result<Vec<Appended>, Full>>,
    /// Its share of the queue's bytes, until it is written.
    _room: OwnedSemaphorePermit,
}

impl Log {
    /// Opens the log on a store, to be read. See [`open_with`](Self::open_with).
    pub(crate) async fn open(
        store: Arc<dyn EventStore>,
        closing: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), LogError> {
        Self::open_with(store, Space::unwatched(), closing).await
    }

    /// Opens the log on a store, as far as there is room. The returned future is the append task: it runs until `closing`, and until everything
    /// that was queued by then is written.
    pub(crate) async fn open_with(
        store: Arc<dyn EventStore>,
        space: Space,
        closing: CancellationToken,
    ) -> Result<(Self, impl Future<Output = ()> + Send + 'static), LogError> {
        let head = store.head().await?;
        let shared = Arc::new(Shared {
            store,
            epochs: head.epochs,
            head: watch::Sender::new(head.position),
            ring: RwLock::new(Ring::starting_after(head.position)),
            read_again: Mutex::default(),
            failed: CancellationToken::new(),
            space,
            metrics: Arc::default(),
        });
        let (queue, submissions) = mpsc::channel(QUEUED_COMMANDS);
        let task = append_task(shared.clone(), submissions, closing);
        Ok((Self { shared, queue, room: Arc::new(Semaphore::new(QUEUED_BYTES)) }, task))
    }

    /// Which epoch each position is of.
    #[must_use]
    pub fn epochs(&self) -> &Epochs {
        &self.shared.epochs
    }

    /// The last position that is durable.
    #[must_use]
    pub fn head(&self) -> Position {
        *self.shared.head.borrow()
    }

    /// The last position that is durable, as it moves on.
    pub(crate) fn heads(&self) -> watch::Receiver<Position> {
        self.shared.head.subscribe()
    }

    /// What a client holds that has seen everything up to a position.
    #[must_use]
    pub fn cursor(&self, position: Position) -> Cursor {
        self.epochs().cursor(position)
    }

    /// Follows the log from after a position.
    #[must_use]
    pub fn tail(&self, after: Position) -> Tail {
        Tail::new(self.shared.clone(), after)
    }

    /// Done when the log has failed for good.
    pub async fn failed(&self) {
        self.shared.failed.cancelled().await;
    }

    /// What is counted.
    #[must_use]
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.shared.metrics
    }

    /// How long it took to make appends durable, in seconds, if the store counts that.
    #[must_use]
    pub fn sync_seconds(&self) -> Option<Distribution> {
        self.shared.store.sync_seconds()
    }

    /// The room there is for it.
    pub(crate) fn space(&self) -> &Space {
        &self.shared.space
    }

    /// Appends commands, in order, in one commit. An outcome for each.
    pub(crate) async fn append(&self, commands: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        self.submit(commands, false).await
    }

    /// The same for what the engine itself has to say: it is written as long as there is any room at all.
    pub(crate) async fn append_from_reserve(&self, commands: Vec<Append>) -> Result<Vec<Appended>, LogError> {
        self.submit(commands, true).await
    }

    async fn submit(&self, commands: Vec<Append>, from_reserve: bool) -> Result<Vec<Appended>, LogError> {
        if self.shared.failed.is_cancelled() {
            return Err(LogError::Closed);
        }
        let recorded_at = now();
        let items: Vec<Item> =
            commands.into_iter().map(|command| Item::encode(command, recorded_at)).collect();
        let bytes = items.iter().map(Item::bytes).sum();
        let (reply, answer) = oneshot::channel();
        let room = self.room_for(bytes).await?;
        let submission =
            Submission { items, recorded_at, from_reserve, request: request::current(), reply, _room: room };
        self.queue.send_timeout(submission, QUEUE_PATIENCE).await.map_err(|error| match error {
            mpsc::error::SendTimeoutError::Timeout(_) => self.busy(),
            mpsc::error::SendTimeoutError::Closed(_) => LogError::Closed,
        })?;
        answer.await.map_err(|_| LogError::OutcomeUnknown)?.map_err(|Full| LogError::Full)
    }

    /// Waits for a place in the queue, though not for long.
    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, LogError> {
        let share = bytes.clamp(1, QUEUED_BYTES) as u32;
        let room = self.room.clone().acquire_many_owned(share);
        let in_time = tokio::time::timeout(QUEUE_PATIENCE, room).await.map_err(|_| self.busy())?;
        in_time.map_err(|_| LogError::Closed)
    }

    fn busy(&self) -> LogError {
        self.shared.metrics.refused_busy.add(1);
        LogError::Busy
    }

    /// What a key stands for: the position of the event appended under it, and the hash of its content.
    pub(crate) async fn find_key(
        &self,
        tenant: &Tenant,
        claim: &KeyClaim,
    ) -> Result<Option<KeyHolder>, LogError> {
        Ok(self.shared.store.find_key(tenant, claim).await?)
    }

    /// The event at a position.
    pub(crate) async fn event(&self, position: Position) -> Result<Option<Arc<Event>>, LogError> {
        let events = self.shared.after(Position(position.0.saturating_sub(1)), 1).await?;
        Ok(events.into_iter().next())
    }
}

impl Log {
    /// The events at these positions, which are in order and durable.
    pub(crate) async fn events_at(&self, positions: Vec<Position>) -> Result<Events, LogError> {
        let mut found = {
            let mut kept = self.read_again();
            positions.iter().map(|position| kept.get(*position)).collect::<Vec<_>>()
        };
        let missing = positions.iter().zip(&found).filter(|(_, found)| found.is_none());
        let missing: Vec<Position> = missing.map(|(position, _)| *position).collect();
        let count = missing.len();
        let stored = if count == 0 { Vec::new() } else { self.shared.store.read_at(missing).await? };
        if stored.len() != count {
            return Err(StoreError::Other(format!("it has {} of {count} events", stored.len()).into()).into());
        }
        let decoded = stored.into_iter().map(|event| codec::decode(event).map(Arc::new));
        let read: Events = decoded.collect::<Result<_, _>>()?;
        {
            let mut kept = self.read_again();
            read.iter().for_each(|event| kept.keep(event));
        }
        let places = found.iter_mut().filter(|found| found.is_none());
        places.zip(read).for_each(|(place, event)| *place = Some(event));
        Ok(found.into_iter().flatten().collect())
    }

    fn read_again(&self) -> MutexGuard<'_, ReadAgain> {
        self.shared.read_again.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log {
    /// Keeps a part of a snapshot that is being made.
    pub(crate) async fn put_snapshot_part(
        &self,
        at: Position,
        number: u32,
        part: Vec<u8>,
    ) -> Result<(), LogError> {
        self.require_sound()?;
        self.written(self.shared.store.snapshots().put_part(at, number, part).await)
    }

    /// Lists a snapshot, all of whose parts were put.
    pub(crate) async fn complete_snapshot(&self, snapshot: SnapshotHeader) -> Result<(), LogError> {
        self.require_sound()?;
        self.written(self.shared.store.snapshots().complete(snapshot).await)
    }

    /// Drops all but the newest snapshots, and some of the parts that are of none. Whether there are more of these.
    pub(crate) async fn drop_snapshots(&self, keep: usize) -> Result<bool, LogError> {
        self.require_sound()?;
        self.written(self.shared.store.snapshots().drop_all_but(keep).await)
    }

    /// The snapshots that are complete, the newest first.
    pub(crate) async fn snapshots(&self) -> Result<Vec<SnapshotHeader>, LogError> {
        Ok(self.shared.store.snapshots().list().await?)
    }

    /// A part of a snapshot; `None` when it is not there.
    pub(crate) async fn snapshot_part(&self, at: Position, number: u32) -> Result<Option<Vec<u8>>, LogError> {
        Ok(self.shared.store.snapshots().part(at, number).await?)
    }

    /// Nothing is written to a store of which it is not known what it holds.
    fn require_sound(&self) -> Result<(), LogError> {
        if self.shared.failed.is_cancelled() { Err(LogError::Closed) } else { Ok(()) }
    }

    /// What a write to the store came to. After one that failed, nothing is known of what the store holds.
    fn written<T>(&self, outcome: Result<T, StoreError>) -> Result<T, LogError> {
        match outcome {
            Err(StoreError::Full) => {
                self.shared.space.ran_out();
                Err(LogError::Full)
            }
            Err(error) => {
                tracing::error!(%error, "the event log cannot be written, no more is accepted");
                self.shared.failed.cancel();
                Err(error.into())
            }
            Ok(done) => Ok(done),
        }
    }
}

impl Shared {
    /// Events after a position that are durable, from the ring or else from the store.
    async fn after(&self, position: Position, limit: usize) -> Result<Events, LogError> {
        // The store and the ring have events a moment before the head says so. Nobody may be ahead of the head: a cursor
        // that is would be refused.
        let shown = self.head.borrow().0.saturating_sub(position.0);
        let limit = limit.min(usize::try_from(shown).unwrap_or(usize::MAX));
        if let Some(recent) = read(&self.ring).after(position, limit) {
            return Ok(recent);
        }
        let stored = self.store.read(position, limit).await?;
        let decoded = stored.into_iter().map(|event| codec::decode(event).map(Arc::new));
        Ok(decoded.collect::<Result<_, _>>()?)
    }
}

/// The clock of events, to the millisecond that a store keeps.
fn now() -> Timestamp {
    to_millisecond(Timestamp::now())
}

/// A time, to the millisecond that a store keeps.
pub(crate) fn to_millisecond(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

/// A lock whose holder panicked guards data that is still whole: each change to it is one call.
fn read<T>(lock: &RwLock<T>) -> std::sync::RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(std::sync::PoisonError::into_inner)
}

async fn append_task(shared: Arc<Shared>, mut queue: mpsc::Receiver<Submission>, closing: CancellationToken) {
    // However this task ends, unless it was told to: nothing more will be written, and everybody has to know.
    let alarm = shared.failed.clone().drop_guard();
    loop {
        let first = tokio::select! {
            biased;
            () = closing.cancelled(), if !queue.is_closed() => {
                queue.close(); // what is queued is still written; what comes later is refused
                continue;
            }
            first = queue.recv() => first,
        };
        let Some(first) = first else {
            alarm.disarm();
            return;
        };
        let group = admit(&shared, gather(first, &mut queue).await);
        if group.is_empty() {
            continue;
        }
        if let Err(error) = commit(&shared, group).await {
            tracing::error!(%error, "append failed, no more is accepted");
            return; // dropping the queue tells everybody who waits that the outcome is not known
        }
    }
}

/// Takes what is queued, within the bounds of a commit. Who is about to append something may do so first, for as long as there is
/// always somebody who does: a commit costs as much for one as for many, and nobody waits for longer than the others work.
async fn gather(first: Submission, queue: &mut mpsc::Receiver<Submission>) -> Vec<Submission> {
    let (mut commands, mut bytes) = (first.items.len(), first.bytes());
    let mut group = vec![first];
    let begun = Instant::now();
    while commands < COMMANDS_PER_COMMIT && bytes < BYTES_PER_COMMIT && begun.elapsed() < GATHER_MOST {
        let before = group.len();
        tokio::task::yield_now().await;
        while commands < COMMANDS_PER_COMMIT && bytes < BYTES_PER_COMMIT {
            let Ok(next) = queue.try_recv() else { break };
            commands += next.items.len();
            bytes += next.bytes();
            group.push(next);
        }
        if group.len() == before {
            break;
        }
    }
    group
}

/// Refuses what there is no room for.
fn admit(Shared { space, metrics, .. }: &Shared, mut group: Vec<Submission>) -> Vec<Submission> {
    if space.is_short() {
        let refused = group.extract_if(.., |submission| !submission.from_reserve);
        refused.for_each(|submission| {
            metrics.refused_full.add(submission.items.len() as u64);
            drop(submission.reply.send(Err(Full))); // the caller may have gone
        });
    }
    let commands = group.iter().map(|submission| submission.items.len()).sum();
    space.will_commit(commands, group.iter().map(Submission::bytes).sum());
    group
}

/// One transaction for the whole group; then everybody may see it; then everybody is answered.
async fn commit(shared: &Shared, group: Vec<Submission>) -> Result<(), StoreError> {
    let mut items = Vec::new();
    let mut waiting = Vec::with_capacity(group.len());
    for submission in group {
        let mut commands = Vec::with_capacity(submission.items.len());
        for Item { mut command, events } in submission.items {
            let sizes: Vec<usize> = events.iter().map(NewEvent::bytes).collect();
            items.push(AppendItem { tenant: command.tenant.clone(), key: command.key.take(), events });
            commands.push((command, sizes));
        }
        waiting.push((commands, submission.recorded_at, submission.request, submission.reply));
    }
    let count = items.len();
    let begun = Instant::now();
    let outcomes = match shared.store.append(items).await {
        Err(StoreError::Full) => {
            shared.space.ran_out();
            shared.metrics.refused_full.add(count as u64);
            tracing::error!("the disk is full: what was to be appended is refused");
            waiting.into_iter().for_each(|(.., reply)| drop(reply.send(Err(Full))));
            return Ok(());
        }
        outcomes => outcomes.inspect_err(|_| shared.metrics.failed_commits.add(1))?,
    };
    shared.metrics.committed(count, begun.elapsed());
    if outcomes.len() != count {
        let wrong = format!("it gave {} outcomes for {count} items", outcomes.len());
        return Err(StoreError::Other(wrong.into()));
    }
    let mut outcomes = outcomes.into_iter();
    let mut committed = Vec::new();
    let mut answers = Vec::with_capacity(waiting.len());
    for (commands, recorded_at, request, reply) in waiting {
        let appended: Vec<Appended> = commands
            .into_iter()
            .zip(&mut outcomes)
            .map(|((command, sizes), outcome)| {
                settle(command, &sizes, (recorded_at, request.as_ref()), outcome, &mut committed)
            })
            .collect();
        answers.push((reply, appended));
    }
    shared.metrics.appended(committed.iter().map(|event| &**event));
    shared.publish(committed);
    for (reply, appended) in answers {
        let _ = reply.send(Ok(appended)); // the caller may have gone
    }
    Ok(())
}

/// Turns what was asked and where it went into events.
fn settle(
    command: Append,
    sizes: &[usize],
    (recorded_at, request): (Timestamp, Option<&RequestId>),
    outcome: AppendOutcome,
    committed: &mut Events,
) -> Appended {
    match outcome {
        AppendOutcome::Duplicate { position } => Appended::Duplicate(position),
        AppendOutcome::KeyReused => Appended::KeyReused,
        AppendOutcome::Appended { first, entries } => {
            let places = (first.0..).map(Position).zip(entries);
            let events: Events = places
                .zip(command.facts.into_iter().zip(sizes))
                .map(|((position, entries), (fact, bytes))| {
                    let tenant = command.tenant.clone();
                    let event = Event::new(position, tenant, recorded_at, entries, fact, *bytes);
                    if let Some(request) = request {
                        tracing::debug!(%request, %position, kind = event.fact.type_name(), "appended");
                    }
                    Arc::new(event.of_request(request.cloned()))
                })
                .collect();
            committed.extend(events.iter().cloned());
            Appended::Events(events)
        }
    }
}

impl Shared {
    /// Shows events that are durable to everybody who follows the log.
    fn publish(&self, events: Events) {
        let Some(last) = events.last() else { return };
        let head = last.position;
        self.ring.write().unwrap_or_else(std::sync::PoisonError::into_inner).extend(events);
        self.head.send_replace(head);
    }
}

impl Submission {
    fn bytes(&self) -> usize {
        self.items.iter().map(Item::bytes).sum()
    }
}
