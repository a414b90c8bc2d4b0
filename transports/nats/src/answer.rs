//! Answers to requests: what came of them as JSON, with the position in a header, or a problem document, with the headers by which
//! NATS services say that something failed.

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tidings_engine::Error;
use tidings_engine::problem::Problem;

use crate::header;
use crate::link::Link;

/// What a request is answered with.
#[derive(Debug)]
pub(crate) struct Answer {
    headers: HeaderMap,
    payload: Bytes,
}

impl Answer {
    /// What came of it. Its `position` is said in a header, too.
    pub(crate) fn of(result: &impl Serialize) -> Self {
        let Ok(json) = serde_json::to_value(result) else { return Error::Internal.into() };
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/json");
        if let Some(position) = json.get("position").and_then(Value::as_u64) {
            headers.insert(header::POSITION, position.to_string());
        }
        Self { headers, payload: json.to_string().into() }
    }

    /// Sends it to whom the request says. Who named nobody is answered by nobody.
    pub(crate) async fn send(self, link: &Link, request: &Message) {
        link.broker.requests.add(1);
        let Some(reply) = request.reply.clone() else { return };
        let answer =
            if self.payload.len() + 1_024 > link.client.max_payload() { Self::too_large() } else { self };
        let sent = link.client.publish_with_headers(reply, answer.headers, answer.payload).await;
        if let Err(error) = sent {
            tracing::debug!(%error, "an answer could not be sent");
        }
    }

    /// The answer to somebody when all that are worked on are as many as may be.
    pub(crate) fn busy() -> Self {
        Error::Busy.into()
    }

    fn too_large() -> Self {
        Problem::field("limit", "expected a smaller page: the answer is larger than the broker takes").into()
    }
}

impl From<Problem> for Answer {
    fn from(problem: Problem) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, "application/problem+json");
        headers.insert(header::ERROR_CODE, problem.status().to_string());
        headers.insert(header::ERROR, problem.title());
        Self { headers, payload: serde_json::to_vec(&problem).unwrap_or_default().into() }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

impl<E: Into<Problem>> From<Result<Self, E>> for Answer {
    fn from(result: Result<Self, E>) -> Self {
        result.unwrap_or_else(|error| error.into().into())
    }
}
