//! Stats, for operators.

use std::collections::BTreeSet;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use jiff::{SignedDuration, Timestamp};
use tidings_engine::stats::{By, StatsQuery};

use crate::params::Params;
use crate::problem::Problem;
use crate::{Caller, Context, answer};

/// What is shown when the request names no beginning.
const SHOWN: SignedDuration = SignedDuration::from_hours(1);

pub(crate) fn router() -> Router<Context> {
    Router::new().route("/v1/stats", get(stats))
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
