//! A subscriber: one open connection of one device, as a transport sees it. It gives everything that concerns its user,
//! in order, each thing once.
//!
//! Live, what the hub hands out comes through a bounded mailbox. A subscriber that was away, or whose mailbox was full,
//! reads what it missed at its own pace, and then is live again; nobody waits for it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use schemars::JsonSchema;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

use crate::command::UpTo;
use crate::deliveries::Track;
use crate::delivery::{Message, Parcel};
use crate::engine::WeakEngine;
use crate::error::Error;
use crate::hub::{Mailbox, Ready, SubscriberId};
use crate::inbox::Counts;
use crate::metrics::Counted;
use crate::names::{Channel, DeviceName};
use crate::position::{Cursor, Position};
use crate::resume::{Resume, Resumed};

/// How a subscription begins.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The transport, for presence.
    pub transport: &'static str,
    /// What the client calls the device it runs on; without it, the connection is its device.
    pub device: Option<DeviceName>,
    /// Channels to watch from the start; with [`resume`](Self::resume), from there.
    pub watches: Vec<Channel>,
    /// Where the device left off.
    pub resume: Option<Resume>,
    /// Whom to tell that there is something in the mailbox: for a task that serves many subscribers, and waits for all of
    /// them at once.
    pub ready: Option<Ready>,
}

impl Opening {
    /// A subscription to what comes from now on.
    #[must_use]
    pub fn new(transport: &'static str) -> Self {
        Self { transport, device: None, watches: Vec::new(), resume: None, ready: None }
    }
}

/// What a subscriber starts from: everything after `cursor` comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hello {
    /// The device: what the client calls it, or what the connection is called.
    pub device: DeviceName,
    /// The channels the user is a member of.
    pub channels: Vec<Channel>,
    /// The channels that the connection watches.
    pub watching: Vec<Channel>,
    /// Where it begins: where the log stood, or where the device left off.
    pub cursor: Cursor,
    /// The user's counts, where the log stood.
    pub counts: Counts,
    /// What became of the wish to resume, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resume: Option<Resumed>,
}

/// Why a subscription ended from the engine's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The engine stops, or has failed.
    Stopped,
}

/// A place in the hub, given up when it is dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) id: SubscriberId,
    departures: mpsc::UnboundedSender<SubscriberId>,
}

impl Registration {
    pub(crate) fn new(departures: mpsc::UnboundedSender<SubscriberId>) -> Self {
        Self { id: SubscriberId::next(), departures }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let _ = self.departures.send(self.id); // the hub may have gone first
    }
}

/// What a subscriber gets next, and from where the rest comes.
pub(crate) struct Advance {
    pub(crate) parcels: Vec<Arc<Parcel>>,
    /// Everything up to here is in the parcels, or was before.
    pub(crate) position: Position,
    /// Everything after it comes here; without a mailbox there is more to read.
    pub(crate) mailbox: Option<Mailbox>,
}

/// A subscriber: what a transport reads from.
pub struct Subscriber {
    registration: Registration,
    engine: WeakEngine,
    device: DeviceName,
    folded: watch::Receiver<Position>,
    /// What was missed and is to be handed out first.
    ready: VecDeque<Arc<Parcel>>,
    source: Source,
    position: Position,
    /// Where it is noted how far the device has come, unless that is switched off.
    track: Option<Arc<Track>>,
    counted: Counted,
    /// In milliseconds since 1970.
    began_ms: i64,
}

