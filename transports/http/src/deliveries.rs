//! What became of notifications, for operators.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use tidings_engine::deliveries::DeliveriesQuery;
use tidings_engine::limits;

use crate::inbox::parse_id;
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{Caller, Context, answer};

pub(crate) fn router() -> Router<Context> {
    Router::new()
        .route("/v1/notifications/{id}/deliveries", get(deliveries))
        .route("/v1/notifications/{id}/explain", get(explain))
}

async fn explain(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(id): Segments<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let user = params.take("user")?;
    params.finish()?;
    let user = user.ok_or_else(|| Problem::field("user", "expected the user about whom is asked"))?;
    let explanation = context.engine.explain(&identity, parse_id(&id)?, user).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &explanation))
}

async fn deliveries(
    State(context): State<Context>,
    Caller(identity): Caller,
    Segments(id): Segments<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let query = DeliveriesQuery {
        limit: params.take_number("limit", 1, limits::PAGE_MOST as u64)?.unwrap_or_default() as usize,
        after: params.take("cursor")?,
        user: params.take("user")?,
    };
    params.finish()?;
    let deliveries = context.engine.deliveries(&identity, parse_id(&id)?, query).await?;
    Ok(answer(StatusCode::OK, context.engine.log().head(), &deliveries))
}
