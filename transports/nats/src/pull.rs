//! Taking messages from a consumer: as many as are asked for, and asked for again before they run out. Says when the consumer is
//! gone, or silent.
//!
//! The protocol is spoken here and not by async-nats' own stream, which reads a status from the headers of any message: whoever may
//! publish could end that stream, or hide a message in it. Here a message is what the broker wants acknowledged.

use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Message, StatusCode, Subscriber};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::time::Instant;

use crate::link::Link;
use crate::stream::Consumer;

/// Messages asked for at a time.
const MESSAGES: usize = 1_000;
/// Asked for again when so many are still to come: they fill the time that a commit takes.
const MESSAGES_LOW: usize = 500;
/// Messages handed over at a time, which share a commit.
const BATCH_MESSAGES: usize = 500;
/// Bytes handed over at a time.
const BATCH_BYTES: usize = 4 << 20;
/// Bytes asked for at a time, or twice what a message may have: what is held in memory.
const BYTES: usize = 16 << 20;
/// After this long the broker answers that it has no more.
const EXPIRES: Duration = Duration::from_secs(5);
/// After this long without a word, though one was due, the consumer is silent.
const SILENCE: Duration = Duration::from_secs(12);
/// What the broker wants acknowledged is to be acknowledged there.
const ACKNOWLEDGE: &str = "$JS.ACK.";

/// Why there is nothing more to take.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullError {
    #[error("the broker says: {0}")]
    Refused(String),
    #[error("the consumer is silent")]
    Silent,
    #[error("the connection is closed")]
    Closed,
    #[error("it cannot be asked for messages: {0}")]
    Failed(String),
}

/// Messages of a consumer.
pub(crate) struct Pull {
    link: Link,
    context: Context,
    /// Where they are asked for.
    subject: String,
    /// Where they come.
    inbox: String,
    subscriber: Subscriber,
    /// So many of those that were asked for are still to come.
    wanted: usize,
    heard: Instant,
    /// Why there is nothing more, once what came before was handed over.
    ended: Option<PullError>,
}

impl Pull {
    pub(crate) async fn open(link: &Link, context: &Context, consumer: &Consumer) -> Result<Self, PullError> {
        let mut link = link.clone();
        link.connects.mark_unchanged();
        let inbox = link.client.new_inbox();
        let subscriber = link.client.subscribe(inbox.clone()).await;
        let subscriber = subscriber.map_err(|error| PullError::Failed(error.to_string()))?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", consumer.stream_name(), consumer.name());
        let (context, wanted, heard) = (context.clone(), 0, Instant::now());
        Ok(Self { link, context, subject, inbox, subscriber, wanted, heard, ended: None })
    }

    /// The next messages, at least one; waits until there is one. May be dropped and called again.
    pub(crate) async fn batch(&mut self) -> Result<Vec<jetstream::Message>, PullError> {
        if let Some(ended) = self.ended.take() {
            return Err(ended);
        }
        let mut batch = Vec::new();
        while batch.is_empty() {
            self.ask().await?;
            let message = tokio::select! {
                biased;
                message = self.subscriber.next() => message.ok_or(PullError::Closed)?,
                changed = self.link.connects.changed() => {
                    changed.map_err(|_| PullError::Closed)?;
                    self.wanted = 0; // what was asked of the connection before is void
                    continue;
                }
                () = tokio::time::sleep_until(self.heard + SILENCE) => {
                    if self.link.broker.is_connected() {
                        return Err(PullError::Silent);
                    }
                    self.heard = Instant::now();
                    continue;
                }
            };
            self.take(message, &mut batch)?;
        }
        // From here on nothing is waited for, so that nothing is lost when this is dropped.
        let mut bytes = batch.iter().map(|message| message.payload.len()).sum::<usize>();
        while batch.len() < BATCH_MESSAGES && bytes < BATCH_BYTES {
            let Some(Some(message)) = self.subscriber.next().now_or_never() else { break };
            bytes += message.payload.len();
            self.ended = self.take(message, &mut batch).err();
            if self.ended.is_some() {
                break;
            }
        }
        Ok(batch)
    }

    /// What has come and was not handed over.
    pub(crate) fn rest(mut self) -> Vec<jetstream::Message> {
        let mut rest = Vec::new();
        while let Some(Some(message)) = self.subscriber.next().now_or_never() {
            let _ = self.take(message, &mut rest); // what it says beside no longer matters
        }
        rest
    }

    /// Asks for more, if there is not enough to come.
    async fn ask(&mut self) -> Result<(), PullError> {
        if self.wanted > MESSAGES_LOW {
            return Ok(());
        }
        let bytes = BYTES.max(2 * self.link.client.max_payload());
        let request = json!({ "batch": MESSAGES, "max_bytes": bytes, "expires": EXPIRES.as_nanos() as u64 });
        let request = Bytes::from(request.to_string());
        let asked =
            self.link.client.publish_with_reply(self.subject.clone(), self.inbox.clone(), request).await;
        asked.map_err(|error| PullError::Failed(error.to_string()))?;
        if self.wanted == 0 {
            self.heard = Instant::now(); // an answer is due from now on
        }
        self.wanted += MESSAGES;
        Ok(())
    }

    /// Takes a message, or what the broker says of the request.
    fn take(&mut self, message: Message, batch: &mut Vec<jetstream::Message>) -> Result<(), PullError> {
        self.heard = Instant::now();
        if message.reply.as_deref().is_some_and(|reply| reply.starts_with(ACKNOWLEDGE)) {
            self.wanted = self.wanted.saturating_sub(1);
            batch.push(jetstream::Message { message, context: self.context.clone() });
            return Ok(());
        }
        let pending = message.headers.as_ref().and_then(|headers| headers.get("Nats-Pending-Messages"));
        let pending = pending.and_then(|count| count.as_str().parse::<usize>().ok());
        let is_gone = message.description.as_deref() == Some("Consumer Deleted");
        match (message.status, pending.filter(|_| !is_gone)) {
            (Some(StatusCode::TIMEOUT), _) | (_, Some(_)) => {
                self.wanted = self.wanted.saturating_sub(pending.unwrap_or(MESSAGES));
                Ok(())
            }
            (Some(StatusCode::IDLE_HEARTBEAT), _) => Ok(()),
            (Some(StatusCode::NO_RESPONDERS), _) => {
                Err(PullError::Refused("there is no such consumer".to_owned()))
            }
            (status, None) => {
                let said = message.description.unwrap_or_default();
                Err(PullError::Refused(format!("{} {said}", status.map_or(0, |status| status.as_u16()))))
            }
        }
    }
}
