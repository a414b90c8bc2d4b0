//! One's own inbox: pages, single notifications, and what one does with them.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;
use tidings_engine::command::{Done, UpTo};
use tidings_engine::event::Mark;
use tidings_engine::inbox::{InboxItem, InboxPage, InboxQuery};
use tidings_engine::{Channel, NotificationId, NotificationType, Position, Tag, limits};

use crate::body::Json;
use crate::openapi::{Operation, Section};
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{Api, AtLeast, Caller, Context, answer};

pub(crate) fn api() -> Api {
    let mark = |mark: Mark| {
        move |State(context): State<Context>, Caller(identity): Caller, Json(body): Json<These>| async move {
            context.engine.mark(&identity, mark, &body.notifications).await.map(done).map_err(Problem::from)
        }
    };
    let item = json!({
        "position": 42, "read": false, "seen": false, "archived": false, "pinned": false,
        "notification": {
            "id": NotificationId::EXAMPLE, "type": "booking.accepted", "title": "Booking 17 was accepted",
            "body": "See you on Friday at ten.", "data": { "booking": 17 }, "priority": "normal",
            "action": { "url": "/bookings/17", "text": "Open" }, "tags": [],
            "createdAt": "2026-11-21T07:00:00.123Z", "channel": "topic:orders", "inbox": true,
        },
    });
    let page_of = Section::Inbox
        .get("/v1/inbox", "listInbox", "A page of one's inbox")
        .says("Newest first. Go on while `next` is not `null`: a page with a filter may be shorter than its limit.")
        .needs("user")
        .at_least()
        .number("limit", 1, limits::PAGE_MOST as u64, "How many at most; 20 without it.")
        .number("cursor", 1, u64::MAX, "`next` of an earlier page. What comes meanwhile does not shift the pages.")
        .flag("unread", "Only unread ones, or only read ones.")
        .flag("archived", "Those in the archive instead.")
        .flag("snoozed", "Those that are put off instead.")
        .flag("pinned", "Only pinned ones, or only others.")
        .query::<NotificationType>("type", "Only those of this type.")
        .query::<Tag>("tag", "Only those with this tag.")
        .query::<Channel>("channel", "Only those of this channel.")
        .answers::<InboxPage>(StatusCode::OK, "A page.")
        .such_as(json!({ "items": [&item], "next": "41", "unread": 7, "unseen": 2, "position": 57 }));
    Api::new()
        .on(page_of, page)
        .on(
            Section::Inbox
                .get("/v1/inbox/{id}", "getNotification", "One notification")
                .needs("user")
                .at_least()
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .answers::<InboxItem>(StatusCode::OK, "It, and what one has done with it.")
                .such_as(item)
                .may_be([404]),
            one,
        )
        .on(
            Section::Inbox
                .delete("/v1/inbox/{id}", "deleteNotification", "Delete one notification from one's inbox")
                .needs("user")
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .answers::<Done>(StatusCode::OK, "It is gone from this inbox.")
                .may_be([404])
                .writes(),
            delete_one,
        )
        .on(change("/v1/inbox/read", "markRead", "Mark notifications as read"), read)
        .on(change("/v1/inbox/clicked", "markClicked", "Note that actions were followed"), clicked)
        .on(change("/v1/inbox/unread", "markUnread", "Mark notifications as unread"), mark(Mark::Unread))
        .on(change("/v1/inbox/archive", "archive", "Move notifications to the archive"), mark(Mark::Archived))
        .on(
            change("/v1/inbox/unarchive", "unarchive", "Bring notifications back from the archive"),
            mark(Mark::Unarchived),
        )
        .on(change("/v1/inbox/pin", "pin", "Pin notifications"), mark(Mark::Pinned))
        .on(change("/v1/inbox/unpin", "unpin", "Unpin notifications"), mark(Mark::Unpinned))
        .on(
            change("/v1/inbox/delete", "deleteNotifications", "Delete notifications from one's inbox"),
            mark(Mark::Deleted),
        )
        .on(change("/v1/inbox/wake", "wake", "Bring back what was put off"), wake)
        .on(
            command("/v1/inbox/snooze", "snooze", "Put notifications off until a time")
                .says("They are out of the list and the counts until then, and come back unread and on top.")
                .takes::<Until>(
                    json!({ "notifications": [NotificationId::EXAMPLE], "until": "2026-12-24T18:00:00Z" }),
                )
                .may_be([404]),
            snooze,
        )
        .on(
            command("/v1/inbox/read-all", "readAll", "Mark all up to what one had seen as read")
                .takes::<SeenUpTo>(json!({ "upTo": 42 })),
            read_all,
        )
        .on(
            command("/v1/inbox/seen", "markSeen", "Note that the list was opened, and how far it was seen")
                .takes::<SeenUpTo>(json!({ "upTo": 42 })),
            seen,
        )
}

