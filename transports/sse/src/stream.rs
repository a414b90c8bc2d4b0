//! The life of a stream: it begins with who one is, goes on with what concerns one, and says why it ends.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use futures_util::stream::{self, Stream, StreamExt};
use tidings_engine::delivery::{Encoding, Parcel};
use tidings_engine::{Ended, Hello, Resumed, Subscriber, UserKey};
use tidings_http::token::Verified;
use tidings_http::{Context, Seat, some_moment};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::event;

/// Clients connect again after this long at least, and each at another moment within as long again.
const RETRY_AFTER_MS: u64 = 1_000;

/// Why a stream ends when the server does.
const STOPPING: &str = "the server is stopping";

/// A stream that goes on.
struct Events {
    context: Context,
    subscriber: Subscriber,
    encoding: Encoding,
    /// What was handed to the connection last.
    written: Option<Arc<Parcel>>,
    heartbeat: Interval,
    /// One of those that the user may have.
    _seat: Option<Seat<UserKey>>,
    /// Says why, when the stream has to end.
    end: BoxFuture<'static, &'static str>,
}

/// The stream of a subscriber.
pub(crate) fn of(
    context: Context,
    shown: Verified,
    (subscriber, hello): (Subscriber, Hello),
    seat: Option<Seat<UserKey>>,
    encoding: Encoding,
) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let heartbeat_every = context.limits.heartbeat();
    let mut first = vec![
        event::retry(RETRY_AFTER_MS + some_moment(RETRY_AFTER_MS)),
        event::hello(&shown.identity, &hello, heartbeat_every.as_secs()),
    ];
    if let Some(Resumed::Reset(reason)) = hello.resume {
        first.push(event::reset(reason, &hello.cursor));
    }
    let mut heartbeat = tokio::time::interval_at(Instant::now() + heartbeat_every, heartbeat_every);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (shutdown, tokens) = (context.shutdown.clone(), context.tokens.clone());
    let end = Box::pin(async move {
        tokio::select! {
            () = shutdown.cancelled() => STOPPING,
            () = tokens.ended(&shown) => "the token has ended",
        }
    });
    let events = Events { context, subscriber, encoding, written: None, heartbeat, _seat: seat, end };
    let first = stream::iter([gathered(first)]);
    first.chain(stream::unfold(Some(events), next)).map(Ok)
}

async fn next(events: Option<Events>) -> Option<(Bytes, Option<Events>)> {
    let mut events = events?;
    let Events { context, subscriber, encoding, written, heartbeat, end, _seat: _ } = &mut events;
    // The connection asks for more once it has taken the last one.
    if let Some(parcel) = written.take() {
        subscriber.sent(&parcel);
    }
    tokio::select! {
        reason = end => Some((closing(context, reason), None)),
        parcel = subscriber.next() => match parcel {
            Ok(parcel) => {
                let bytes = parcel.encoded(encoding).clone();
                *written = Some(parcel);
                Some((bytes, Some(events)))
            }
            Err(Ended::Stopped) => Some((closing(context, STOPPING), None)),
        },
        _ = heartbeat.tick() => {
            let cursor = context.engine.log().cursor(subscriber.settle());
            Some((event::heartbeat(&cursor), Some(events)))
        }
    }
}

/// The last event, and when to come back if the server stops.
fn closing(context: &Context, reason: &'static str) -> Bytes {
    if reason == STOPPING {
        let retry = event::retry(context.return_after_ms());
        return gathered([retry, event::closing(reason)]);
    }
    event::closing(reason)
}

fn gathered(events: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut bytes = BytesMut::new();
    events.into_iter().for_each(|event| bytes.extend_from_slice(&event));
    bytes.freeze()
}
