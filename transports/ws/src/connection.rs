//! The life of a connection: what concerns its user goes out, commands come in, one at a time, each with an answer.

use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use futures_util::future::BoxFuture;
use tidings_engine::{Cursor, Ended, Error, Subscriber, UserKey};
use tidings_http::token::{Tokens, Verified, expiry};
use tidings_http::{Context, Seat, Wishes, some_moment};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::close::{self, Close};
use crate::command::{self, Answered, Begun};
use crate::message;
use crate::pace::Pace;
use crate::socket::{Gone, Incoming, Socket};

/// After how many heartbeats without a sign of life a connection is given up.
const SILENT_HEARTBEATS_MOST: u32 = 3;
/// Clients that are sent away come back within this time, each at its own moment.
const RETRY_WITHIN_MS: u64 = 5_000;
/// And after so much more, when it was they who were too many or too much.
const RETRY_LATER_MS: u64 = 5_000;
/// How many seconds before its token ends a client is told, so that it can show another one.
const WARNED_BEFORE: i64 = 60;

/// A connection of somebody.
pub(crate) struct Connection {
    context: Context,
    /// Whose it is, and by which token; a newer one takes its place.
    shown: watch::Sender<Arc<Verified>>,
    subscriber: Subscriber,
    pace: Pace,
    /// One of those that the user may have.
    _seat: Option<Seat<UserKey>>,
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
        let seat = context.limits.connect(&shown.identity).map_err(|_| close::TOO_MANY_CONNECTIONS)?;
        let subscriber = context.engine.subscribe(&shown.identity, wishes.opening("ws")).await.map_err(
            |error| match error {
                Error::Forbidden { .. } => close::FORBIDDEN,
                Error::Stopping => close::STOPPING,
                Error::InsufficientStorage => close::NO_ROOM,
                _ => close::INTERNAL,
            },
        )?;
        let pace = Pace::new(context.limits.commands());
        let shown = watch::Sender::new(Arc::new(shown));
        Ok(Self { context: context.clone(), shown, subscriber, pace, _seat: seat })
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(mut self, mut socket: Socket) {
        let End::Close(close) = self.serve(&mut socket).await else { return };
        let cursor = self.context.engine.log().cursor(self.subscriber.position());
        drop(self.subscriber); // nothing more is to be gathered for it while it says goodbye
        socket.close(Some(closing(&self.context, close, Some(&cursor))), close).await;
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
        let given = self.context.limits.settings();
        socket.write(message::hello(&self.identity(), self.subscriber.hello(), &given)).await?;
        let heartbeat_every = self.context.limits.heartbeat();
        let mut ending = std::pin::pin!(ending(self.shown.subscribe()));
        let encoding = self.context.engine.json().clone();
        let mut heartbeat = tokio::time::interval_at(Instant::now() + heartbeat_every, heartbeat_every);
        let mut heard = Instant::now();
        // One command at a time: while it runs, nothing is read, and deliveries go on.
        let mut running: Option<BoxFuture<'static, Answered>> = None;
        let mut read_again = None;
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
                incoming = read(socket, read_again), if running.is_none() => {
                    heard = Instant::now();
                    read_again = self.pace.frame().map(|wait| heard + wait);
                    match incoming {
                        Incoming::Text(text) => match self.begin(&text) {
                            Begun::Running(command) => running = Some(command),
                            Begun::Done => {}
                            Begun::Persistent => return Err(End::Close(close::TOO_MANY_COMMANDS)),
                        },
                        Incoming::Alive => {}
                        Incoming::Binary(_) => return Err(End::Close(close::NOT_TEXT)),
                        Incoming::Broken(close) => return Err(End::Close(close)),
                        Incoming::Closed => return Err(End::Gone),
                    }
                }
                expires_at = &mut ending => {
                    socket.write(message::expiring(expires_at)).await?;
                    ending.set(self::ending(self.shown.subscribe()));
                }
                _ = heartbeat.tick() => {
                    if heard.elapsed() > heartbeat_every * SILENT_HEARTBEATS_MOST {
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

    fn begin(&mut self, text: &Utf8Bytes) -> Begun {
        let shown = self.shown.borrow().clone();
        command::begin(&self.context, shown, &mut self.subscriber, &mut self.pace, text.as_str())
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

/// What comes in next, once it is to be read.
async fn read(socket: &mut Socket, at: Option<Instant>) -> Incoming {
    if let Some(at) = at {
        tokio::time::sleep_until(at).await;
    }
    socket.read().await
}

/// The answer of the command that runs; while there is none, it never comes.
async fn finished(running: &mut Option<BoxFuture<'static, Answered>>) -> Answered {
    match running {
        Some(command) => command.await,
        None => std::future::pending().await,
    }
}

/// The last message of a connection that we close.
pub(crate) fn closing(context: &Context, close: Close, cursor: Option<&Cursor>) -> String {
    let retry_after_ms = match close {
        close::STOPPING => Some(context.return_after_ms()),
        close::NO_ROOM | close::INTERNAL => Some(some_moment(RETRY_WITHIN_MS)),
        // They were too many or too much: not at once.
        _ if close.code == close::TOO_MANY_CONNECTIONS.code => {
            Some(RETRY_LATER_MS + some_moment(RETRY_WITHIN_MS))
        }
        _ => None,
    };
    message::closing(close, cursor, retry_after_ms)
}
