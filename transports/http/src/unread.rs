//! Bodies that are refused before they are read. Whoever still sends one would meet a broken connection instead of the answer,
//! so what they send is taken in and thrown away: beside the answer, in no hurry, and not for ever. Keeps nothing of it.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as Poller, Poll};
use std::time::{Duration, Instant};

use axum::Error;
use axum::body::{Body, Bytes, HttpBody};
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use tidings_config::Rate;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::rate::Bucket;

/// Bytes that are thrown away, of everybody together: as much at once as the largest batch twice over, so that who is once
/// mistaken is answered at once, and no more a second than one percent or two of a core takes in.
const THROWN_AWAY: Rate =
    Rate { count: NonZeroU32::new(16 << 20).unwrap(), seconds: NonZeroU32::new(1).unwrap() };
/// The answer goes out first: who waits to be told to go on (`Expect: 100-continue`) sends nothing then.
const ANSWER_FIRST: Duration = Duration::from_millis(50);

/// What throws bodies away.
#[derive(Clone)]
pub(crate) struct Discards {
    pace: Arc<Mutex<Bucket>>,
    /// Where the work is waited for at the end.
    connections: TaskTracker,
    shutdown: CancellationToken,
}

impl Discards {
    pub(crate) fn new(connections: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { pace: Arc::new(Mutex::new(Bucket::new(THROWN_AWAY))), connections, shutdown }
    }

    /// The same body; what is left of it when it is dropped is thrown away, as long as the patience lasts.
    pub(crate) fn of(&self, body: Body, patience: Duration) -> Body {
        if body.is_end_stream() {
            return body;
        }
        Body::new(Unread { body, by: self.clone(), until: Instant::now() + patience })
    }

    /// Reads to the end, unless that does not come in time: then the connection is closed.
    fn discard(&self, mut body: Body, until: Instant) {
        let (pace, shutdown) = (self.pace.clone(), self.shutdown.clone());
        let reading = async move {
            tokio::time::sleep(ANSWER_FIRST).await;
            while let Some(Ok(frame)) = body.frame().await {
                let bytes = frame.data_ref().map_or(0, Bytes::len);
                let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
                let wait = pace.lock().unwrap_or_else(PoisonError::into_inner).owe(bytes, Instant::now());
                tokio::time::sleep(wait).await;
            }
        };
        self.connections.spawn(async move {
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = tokio::time::timeout_at(until.into(), reading) => {}
            }
        });
    }
}

/// A body that may be dropped before its end.
struct Unread {
    body: Body,
    by: Discards,
    until: Instant,
}

impl HttpBody for Unread {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Poller<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(None | Some(Err(_))) = &polled {
            self.body = Body::empty();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        if !self.body.is_end_stream() && Instant::now() < self.until {
            self.by.discard(std::mem::take(&mut self.body), self.until);
        }
    }
}
