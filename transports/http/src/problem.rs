//! Problems on HTTP: the engine's problem documents, with those that only HTTP has, and the status and headers of each.

use std::time::Duration;

use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use tidings_config::Rate;
use tidings_engine::Error;
use tidings_engine::input::{FieldError, InputError};
use tidings_engine::problem::Problem as Document;

/// What went wrong, for the client to act on.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// What every transport says of it.
    #[serde(flatten)]
    document: Document,
    /// The limit that was met.
    #[serde(flatten)]
    met: Option<Box<Met>>,
}

/// A limit that was met.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Met {
    /// The setting that says what it is.
    limit: &'static str,
    /// When to try again.
    retry_after_ms: u64,
}

/// Seconds after which a refused request may be tried again, where nothing more is known.
const RETRY_AFTER_SECONDS: u64 = 1;
/// After how long there may be room for a connection: when others have ended is not known.
const CONNECT_AFTER: Duration = Duration::from_secs(10);

impl Problem {
    fn new(code: &str, title: &'static str, status: StatusCode, detail: impl Into<String>) -> Self {
        Document::new(code, title, status.as_u16(), detail).into()
    }

    fn of_limit(self, limit: &'static str, retry_after: Duration) -> Self {
        let retry_after_ms = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
        Self { met: Some(Box::new(Met { limit, retry_after_ms })), ..self }
    }

    /// More of something than a limit allows: the setting that says how much that is, and when there is room again.
    #[must_use]
    pub fn too_many(limit: &'static str, things: &str, rate: Rate, retry_after: Duration) -> Self {
        let title = "More than a limit allows";
        let detail = format!("expected at most {} {things} in {} s ({limit})", rate.count, rate.seconds);
        Self::new("too-many-requests", title, StatusCode::TOO_MANY_REQUESTS, detail)
            .of_limit(limit, retry_after)
    }

    /// More connections than somebody may have.
    pub(crate) fn too_many_connections(limit: &'static str, most: &str) -> Self {
        Self::no_room(StatusCode::TOO_MANY_REQUESTS, limit, most)
    }

    /// More connections than there may be in all.
    pub(crate) fn full(limit: &'static str, most: &str) -> Self {
        Self::no_room(StatusCode::SERVICE_UNAVAILABLE, limit, most)
    }

    fn no_room(status: StatusCode, limit: &'static str, most: &str) -> Self {
        let detail = format!("expected at most {most} ({limit})");
        Self::new("too-many-connections", "There are too many connections", status, detail)
            .of_limit(limit, CONNECT_AFTER)
    }

    /// One field that is not as expected.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Document::field(field, detail).into()
    }

    /// The body or frame is not JSON, or nests too deep.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Document::malformed(detail).into()
    }

    /// There is no token, or it is not valid. Says nothing about why, to nobody's help but the guesser's.
    #[must_use]
    pub fn unauthorized() -> Self {
        let detail = "expected a valid token in `Authorization: Bearer …`";
        Self::new("unauthorized", "A valid token is needed", StatusCode::UNAUTHORIZED, detail)
    }

    /// The web page that wants this is of another origin than those that may.
    #[must_use]
    pub fn origin_not_allowed() -> Self {
        let detail = "expected a page of this host, or of an origin that is allowed (cors.origins)";
        Self::new("origin-not-allowed", "Not from this web page", StatusCode::FORBIDDEN, detail)
    }

    /// The input is larger than it may be.
    #[must_use]
    pub fn too_large(most: usize) -> Self {
        Document::too_large(most).into()
    }

    /// The content type is none of those that are expected.
    pub fn media_type(expected: &str, got: &str) -> Self {
        Document::media_type(expected, got).into()
    }

    pub(crate) fn timeout(patience: Duration) -> Self {
        let detail = format!("expected the whole body within {} s (limits.body-seconds)", patience.as_secs());
        Self::new("timeout", "The request took too long", StatusCode::REQUEST_TIMEOUT, detail)
    }

    /// The engine is not there yet.
    pub(crate) fn unavailable() -> Self {
        let detail = "the server starts; /health/ready says how far it has come";
        Self::new("unavailable", "The server is not ready yet", StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(crate) fn no_such_path(path: &str) -> Self {
        Self::new(
            "not-found",
            "There is nothing here",
            StatusCode::NOT_FOUND,
            format!("there is nothing at {path}"),
        )
    }

    pub(crate) fn no_such_link() -> Self {
        let detail = "this is no link of this server, or not the whole of it";
        Self::new("not-found", "There is nothing here", StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn method_not_allowed(method: &Method, path: &str) -> Self {
        let detail = format!("{path} does not take {method}");
        Self::new("method-not-allowed", "Not this method", StatusCode::METHOD_NOT_ALLOWED, detail)
    }

    /// After how many whole seconds it may be tried again, if that is of use.
    fn retry_after_seconds(&self) -> Option<u64> {
        let may_pass = [StatusCode::SERVICE_UNAVAILABLE, StatusCode::INSUFFICIENT_STORAGE];
        match &self.met {
            Some(met) => Some(met.retry_after_ms.div_ceil(1_000).max(1)),
            None => may_pass.contains(&self.status()).then_some(RETRY_AFTER_SECONDS),
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.document.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The same problem of fields that lie within `outer`.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { document: self.document.within(outer), ..self }
    }
}

impl From<Document> for Problem {
    fn from(document: Document) -> Self {
        Self { document, met: None }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Document::from(error).into()
    }
}

impl From<InputError> for Problem {
    fn from(error: InputError) -> Self {
        Document::from(error).into()
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Document::from(error).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = self.status();
        let retry_after = self.retry_after_seconds();
        let mut response = (status, axum::Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
