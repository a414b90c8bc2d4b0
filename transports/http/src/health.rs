//! Health: whether the process lives, and whether it serves.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;

use crate::Context;

pub(crate) fn router() -> Router<Context> {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready))
}

pub(crate) async fn live() -> Response {
    Json(json!({ "status": "live" })).into_response()
}

async fn ready(State(context): State<Context>) -> Response {
    let is_ready =
        context.engine.is_ready() && !context.leaving.is_cancelled() && !context.shutdown.is_cancelled();
    let (status, text) = match (is_ready, context.engine.is_accepting()) {
        (true, true) => (StatusCode::OK, "ready"),
        // Reading and delivery go on: whoever sent its users elsewhere would only take these from them.
        (true, false) => (StatusCode::OK, "read-only"),
        (false, _) => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    (status, Json(json!({ "status": text, "position": context.engine.log().head() }))).into_response()
}
