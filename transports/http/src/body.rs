//! Bodies of requests: their size, their content type, and JSON into types.

use axum::body::{Body, HttpBody};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::LengthLimitError;
use serde::de::DeserializeOwned;
use tidings_engine::input;

use crate::Context;
use crate::problem::Problem;

/// A JSON body of one command.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Context> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, context: &Context) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        if media_type != "application/json" {
            return Err(Problem::media_type("application/json", &media_type));
        }
        let bytes = read_command(request.into_body(), context).await?;
        Ok(Self(input::parse(&bytes)?))
    }
}

/// The whole body of one command, if it is not larger and not slower than it may be.
pub(crate) async fn read_command(body: Body, context: &Context) -> Result<Bytes, Problem> {
    read(body, context, context.limits.message_bytes()).await
}

/// The same for a batch.
pub(crate) async fn read_batch(body: Body, context: &Context) -> Result<Bytes, Problem> {
    read(body, context, context.limits.batch_bytes()).await
}

async fn read(body: Body, context: &Context, most: usize) -> Result<Bytes, Problem> {
    // What says that it is too large is not read first; `unread.rs` has it then.
    if body.size_hint().lower() > most as u64 {
        return Err(Problem::too_large(most));
    }
    let patience = context.limits.body_patience();
    let whole = tokio::time::timeout(patience, axum::body::to_bytes(body, most));
    let bytes = whole.await.map_err(|_| Problem::timeout(patience))?;
    bytes.map_err(|error| {
        let too_large =
            std::error::Error::source(&error).is_some_and(|source| source.is::<LengthLimitError>());
        if too_large {
            Problem::too_large(most)
        } else {
            Problem::malformed("expected the whole body, got a part of it")
        }
    })
}

/// The media type of the body without its parameters, in lower case; empty when none is given.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
