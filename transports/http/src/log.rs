//! The log, for operators: pages of events, or the log as it grows, a JSON object a line.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use schemars::JsonSchema;
use serde::Serialize;
use tidings_engine::access::Scope;
use tidings_engine::event::Event;
use tidings_engine::log::Tail;
use tidings_engine::{Position, Tenant};

use crate::openapi::Section;
use crate::params::Params;
use crate::problem::Problem;
use crate::token::Verified;
use crate::{Api, Context, Shown, answer};

/// Events of a page when the request names no limit, and at most.
const PAGE_DEFAULT: u64 = 100;
const PAGE_MOST: u64 = 1_000;
/// Events looked at for a page at most: those of other tenants are passed over, and a page may be short.
const SCANNED_MOST: usize = 20_000;

pub(crate) fn api() -> Api {
    Api::new().on(
        Section::Operating
            .get("/v1/log", "getLog", "The event log")
            .says("The events of one's tenant, and the server's own. With `follow` it goes on as the log grows, beginning now \
                   or after `after`, until the token or the server ends.")
            .needs("admin")
            .number("after", 0, u64::MAX, "Events after this position.")
            .number("limit", 1, PAGE_MOST, "How many at most; 100 without it.")
            .flag("follow", "A JSON object a line, as the log grows.")
            .answers::<LogPage>(StatusCode::OK, "A page; or with `follow`, and without a position, lines.")
            .or_lines(),
        log,
    )
}

/// Events of the log, in its order.
#[derive(Serialize, JsonSchema)]
struct LogPage {
    /// The events.
    events: Vec<serde_json::Value>,
    /// After which position the next page begins.
    next: Position,
    /// How far the log goes.
    head: Position,
}

async fn log(
    State(context): State<Context>,
    Shown(verified): Shown,
    mut params: Params,
) -> Result<Response, Problem> {
    let identity = &verified.identity;
    identity.require(Scope::Admin)?;
    let after = params.take_number("after", 0, u64::MAX)?.map(Position);
    let limit = params.take_number("limit", 1, PAGE_MOST)?.unwrap_or(PAGE_DEFAULT) as usize;
    let follow = params.take_flag("follow")?.unwrap_or_default();
    params.finish()?;
    let log = context.engine.log();
    let head = log.head();
    if follow {
        let tail = log.tail(after.unwrap_or(head).min(head));
        return Ok(lines(tail, verified, &context));
    }
    let after = after.unwrap_or_default().min(head);
    let mut tail = log.tail(after);
    let mut page = LogPage { events: Vec::new(), next: after, head };
    let last = Position(after.0.saturating_add(SCANNED_MOST as u64)).min(head);
    while page.events.len() < limit && page.next < last {
        let events = tail.next().await.map_err(|error| {
            tracing::error!(%error, "the event log cannot be read");
            Problem::from(tidings_engine::Error::Internal)
        })?;
        for event in events.iter().take_while(|event| event.position <= last) {
            if page.events.len() == limit {
                break;
            }
            page.next = event.position;
            page.events.extend(concerns(event, &identity.tenant).then(|| event.to_json()));
        }
    }
    Ok(answer(StatusCode::OK, head, &page))
}

/// The tenant's own events, and those of the server itself.
fn concerns(event: &Event, tenant: &Tenant) -> bool {
    event.tenant == *tenant || event.is_of_server()
}

/// A stream of lines that ends when the token does, when the server stops, or when the log cannot be followed.
fn lines(tail: Tail, verified: Verified, context: &Context) -> Response {
    let (shutdown, tokens, tenant) =
        (context.shutdown.clone(), context.tokens.clone(), verified.identity.tenant.clone());
    let end = Box::pin(async move {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokens.ended(&verified) => {}
        }
    });
    let lines = stream::unfold((tail, tenant, end), |(mut tail, tenant, mut end)| async move {
        loop {
            let events = tokio::select! {
                () = &mut end => return None,
                events = tail.next() => events.ok()?,
            };
            let own = events.iter().filter(|event| concerns(event, &tenant));
            let text: String = own.map(|event| format!("{}\n", event.to_json())).collect();
            if !text.is_empty() {
                return Some((Ok::<_, Infallible>(Bytes::from(text)), (tail, tenant, end)));
            }
        }
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
}