enum Source {
    Live(Mailbox),
    /// On the way to be live again.
    Behind(BoxFuture<'static, Option<Advance>>),
    Ended,
}

impl Subscriber {
    pub(crate) fn new(
        registration: Registration,
        engine: WeakEngine,
        hello: &Hello,
        folded: watch::Receiver<Position>,
        advance: Advance,
        (track, counted): (Option<Arc<Track>>, Counted),
    ) -> Self {
        let began_ms = jiff::Timestamp::now().as_millisecond();
        let position = hello.cursor.position;
        let mut subscriber = Self {
            registration,
            engine,
            device: hello.device.clone(),
            folded,
            ready: VecDeque::new(),
            source: Source::Ended,
            position,
            track,
            counted,
            began_ms,
        };
        subscriber.take_in(advance);
        subscriber
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> SubscriberId {
        self.registration.id
    }

    /// The next parcel; waits for one. May be dropped and called again.
    ///
    /// # Errors
    /// Why there will be no more: what was there before has been handed out.
    pub async fn next(&mut self) -> Result<Arc<Parcel>, Ended> {
        poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<Parcel>, Ended>> {
        loop {
            ready!(self.poll_live(context))?;
            if let Some(parcel) = self.try_next() {
                return Poll::Ready(Ok(parcel));
            }
            if let Source::Live(mailbox) = &mut self.source
                && let Some(parcel) = ready!(mailbox.poll_receive(context))
            {
                return Poll::Ready(Ok(self.handed_out(parcel)));
            }
        }
    }

    /// Waits until there is something to [take](Self::try_next), or it is live: then its [`ReadyQueue`](crate::hub::ReadyQueue)
    /// says when there is.
    ///
    /// # Errors
    /// Why there will be no more.
    pub fn poll_live(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        loop {
            if !self.ready.is_empty() {
                return Poll::Ready(Ok(()));
            }
            match &mut self.source {
                Source::Live(mailbox) if mailbox.is_over() => self.fall_behind(),
                Source::Live(_) => return Poll::Ready(Ok(())),
                Source::Behind(advance) => match ready!(advance.as_mut().poll(context)) {
                    Some(advance) => self.take_in(advance),
                    None => self.source = Source::Ended,
                },
                Source::Ended => return Poll::Ready(Err(Ended::Stopped)),
            }
        }
    }

    /// Whether what comes next comes through its mailbox.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.ready.is_empty() && matches!(&self.source, Source::Live(mailbox) if !mailbox.is_over())
    }

    /// The next parcel, if one is there already.
    pub fn try_next(&mut self) -> Option<Arc<Parcel>> {
        let parcel = match (self.ready.pop_front(), &mut self.source) {
            (Some(parcel), _) => parcel,
            (None, Source::Live(mailbox)) => mailbox.try_receive()?,
            (None, _) => return None,
        };
        Some(self.handed_out(parcel))
    }

    /// Notes that a parcel was written to the device: to be called when the write has finished, in the order of the
    /// parcels.
    pub fn sent(&self, parcel: &Parcel) {
        self.sent_at(parcel, jiff::Timestamp::now().as_millisecond());
    }

    /// The same, at a time in milliseconds since 1970: for who writes to many at once.
    pub fn sent_at(&self, parcel: &Parcel, now_ms: i64) {
        if let Some(track) = &self.track {
            track.sent(parcel, now_ms);
        }
        if tracing::enabled!(tracing::Level::DEBUG) {
            self.log_sent(parcel);
        }
        let notifications = parcel.notifications();
        if notifications > 0 {
            self.counted.metrics.sent.add(notifications);
            // What came before it connected was not late.
            if let Some(oldest_ms) = parcel.oldest_ms().filter(|oldest_ms| *oldest_ms >= self.began_ms) {
                let seconds = (now_ms - oldest_ms).max(0) as f64 / 1e3;
                self.counted.metrics.delivery_seconds.observe(seconds, notifications);
            }
        }
    }

    fn log_sent(&self, parcel: &Parcel) {
        for delivery in parcel.deliveries() {
            let Message::Notification { event, .. } = delivery.message() else { continue };
            let Some(request) = &event.request else { continue };
            let (connection, device) = (self.id(), &self.device);
            tracing::debug!(%request, position = %event.position, %connection, %device, "delivered");
        }
    }

    /// Notes that the device has received everything up to a position or a cursor.
    ///
    /// # Errors
    /// [`Error::Invalid`] when so much was not sent, or when the cursor is of another log.
    pub fn acknowledge(&mut self, up_to: &UpTo) -> Result<Position, Error> {
        let position = match up_to {
            UpTo::Position(position) => *position,
            UpTo::Cursor(cursor) if self.is_of_log(cursor) => cursor.position,
            UpTo::Cursor(_) => {
                return Err(Error::field("upTo", "expected a cursor of this log, got one of another"));
            }
        };
        let most = self.settle();
        if position > most {
            let detail = format!("expected a position that was sent, at most {most}, got {position}");
            return Err(Error::field("upTo", detail));
        }
        if let Some(track) = &self.track {
            track.acknowledge(position);
        }
        Ok(position)
    }

    fn is_of_log(&self, cursor: &Cursor) -> bool {
        self.engine.upgrade().is_some_and(|engine| engine.log().epochs().hold(cursor))
    }

    /// The position up to which it has been given everything, as far as parcels tell.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// The same, having looked how far the log has come: a quiet subscriber moves on, too.
    pub fn settle(&mut self) -> Position {
        // First how far the mailboxes were filled, then whether this one is empty.
        let folded = *self.folded.borrow();
        let is_settled = matches!(&self.source, Source::Live(mailbox) if mailbox.is_settled());
        if is_settled && self.ready.is_empty() {
            self.position = self.position.max(folded);
        }
        self.position
    }

    fn handed_out(&mut self, parcel: Arc<Parcel>) -> Arc<Parcel> {
        self.position = parcel.position();
        parcel
    }

    fn take_in(&mut self, advance: Advance) {
        if advance.parcels.is_empty() {
            self.position = advance.position;
        }
        self.ready.extend(advance.parcels);
        match advance.mailbox {
            Some(mailbox) => self.source = Source::Live(mailbox),
            None => self.read_on(advance.position),
        }
    }

    fn fall_behind(&mut self) {
        self.read_on(self.position);
    }

    fn read_on(&mut self, after: Position) {
        let (engine, id) = (self.engine.clone(), self.id());
        self.source = Source::Behind(async move { engine.upgrade()?.advance(id, after).await }.boxed());
    }
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber")
            .field("id", &self.registration.id)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
