//! What a transport says of its connections: the messages that go each way, each with its schema and one of its kind.

use serde_json::{Map, Value, json};

use super::Schemas;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// As frames of a WebSocket, both ways.
    WebSocket,
    /// As server-sent events.
    EventStream,
}

/// A kind of connection.
pub struct Connection {
    /// What the document calls it.
    pub id: &'static str,
    /// Its path.
    pub address: &'static str,
    /// In a line.
    pub title: &'static str,
    /// In a few.
    pub description: &'static str,
    /// How messages travel.
    pub protocol: Protocol,
    /// What the server says by itself.
    pub says: Vec<Message>,
    /// What a client may say.
    pub takes: Vec<Command>,
    /// The codes with which the server closes it, each with its reason and what it means.
    pub closes: Vec<(u16, &'static str, &'static str)>,
}

/// What a client may say, and what that is answered with.
pub struct Command {
    /// What is said.
    pub message: Message,
    /// One of these answers it; none is without an answer.
    pub replies: Vec<Message>,
}

/// A message.
pub struct Message {
    /// What the document calls it, alike for the same message on several connections.
    pub id: String,
    /// Its `type`.
    pub kind: String,
    /// What it means.
    pub summary: String,
    /// What it looks like.
    pub payload: Value,
    /// One of its kind.
    pub example: Value,
}

impl Message {
    pub(super) fn json(&self) -> Value {
        json!({
            "name": self.kind,
            "title": self.id,
            "summary": self.summary,
            "payload": self.payload,
            "examples": [{ "payload": self.example }],
        })
    }
}

impl Schemas {
    /// The variants of a type that is tagged by `type`, each by its word.
    pub fn variants<T: schemars::JsonSchema>(&mut self) -> Vec<(String, Value)> {
        let mut schema = self.sent_here(T::json_schema);
        let variants = schema["oneOf"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let named = variants.into_iter().filter_map(|variant| {
            let word = variant["properties"]["type"]["const"].as_str()?.to_owned();
            Some((word, variant))
        });
        named.collect()
    }
}

/// What says of a schema what it is for, taken out of it.
pub fn described(payload: &mut Value) -> String {
    let text =
        payload.as_object_mut().and_then(|schema: &mut Map<String, Value>| schema.remove("description"));
    text.and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default()
}