/// A command to one's inbox.
fn command(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    Section::Inbox
        .post(path, id, summary)
        .needs("user")
        .answers::<Done>(StatusCode::OK, "So it is, at this position.")
        .writes()
}

/// A change of notifications that are named.
fn change(path: &'static str, id: &'static str, summary: &'static str) -> Operation {
    command(path, id, summary)
        .says("1 to 1,000 of them, all or none. What is so already stays so.")
        .takes::<These>(json!({ "notifications": [NotificationId::EXAMPLE] }))
        .may_be([404])
}

/// The notifications a command is about.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct These {
    #[schemars(length(min = 1, max = limits::NOTIFICATIONS_PER_COMMAND))]
    notifications: Vec<NotificationId>,
}

/// The notifications to put off, and until when.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Until {
    #[schemars(length(min = 1, max = limits::NOTIFICATIONS_PER_COMMAND))]
    notifications: Vec<NotificationId>,
    until: Timestamp,
}

/// How far its sender had seen.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct SeenUpTo {
    up_to: UpTo,
}

async fn page(
    State(context): State<Context>,
    Caller(identity): Caller,
    AtLeast(at_least): AtLeast,
    mut params: Params,
) -> Result<Response, Problem> {
    let most = limits::PAGE_MOST as u64;
    let query = InboxQuery {
        limit: params.take_number("limit", 1, most)?.unwrap_or_default() as usize,
        before: params.take_number("cursor", 1, u64::MAX)?.map(Position),
        unread: params.take_flag("unread")?,
        archived: params.take_flag("archived")?.unwrap_or_default(),
        snoozed: params.take_flag("snoozed")?.unwrap_or_default(),
        pinned: params.take_flag("pinned")?,
        kind: params.take("type")?,
        tag: params.take("tag")?,
        channel: params.take("channel")?,
    };
    params.finish()?;
    let page = context.engine.inbox(&identity, query, at_least).await?;
    Ok(answer(StatusCode::OK, page.counts.position, &page))
}

async fn one(
    State(context): State<Context>,
    Caller(identity): Caller,
    AtLeast(at_least): AtLeast,
    Segments(id): Segments<String>,
) -> Result<Response, Problem> {
    let item = context.engine.notification(&identity, parse_id(&id)?, at_least).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &item))
}

async fn delete_one(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(id): Segments<String>,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    Ok(done(context.engine.mark(&identity, Mark::Deleted, &[id]).await?))
}

pub(crate) fn parse_id(text: &str) -> Result<NotificationId, Problem> {
    text.parse().map_err(|error: tidings_engine::notification::NotificationIdError| {
        Problem::field("id", error.to_string())
    })
}

async fn read(
    State(context): State<Context>,
    Caller(identity): Caller,
    Json(body): Json<These>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.read(&identity, &body.notifications).await?))
}

async fn snooze(
    State(context): State<Context>,
    Caller(identity): Caller,
    Json(body): Json<Until>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.snooze(&identity, &body.notifications, body.until).await?))
}

async fn clicked(
    State(context): State<Context>,
    Caller(identity): Caller,
    Json(body): Json<These>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.clicked(&identity, &body.notifications).await?))
}

async fn wake(
    State(context): State<Context>,
    Caller(identity): Caller,
    Json(body): Json<These>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.wake(&identity, &body.notifications).await?))
}

async fn read_all(
    State(context): State<Context>,
    Caller(identity): Caller,
    Json(body): Json<SeenUpTo>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.read_all(&identity, &body.up_to).await?))
}

async fn seen(
    State(context): State<Context>,
    Caller(identity): Caller,
    Json(body): Json<SeenUpTo>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.seen(&identity, &body.up_to).await?))
}

pub(crate) fn done(done: Done) -> Response {
    answer(StatusCode::OK, done.position, &done)
}
