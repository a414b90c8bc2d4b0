//! A message of the stream that is to be published: what it is called, how often it came, and how it is settled. Settling is said to
//! the broker and not waited for: a message whose word is lost comes again, and its key says that it was published.

use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use tidings_engine::{IdempotencyKey, Publication};

use crate::link::Link;

/// A message that came again is put off for this long at first, twice as long each time, and at most.
const POSTPONE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// A message of the stream.
pub(crate) struct Incoming {
    pub(crate) message: jetstream::Message,
    /// What it is called as long as there are streams.
    pub(crate) name: String,
    /// How often it was handed out, with this time.
    pub(crate) delivered: u32,
    pub(crate) stream: String,
    pub(crate) sequence: u64,
}

impl Incoming {
    /// `None` for what is no message of a stream.
    pub(crate) fn new(message: jetstream::Message) -> Option<Self> {
        let info = message.info().ok()?;
        let (stream, sequence) = (info.stream.to_owned(), info.stream_sequence);
        // A stream that is made anew counts from 1 again, so a number alone names no message. With the moment at which the broker
        // stored it, it does, whichever server asks, and without knowing when the stream was made.
        let stored = info.published.unix_timestamp_nanos();
        let name = format!("nats:{stream}:{sequence}:{stored}");
        let delivered = u32::try_from(info.delivered).unwrap_or(1);
        Some(Self { message, name, delivered, stream, sequence })
    }

    /// What it publishes has a key from now on, so that it is published once however often the message comes.
    pub(crate) fn with_key(&self, mut publication: Publication) -> Publication {
        let key = &mut publication.draft.idempotency_key;
        if key.is_none() {
            *key = IdempotencyKey::new(&self.name).ok(); // a stream's name has 255 bytes at most, ours 64
        }
        publication
    }

    /// It was published: the broker may forget it.
    pub(crate) async fn accept(&self, link: &Link) {
        self.settle(AckKind::Ack).await;
        link.broker.accepted.add(1);
    }

    /// It was put aside: the broker may forget it.
    pub(crate) async fn bury(&self, link: &Link) {
        self.settle(AckKind::Term).await;
        link.broker.dead.add(1);
    }

    /// It is to come again, later each time.
    pub(crate) async fn postpone(&self, link: &Link) {
        let (first, most) = POSTPONE;
        let delay = first.saturating_mul(1 << (self.delivered.saturating_sub(1)).min(10)).min(most);
        self.settle(AckKind::Nak(Some(delay))).await;
        link.broker.postponed.add(1);
    }

    /// It is to come again at once, to another server.
    pub(crate) async fn give_back(&self, link: &Link) {
        self.settle(AckKind::Nak(None)).await;
        link.broker.postponed.add(1);
    }

    async fn settle(&self, kind: AckKind) {
        if let Err(error) = self.message.ack_with(kind).await {
            tracing::debug!(%error, message = self.name, "a message could not be settled: it comes again");
        }
    }
}
