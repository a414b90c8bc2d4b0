//! What was published and is to be otherwise: updating, retracting, and what has not gone out yet.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tidings_engine::command::{Done, Pending, PendingPlace, Revision};
use tidings_engine::notification::Action;
use tidings_engine::{IdempotencyKey, NotificationId, NotificationType, Position, Priority, Tag, limits};

use crate::body::Json;
use crate::inbox::{done, parse_id};
use crate::openapi::Section;
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{Api, Caller, Context, answer};

pub(crate) fn api() -> Api {
    let place = json!({ "type": "string", "pattern": r"^-?[0-9]{1,18}\.[0-9]{1,19}$" });
    let revision = json!({ "title": "Booking 17 was moved", "body": "See you on Saturday at ten." });
    Api::new()
        .on(
            Section::Publishing
                .put("/v1/notifications/{id}", "update", "Let a notification say something else")
                .says("All of it: what is left out is empty. It keeps its place and whether it was read.")
                .needs("publish")
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .takes::<Revision>(revision)
                .answers::<Done>(StatusCode::OK, "It says this from now on.")
                .may_be([404])
                .writes(),
            update,
        )
        .on(
            Section::Publishing
                .delete("/v1/notifications/{id}", "retract", "Take a notification back")
                .says("It is gone from every inbox. Before it has gone out, it never will.")
                .needs("publish")
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .answers::<Done>(StatusCode::OK, "It is gone.")
                .may_be([404])
                .writes(),
            retract,
        )
        .on(
            Section::Publishing
                .get("/v1/scheduled", "listScheduled", "Notifications that have not gone out yet")
                .says("The next one first: one's own; to a service, or with the scope admin, everybody's.")
                .needs("publish")
                .number("limit", 1, limits::PAGE_MOST as u64, "How many at most; 20 without it.")
                .query_like("cursor", place, "`next` of an earlier page.")
                .answers::<ScheduledPage>(StatusCode::OK, "A page."),
            scheduled,
        )
        .on(
            Section::Publishing
                .delete("/v1/scheduled", "cancelScheduled", "Cancel one by its idempotency key")
                .needs("publish")
                .query::<IdempotencyKey>("key", "The key it was published with.")
                .required()
                .like(json!("booking-17-reminder"))
                .answers::<Done>(StatusCode::OK, "It never goes out.")
                .may_be([404])
                .writes(),
            cancel_by_key,
        )
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
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Scheduled")]
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

/// Notifications that have not gone out yet, the next one first.
#[derive(Serialize, JsonSchema)]
struct ScheduledPage {
    items: Vec<ScheduledJson>,
    /// Where the next page begins; `null` when this is the last.
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
