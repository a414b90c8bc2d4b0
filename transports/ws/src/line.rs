//! The line to a client: what is written to its socket, in order, and what is read from it.
//!
//! Two sides write: the connection's own task, and, as long as the socket takes everything at once, the
//! [writer](crate::writer) that serves many lines together. Whoever finds that it does not leaves the rest to the task.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::task::AtomicWaker;
use hyper::upgrade::Upgraded;
use jiff::Timestamp;
use smallvec::SmallVec;
use tidings_engine::delivery::{Encoding, Parcel};
use tidings_engine::{Ended, Position, Subscriber};
use tungstenite::protocol::{CloseFrame, Message};

use crate::close::Close;
use crate::codec::{Codec, Incoming, text_frame};
use crate::socket::{Gone, Socket};

/// How long the goodbye may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// What delivering ends with.
#[derive(Debug)]
pub(crate) enum Interrupt {
    /// The connection is gone.
    Gone,
    /// The engine stops.
    Stopped,
    /// An answer that had to wait is on the line.
    Answered,
    /// Something has changed for everybody: it is to be looked whether the connection may go on.
    Called,
}

impl From<Gone> for Interrupt {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

/// A line.
pub(crate) struct Line {
    ends: Mutex<Ends>,
    /// The connection's own task.
    task: AtomicWaker,
    is_called: AtomicBool,
    encoding: Encoding,
}

/// Both ends of the socket, and what waits at them.
struct Ends {
    socket: Socket,
    codec: Codec,
    /// What came in and was not looked at yet.
    unread: Bytes,
    unwritten: VecDeque<Bytes>,
    /// Parcels that are being written, the last of them with the last of what is unwritten.
    writing: Vec<Arc<Parcel>>,
    subscriber: Option<Subscriber>,
    /// What is to be put on the line once the subscriber is live.
    answer: Option<Bytes>,
    /// The task waits until the socket has sent what it has taken.
    is_flushing: bool,
    /// The socket took no more, the last time.
    is_full: bool,
    /// It has taken something since: the client reads, however slowly.
    has_moved: bool,
    /// Nothing more of what the subscriber gets is to be written.
    is_ending: bool,
}

impl Line {
    /// The line of an upgraded connection that sends messages of so many bytes at most.
    pub(crate) fn new(socket: Upgraded, message_bytes: usize, encoding: Encoding) -> Self {
        let ends = Ends {
            socket: Socket::new(socket),
            codec: Codec::new(message_bytes),
            unread: Bytes::new(),
            unwritten: VecDeque::new(),
            writing: Vec::new(),
            subscriber: None,
            answer: None,
            is_flushing: false,
            is_full: false,
            has_moved: false,
            is_ending: false,
        };
        Self { ends: Mutex::new(ends), task: AtomicWaker::new(), is_called: AtomicBool::new(false), encoding }
    }

    /// From now on, what a subscriber gets is written.
    pub(crate) fn begin(&self, subscriber: Subscriber) {
        self.ends().subscriber = Some(subscriber);
    }

    /// Takes nothing more of what the subscriber gets. Up to where it was given everything.
    pub(crate) fn end(&self) -> Option<Position> {
        let mut ends = self.ends();
        ends.is_ending = true;
        ends.subscriber.as_ref().map(Subscriber::position)
    }

    /// Does something with the subscriber, if there is one.
    pub(crate) fn with_subscriber<T>(&self, act: impl FnOnce(&mut Subscriber) -> T) -> Option<T> {
        self.ends().subscriber.as_mut().map(act)
    }

    /// Waits for the next frame. May be dropped and called again.
    pub(crate) async fn read(&self) -> Incoming {
        poll_fn(|context| self.ends().poll_read(context)).await
    }

    /// Puts a message on the line, before everything that comes from now on.
    pub(crate) fn put(&self, text: &str) {
        self.ends().put(text_frame(text.as_bytes()));
    }

    /// Puts a message of any kind on the line.
    pub(crate) fn put_message(&self, message: Message) {
        self.ends().put_message(message);
    }

    /// Puts an answer on the line, after everything that it may have seen: while the subscriber still reads what it missed, it
    /// waits, and is not to be followed by another.
    pub(crate) fn put_answer(&self, text: &str) {
        let mut ends = self.ends();
        ends.gather(&self.encoding);
        let answer = text_frame(text.as_bytes());
        if ends.subscriber.as_ref().is_some_and(Subscriber::is_live) {
            ends.put(answer);
        } else {
            ends.answer = Some(answer);
        }
    }

    /// Whether an answer waits.
    pub(crate) fn has_answer(&self) -> bool {
        self.ends().answer.is_some()
    }

