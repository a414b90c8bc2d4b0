//! One's own counts: all together, by type or by channel.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::json;
use tidings_engine::CountsBy;
use tidings_engine::inbox::Counts;

use crate::openapi::Section;
use crate::params::Params;
use crate::problem::Problem;
use crate::{Api, AtLeast, Caller, Context, answer};

pub(crate) fn api() -> Api {
    let by = json!({ "type": "string", "enum": ["type", "channel"] });
    Api::new().on(
        Section::Inbox
            .get("/v1/counts", "getCounts", "How much is unread and unseen")
            .says("Archived, snoozed, deleted and retracted ones do not count.")
            .needs("user")
            .at_least()
            .query_like("by", by, "Adds `parts`, those that are not zero. By channel they may overlap.")
            .answers::<CountsInParts>(StatusCode::OK, "The counts.")
            .such_as(json!({ "unread": 7, "unseen": 2, "position": 57 })),
        counts,
    )
}

/// Counts, and their parts when these are asked for.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[allow(dead_code)] // for the document
enum CountsInParts {
    Parts(CountsBy<String>),
    All(Counts),
}

async fn counts(
    State(context): State<Context>,
    Caller(identity): Caller,
    AtLeast(at_least): AtLeast,
    mut params: Params,
) -> Result<Response, Problem> {
    let by = params.take::<String>("by")?;
    params.finish()?;
    let engine = &context.engine;
    match by.as_deref() {
        None => {
            let counts = engine.counts(&identity, at_least).await?;
            Ok(answer(StatusCode::OK, counts.position, &counts))
        }
        Some("type") => {
            let counts = engine.counts_by_type(&identity, at_least).await?;
            Ok(answer(StatusCode::OK, counts.counts.position, &counts))
        }
        Some("channel") => {
            let counts = engine.counts_by_channel(&identity, at_least).await?;
            Ok(answer(StatusCode::OK, counts.counts.position, &counts))
        }
        Some(_) => Err(Problem::field("by", "expected type or channel")),
    }
}
