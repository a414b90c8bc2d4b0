//! What is asked of an inbox on `inbox.ID.VERB`: pages, notifications, counts, and what a person does with their notifications. The
//! verbs and their fields are those of the WebSocket's commands.

use async_nats::Message;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tidings_config::InboxAction;
use tidings_engine::command::UpTo;
use tidings_engine::event::Mark;
use tidings_engine::inbox::InboxQuery;
use tidings_engine::problem::Problem;
use tidings_engine::{
    Channel, Engine, Identity, NotificationId, NotificationType, Position, Tag, input, limits,
};

use crate::answer::Answer;
use crate::header;
use crate::subject::Subjects;
use crate::table::Table;

/// What may be asked for.
#[derive(Clone, Copy)]
enum Verb {
    List,
    Get,
    Counts,
    Read,
    ReadAll,
    Seen,
    Clicked,
    Mark(Mark),
    Snooze,
    Wake,
}

const VERBS: [(&str, Verb); 15] = [
    ("list", Verb::List),
    ("get", Verb::Get),
    ("counts", Verb::Counts),
    ("read", Verb::Read),
    ("read-all", Verb::ReadAll),
    ("seen", Verb::Seen),
    ("clicked", Verb::Clicked),
    ("unread", Verb::Mark(Mark::Unread)),
    ("archive", Verb::Mark(Mark::Archived)),
    ("unarchive", Verb::Mark(Mark::Unarchived)),
    ("pin", Verb::Mark(Mark::Pinned)),
    ("unpin", Verb::Mark(Mark::Unpinned)),
    ("delete", Verb::Mark(Mark::Deleted)),
    ("snooze", Verb::Snooze),
    ("wake", Verb::Wake),
];

impl Verb {
    fn parse(word: &str) -> Result<Self, Problem> {
        let verb = VERBS.iter().find(|(name, _)| *name == word).map(|(_, verb)| *verb);
        let names = || VERBS.map(|(name, _)| name).join(", ");
        verb.ok_or_else(|| Problem::field("subject", format!("expected one of {} at its end", names())))
    }

    fn action(self) -> InboxAction {
        match self {
            Self::List | Self::Get | Self::Counts => InboxAction::Read,
            _ => InboxAction::Write,
        }
    }
}

/// The notification that is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct This {
    notification: NotificationId,
}

/// The notifications that something is done with.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct These {
    notifications: Vec<NotificationId>,
}

/// The same, until a time.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Until {
    notifications: Vec<NotificationId>,
    until: Timestamp,
}

/// How far somebody had seen.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SeenUpTo {
    up_to: UpTo,
}

/// Which page.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WhichPage {
    limit: Option<usize>,
    cursor: Option<String>,
    unread: Option<bool>,
    #[serde(default)]
    archived: bool,
    #[serde(default)]
    snoozed: bool,
    pinned: Option<bool>,
    notification_type: Option<NotificationType>,
    tag: Option<Tag>,
    channel: Option<Channel>,
}

/// How counts are split.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WhichCounts {
    by: Option<By>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Type,
    Channel,
}

/// Answers a request about an inbox.
pub(crate) async fn answer(engine: &Engine, subjects: &Subjects, table: &Table, message: &Message) -> Answer {
    let asked = async {
        let asked =
            subjects.of_inbox(&message.subject).map_err(|expected| Problem::field("subject", expected))?;
        let verb = Verb::parse(asked.verb)?;
        let person = table.person(&asked, verb.action())?;
        let at_least = at_least(message)?;
        run(engine, &person, verb, at_least, &message.payload).await
    };
    asked.await.into()
}

async fn run(
    engine: &Engine,
    person: &Identity,
    verb: Verb,
    at_least: Position,
    payload: &[u8],
) -> Result<Answer, Problem> {
    Ok(match verb {
        Verb::List => Answer::of(&engine.inbox(person, query(parse(payload)?)?, at_least).await?),
        Verb::Get => {
            let This { notification } = parse(payload)?;
            Answer::of(&engine.notification(person, notification, at_least).await?)
        }
        Verb::Counts => {
            let WhichCounts { by } = parse(payload)?;
            match by {
                None => Answer::of(&engine.counts(person, at_least).await?),
                Some(By::Type) => Answer::of(&engine.counts_by_type(person, at_least).await?),
                Some(By::Channel) => Answer::of(&engine.counts_by_channel(person, at_least).await?),
            }
        }
        Verb::Read => Answer::of(&engine.read(person, &these(payload)?).await?),
        Verb::Clicked => Answer::of(&engine.clicked(person, &these(payload)?).await?),
        Verb::Wake => Answer::of(&engine.wake(person, &these(payload)?).await?),
        Verb::Mark(mark) => Answer::of(&engine.mark(person, mark, &these(payload)?).await?),
        Verb::Snooze => {
            let Until { notifications, until } = parse(payload)?;
            Answer::of(&engine.snooze(person, &notifications, until).await?)
        }
        Verb::ReadAll => {
            let SeenUpTo { up_to } = parse(payload)?;
            Answer::of(&engine.read_all(person, &up_to).await?)
        }
        Verb::Seen => {
            let SeenUpTo { up_to } = parse(payload)?;
            Answer::of(&engine.seen(person, &up_to).await?)
        }
    })
}

/// The fields of a request; none at all are those of an empty object.
fn parse<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Problem> {
    Ok(input::parse(if payload.is_empty() { b"{}" } else { payload })?)
}

fn these(payload: &[u8]) -> Result<Vec<NotificationId>, Problem> {
    let These { notifications } = parse(payload)?;
    Ok(notifications)
}

fn query(asked: WhichPage) -> Result<InboxQuery, Problem> {
    let most = limits::PAGE_MOST;
    if asked.limit.is_some_and(|limit| !(1..=most).contains(&limit)) {
        return Err(Problem::field("limit", format!("expected a whole number from 1 to {most}")));
    }
    let before = asked.cursor.map(|cursor| cursor.parse().map(Position)).transpose();
    let before = before.map_err(|_| Problem::field("cursor", "expected the `next` of an earlier page"))?;
    let WhichPage { limit, unread, archived, snoozed, pinned, notification_type: kind, tag, channel, .. } =
        asked;
    let limit = limit.unwrap_or_default();
    Ok(InboxQuery { limit, before, unread, archived, snoozed, pinned, kind, tag, channel })
}

/// The position that the sender wants to see at least.
fn at_least(message: &Message) -> Result<Position, Problem> {
    let Some(text) = header::value(message.headers.as_ref(), header::MIN_POSITION) else {
        return Ok(Position(0));
    };
    let expected = || Problem::field(header::MIN_POSITION, "expected a position: a whole number");
    text.parse().map(Position).map_err(|_| expected())
}
