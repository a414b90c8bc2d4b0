//! Problems: errors as the documents of RFC 9457, the same on every transport. Each has a code that never changes, a title, and a
//! status by which it may be told apart in classes; they are named here once.
//!
//! Knows no transport: what HTTP makes of a status is its own business, and so is what only it can say.

use schemars::JsonSchema;
use serde::Serialize;

use crate::error::Error;
use crate::input::{FieldError, InputError};

/// What went wrong, for the client to act on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Problem {
    /// Which problem it is, for ever the same: `urn:tidings:problem:invalid-field`.
    #[serde(rename = "type")]
    #[schemars(extend("pattern" = "^urn:tidings:problem:[a-z-]+$"))]
    kind: String,
    /// The same in words.
    title: &'static str,
    /// The HTTP status; on other transports it stands for the same.
    #[schemars(range(min = 400, max = 599))]
    status: u16,
    /// What it was this time.
    detail: String,
    /// The fields that were not as expected.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
}

impl Problem {
    /// A problem with its code, as in `invalid-field`, its title and its status.
    pub fn new(code: &str, title: &'static str, status: u16, detail: impl Into<String>) -> Self {
        let kind = format!("urn:tidings:problem:{code}");
        Self { kind, title, status, detail: detail.into(), errors: Vec::new() }
    }

    /// Fields that are not as expected.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = errors.first().map_or_else(String::new, |error| match error.field.as_str() {
            "" => error.detail.clone(),
            field => format!("{field}: {}", error.detail),
        });
        Self { errors, ..Self::new("invalid-field", "A field is not as expected", 422, detail) }
    }

    /// One field that is not as expected.
    pub fn field(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(field, detail)])
    }

    /// The input is not JSON, or nests too deep.
    pub fn malformed(detail: impl Into<String>) -> Self {
        Self::new("malformed-json", "The input is not JSON as expected", 400, detail)
    }

    /// The input is larger than it may be.
    #[must_use]
    pub fn too_large(most: usize) -> Self {
        Self::new("too-large", "The input is too large", 413, format!("expected at most {most} bytes"))
    }

    /// The content type is none of those that are expected.
    #[must_use]
    pub fn media_type(expected: &str, got: &str) -> Self {
        let got = if got.is_empty() { "none" } else { got };
        let detail = format!("expected the content type {expected}, got {got}");
        Self::new("unsupported-media-type", "Not this content type", 415, detail)
    }

    /// Which it is, as in `urn:tidings:problem:invalid-field`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The same in words.
    #[must_use]
    pub fn title(&self) -> &'static str {
        self.title
    }

    /// The status, as HTTP has them.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// What it was this time.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// The same problem of fields that lie within `outer`.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        if self.errors.is_empty() {
            return self;
        }
        Self::fields(self.errors.into_iter().map(|error| error.within(outer)).collect())
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let of = |code, title, status| Self::new(code, title, status, detail.clone());
        match error {
            Error::Invalid(errors) => Self::fields(errors),
            Error::Malformed(detail) => Self::malformed(detail),
            Error::Forbidden { .. } => of("forbidden", "The token does not allow this", 403),
            Error::NotFound { field } => {
                let error = FieldError::new(field, "expected the id of a notification in this inbox");
                let problem = of("no-such-notification", "There is no such notification here", 404);
                Self { errors: vec![error], ..problem }
            }
            Error::NobodyAddressed => of("nobody-addressed", "Nobody is addressed", 422),
            Error::KeyReused => of("key-reused", "The idempotency key stands for something else", 409),
            Error::Rule { .. } => of("rule-failed", "A routing rule failed", 500),
            Error::Busy => of("busy", "More is waiting than can be written", 503),
            Error::InsufficientStorage => of("insufficient-storage", "The disk is nearly full", 507),
            Error::OutcomeUnknown => of("outcome-unknown", "It is not known whether this was done", 503),
            Error::NotReached { .. } => of("position-not-reached", "The position has not been reached", 503),
            Error::Rebuilding => of("rebuilding", "It is being done already", 409),
            Error::Stopping => of("stopping", "The server is stopping", 503),
            Error::Internal => of("internal", "Something failed inside", 500),
        }
    }
}

impl From<InputError> for Problem {
    fn from(error: InputError) -> Self {
        Error::from(error).into()
    }
}

impl From<FieldError> for Problem {
    fn from(error: FieldError) -> Self {
        Self::fields(vec![error])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_fields_wherever_they_lie() {
        let problem = Problem::field("title", "expected less").within("data");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["type"], "urn:tidings:problem:invalid-field");
        assert_eq!(json["errors"][0]["field"], "data.title");
        assert_eq!((problem.status(), problem.detail()), (422, "data.title: expected less"));
        let busy = serde_json::to_value(Problem::from(Error::Busy)).unwrap();
        assert_eq!(busy["status"], 503);
        assert!(busy.get("errors").is_none(), "what names no field has none");
    }
}
