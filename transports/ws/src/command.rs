//! Commands of a client: frames into the engine's commands and queries, and their results into answers.

use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_engine::command::{Done, UpTo};
use tidings_engine::event::Mark;
use tidings_engine::hub::SubscriberId;
use tidings_engine::inbox::InboxQuery;
use tidings_engine::input::{self, FieldError};
use tidings_engine::request::{self, RequestId};
use tidings_engine::{Engine, Error, Identity, Position, Publication, Subscriber, limits};
use tidings_http::Context;
use tidings_http::limits::Limits;
use tidings_http::problem::Problem;
use tidings_http::token::{Tokens, Verified};

use crate::commands::{
    self, By, ID_BYTES, NewToken, Nothing, OfChannel, OfSomeChannel, Publish, Renewed, SeenUpTo, SomeCounts,
    SomePresence, These, Until, Watching, WhichCounts, WhichPage,
};
use crate::message::{answer, error, moment};
use crate::pace::{Pace, Refusal};

/// What does not count as a command.
const FREE: [&str; 2] = ["ack", "ping"];

/// What runs a command, and for whom.
struct Request {
    engine: Engine,
    limits: Arc<Limits>,
    tokens: Arc<Tokens>,
    identity: Arc<Identity>,
    subscriber: SubscriberId,
    /// Everything up to here was taken for the connection, to be written before any answer.
    written: Position,
}

/// The fields of a frame beside `type` and `id`.
type Fields = Map<String, Value>;
type Outcome = Result<Value, Problem>;

/// What a command came to.
pub(crate) struct Answered {
    /// The message that says so.
    pub(crate) text: String,
    /// The token that counts for the connection from now on, if another one was shown.
    pub(crate) shown: Option<Verified>,
}

impl From<String> for Answered {
    fn from(text: String) -> Self {
        Self { text, shown: None }
    }
}