    /// Asks for a sign of life. A line on which nothing waits is told, too, how far it is; what waits says so by itself.
    pub(crate) fn put_heartbeat(&self, text: impl FnOnce(Position) -> String) {
        let mut ends = self.ends();
        if ends.is_quiet()
            && let Some(subscriber) = &mut ends.subscriber
        {
            let settled = subscriber.settle();
            ends.put(text_frame(text(settled).as_bytes()));
        }
        ends.put_message(Message::Ping(Bytes::new()));
    }

    /// Whether a socket that was full has taken something since this was asked last.
    pub(crate) fn take_moved(&self) -> bool {
        std::mem::take(&mut self.ends().has_moved)
    }

    /// Interrupts the connection's task.
    pub(crate) fn call(&self) {
        self.is_called.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Writes what is put on the line, and what the subscriber gets whenever the [writer](crate::writer) cannot: when the socket
    /// does not take everything at once, and while the subscriber reads on from the log. However long that takes: the socket gives
    /// up a client that takes no byte. May be dropped and called again.
    pub(crate) async fn deliver(&self) -> Interrupt {
        let delivered = poll_fn(|context| {
            self.task.register(context.waker());
            if self.is_called.swap(false, Ordering::AcqRel) {
                return Poll::Ready(Err(Interrupt::Called));
            }
            self.ends().poll_deliver(context, &self.encoding)
        });
        match delivered.await {
            Ok(never) => match never {},
            Err(why) => why,
        }
    }

    /// Writes what is in the subscriber's mailbox, as far as the socket takes it at once, at a time in milliseconds since
    /// 1970. What it does not take, and whatever else has to be waited for, is left to the task.
    pub(crate) fn write_ready(&self, together: &mut Together, now_ms: i64) {
        let written = match self.ends.try_lock() {
            Ok(mut ends) => ends.write_ready(together, &self.encoding, now_ms),
            // The task is at it, and may be for a while: it looks into the mailbox afterwards.
            Err(_) => false,
        };
        if !written {
            self.task.wake();
        }
    }

    /// Says goodbye: a last message, if there is one, then the close frame.
    pub(crate) async fn close(&self, last: Option<&str>, close: Close) {
        let goodbye = async {
            {
                let mut ends = self.ends();
                if let Some(last) = last {
                    ends.put(text_frame(last.as_bytes()));
                }
                ends.put_message(Message::Close(Some(CloseFrame {
                    code: close.code.into(),
                    reason: close.reason.into(),
                })));
            }
            self.flush().await?;
            self.ends().subscriber = None; // everything of it is written
            poll_fn(|context| self.ends().poll_finish(context)).await;
            // The client's own close frame, so that it gets to read ours before the connection is cut.
            while !matches!(self.read().await, Incoming::Closed | Incoming::Broken(_)) {}
            Ok::<_, Gone>(())
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, goodbye).await; // whoever has gone needs no goodbye
    }

    /// Answers a client that closes: without, it takes its close for a broken connection.
    pub(crate) async fn answer_close(&self) {
        let _ = tokio::time::timeout(CLOSE_PATIENCE, self.flush()).await;
    }

    async fn flush(&self) -> Result<(), Gone> {
        poll_fn(|context| self.ends().poll_flush(context)).await
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ends {
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Incoming> {
        let mut has_filled = false;
        loop {
            // Who asks has to listen, too: as long as something of ours waits, nothing is read.
            if let Err(Gone) = ready!(self.poll_flush(context)) {
                return Poll::Ready(Incoming::Closed);
            }
            let came = self.codec.read(&mut self.unread);
            let own = self.codec.take_own();
            self.put(own);
            if let Some(incoming) = came {
                return Poll::Ready(incoming);
            }
            if has_filled {
                return Poll::Ready(Incoming::Part);
            }
            if self.unwritten.is_empty() {
                let Some(came) = ready!(self.socket.poll_read(context)) else {
                    return Poll::Ready(Incoming::Closed);
                };
                self.unread = came;
                has_filled = true;
            }
        }
    }

    fn put(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.unwritten.push_back(bytes);
        }
    }

    /// Whether everything that was to be written was.
    fn is_quiet(&self) -> bool {
        self.unwritten.is_empty() && !self.is_flushing
    }

    fn put_message(&mut self, message: Message) {
        self.codec.write(message);
        let own = self.codec.take_own();
        self.put(own);
    }

    /// Takes what the subscriber has already, to be written.
    fn gather(&mut self, encoding: &Encoding) {
        if self.is_ending {
            return;
        }
        while let Some(parcel) = self.subscriber.as_mut().and_then(Subscriber::try_next) {
            self.put_parcel(parcel, encoding);
        }
    }

    fn put_parcel(&mut self, parcel: Arc<Parcel>, encoding: &Encoding) {
        self.put(parcel.encoded(encoding).clone());
        self.writing.push(parcel);
    }

    /// Writes everything that waits.
    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.socket.is_broken() {
            return Poll::Ready(Err(Gone));
        }
        while let Some(bytes) = self.unwritten.front_mut() {
            let written = self.socket.poll_write(context, bytes);
            self.has_moved |= self.is_full && written.is_ready();
            self.is_full = written.is_pending();
            let written = ready!(written)?;
            bytes.advance(written);
            if bytes.is_empty() {
                self.unwritten.pop_front();
            }
        }
        self.is_flushing = true;
        ready!(self.socket.poll_flush(context))?;
        self.is_flushing = false;
        if self.unwritten.capacity() > 0 {
            self.unwritten = VecDeque::new(); // a quiet connection keeps nothing
        }
        self.note_written();
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes, to a client whose own close could not be understood: it ends the connection then.
    fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match self.codec.is_broken() {
            true => self.socket.poll_shutdown(context),
            false => Poll::Ready(()),
        }
    }

    fn note_written(&mut self) {
        if self.writing.is_empty() {
            return;
        }
        let now_ms = Timestamp::now().as_millisecond();
        for parcel in std::mem::take(&mut self.writing) {
            if let Some(subscriber) = &self.subscriber {
                subscriber.sent_at(&parcel, now_ms);
            }
        }
    }

    fn poll_deliver(
        &mut self,
        context: &mut Context<'_>,
        encoding: &Encoding,
    ) -> Poll<Result<Infallible, Interrupt>> {
        loop {
            ready!(self.poll_flush(context))?;
            let Some(subscriber) = self.subscriber.as_mut().filter(|_| !self.is_ending) else {
                return Poll::Pending;
            };
            if let Some(parcel) = subscriber.try_next() {
                self.put_parcel(parcel, encoding);
                continue;
            }
            if subscriber.is_live() {
                let Some(answer) = self.answer.take() else {
                    return Poll::Pending; // the writer is told of what comes next
                };
                self.put(answer);
                return Poll::Ready(Err(Interrupt::Answered));
            }
            ready!(subscriber.poll_live(context)).map_err(|Ended::Stopped| Interrupt::Stopped)?;
        }
    }

    /// Whether nothing is left to the task that it does not know of.
    fn write_ready(&mut self, together: &mut Together, encoding: &Encoding, now_ms: i64) -> bool {
        if !self.is_quiet() || self.is_ending || self.socket.is_broken() {
            return true; // the task is at it, and goes on with what there is then
        }
        let Some(subscriber) = &mut self.subscriber else { return true };
        let parcels: Parcels = std::iter::from_fn(|| subscriber.try_next()).collect();
        if parcels.is_empty() {
            return subscriber.is_live();
        }
        let bytes = together.encoded(&parcels, encoding);
        // The task waits for the socket, where that is needed.
        let context = &mut Context::from_waker(Waker::noop());
        let written = match self.socket.poll_write(context, &bytes) {
            Poll::Ready(Ok(written)) => written,
            Poll::Ready(Err(Gone)) => return false,
            Poll::Pending => 0,
        };
        let is_written =
            written == bytes.len() && matches!(self.socket.poll_flush(context), Poll::Ready(Ok(())));
        if is_written {
            parcels.iter().for_each(|parcel| subscriber.sent_at(parcel, now_ms));
            return subscriber.is_live();
        }
        self.writing.extend(parcels);
        self.put(bytes.slice(written..));
        self.is_flushing = true;
        false
    }
}

/// Parcels that wait for one line: the usual number is one.
type Parcels = SmallVec<[Arc<Parcel>; 4]>;

/// Several parcels as one run of bytes, for one line after the other that has the same ones.
#[derive(Default)]
pub(crate) struct Together {
    parcels: Parcels,
    bytes: Bytes,
}

impl Together {
    fn encoded(&mut self, parcels: &Parcels, encoding: &Encoding) -> Bytes {
        if let [parcel] = &**parcels {
            return parcel.encoded(encoding).clone();
        }
        let are_the_same = self.parcels.len() == parcels.len()
            && self.parcels.iter().zip(parcels).all(|(one, other)| Arc::ptr_eq(one, other));
        if !are_the_same {
            let runs = parcels.iter().map(|parcel| &parcel.encoded(encoding)[..]);
            self.bytes = runs.collect::<SmallVec<[_; 8]>>().concat().into();
            self.parcels.clone_from(parcels);
        }
        self.bytes.clone()
    }
}
