//! One's own inbox: pages, single notifications, and what one does with them.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use jiff::Timestamp;
use serde::Deserialize;
use tidings_engine::command::{Done, UpTo};
use tidings_engine::event::Mark;
use tidings_engine::inbox::InboxQuery;
use tidings_engine::{NotificationId, Position, limits};

use crate::body::Json;
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{AtLeast, Caller, Context, answer};

pub(crate) fn router() -> Router<Context> {
    let mark = |mark: Mark| {
        post(
            move |State(context): State<Context>, Caller(identity): Caller, Json(body): Json<These>| async move {
                context
                    .engine
                    .mark(&identity, mark, &body.notifications)
                    .await
                    .map(done)
                    .map_err(Problem::from)
            },
        )
    };
    Router::new()
        .route("/v1/inbox", get(page))
        .route("/v1/inbox/{id}", get(one).delete(delete_one))
        .route("/v1/inbox/read", post(read))
        .route("/v1/inbox/clicked", post(clicked))
        .route("/v1/inbox/read-all", post(read_all))
        .route("/v1/inbox/seen", post(seen))
        .route("/v1/inbox/unread", mark(Mark::Unread))
        .route("/v1/inbox/archive", mark(Mark::Archived))
        .route("/v1/inbox/unarchive", mark(Mark::Unarchived))
        .route("/v1/inbox/pin", mark(Mark::Pinned))
        .route("/v1/inbox/unpin", mark(Mark::Unpinned))
        .route("/v1/inbox/delete", mark(Mark::Deleted))
        .route("/v1/inbox/snooze", post(snooze))
        .route("/v1/inbox/wake", post(wake))
}

/// The notifications a command is about.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct These {
    notifications: Vec<NotificationId>,
}

/// The notifications to put off, and until when.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Until {
    notifications: Vec<NotificationId>,
    until: Timestamp,
}

/// How far its sender had seen.
#[derive(Deserialize)]
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