/// What became of a frame.
pub(crate) enum Begun {
    /// The future gives the answer.
    Running(BoxFuture<'static, Answered>),
    /// There is no answer to give.
    Done,
    /// It was one too many, and the client is not going to stop.
    Persistent,
}

impl Begun {
    fn answered(answer: String) -> Self {
        Self::Running(std::future::ready(answer.into()).boxed())
    }
}

/// Begins what a frame asks for.
pub(crate) fn begin(
    context: &Context,
    shown: Arc<Verified>,
    subscriber: &mut Subscriber,
    pace: &mut Pace,
    text: &str,
) -> Begun {
    let parsed = Frame::parse(text);
    let is_free = parsed.as_ref().is_ok_and(|frame| FREE.contains(&frame.kind.as_str()));
    if !is_free && let Err(refusal) = pace.command() {
        let id = parsed.map_or_else(|(id, _)| id, |frame| frame.id);
        return refused(id, refusal);
    }
    let Frame { id, kind, fields } = match parsed {
        Ok(frame) => frame,
        Err((id, problem)) => return Begun::answered(error(&id, &problem)),
    };
    if kind == "ack" {
        // Free: no answer, unless one is asked for or something is wrong with it.
        let said = match acknowledge(subscriber, fields) {
            Ok(_) if id.is_null() => return Begun::Done,
            Ok(position) => said(&id, result(&Done { position })),
            Err(problem) => error(&id, &problem),
        };
        return Begun::answered(said);
    }
    if id.is_null() {
        let problem = Problem::field("id", "expected a number or a text, which the answer will name");
        return Begun::answered(error(&id, &problem));
    }
    let request = Request {
        engine: context.engine.clone(),
        limits: context.limits.clone(),
        tokens: context.tokens.clone(),
        identity: shown.identity.clone(),
        subscriber: subscriber.id(),
        written: subscriber.settle(),
    };
    let run = async move {
        let (engine, mut shown) = (request.engine.clone(), None);
        let outcome = match kind.as_str() {
            "token" => request.token(fields).await.map(|(result, verified)| {
                shown = Some(verified);
                result
            }),
            _ => request.run(&kind, fields).await,
        };
        let text = said(&id, in_order(&engine, outcome).await);
        Answered { text, shown }
    };
    Begun::Running(request::within(RequestId::new(), run).boxed())
}

fn said(id: &Value, outcome: Outcome) -> String {
    match outcome {
        Ok(result) => answer(id, &result),
        Err(problem) => error(id, &problem),
    }
}

/// Answers a command that is one too many, but not at once.
fn refused(id: Value, refusal: Refusal) -> Begun {
    match refusal {
        Refusal::Answer(problem, pause) => Begun::Running(
            async move {
                tokio::time::sleep(pause).await;
                error(&id, &problem).into()
            }
            .boxed(),
        ),
        Refusal::Persistent => Begun::Persistent,
    }
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
            _ => Err(Problem::field("type", format!("expected one of {}", commands::names()))),
        }
    }

    /// Lets the connection go on with another token of the same user. What it no longer permits ends.
    async fn token(self, fields: Fields) -> Result<(Value, Verified), Problem> {
        let NewToken { token } = parse(fields)?;
        let verified = self.tokens.verify(&token)?;
        let new = &verified.identity;
        if (&new.tenant, &new.user) != (&self.identity.tenant, &self.identity.user) {
            return Err(Error::Forbidden { needs: "a token of the same user and tenant".to_owned() }.into());
        }
        let watching = self.engine.renew(new, self.subscriber).await?;
        let position = self.engine.log().head();
        let renewed = Renewed { position, watching, expires_at: moment(new.expires_at) };
        Ok((result(&renewed)?, verified))
    }

    async fn ping(self, fields: Fields) -> Outcome {
        let Nothing {} = parse(fields)?;
        let position = self.engine.settle().await?;
        result(&Done { position })
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
        let query: WhichPage = parse(fields)?;
        let most = limits::PAGE_MOST;
        if query.limit.is_some_and(|limit| !(1..=most).contains(&limit)) {
            return Err(Problem::field("limit", format!("expected a whole number from 1 to {most}")));
        }
        let before = query.cursor.map(|cursor| cursor.parse().map(Position)).transpose();
        let before =
            before.map_err(|_| Problem::field("cursor", "expected the `next` of an earlier page"))?;
        let (limit, kind) = (query.limit.unwrap_or_default(), query.kind);
        let WhichPage { unread, archived, snoozed, pinned, tag, channel, .. } = query;
        let query = InboxQuery { limit, before, unread, archived, snoozed, pinned, kind, tag, channel };
        result(&self.engine.inbox(&self.identity, query, Position(0)).await?)
    }

    async fn counts(self, fields: Fields) -> Outcome {
        let WhichCounts { by } = parse(fields)?;
        let (identity, at) = (&self.identity, Position(0));
        result(&match by {
            None => SomeCounts::All(self.engine.counts(identity, at).await?),
            Some(By::Type) => SomeCounts::ByType(self.engine.counts_by_type(identity, at).await?),
            Some(By::Channel) => SomeCounts::ByChannel(self.engine.counts_by_channel(identity, at).await?),
        })
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
        result(&Watching { channel })
    }

    async fn unwatch(self, fields: Fields) -> Outcome {
        let OfChannel { channel } = parse(fields)?;
        self.engine.unwatch(self.subscriber, channel.clone()).await?;
        result(&Watching { channel })
    }

    async fn presence(self, fields: Fields) -> Outcome {
        let OfSomeChannel { channel } = parse(fields)?;
        result(&match channel {
            Some(channel) => {
                SomePresence::OfChannel(self.engine.channel_presence(&self.identity, &channel).await?)
            }
            None => SomePresence::OfAll(self.engine.presence(&self.identity).await?),
        })
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
        self.engine.check_batch(&self.identity, 1)?; // whoever may not is told so, and not counted
        self.limits.publish(&self.identity, 1).await?;
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
