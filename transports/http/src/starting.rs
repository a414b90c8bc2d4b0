//! What is answered while the engine starts, which takes its time when a view has to be built first: that the process lives, that
//! it is not ready and how far it has come, and to everything else that it is to be tried again. Knows no engine.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router, middleware};
use serde_json::json;
use tidings_engine::Progress;
use tokio::sync::watch;

use crate::health::live;
use crate::problem::Problem;
use crate::unread::Discards;

/// How far the start has come, if there is anything to say.
pub type Starting = watch::Receiver<Option<Progress>>;

pub(crate) fn router(starting: Starting, discards: Discards, patience: Duration) -> Router {
    let unread = move |request: Request| {
        let discards = discards.clone();
        async move { request.map(|body| discards.of(body, patience)) }
    };
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .fallback(unavailable)
        .method_not_allowed_fallback(unavailable)
        .with_state(starting)
        .layer(middleware::map_request(unread))
}

async fn ready(State(starting): State<Starting>) -> Response {
    let said = match *starting.borrow() {
        None => json!({ "status": "starting" }),
        Some(Progress { doing, done, of }) => {
            json!({ "status": "starting", "doing": doing, "position": done, "head": of })
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, Json(said)).into_response()
}

async fn unavailable() -> Problem {
    Problem::unavailable()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use serde_json::Value;
    use tokio_util::sync::CancellationToken;
    use tokio_util::task::TaskTracker;
    use tower::ServiceExt;

    use super::*;

    async fn ask(starting: &Starting, path: &str) -> (StatusCode, Value) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let discards = Discards::new(TaskTracker::new(), CancellationToken::new());
        let router = router(starting.clone(), discards, Duration::from_secs(1));
        let answer = router.oneshot(request).await.unwrap();
        let status = answer.status();
        let body = axum::body::to_bytes(answer.into_body(), 4_096).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn it_says_how_far_the_start_has_come() {
        let (told, starting) = watch::channel(None);
        let ready = ask(&starting, "/health/ready").await;
        assert_eq!(ready, (StatusCode::SERVICE_UNAVAILABLE, json!({ "status": "starting" })));
        told.send_replace(Some(Progress { doing: "rebuilding the inbox view", done: 7, of: 9 }));
        let (_, said) = ask(&starting, "/health/ready").await;
        let expected =
            json!({ "status": "starting", "doing": "rebuilding the inbox view", "position": 7, "head": 9 });
        assert_eq!(said, expected);
    }
}
