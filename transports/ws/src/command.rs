//! Commands of a client: frames into the engine's commands and queries, and their results into answers.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidings_engine::command::UpTo;
use tidings_engine::event::Mark;
use tidings_engine::hub::SubscriberId;
use tidings_engine::inbox::InboxQuery;
use tidings_engine::input::{self, FieldError};
use tidings_engine::request::{self, RequestId};
use tidings_engine::{
    Channel, CloudEvent, Draft, Engine, Identity, NotificationId, Position, Publication, Subscriber, limits,
};
use tidings_http::problem::Problem;
use tracing::Instrument;

use crate::message::{answer, error};

/// Bytes of a request's id, when it is text.
const ID_BYTES: usize = 64;

/// What runs a command, and for whom.
struct Request {
    engine: Engine,
    identity: Arc<Identity>,
    subscriber: SubscriberId,
    /// Everything up to here was written to the connection.
    written: Position,
}

/// The fields of a frame beside `type` and `id`.
type Fields = Map<String, Value>;
type Outcome = Result<Value, Problem>;

/// Begins what a frame asks for. The future gives the answer; `None` when there is none to give.
pub(crate) fn begin(
    engine: Engine,
    identity: Arc<Identity>,
    subscriber: &mut Subscriber,
    text: &str,
) -> Option<BoxFuture<'static, String>> {
    let Frame { id, kind, fields } = match Frame::parse(text) {
        Ok(frame) => frame,
        Err((id, problem)) => return Some(async move { error(&id, &problem) }.boxed()),
    };
    if kind == "ack" {
        // Free: no answer, unless one is asked for or something is wrong with it.
        let said = match acknowledge(subscriber, fields) {
            Ok(_) if id.is_null() => return None,
            Ok(position) => answer(&id, &json!({ "position": position })),
            Err(problem) => error(&id, &problem),
        };
        return Some(std::future::ready(said).boxed());
    }
    if id.is_null() {
        let problem = Problem::field("id", "expected a number or a text, which the answer will name");
        return Some(async move { error(&id, &problem) }.boxed());
    }
    let request = Request { engine, identity, subscriber: subscriber.id(), written: subscriber.settle() };
    let run = async move {
        let engine = request.engine.clone();
        match in_order(&engine, request.run(&kind, fields).await).await {
            Ok(result) => answer(&id, &result),
            Err(problem) => error(&id, &problem),
        }
    };
    let request_id = RequestId::new();
    let span = tracing::error_span!("request", id = %request_id);
    Some(request::within(request_id, run).instrument(span).boxed())
}

/// The outcome, once everything up to the position it names is in the mailbox: it is to be written before the answer.
async fn in_order(engine: &Engine, outcome: Outcome) -> Outcome {
    let value = outcome?;
    if let Some(position) = value.get("position").and_then(Value::as_u64) {
        engine.settle_at(Position(position)).await?;
    }
    Ok(value)
}

/// A frame: what is asked for, what its answer will name, and the other fields.
struct Frame {
    kind: String,
    id: Value,
    fields: Fields,
}

