//! What became of notifications, for operators.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use tidings_engine::deliveries::{Deliveries, DeliveriesQuery, Explanation};
use tidings_engine::{NotificationId, UserId, limits};

use crate::inbox::parse_id;
use crate::openapi::Section;
use crate::params::{Params, Segments};
use crate::problem::Problem;
use crate::{Api, Caller, Context, answer};

pub(crate) fn api() -> Api {
    Api::new()
        .on(
            Section::Operating
                .get("/v1/notifications/{id}/deliveries", "getDeliveries", "What became of a notification")
                .needs("admin")
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .number("limit", 1, limits::PAGE_MOST as u64, "How many people at most; 20 without it.")
                .query::<UserId>("cursor", "`next` of an earlier page.")
                .query::<UserId>("user", "Only this one.")
                .answers::<Deliveries>(StatusCode::OK, "Totals, and a page of people with their devices.")
                .may_be([404]),
            deliveries,
        )
        .on(
            Section::Operating
                .get(
                    "/v1/notifications/{id}/explain",
                    "explain",
                    "Why somebody did or did not get a notification",
                )
                .needs("admin")
                .segment::<NotificationId>("id", NotificationId::EXAMPLE, "The notification.")
                .query::<UserId>("user", "About whom is asked.")
                .required()
                .like(json!("ada"))
                .answers::<Explanation>(StatusCode::OK, "Why, in plain words and in detail.")
                .may_be([404]),
            explain,
        )
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
