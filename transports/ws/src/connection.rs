//! The life of a connection: what concerns its user goes out, commands come in, one at a time, each with an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use futures_util::future::BoxFuture;
use tidings_engine::{Cursor, Ended, Error, Subscriber};
use tidings_http::token::{Tokens, Verified, expiry};
use tidings_http::{Context, Wishes, some_moment};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::close::{self, Close};
use crate::command::{self, Answered};
use crate::message;
use crate::socket::{Gone, Incoming, Socket};

/// How often a quiet connection is told where the log is, and asked for a sign of life.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(25);
/// After how long without any a connection is given up: three heartbeats.
const SILENCE_MOST: Duration = Duration::from_secs(75);
/// Clients that are sent away come back within this time, each at its own moment.
const RETRY_WITHIN_MS: u64 = 5_000;
/// How many seconds before its token ends a client is told, so that it can show another one.
const WARNED_BEFORE: i64 = 60;

/// A connection of somebody.
pub(crate) struct Connection {
    context: Context,
    /// Whose it is, and by which token; a newer one takes its place.
    shown: watch::Sender<Arc<Verified>>,
    subscriber: Subscriber,
}

/// Why a connection ends.
enum End {
    /// We close it.
    Close(Close),
    /// It is gone.
    Gone,
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Connection {
    /// Subscribes to what concerns the identity's user.
    pub(crate) async fn open(context: &Context, shown: Verified, wishes: Wishes) -> Result<Self, Close> {
        let subscriber = context.engine.subscribe(&shown.identity, wishes.opening("ws")).await.map_err(
            |error| match error {
                Error::Forbidden { .. } => close::FORBIDDEN,
                Error::Stopping => close::STOPPING,
                Error::InsufficientStorage => close::NO_ROOM,
                _ => close::INTERNAL,
            },
        )?;
        Ok(Self { context: context.clone(), shown: watch::Sender::new(Arc::new(shown)), subscriber })
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(mut self, mut socket: Socket) {
        let End::Close(close) = self.serve(&mut socket).await else { return };
        let cursor = self.context.engine.log().cursor(self.subscriber.position());
        drop(self.subscriber); // nothing more is to be gathered for it while it says goodbye
        socket.close(closing(close, Some(&cursor)), close).await;
    }

    async fn serve(&mut self, socket: &mut Socket) -> End {
        let shutdown = self.context.shutdown.clone();
        let ended = ended(self.context.tokens.clone(), self.shown.subscribe());
        // Beside everything else, so that neither waits for a client that is slow to take what is written.
        tokio::select! {
            conversed = self.converse(socket) => match conversed {
                Ok(never) => match never {},
                Err(end) => end,
            },
            () = ended => End::Close(close::UNAUTHORIZED),
            () = shutdown.cancelled() => End::Close(close::STOPPING),
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> Result<std::convert::Infallible, End> {
        socket
            .write(message::hello(&self.identity(), self.subscriber.hello(), HEARTBEAT_EVERY.as_secs()))
            .await?;
        let mut ending = std::pin::pin!(ending(self.shown.subscribe()));
        let encoding = self.context.engine.json().clone();
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT_EVERY, HEARTBEAT_EVERY);
        let mut heard = Instant::now();
        // One command at a time: while it runs, nothing is read, and deliveries go on.
        let mut running: Option<BoxFuture<'static, Answered>> = None;
        loop {
            tokio::select! {
                parcel = self.subscriber.next() => {
                    let parcel = parcel.map_err(|Ended::Stopped| End::Close(close::STOPPING))?;
                    socket.write_parcel(&parcel, &encoding).await?;
                    self.subscriber.sent(&parcel);
                }
                answer = finished(&mut running), if running.is_some() => {
                    running = None;
                    if let Some(shown) = answer.shown {
                        self.shown.send_replace(Arc::new(shown));
                    }
                    // An answer comes after everything that it may have seen.
                    while let Some(parcel) = self.subscriber.try_next() {
                        socket.write_parcel(&parcel, &encoding).await?;
                        self.subscriber.sent(&parcel);
                    }
                    socket.write(answer.text).await?;
                }
                incoming = socket.read(), if running.is_none() => {
                    heard = Instant::now();
                    match incoming {
                        Incoming::Text(text) => running = self.begin(&text),
                        Incoming::Alive => {}
                        Incoming::Broken(close) => return Err(End::Close(close)),
                        Incoming::Closed => return Err(End::Gone),
                    }
                }
                expires_at = &mut ending => {
                    socket.write(message::expiring(expires_at)).await?;
                    ending.set(self::ending(self.shown.subscribe()));
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > SILENCE_MOST {
                        return Err(End::Close(close::TIMEOUT));
                    }
                    let cursor = self.context.engine.log().cursor(self.subscriber.settle());
                    socket.write_heartbeat(message::heartbeat(&cursor)).await?;
                }
            }
        }
    }

    fn identity(&self) -> tidings_engine::Identity {
        self.shown.borrow().identity.clone()
    }

    fn begin(&mut self, text: &Utf8Bytes) -> Option<BoxFuture<'static, Answered>> {
        let shown = self.shown.borrow().clone();
        command::begin(&self.context, shown, &mut self.subscriber, text.as_str())
    }
}

/// Waits until the last token that was shown does not hold any more.
async fn ended(tokens: Arc<Tokens>, mut shown: watch::Receiver<Arc<Verified>>) {
    loop {
        let last = shown.borrow_and_update().clone();
        tokio::select! {
            () = tokens.ended(&last) => return,
            Ok(()) = shown.changed() => {}
        }
    }
}

/// Waits until the last token that was shown ends soon, and says when. Who comes with one that does is not told: the hello
/// has said it.
async fn ending(mut shown: watch::Receiver<Arc<Verified>>) -> i64 {
    loop {
        let expires_at = shown.borrow_and_update().identity.expires_at;
        let warned_at = expires_at.saturating_sub(WARNED_BEFORE);
        let is_soon = jiff::Timestamp::now().as_second() >= warned_at;
        tokio::select! {
            changed = shown.changed() => if changed.is_err() { std::future::pending().await },
            () = expiry(warned_at), if !is_soon => return expires_at,
        }
    }
}

/// The answer of the command that runs; while there is none, it never comes.
async fn finished(running: &mut Option<BoxFuture<'static, Answered>>) -> Answered {
    match running {
        Some(command) => command.await,
        None => std::future::pending().await,
    }
}

/// The last message of a connection that we close.
pub(crate) fn closing(close: Close, cursor: Option<&Cursor>) -> String {
    let may_return = [close::STOPPING, close::NO_ROOM, close::INTERNAL].contains(&close);
    message::closing(close, cursor, may_return.then(|| some_moment(RETRY_WITHIN_MS)))
}
