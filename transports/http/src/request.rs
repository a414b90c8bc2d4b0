//! What is true of every request: it has an id, which its answer carries and what it publishes keeps; it is counted; a line of the
//! log says how it went; and browsers are told which pages may see the answer. Neither a query nor a path is logged, since both may
//! hold a token: the route is.

use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use tidings_engine::request::{self, RequestId};

use crate::Context;
use crate::origin::told;

/// The id of a request, on the request if its sender has one, and on every answer.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// A request that takes longer is said at the level `info`.
const SLOW: Duration = Duration::from_secs(1);
/// What stands for the route of a request that has none.
const NO_ROUTE: &str = "none";

/// Serves a request under its id.
pub(crate) async fn observed(State(context): State<Context>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = id_of(request.headers());
    let method = context.requests.known_method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let request = request.map(|body| context.discards.of(body, context.limits.body_patience()));
    let mut response = request::within(id.clone(), told(&context.origins, request, next)).await;
    let (took, status, route) =
        (begun.elapsed(), response.status(), route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str));
    context.requests.served(method, route, status, took);
    let ms = took.as_secs_f64() * 1e3;
    if status.is_server_error() || took > SLOW {
        tracing::info!(request = %id, method, route, status = status.as_u16(), ms, "request");
    } else {
        tracing::debug!(request = %id, method, route, status = status.as_u16(), ms, "request");
    }
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// The sender's id, or that of their trace, or a new one.
fn id_of(headers: &HeaderMap) -> RequestId {
    let text = |name: &HeaderName| headers.get(name)?.to_str().ok();
    let own = text(&REQUEST_ID).and_then(RequestId::parse);
    own.or_else(|| text(&TRACEPARENT).and_then(RequestId::of_traceparent)).unwrap_or_default()
}
