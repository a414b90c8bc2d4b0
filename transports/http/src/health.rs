//! Health: whether the process lives, and whether it serves.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tidings_engine::Position;

use crate::openapi::Section;
use crate::{Api, Context};

pub(crate) fn api() -> Api {
    Api::new()
        .on(
            Section::Operating
                .get("/health/live", "isLive", "Whether the process lives")
                .answers_json::<Live>(StatusCode::OK, "It lives."),
            live,
        )
        .on(
            Section::Operating
                .get("/health/ready", "isReady", "Whether it serves")
                .answers_json::<Ready>(StatusCode::OK, "It serves; perhaps only those who read.")
                .answers_json::<Ready>(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "It does not serve yet, or no longer.",
                ),
            ready,
        )
}

/// That the process lives.
#[derive(Serialize, JsonSchema)]
struct Live {
    status: &'static str,
}

/// Whether it serves.
#[derive(Serialize, JsonSchema)]
struct Ready {
    /// `ready`, `read-only` or `not ready`.
    status: &'static str,
    /// How far the log goes.
    position: Position,
    /// How the connection to each broker is: `disconnected`, `connected`, or `consuming`. It serves without them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    brokers: BTreeMap<&'static str, &'static str>,
}

pub(crate) async fn live() -> Response {
    Json(Live { status: "live" }).into_response()
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
    let brokers = context.engine.metrics().brokers();
    let brokers = brokers.iter().map(|(name, broker)| (*name, broker.state())).collect();
    (status, Json(Ready { status: text, position: context.engine.log().head(), brokers })).into_response()
}
