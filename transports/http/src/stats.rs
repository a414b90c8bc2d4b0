//! Stats, for operators.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use tidings_engine::stats::{By, Stats, StatsQuery};

use crate::openapi::Section;
use crate::params::Params;
use crate::problem::Problem;
use crate::{Api, Caller, Context, answer};

/// What is shown when the request names no beginning.
const SHOWN: SignedDuration = SignedDuration::from_hours(1);

pub(crate) fn api() -> Api {
    let by =
        json!({ "type": "array", "items": { "type": "string", "enum": ["type", "channel", "transport"] } });
    let every = json!({ "type": "string", "enum": ["minute", "hour", "day", "all"] });
    Api::new().on(
        Section::Operating
            .get("/v1/stats", "getStats", "What happened, by type, channel, transport and time")
            .needs("admin")
            .query::<Timestamp>("from", "From the minute of this time on; an hour before the end without it.")
            .query::<Timestamp>(
                "to",
                "To the minute of this time, which is in; now without it. At most 31 days.",
            )
            .query_like("every", every, "How the time is divided; not at all without it.")
            .query_like("by", by, "What is told apart.")
            .answers::<Stats>(StatusCode::OK, "The parts in which anything happened."),
        stats,
    )
}

async fn stats(
    State(context): State<Context>,
    Caller(identity): Caller,
    mut params: Params,
) -> Result<Response, Problem> {
    let to = time(&mut params, "to")?.unwrap_or_else(Timestamp::now);
    let from = time(&mut params, "from")?.unwrap_or_else(|| to.checked_sub(SHOWN).unwrap_or(to));
    let every = params.take("every")?.unwrap_or_default();
    let by = params.take::<String>("by")?.unwrap_or_default();
    params.finish()?;
    let by = by.split(',').filter(|by| !by.is_empty()).map(str::parse::<By>);
    let by = by.collect::<Result<BTreeSet<By>, _>>().map_err(|expected| Problem::field("by", expected))?;
    let stats = context.engine.stats(&identity, StatsQuery { from, to, every, by }).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &stats))
}

fn time(params: &mut Params, name: &'static str) -> Result<Option<Timestamp>, Problem> {
    let expected = |_| Problem::field(name, "expected a time such as 2026-11-21T07:00:00Z");
    params.take::<String>(name)?.map(|text| text.parse().map_err(expected)).transpose()
}
