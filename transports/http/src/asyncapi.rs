//! The AsyncAPI 3.0 document of the connections that stay, made of the types of what goes over them. It is made once, and is
//! the same bytes for the same code. Says nothing of plain requests, for which there is [`crate::openapi`].

mod connection;
mod deliveries;
mod shared;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

pub use crate::openapi::schemas::Schemas;
pub use connection::{Command, Connection, Message, Protocol, described};
pub use deliveries::deliveries;

use crate::api::Api;
use crate::openapi::Section;
use crate::{Context, Routes};

/// The document.
#[derive(Debug)]
pub struct Document {
    json: Value,
    text: Bytes,
}

impl Document {
    /// That of a server which has these transports mounted.
    #[must_use]
    pub fn of(mounted: &[Box<dyn Routes>]) -> Self {
        let mut schemas = Schemas::draft_07();
        let connections: Vec<Connection> =
            mounted.iter().filter_map(|routes| routes.connection(&mut schemas)).collect();
        let mut parts = Parts::default();
        for connection in &connections {
            parts.add(connection, &shared::parameters(&mut schemas));
        }
        let mut json = json!({
            "asyncapi": "3.0.0",
            "info": shared::info(),
            "defaultContentType": "application/json",
            "servers": shared::servers(),
            "channels": parts.channels,
            "operations": parts.operations,
            "components": { "messages": parts.messages, "securitySchemes": shared::security_schemes() },
        });
        schemas.settle(&mut json);
        let text = format!("{json:#}\n").into();
        Self { json, text }
    }

    /// It as JSON.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    /// It as text.
    #[must_use]
    pub fn text(&self) -> &Bytes {
        &self.text
    }
}

/// What is gathered of all connections.
#[derive(Default)]
struct Parts {
    channels: Map<String, Value>,
    operations: Map<String, Value>,
    messages: Map<String, Value>,
}

impl Parts {
    fn add(&mut self, connection: &Connection, parameters: &Value) {
        let id = connection.id;
        let channel = format!("#/channels/{id}");
        let mut messages = Map::new();
        let mut refer = |message: &Message| {
            let known = json!({ "$ref": format!("#/components/messages/{}", message.id) });
            messages.insert(message.id.clone(), known);
            self.messages.insert(message.id.clone(), message.json());
            json!({ "$ref": format!("{channel}/messages/{}", message.id) })
        };
        let said: Vec<Value> = connection.says.iter().map(&mut refer).collect();
        let own: Map<String, Value> = connection
            .takes
            .iter()
            .map(|command| {
                let replies: Vec<Value> = command.replies.iter().map(&mut refer).collect();
                let mut operation = json!({
                    "action": "receive",
                    "channel": { "$ref": channel },
                    "summary": command.message.summary,
                    "messages": [refer(&command.message)],
                });
                if !replies.is_empty() {
                    operation["reply"] = json!({ "channel": { "$ref": channel }, "messages": replies });
                }
                (command.message.id.replace("command.", "command-"), operation)
            })
            .collect();
        let mut sends = json!({
            "action": "send",
            "channel": { "$ref": channel },
            "summary": format!("What the server says: {}", connection.title),
            "security": shared::security(),
            "messages": said,
        });
        let mut described = json!({
            "address": connection.address,
            "title": connection.title,
            "description": connection.description,
            "servers": shared::servers_of(connection.protocol),
            "messages": messages,
        });
        match connection.protocol {
            Protocol::WebSocket => {
                described["bindings"] =
                    json!({ "ws": { "method": "GET", "query": parameters, "bindingVersion": "0.1.0" } });
            }
            Protocol::EventStream => {
                sends["bindings"] =
                    json!({ "http": { "method": "GET", "query": parameters, "bindingVersion": "0.3.0" } });
            }
        }
        if !connection.closes.is_empty() {
            described["x-close-codes"] = connection.closes.iter().map(close).collect();
        }
        self.channels.insert(id.to_owned(), described);
        self.operations.insert(format!("{id}-says"), sends);
        self.operations.extend(own);
    }
}

fn close((code, reason, meaning): &(u16, &'static str, &'static str)) -> Value {
    json!({ "code": code, "reason": reason, "meaning": meaning })
}

pub(crate) fn api() -> Api {
    Api::new().on(
        Section::Page
            .get(
                "/asyncapi.json",
                "getAsyncApi",
                "What goes over connections that stay, as an AsyncAPI document",
            )
            .says("Made of the code that serves. `tidings asyncapi` prints it without a server.")
            .answers_json::<Map<String, Value>>(StatusCode::OK, "The AsyncAPI document."),
        document,
    )
}

async fn document(State(context): State<Context>) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")];
    (headers, context.asyncapi.text().clone()).into_response()
}
