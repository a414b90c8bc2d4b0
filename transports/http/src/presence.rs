//! Who is online.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use tidings_engine::hub::Presence;

use crate::openapi::Section;
use crate::problem::Problem;
use crate::{Api, Caller, Context, answer};

pub(crate) fn api() -> Api {
    Api::new().on(
        Section::Channels
            .get("/v1/presence", "getPresence", "Who is online")
            .needs("admin")
            .answers::<Presence>(StatusCode::OK, "Who is online."),
        presence,
    )
}

async fn presence(State(context): State<Context>, Caller(identity): Caller) -> Result<Response, Problem> {
    let presence = context.engine.presence(&identity).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &presence))
}
