//! Channels: their members, for the service; joining and leaving, for users whose token permits it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tidings_engine::MembersPage;
use tidings_engine::command::{Done, MembersChange};
use tidings_engine::hub::ChannelPresence;
use tidings_engine::{Channel, UserId, limits};

use crate::body::Json;
use crate::inbox::done;
use crate::openapi::{Operation, Section};
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{Api, AtLeast, Caller, Context, answer};

pub(crate) fn api() -> Api {
    Api::new()
        .on(
            on_channel(Section::Channels.get(
                "/v1/channels/{channel}/members",
                "listMembers",
                "Members, by name",
            ))
            .needs("admin, or permitted to read the channel")
            .at_least()
            .number("limit", 1, limits::MEMBERS_PAGE_MOST as u64, "How many at most; 100 without it.")
            .query::<UserId>("cursor", "`next` of an earlier page.")
            .answers::<MembersPage>(StatusCode::OK, "A page."),
            list,
        )
        .on(
            on_channel(Section::Channels.post(
                "/v1/channels/{channel}/members",
                "changeMembers",
                "Change members",
            ))
            .says("1 to 10,000 users in both lists together, nobody in both. Not of `everyone` and `user:…`.")
            .needs("admin")
            .takes::<MembersChange>(json!({ "add": ["ada"], "remove": ["eve"] }))
            .answers::<Done>(StatusCode::OK, "So it is, at this position.")
            .writes(),
            change,
        )
        .on(
            on_channel(Section::Channels.put(
                "/v1/channels/{channel}/members/{user}",
                "addMember",
                "Make one a member",
            ))
            .needs("admin")
            .segment::<UserId>("user", "ada", "The user.")
            .answers::<Done>(StatusCode::OK, "So it is, at this position.")
            .writes(),
            add,
        )
        .on(
            on_channel(Section::Channels.delete(
                "/v1/channels/{channel}/members/{user}",
                "removeMember",
                "Let one be no member",
            ))
            .needs("admin")
            .segment::<UserId>("user", "ada", "The user.")
            .answers::<Done>(StatusCode::OK, "So it is, at this position.")
            .writes(),
            remove,
        )
        .on(
            on_channel(Section::Channels.post(
                "/v1/channels/{channel}/join",
                "joinChannel",
                "Become a member",
            ))
            .needs("user, permitted the channel")
            .answers::<Done>(StatusCode::OK, "So it is, at this position.")
            .writes(),
            join,
        )
        .on(
            on_channel(Section::Channels.post(
                "/v1/channels/{channel}/leave",
                "leaveChannel",
                "Cease to be a member",
            ))
            .needs("user, permitted the channel")
            .answers::<Done>(StatusCode::OK, "So it is, at this position.")
            .writes(),
            leave,
        )
        .on(
            on_channel(Section::Channels.get(
                "/v1/channels/{channel}/presence",
                "getChannelPresence",
                "Who of it is online",
            ))
            .needs("user, a member or permitted the channel")
            .answers::<ChannelPresence>(StatusCode::OK, "Who is online."),
            presence,
        )
}

fn on_channel(operation: Operation) -> Operation {
    operation.segment::<Channel>("channel", "topic:orders", "The channel.")
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
