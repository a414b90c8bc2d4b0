//! The life of a connection: what concerns its user goes out, commands come in, one at a time, each with an answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tidings_engine::{Cursor, Error, Opening, UserKey};
use tidings_http::token::Verified;
use tidings_http::{Context, Seat, Wishes, some_moment};
use tokio::time::Instant;

use crate::close::{self, Close};
use crate::codec::Incoming;
use crate::command::{self, Answered, Begun};
use crate::line::{Interrupt, Line};
use crate::message;
use crate::pace::Pace;
use crate::writer::Place;

/// After how many heartbeats without a sign of life a connection is given up.
const SILENT_HEARTBEATS_MOST: u32 = 3;
/// Clients that are sent away come back within this time, each at its own moment.
const RETRY_WITHIN_MS: u64 = 5_000;
/// And after so much more, when it was they who were too many or too much.
const RETRY_LATER_MS: u64 = 5_000;
/// How many seconds before its token ends a client is told, so that it can show another one.
const WARNED_BEFORE: i64 = 60;

/// However long a token lasts, it is looked at again after this: a clock may be set.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A connection of somebody. What it is made of is kept as long as it lasts: it is small.
pub(crate) struct Connection {
    context: Context,
    /// Whose it is, and by which token; a newer one takes its place.
    shown: Arc<Verified>,
    line: Arc<Line>,
    /// Its turn with a writer.
    _place: Place,
    pace: Pace,
    /// One of those that the user may have.
    _seat: Option<Seat<UserKey>>,
    heard: Instant,
    /// As the hello has said it.
    heartbeat_every: Duration,
    heartbeat_at: Instant,
    /// When more is to be read from a client that sends too much.
    read_at: Option<Instant>,
    /// Whether the client knows that its token ends soon.
    is_warned: bool,
    /// One command at a time: while it runs, nothing is read, and deliveries go on.
    running: Option<BoxFuture<'static, Answered>>,
}

/// Why a connection ends.
enum End {
    /// We close it.
    Close(Close),
    /// It is gone.
    Gone,
}

impl Connection {
    /// Subscribes to what concerns the identity's user, on a line that a writer has.
    pub(crate) async fn open(
        context: &Context,
        shown: Verified,
        wishes: Wishes,
        line: Arc<Line>,
        place: Place,
    ) -> Result<Self, Close> {
        let seat = context.limits.connect(&shown.identity).map_err(|_| close::TOO_MANY_CONNECTIONS)?;
        let opening = Opening { ready: Some(place.ready()), ..wishes.opening("ws") };
        let (subscriber, hello) =
            context.engine.subscribe(&shown.identity, opening).await.map_err(|error| match error {
                Error::Forbidden { .. } => close::FORBIDDEN,
                Error::Stopping => close::STOPPING,
                Error::InsufficientStorage => close::NO_ROOM,
                _ => close::INTERNAL,
            })?;
        let given = context.limits.settings();
        line.put(&message::hello(&shown.identity, &hello, &given));
        line.begin(subscriber);
        let now = Instant::now();
        let heartbeat_every = Duration::from_secs(given.heartbeat_seconds.get().into());
        let mut connection = Self {
            context: context.clone(),
            shown: Arc::new(shown),
            line,
            _place: place,
            pace: Pace::new(context.limits.commands()),
            _seat: seat,
            heard: now,
            heartbeat_every,
            heartbeat_at: now + heartbeat_every,
            read_at: None,
            is_warned: false,
            running: None,
        };
        // The hello has said it to who comes with a token that ends soon.
        connection.is_warned = connection.ends_soon();
        Ok(connection)
    }

    /// Serves the connection until it ends.
    pub(crate) async fn run(&mut self) {
        let end = self.serve().await;
        let position = self.line.end(); // nothing more is to be gathered for it while it says goodbye
        let End::Close(close) = end else {
            return Box::pin(self.line.answer_close()).await;
        };
        let cursor = position.map(|position| self.context.engine.log().cursor(position));
        let last = closing(&self.context, close, cursor.as_ref());
        // In a box: a goodbye is short, and a connection need not have room for it as long as it lasts.
        Box::pin(self.line.close(Some(&last), close)).await;
    }

