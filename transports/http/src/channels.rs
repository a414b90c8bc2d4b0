//! Channels: their members, for the service; joining and leaving, for users whose token permits it.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post, put};
use tidings_engine::command::MembersChange;
use tidings_engine::{Channel, UserId, limits};

use crate::body::Json;
use crate::inbox::done;
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{AtLeast, Caller, Context, answer};

pub(crate) fn router() -> Router<Context> {
    Router::new()
        .route("/v1/channels/{channel}/members", get(list).post(change))
        .route("/v1/channels/{channel}/members/{user}", put(add).delete(remove))
        .route("/v1/channels/{channel}/join", post(join))
        .route("/v1/channels/{channel}/leave", post(leave))
        .route("/v1/channels/{channel}/presence", get(presence))
}

pub(crate) fn parse_channel(text: &str) -> Result<Channel, Problem> {
    Channel::new(text).map_err(|error| Problem::field("channel", error.to_string()))
}

fn parse_user(text: &str) -> Result<UserId, Problem> {
    UserId::new(text).map_err(|error| Problem::field("user", error.to_string()))
}

async fn list(
    State(context): State<Context>,
    Caller(identity): Caller,
    AtLeast(at_least): AtLeast,
    Segments(channel): Segments<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let channel = parse_channel(&channel)?;
    let limit =
        params.take_number("limit", 1, limits::MEMBERS_PAGE_MOST as u64)?.unwrap_or_default() as usize;
    let after = params.take("cursor")?;
    params.finish()?;
    let page = context.engine.members(&identity, &channel, after, limit, at_least).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &page))
}

async fn change(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(channel): Segments<String>,
    Json(change): Json<MembersChange>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.change_members(&identity, &parse_channel(&channel)?, change).await?))
}

async fn add(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments((channel, user)): Segments<(String, String)>,
) -> Result<Response, Problem> {
    let change = MembersChange { add: vec![parse_user(&user)?], remove: Vec::new() };
    Ok(done(context.engine.change_members(&identity, &parse_channel(&channel)?, change).await?))
}

async fn remove(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments((channel, user)): Segments<(String, String)>,
) -> Result<Response, Problem> {
    let change = MembersChange { add: Vec::new(), remove: vec![parse_user(&user)?] };
    Ok(done(context.engine.change_members(&identity, &parse_channel(&channel)?, change).await?))
}

async fn join(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(channel): Segments<String>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.join(&identity, &parse_channel(&channel)?).await?))
}

async fn leave(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(channel): Segments<String>,
) -> Result<Response, Problem> {
    Ok(done(context.engine.leave(&identity, &parse_channel(&channel)?).await?))
}

async fn presence(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(channel): Segments<String>,
) -> Result<Response, Problem> {
    let presence = context.engine.channel_presence(&identity, &parse_channel(&channel)?).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &presence))
}
