//! The parts of the document that connections share: what it is, where servers are, who one is, how a connection begins.

use serde_json::{Value, json};
use tidings_engine::{Channel, Cursor, DeviceName, limits};

use super::{Protocol, Schemas};
use crate::openapi::shared::{ADDRESS, TICKET};

pub(super) fn info() -> Value {
    json!({
        "title": "Tidings, live",
        "version": env!("CARGO_PKG_VERSION"),
        "description": "What goes over WebSockets and event streams: JSON, one object each, its `type` first. New fields and new \
            types of messages may be added: pass over those that you do not know. What a client sends is checked, and unknown \
            fields are refused.\n\nEverything that concerns a user comes in the order of the log, without a gap and each thing once. \
            Keep the `cursor` of the last message you have dealt with, and come back with it.",
        "license": { "name": "Apache 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
    })
}

pub(super) fn servers() -> Value {
    let server = |protocol: &str, text: &str| json!({ "host": "localhost:7400", "protocol": protocol, "description": text, "security": security() });
    json!({
        "webSocket": server("ws", "This server, as it listens without settings; `wss` with TLS."),
        "http": server("http", "The same for plain requests; `https` with TLS."),
    })
}

pub(super) fn servers_of(protocol: Protocol) -> Value {
    let name = match protocol {
        Protocol::WebSocket => "webSocket",
        Protocol::EventStream => "http",
    };
    json!([{ "$ref": format!("#/servers/{name}") }])
}

pub(super) fn security_schemes() -> Value {
    json!({
        "token": {
            "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
            "description": "A token of a user: `Authorization: Bearer …`. On a WebSocket it may come in the first frame instead.",
        },
        "ticket": {
            "type": "httpApiKey", "in": "query", "name": "ticket",
            "description": TICKET,
        },
        "address": {
            "type": "httpApiKey", "in": "query", "name": "token",
            "description": ADDRESS,
        },
    })
}

/// Who may: one of these will do.
pub(super) fn security() -> Value {
    ["token", "ticket", "address"]
        .map(|name| json!({ "$ref": format!("#/components/securitySchemes/{name}") }))
        .into()
}

/// What may stand in the address of a connection.
pub(super) fn parameters(schemas: &mut Schemas) -> Value {
    json!({
        "type": "object",
        "properties": {
            "device": schemas.given::<DeviceName>(),
            "cursor": schemas.given::<Cursor>(),
            "limit": { "type": "integer", "minimum": 0, "maximum": limits::MISSED_MOST,
                "description": "How many positions it may have missed: beyond that it would rather load its inbox." },
            "watch": { "type": "array", "items": schemas.given::<Channel>(), "maxItems": limits::WATCHES_PER_SUBSCRIBER,
                "description": "Channels to watch from the start, each in a parameter of its own." },
            "ticket": { "type": "string", "description": "In place of a token." },
            "token": { "type": "string", "description": "A token, where nothing else works." },
        },
        "additionalProperties": false,
    })
}