    /// Nothing here waits for the client: what it is told is put on the line, and written beside everything else.
    async fn serve(&mut self) -> End {
        // Whoever came while something changed for everybody was not called.
        if let Err(end) = self.look_up() {
            return end;
        }
        let line = self.line.clone();
        let mut due = std::pin::pin!(tokio::time::sleep_until(self.due()));
        loop {
            let turn = tokio::select! {
                interrupt = line.deliver() => match interrupt {
                    Interrupt::Gone => Err(End::Gone),
                    Interrupt::Stopped => Err(End::Close(close::STOPPING)),
                    Interrupt::Called => self.look_up(),
                    Interrupt::Answered => Ok(()),
                },
                answer = finished(&mut self.running), if self.running.is_some() => {
                    self.answered(answer);
                    Ok(())
                }
                incoming = line.read(), if self.may_read() => {
                    self.received(incoming)
                }
                () = &mut due => self.wake(),
            };
            if let Err(end) = turn {
                return end;
            }
            let next = self.due();
            if due.deadline() != next {
                due.as_mut().reset(next);
            }
        }
    }

    /// When something is to be done, whatever happens meanwhile.
    fn due(&self) -> Instant {
        let in_seconds = |seconds: i64| {
            let left = seconds.saturating_sub(Timestamp::now().as_second());
            Instant::now() + u64::try_from(left).map_or(Duration::ZERO, Duration::from_secs).min(LOOK_AGAIN)
        };
        let expires_at = self.shown.identity.expires_at;
        let token_at = if self.is_warned { expires_at } else { expires_at.saturating_sub(WARNED_BEFORE) };
        self.heartbeat_at.min(in_seconds(token_at)).min(self.read_at.unwrap_or(self.heartbeat_at))
    }

    fn ends_soon(&self) -> bool {
        Timestamp::now().as_second() >= self.shown.identity.expires_at.saturating_sub(WARNED_BEFORE)
    }

    /// Looks whether the connection may go on.
    fn look_up(&self) -> Result<(), End> {
        if self.context.shutdown.is_cancelled() {
            return Err(End::Close(close::STOPPING));
        }
        if !self.context.tokens.is_good(&self.shown) {
            return Err(End::Close(close::UNAUTHORIZED));
        }
        Ok(())
    }

    /// Does what is due.
    fn wake(&mut self) -> Result<(), End> {
        self.look_up()?;
        let now = Instant::now();
        self.read_at = self.read_at.filter(|at| *at > now);
        if !self.is_warned && self.ends_soon() {
            self.is_warned = true;
            self.line.put(&message::expiring(self.shown.identity.expires_at));
        }
        if self.heartbeat_at <= now {
            if self.line.take_moved() {
                self.heard = now; // who is behind has what was asked of them yet to come
            }
            if self.heard.elapsed() > self.heartbeat_every * SILENT_HEARTBEATS_MOST {
                return Err(End::Close(close::TIMEOUT));
            }
            self.heartbeat_at = now + self.heartbeat_every;
            let log = self.context.engine.log();
            self.line.put_heartbeat(|settled| message::heartbeat(&log.cursor(settled)));
        }
        Ok(())
    }

    fn received(&mut self, incoming: Incoming) -> Result<(), End> {
        let now = Instant::now();
        self.read_at = self.pace.frame().map(|wait| now + wait);
        if !matches!(incoming, Incoming::Part) {
            self.heard = now; // who never comes to an end is as good as silent
        }
        match incoming {
            Incoming::Text(text) => self.begin(&text),
            Incoming::Alive | Incoming::Part => Ok(()),
            Incoming::Binary(_) => Err(End::Close(close::NOT_TEXT)),
            Incoming::Broken(close) => Err(End::Close(close)),
            Incoming::Closed => Err(End::Gone),
        }
    }

    /// Begins what a frame asks for.
    fn begin(&mut self, text: &str) -> Result<(), End> {
        let Self { context, shown, line, pace, .. } = self;
        let begun =
            line.with_subscriber(|subscriber| command::begin(context, shown.clone(), subscriber, pace, text));
        match begun.unwrap_or(Begun::Done) {
            Begun::Running(command) => self.running = Some(command),
            Begun::Done => {}
            Begun::Persistent => return Err(End::Close(close::TOO_MANY_COMMANDS)),
        }
        Ok(())
    }

    fn answered(&mut self, answer: Answered) {
        self.running = None;
        if let Some(shown) = answer.shown {
            self.shown = Arc::new(shown);
            self.is_warned = self.ends_soon();
        }
        self.line.put_answer(&answer.text);
    }

    /// Whether the next frame is to be looked at: one after the other, and not sooner than it may come.
    fn may_read(&self) -> bool {
        self.running.is_none() && self.read_at.is_none() && !self.line.has_answer()
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
