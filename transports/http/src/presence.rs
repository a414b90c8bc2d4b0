//! Who is online.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;

use crate::problem::Problem;
use crate::{Caller, Context, answer};

pub(crate) fn router() -> Router<Context> {
    Router::new().route("/v1/presence", get(presence))
}

async fn presence(State(context): State<Context>, Caller(identity): Caller) -> Result<Response, Problem> {
    let presence = context.engine.presence(&identity).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &presence))
}
