//! What is published to the stream, into the log. A message is acknowledged only when what it publishes is durable; one that cannot
//! be accepted becomes a dead letter; one that the log cannot take now comes again.
//!
//! One batch after the other: while one is committed the next gathers, so commits are shared and the order of the stream is that of
//! the log.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use futures_util::future::join_all;
use tidings_config::NatsSettings;
use tidings_engine::problem::Problem;
use tidings_engine::{Engine, Error, Identity, Publication};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::MessageBytes;
use crate::dead::Dead;
use crate::draft::publication;
use crate::failing::Failing;
use crate::incoming::Incoming;
use crate::link::Link;
use crate::pull::{Pull, PullError};
use crate::stream::{Consumer, StreamError};
use crate::subject::Subjects;
use crate::table::Table;

/// Until it is tried again to take messages, at first and at most.
const AGAIN_AFTER: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));
/// How long nothing is taken when the log could not take what there was, at first and at most.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How long a batch waits for dead letters that are being written.
const LETTER_PATIENCE: Duration = Duration::from_millis(200);
/// How often the consumer is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// To ask a consumer anew may be enough; after so many times it is made anew.
const TOLERATED: u32 = 1;

/// Takes what is published.
pub(crate) struct Ingest {
    pub(crate) link: Link,
    pub(crate) context: Context,
    pub(crate) engine: Engine,
    pub(crate) settings: NatsSettings,
    pub(crate) subjects: Subjects,
    pub(crate) table: Arc<Table>,
    pub(crate) message_bytes: MessageBytes,
    pub(crate) dead: mpsc::Sender<Dead>,
    pub(crate) failing: Failing,
}

/// Why taking ended.
#[derive(Debug, thiserror::Error)]
enum Interrupted {
    #[error(transparent)]
    Stream(#[from] StreamError),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("the consumer has messages and hands out none")]
    Stalled,
    #[error("the stream has messages that the consumer does not know of")]
    Orphans,
}

/// What was seen of a consumer that is not well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stuck {
    /// It could hand out messages. It has handed out so many so far.
    Silent(u64),
    /// The stream has so many, and it none: a broker that was killed may have forgotten one thing and not the other.
    Orphans(u64),
}

/// What one row of the table published.
type Group = (Arc<Identity>, Vec<Publication>, Vec<Incoming>);

