//! Server-sent events for Tidings, at `/v1/events`: what concerns a user, as an event stream (WHATWG HTML, 9.2).
//!
//! The `id` of an event is its cursor, so a browser's `EventSource` resumes by itself. This crate turns deliveries into
//! events; it takes no commands, and decides nothing about what somebody may do.

mod asyncapi;
mod event;
mod stream;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use tidings_engine::Error;
use tidings_engine::delivery::Encoding;
use tidings_http::asyncapi::{Connection, Schemas};
use tidings_http::openapi::Section;
use tidings_http::problem::Problem;
use tidings_http::{Api, Context, Routes, Wishes};

/// The cursor of the last event that a client got: what a browser sends when it connects again.
pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The SSE transport, to be mounted on HTTP.
pub struct EventStreams;

impl Routes for EventStreams {
    fn api(&self) -> Api {
        let last_event_id = json!({ "type": "string", "pattern": r"^([0-9A-Fa-f]{12}\.[0-9]{1,19})?$" });
        let operation = Section::Live
            .get("/v1/events", "streamEvents", "What concerns a user, as an event stream")
            .says("Server-sent events. The `id` of an event is its cursor, so a browser's `EventSource` resumes by itself.")
            .needs_in_address("user")
            .opens_a_connection()
            .header("Last-Event-ID", last_event_id, "The id of the last event that was received, in place of `cursor`.")
            .answers_stream(StatusCode::OK, "text/event-stream", "The stream; it goes on until the token or the server ends.");
        Api::new().made(operation, |context| {
            let Some(encoding) = event::encoding(&context.engine) else {
                tracing::error!("there is no encoding left for SSE: /v1/events cannot be used");
                return get(|| async { Problem::from(Error::Internal) });
            };
            get(move |context, wishes, headers| events(context, wishes, headers, encoding.clone()))
        })
    }
    fn connection(&self, schemas: &mut Schemas) -> Option<Connection> {
        Some(asyncapi::connection(schemas))
    }
}

async fn events(
    State(context): State<Context>,
    mut wishes: Wishes,
    headers: HeaderMap,
    encoding: Encoding,
) -> Result<Response, Problem> {
    let shown = wishes.shown(&context, &headers).await?.ok_or_else(Problem::unauthorized)?;
    // A browser that connects again has the address of the first time, and knows better now.
    if let Some(last) = headers.get(LAST_EVENT_ID).filter(|last| !last.is_empty()) {
        let cursor = last.to_str().ok().and_then(|last| last.parse().ok());
        let expected = || Problem::field(LAST_EVENT_ID.as_str(), "expected the id of an earlier event");
        wishes.cursor = Some(cursor.ok_or_else(expected)?);
    }
    let seat = context.limits.connect(&shown.identity)?;
    let (subscriber, hello) = context.engine.subscribe(&shown.identity, wishes.opening("sse")).await?;
    let body = Body::from_stream(stream::of(context, shown, (subscriber, hello), seat, encoding));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-accel-buffering"), "no"), // a proxy that gathers would hold events back
    ];
    Ok((headers, body).into_response())
}
