//! The life of a connection: what concerns its user goes out, commands come in, one at a time, each with an answer.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::Utf8Bytes;
use futures_util::future::BoxFuture;
use tidings_engine::{Cursor, Ended, Error, Identity, Subscriber};
use tidings_http::token::expiry;
use tidings_http::{Context, Wishes, some_moment};
use tokio::time::Instant;

use crate::close::{self, Close};
use crate::command;
use crate::message;
use crate::socket::{Gone, Incoming, Socket};

/// How often a quiet connection is told where the log is, and asked for a sign of life.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(25);
/// After how long without any a connection is given up: three heartbeats.
const SILENCE_MOST: Duration = Duration::from_secs(75);
/// Clients that are sent away come back within this time, each at its own moment.
const RETRY_WITHIN_MS: u64 = 5_000;

/// A connection of somebody.
pub(crate) struct Connection {
    context: Context,
    identity: Arc<Identity>,
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
    pub(crate) async fn open(context: &Context, identity: Identity, wishes: Wishes) -> Result<Self, Close> {
        let subscriber =
            context.engine.subscribe(&identity, wishes.opening("ws")).await.map_err(|error| match error {
                Error::Forbidden { .. } => close::FORBIDDEN,
                Error::Stopping => close::STOPPING,
                Error::InsufficientStorage => close::NO_ROOM,
                _ => close::INTERNAL,
            })?;
        Ok(Self { context: context.clone(), identity: Arc::new(identity), subscriber })
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(mut self, mut socket: Socket) {
        let End::Close(close) = self.serve(&mut socket).await else { return };
        let cursor = self.context.engine.log().cursor(self.subscriber.position());
        drop(self.subscriber); // nothing more is to be gathered for it while it says goodbye
        socket.close(closing(&self.context, close, Some(&cursor)), close).await;
    }

    async fn serve(&mut self, socket: &mut Socket) -> End {
        let shutdown = self.context.shutdown.clone();
        let expiry = expiry(self.identity.expires_at);
        // Beside everything else, so that neither waits for a client that is slow to take what is written.
        tokio::select! {
            conversed = self.converse(socket) => match conversed {
                Ok(never) => match never {},
                Err(end) => end,
            },
            () = expiry => End::Close(close::UNAUTHORIZED),
            () = shutdown.cancelled() => End::Close(close::STOPPING),
        }
    }

    async fn converse(&mut self, socket: &mut Socket) -> Result<std::convert::Infallible, End> {
        socket
            .write(message::hello(&self.identity, self.subscriber.hello(), HEARTBEAT_EVERY.as_secs()))
            .await?;
        let encoding = self.context.engine.json().clone();
        let mut heartbeat = tokio::time::interval_at(Instant::now() + HEARTBEAT_EVERY, HEARTBEAT_EVERY);
        let mut heard = Instant::now();
        // One command at a time: while it runs, nothing is read, and deliveries go on.
        let mut running: Option<BoxFuture<'static, String>> = None;
        loop {
            tokio::select! {
                parcel = self.subscriber.next() => {
                    let parcel = parcel.map_err(|Ended::Stopped| End::Close(close::STOPPING))?;
                    socket.write_parcel(&parcel, &encoding).await?;
                    self.subscriber.sent(&parcel);
                }
                answer = finished(&mut running), if running.is_some() => {
                    running = None;
                    // An answer comes after everything that it may have seen.
                    while let Some(parcel) = self.subscriber.try_next() {
                        socket.write_parcel(&parcel, &encoding).await?;
                        self.subscriber.sent(&parcel);
                    }
                    socket.write(answer).await?;
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

    fn begin(&mut self, text: &Utf8Bytes) -> Option<BoxFuture<'static, String>> {
        let (engine, identity) = (self.context.engine.clone(), self.identity.clone());
        command::begin(engine, identity, &mut self.subscriber, text.as_str())
    }
}

/// The answer of the command that runs; while there is none, it never comes.
async fn finished(running: &mut Option<BoxFuture<'static, String>>) -> String {
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
        _ => None,
    };
    message::closing(close, cursor, retry_after_ms)
}