impl Frame {
    /// Parses a frame. An error comes with the id, as far as there is one, for the answer to name.
    fn parse(text: &str) -> Result<Self, (Value, Box<Problem>)> {
        let fields = input::parse(text.as_bytes()).map_err(Problem::from);
        let mut fields: Fields = fields.map_err(|problem| (Value::Null, Box::new(problem)))?;
        let id = fields.remove("id").unwrap_or_default();
        let is_id = match &id {
            Value::Null => true,
            Value::Number(number) => number.is_u64(),
            Value::String(text) => (1..=ID_BYTES).contains(&text.len()),
            _ => false,
        };
        if !is_id {
            let detail =
                format!("expected a whole number that is not negative, or a text of 1 to {ID_BYTES} bytes");
            return Err((Value::Null, Box::new(Problem::field("id", detail))));
        }
        match fields.remove("type") {
            Some(Value::String(kind)) => Ok(Self { kind, id, fields }),
            _ => Err((id, Box::new(Problem::field("type", "expected a text: what the client asks for")))),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct These {
    notifications: Vec<NotificationId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Until {
    notifications: Vec<NotificationId>,
    until: Timestamp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SeenUpTo {
    up_to: Option<UpTo>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfChannel {
    channel: Channel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfSomeChannel {
    channel: Option<Channel>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Publish {
    #[serde(default, deserialize_with = "input::optional_object")]
    notification: Option<Draft>,
    #[serde(default, deserialize_with = "input::optional_object")]
    cloud_event: Option<CloudEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Counts {
    by: Option<By>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Type,
    Channel,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Inbox {
    #[serde(default)]
    limit: Option<usize>,
    cursor: Option<String>,
    unread: Option<bool>,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    snoozed: bool,
    pinned: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<tidings_engine::NotificationType>,
    tag: Option<tidings_engine::Tag>,
    channel: Option<Channel>,
}

/// The commands there are, for the answer to one that is not.
const COMMANDS: &str = "ack, ping, read, read-all, seen, clicked, unread, archive, unarchive, pin, unpin, delete, snooze, wake, inbox, counts, \
                        join, leave, watch, unwatch, presence, publish";

impl Request {
    async fn run(self, kind: &str, fields: Fields) -> Outcome {
        match kind {
            "ping" => self.ping(fields).await,
            "read" => self.read(fields).await,
            "read-all" => self.read_all(fields).await,
            "seen" => self.seen(fields).await,
            "clicked" => self.clicked(fields).await,
            "unread" => self.mark(Mark::Unread, fields).await,
            "archive" => self.mark(Mark::Archived, fields).await,
            "unarchive" => self.mark(Mark::Unarchived, fields).await,
            "pin" => self.mark(Mark::Pinned, fields).await,
            "unpin" => self.mark(Mark::Unpinned, fields).await,
            "delete" => self.mark(Mark::Deleted, fields).await,
            "snooze" => self.snooze(fields).await,
            "wake" => self.wake(fields).await,
            "inbox" => self.inbox(fields).await,
            "counts" => self.counts(fields).await,
            "join" => self.join(fields).await,
            "leave" => self.leave(fields).await,
            "watch" => self.watch(fields).await,
            "unwatch" => self.unwatch(fields).await,
            "presence" => self.presence(fields).await,
            "publish" => self.publish(fields).await,
            _ => Err(Problem::field("type", format!("expected one of {COMMANDS}"))),
        }
    }

    async fn ping(self, fields: Fields) -> Outcome {
        let Nothing {} = parse(fields)?;
        let position = self.engine.settle().await?;
        Ok(json!({ "position": position }))
    }

    async fn read(self, fields: Fields) -> Outcome {
        let These { notifications } = parse(fields)?;
        result(&self.engine.read(&self.identity, &notifications).await?)
    }

    async fn clicked(self, fields: Fields) -> Outcome {
        let These { notifications } = parse(fields)?;
        result(&self.engine.clicked(&self.identity, &notifications).await?)
    }

    async fn read_all(self, fields: Fields) -> Outcome {
        let SeenUpTo { up_to } = parse(fields)?;
        // Never "now": what the client cannot have seen stays unread.
        let up_to = up_to.unwrap_or(UpTo::Position(self.written));
        result(&self.engine.read_all(&self.identity, &up_to).await?)
    }

    async fn seen(self, fields: Fields) -> Outcome {
        let SeenUpTo { up_to } = parse(fields)?;
        let up_to = up_to.unwrap_or(UpTo::Position(self.written));
        result(&self.engine.seen(&self.identity, &up_to).await?)
    }

    async fn mark(self, mark: Mark, fields: Fields) -> Outcome {
        let These { notifications } = parse(fields)?;
        result(&self.engine.mark(&self.identity, mark, &notifications).await?)
    }

    async fn snooze(self, fields: Fields) -> Outcome {
        let Until { notifications, until } = parse(fields)?;
        result(&self.engine.snooze(&self.identity, &notifications, until).await?)
    }

    async fn wake(self, fields: Fields) -> Outcome {
        let These { notifications } = parse(fields)?;
        result(&self.engine.wake(&self.identity, &notifications).await?)
    }

    async fn inbox(self, fields: Fields) -> Outcome {
        let query: Inbox = parse(fields)?;
        let most = limits::PAGE_MOST;
        if query.limit.is_some_and(|limit| !(1..=most).contains(&limit)) {
            return Err(Problem::field("limit", format!("expected a whole number from 1 to {most}")));
        }
        let before = query.cursor.map(|cursor| cursor.parse().map(Position)).transpose();
        let before =
            before.map_err(|_| Problem::field("cursor", "expected the `next` of an earlier page"))?;
        let (limit, kind) = (query.limit.unwrap_or_default(), query.kind);
        let Inbox { unread, archived, snoozed, pinned, tag, channel, .. } = query;
        let query = InboxQuery { limit, before, unread, archived, snoozed, pinned, kind, tag, channel };
        result(&self.engine.inbox(&self.identity, query, Position(0)).await?)
    }

    async fn counts(self, fields: Fields) -> Outcome {
        let Counts { by } = parse(fields)?;
        match by {
            None => result(&self.engine.counts(&self.identity, Position(0)).await?),
            Some(By::Type) => result(&self.engine.counts_by_type(&self.identity, Position(0)).await?),
            Some(By::Channel) => result(&self.engine.counts_by_channel(&self.identity, Position(0)).await?),
        }
    }

    async fn join(self, fields: Fields) -> Outcome {
        let OfChannel { channel } = parse(fields)?;
        result(&self.engine.join(&self.identity, &channel).await?)
    }

    async fn leave(self, fields: Fields) -> Outcome {
        let OfChannel { channel } = parse(fields)?;
        result(&self.engine.leave(&self.identity, &channel).await?)
    }

    async fn watch(self, fields: Fields) -> Outcome {
        let OfChannel { channel } = parse(fields)?;
        self.engine.watch(&self.identity, self.subscriber, channel.clone()).await?;
        Ok(json!({ "channel": channel }))
    }

    async fn unwatch(self, fields: Fields) -> Outcome {
        let OfChannel { channel } = parse(fields)?;
        self.engine.unwatch(self.subscriber, channel.clone()).await?;
        Ok(json!({ "channel": channel }))
    }

    async fn presence(self, fields: Fields) -> Outcome {
        let OfSomeChannel { channel } = parse(fields)?;
        match channel {
            Some(channel) => result(&self.engine.channel_presence(&self.identity, &channel).await?),
            None => result(&self.engine.presence(&self.identity).await?),
        }
    }

    async fn publish(self, fields: Fields) -> Outcome {
        let publish: Publish = parse(fields)?;
        let publication: Publication = match (publish.notification, publish.cloud_event) {
            (Some(draft), None) => draft.into(),
            (None, Some(event)) => event.into_publication().map_err(|error| error.within("cloudEvent"))?,
            _ => {
                return Err(Problem::field("notification", "expected either `notification` or `cloudEvent`"));
            }
        };
        let published = self.engine.publish(&self.identity, publication).await;
        result(&published.map_err(|error| Problem::from(error).within("notification"))?)
    }
}

/// Takes an acknowledgement: the device has everything up to here.
fn acknowledge(subscriber: &mut Subscriber, fields: Fields) -> Result<Position, Problem> {
    let SeenUpTo { up_to } = parse(fields)?;
    let up_to =
        up_to.ok_or_else(|| Problem::field("upTo", "expected a position, or a cursor of this log"))?;
    Ok(subscriber.acknowledge(&up_to)?)
}

fn parse<T: serde::de::DeserializeOwned>(fields: Fields) -> Result<T, FieldError> {
    input::from_value(Value::Object(fields))
}

fn result(result: &impl Serialize) -> Outcome {
    serde_json::to_value(result).map_err(|_| Problem::from(tidings_engine::Error::Internal))
}
