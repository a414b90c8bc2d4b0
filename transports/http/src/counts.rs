//! One's own counts: all together, by type or by channel.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::params::Params;
use crate::problem::Problem;
use crate::{AtLeast, Caller, Context, answer};

pub(crate) fn router() -> Router<Context> {
    Router::new().route("/v1/counts", get(counts))
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