impl Ingest {
    /// Takes until the shutdown, whatever becomes of the broker, the stream and the consumer.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let (mut again_after, mut stalls) = (AGAIN_AFTER.0, 0);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.link.connected() => {}
            }
            let begun = Instant::now();
            let interrupted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                opened = self.open(stalls) => match opened {
                    Ok((consumer, pull)) => match self.consume(&consumer, pull, &shutdown).await {
                        Ok(()) => return,
                        Err(interrupted) => interrupted,
                    },
                    Err(interrupted) => interrupted,
                }
            };
            self.link.broker.set_consuming(false);
            stalls = match interrupted {
                Interrupted::Stalled => stalls + 1,
                Interrupted::Orphans => TOLERATED + 1,
                Interrupted::Stream(_) | Interrupted::Pull(_) => 0,
            };
            if begun.elapsed() > AGAIN_AFTER.1 {
                again_after = AGAIN_AFTER.0;
            }
            if self.link.broker.is_connected() {
                tracing::warn!(reason = %interrupted, "taking from NATS was interrupted, and is begun anew");
                self.link.broker.renewed.add(1);
            }
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(again_after) => {}
            }
            again_after = (2 * again_after).min(AGAIN_AFTER.1);
        }
    }

    async fn open(&self, stalls: u32) -> Result<(Consumer, Pull), Interrupted> {
        let mut consumer = Consumer::prepare(&self.context, &self.settings, &self.subjects).await?;
        if stalls > TOLERATED {
            consumer.remove().await?;
            consumer = Consumer::prepare(&self.context, &self.settings, &self.subjects).await?;
        }
        let pull = Pull::open(&self.link, &self.context, &consumer).await?;
        self.link.broker.set_consuming(true);
        Ok((consumer, pull))
    }

    /// Takes messages from a consumer until the shutdown, or until something is wrong with it.
    async fn consume(
        &self,
        consumer: &Consumer,
        mut pull: Pull,
        shutdown: &CancellationToken,
    ) -> Result<(), Interrupted> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut seen, mut rest) = (None, REST.0);
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                _ = looks.tick() => {
                    let stuck = self.look(consumer).await?;
                    match stuck.filter(|_| seen == stuck) {
                        Some(Stuck::Silent(_)) => return Err(Interrupted::Stalled),
                        Some(Stuck::Orphans(_)) => return Err(Interrupted::Orphans),
                        None => seen = stuck,
                    }
                }
                batch = pull.batch() => {
                    seen = None;
                    if self.take(batch?).await {
                        rest = REST.0;
                        continue;
                    }
                    tokio::select! {
                        () = shutdown.cancelled() => break,
                        () = tokio::time::sleep(rest) => {}
                    }
                    rest = (2 * rest).min(REST.1);
                }
            }
        }
        for incoming in pull.rest().into_iter().filter_map(Incoming::new) {
            incoming.give_back(&self.link).await;
        }
        Ok(())
    }

    /// Notes how the consumer is doing, and says when it does not seem well.
    async fn look(&self, consumer: &Consumer) -> Result<Option<Stuck>, StreamError> {
        self.failing.prune();
        if !self.link.broker.is_connected() {
            return Ok(None);
        }
        let info = consumer.info().await?;
        self.link.broker.waiting.set(info.num_pending);
        self.link.broker.unacknowledged.set(info.num_ack_pending as u64);
        if info.num_pending > 0 {
            let could = info.num_ack_pending < consumer.in_flight();
            return Ok(could.then_some(Stuck::Silent(info.delivered.consumer_sequence)));
        }
        if info.num_ack_pending > 0 {
            return Ok(None);
        }
        let kept = consumer.kept_for_it().await?.filter(|kept| *kept > 0);
        Ok(kept.map(Stuck::Orphans))
    }

    /// Publishes messages and settles each. Whether the log could take them.
    async fn take(&self, batch: Vec<jetstream::Message>) -> bool {
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        let mut patience = LETTER_PATIENCE;
        for incoming in batch.into_iter().filter_map(Incoming::new) {
            self.link.broker.received.add(1);
            self.link.broker.redelivered.add(u64::from(incoming.delivered > 1));
            match self.read(&incoming) {
                Ok((row, identity, publication)) => {
                    let empty = || (identity, Vec::new(), Vec::new());
                    let (_, publications, messages) = groups.entry(row).or_insert_with(empty);
                    publications.push(incoming.with_key(publication));
                    messages.push(incoming);
                }
                Err(problem) => self.put_aside(incoming, problem, &mut patience).await,
            }
        }
        // Each row is an identity of its own; they share a commit.
        let taken = join_all(groups.into_values().map(|group| self.publish(group))).await;
        taken.into_iter().all(|taken| taken)
    }

    /// What a message publishes, and for whom it speaks.
    fn read(&self, incoming: &Incoming) -> Result<(usize, Arc<Identity>, Publication), Problem> {
        let subject = &incoming.message.subject;
        let expected = || Problem::field("subject", format!("expected {}", self.subjects.publish()));
        let chosen = self.subjects.published_on(subject).ok_or_else(expected)?;
        let (row, identity) = self.table.speaker(chosen)?;
        let publication = publication(&incoming.message.message, self.message_bytes.most())?;
        Ok((row, identity.clone(), publication))
    }

    async fn publish(&self, (identity, publications, messages): Group) -> bool {
        let published = self.engine.publish_all(&identity, publications).await;
        let results = published.unwrap_or_else(|error| messages.iter().map(|_| Err(again(&error))).collect());
        let (mut taken, mut patience) = (true, LETTER_PATIENCE);
        for (incoming, result) in messages.into_iter().zip(results) {
            match result {
                // What was published before is in the log as well.
                Ok(_) => {
                    self.failing.forget(&incoming.name);
                    incoming.accept(&self.link).await;
                }
                Err(error) if self.may_pass(&error, &incoming) => {
                    taken &= matches!(error, Error::Rule { .. });
                    incoming.postpone(&self.link).await;
                }
                Err(error) => self.put_aside(incoming, error.into(), &mut patience).await,
            }
        }
        taken
    }

    /// Whether a message that was refused is to come again.
    fn may_pass(&self, error: &Error, incoming: &Incoming) -> bool {
        if matches!(error, Error::Rule { .. }) {
            return self.failing.may_pass(&incoming.name);
        }
        self.failing.forget(&incoming.name);
        may_pass(error)
    }

    /// Waits for the letters that are under way, as a flood of them is best taken at the pace at which they are written. If that
    /// is none, the rest of the batch is not waited for.
    async fn put_aside(&self, incoming: Incoming, problem: Problem, patience: &mut Duration) {
        match tokio::time::timeout(*patience, self.dead.reserve()).await {
            Ok(Ok(place)) => place.send(Dead { incoming, problem }),
            Ok(Err(_)) | Err(_) => {
                *patience = Duration::ZERO;
                incoming.postpone(&self.link).await;
            }
        }
    }
}

/// The error of a whole batch, for each of its messages.
fn again(error: &Error) -> Error {
    match error {
        Error::Forbidden { needs } => Error::Forbidden { needs: needs.clone() },
        Error::Busy => Error::Busy,
        Error::InsufficientStorage => Error::InsufficientStorage,
        Error::Stopping => Error::Stopping,
        _ => Error::OutcomeUnknown,
    }
}

/// Whether what was refused now may be accepted later, if it is no rule that failed.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Busy
        | Error::InsufficientStorage
        | Error::OutcomeUnknown
        | Error::NotReached { .. }
        | Error::Rebuilding
        | Error::Stopping
        | Error::Internal => true,
        Error::Rule { .. }
        | Error::Invalid(_)
        | Error::Malformed(_)
        | Error::Forbidden { .. }
        | Error::NotFound { .. }
        | Error::NobodyAddressed
        | Error::KeyReused => false,
    }
}
