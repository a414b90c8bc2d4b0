//! What was published and is to be otherwise: updating, retracting, and what has not gone out yet.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, put};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tidings_engine::command::{Pending, PendingPlace, Revision};
use tidings_engine::notification::Action;
use tidings_engine::{IdempotencyKey, NotificationId, NotificationType, Position, Priority, Tag, limits};

use crate::body::Json;
use crate::inbox::{done, parse_id};
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{Caller, Context, answer};

pub(crate) fn router() -> Router<Context> {
    Router::new()
        .route("/v1/notifications/{id}", put(update).delete(retract))
        .route("/v1/scheduled", get(scheduled).delete(cancel_by_key))
}

async fn update(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(id): Segments<String>,
    Json(revision): Json<Revision>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.update(&identity, parse_id(&id)?, revision).await?))
}

async fn retract(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(id): Segments<String>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.retract(&identity, parse_id(&id)?).await?))
}

async fn cancel_by_key(
    State(context): State<Context>,
    Caller(identity): Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let key: Option<IdempotencyKey> = params.take("key")?;
    params.finish()?;
    let key = key.ok_or_else(|| Problem::field("key", "expected the key it was published with"))?;
    Ok(done(context.engine.cancel(&identity, key).await?))
}

/// A notification that has not gone out yet.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ScheduledJson {
    id: NotificationId,
    #[serde(rename = "type")]
    kind: NotificationType,
    deliver_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<IdempotencyKey>,
    created_at: Timestamp,
    title: String,
    body: String,
    data: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Action>,
    priority: Priority,
    tags: Vec<Tag>,
    publisher: tidings_engine::Publisher,
    position: Position,
}

impl From<Pending> for ScheduledJson {
    fn from(pending: Pending) -> Self {
        let Pending { notification, key, publisher, position } = pending;
        let content = notification.content;
        Self {
            id: notification.id,
            kind: notification.kind,
            deliver_at: notification.deliver_at,
            expires_at: notification.expires_at,
            idempotency_key: key,
            created_at: notification.created_at,
            title: content.title,
            body: content.body,
            data: content.data,
            action: content.action,
            priority: notification.priority,
            tags: notification.tags,
            publisher,
            position,
        }
    }
}

#[derive(Serialize)]
struct ScheduledPage {
    items: Vec<ScheduledJson>,
    next: Option<String>,
}

async fn scheduled(
    State(context): State<Context>,
    Caller(identity): Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let limit = params.take_number("limit", 1, limits::PAGE_MOST as u64)?.unwrap_or_default() as usize;
    let after = params.take::<String>("cursor")?.map(|text| place(&text)).transpose()?;
    params.finish()?;
    let page = context.engine.pending(&identity, after, limit).await?;
    let next = page.next.map(|PendingPlace { due, position }| format!("{due}.{position}"));
    let items = page.items.into_iter().map(ScheduledJson::from).collect();
    Ok(answer(StatusCode::OK, context.engine.log().head(), &ScheduledPage { items, next }))
}

fn place(text: &str) -> Result<PendingPlace, Problem> {
    let parsed = text.split_once('.').and_then(|(due, position)| {
        let position = position.parse().ok().map(Position)?;
        Some(PendingPlace { due: due.parse().ok()?, position })
    });
    parsed.ok_or_else(|| Problem::field("cursor", "expected the `next` of an earlier page"))
}
