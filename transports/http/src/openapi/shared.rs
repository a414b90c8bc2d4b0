//! The parts of the document that operations share: what it is, who one is, and problems.

use std::time::Duration;

use serde_json::{Map, Value, json};

use tidings_config::LimitSettings;
use tidings_engine::Error;

use super::operation::Needs;
use super::schemas::Schemas;
use crate::problem::Problem;

pub(super) fn info() -> Value {
    json!({
        "title": "Tidings",
        "version": env!("CARGO_PKG_VERSION"),
        "summary": "A notification engine: an append-only log, exact inboxes, live delivery.",
        "description": "JSON in and out. Every error is a problem document (RFC 9457) whose `type` never changes. Unknown \
            fields are refused, and so are unknown parameters where an operation has any.\n\nAn answer about an inbox, and that of every command, is true at the \
            position in the log that `Tidings-Position` names; `Tidings-Min-Position` waits for one.\n\nLengths in \
            schemas are of characters, and the server's limits are of bytes: text beyond ASCII may be refused before \
            it is as long.\n\nA header or a request that is not HTTP, and a connection too many, may be refused before \
            any operation is known: with 400, 408, 414, 429 or 503.",
        "license": { "name": "Apache 2.0", "identifier": "Apache-2.0" },
    })
}

/// What a ticket is, and a token in the address: also of connections.
pub(crate) const TICKET: &str =
    "Of `POST /v1/tickets`: stands for a token in the address of one connection, once.";
pub(crate) const ADDRESS: &str =
    "A token in the address, for those who can set no header. Rather use a ticket.";

pub(super) fn security_schemes() -> Value {
    json!({
        "token": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A token: `Authorization: Bearer …`.",
        },
        "key": {
            "type": "http", "scheme": "bearer", "bearerFormat": "tdk_…",
            "description": "A service's key, made by `tidings key make`, in the same header.",
        },
        "ticket": {
            "type": "apiKey", "in": "query", "name": "ticket",
            "description": TICKET,
        },
        "address": {
            "type": "apiKey", "in": "query", "name": "token",
            "description": ADDRESS,
        },
    })
}

/// Who may: one of these will do. What is needed of a token stands as its role.
pub(super) fn security(needs: Needs) -> Value {
    match needs {
        Needs::Nothing => json!([]),
        Needs::Token(scope) => json!([{ "token": [scope] }, { "key": [scope] }]),
        Needs::Address(scope) => {
            json!([{ "token": [scope] }, { "key": [scope] }, { "ticket": [scope] }, { "address": [scope] }])
        }
    }
}

/// Headers that many answers have.
pub(super) fn headers() -> Value {
    json!({
        "X-Request-Id": {
            "description": "The id of the request: the sender's, or that of their `traceparent`, or a new one.",
            "required": true,
            "schema": { "type": "string", "minLength": 1 },
        },
        "Retry-After": {
            "description": "After how many seconds it may be tried again.",
            "required": true,
            "schema": { "type": "integer", "minimum": 1 },
        },
        "WWW-Authenticate": {
            "description": "How to say who one is.",
            "required": true,
            "schema": { "const": "Bearer" },
        },
    })
}

pub(super) fn request_id() -> Value {
    json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } })
}

/// A problem as it is answered: its status, its name, what it means, and one of its kind.
type Known = (u16, &'static str, &'static str, fn() -> Problem);

/// The problems there are.
#[rustfmt::skip]
const PROBLEMS: &[Known] = &[
    (400, "Malformed", "It is not JSON, nests too deep, or broke off: `malformed-json`.",
        || Problem::malformed("expected JSON: EOF while parsing an object at line 1 column 17")),
    (401, "Unauthorized", "There is no token, or it is not valid: `unauthorized`.", Problem::unauthorized),
    (403, "Forbidden", "The token does not allow this: `forbidden`. A web page of another origin: `origin-not-allowed`.",
        || Error::Forbidden { needs: "the scope publish".to_owned() }.into()),
    (404, "NotFound", "It is not in this inbox, deleted, or somebody else's: `no-such-notification`. No such link: `not-found`.",
        || Error::NotFound { field: "id".to_owned() }.into()),
    (408, "Timeout", "The body did not come in time: `timeout`.", || Problem::timeout(Duration::from_secs(10))),
    (409, "Conflict", "The idempotency key stands for other content: `key-reused`. It is being done already: `rebuilding`.",
        || Error::KeyReused.into()),
    (413, "TooLarge", "The body is larger than it may be: `too-large`.", || Problem::too_large(262_144)),
    (415, "UnsupportedMediaType", "The content type is none of those that are expected: `unsupported-media-type`.",
        || Problem::media_type("application/json", "text/plain")),
    (422, "Invalid", "A field, a parameter or a header is missing, unknown, or not as expected: `invalid-field`. Nobody is \
        addressed: `nobody-addressed`.", || Problem::field("title", "expected at most 512 bytes, got 600")),
    (429, "TooMany", "More than a limit allows: `too-many-requests`, `too-many-connections`.", || {
        Problem::too_many("limits.requests", "requests", LimitSettings::default().requests, Duration::from_millis(400))
    }),
    (500, "Internal", "Something failed inside: `internal`, `rule-failed`.", || Error::Internal.into()),
    (503, "Unavailable", "Not now: `busy`, `position-not-reached`, `stopping`, `too-many-connections`. Not known whether it was \
        done: `outcome-unknown`.", || Error::Busy.into()),
    (507, "InsufficientStorage", "The disk is nearly full, and nothing more is written until there is room: \
        `insufficient-storage`.", || Error::InsufficientStorage.into()),
];

/// What refers to the answer with a problem of a status.
pub(super) fn problem(status: u16) -> Value {
    match PROBLEMS.iter().find(|(other, ..)| *other == status) {
        Some((_, name, ..)) => json!({ "$ref": format!("#/components/responses/{name}") }),
        None => unreachable!("a status without a problem: {status}"),
    }
}

/// What may come of a request before it is known what it asks for.
pub(super) fn of_every_request() -> [(String, Value); 1] {
    [("431".to_owned(), json!({ "$ref": "#/components/responses/HeadersTooLarge" }))]
}

/// The answers with problems.
pub(super) fn problems(schemas: &mut Schemas) -> Map<String, Value> {
    let described = PROBLEMS.iter().map(|(status, name, text, example)| {
        let mut headers = request_id();
        let more = match *status {
            401 => Some("WWW-Authenticate"),
            429 | 503 | 507 => Some("Retry-After"),
            _ => None,
        };
        if let Some(header) = more {
            headers[header] = json!({ "$ref": format!("#/components/headers/{header}") });
        }
        let content = json!({ "schema": schemas.sent::<Problem>(), "example": example() });
        let content = json!({ "application/problem+json": content });
        let answer = json!({ "description": text, "headers": headers, "content": content });
        ((*name).to_owned(), answer)
    });
    let too_large =
        json!({ "description": "The address and the headers together are larger than they may be." });
    described.chain([("HeadersTooLarge".to_owned(), too_large)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_of_a_problem_has_its_status() {
        for (status, name, _, example) in PROBLEMS {
            assert_eq!(example().status().as_u16(), *status, "{name}");
        }
    }
}
