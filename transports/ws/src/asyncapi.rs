//! What the AsyncAPI document says of a WebSocket: every message and every command, from the types that are sent and taken.

use serde_json::{Value, json};
use tidings_http::asyncapi::{Command, Connection, Message, Protocol, Schemas, deliveries, described};
use tidings_http::problem::Problem;

use crate::commands::{COMMANDS, ID_BYTES, Shape};
use crate::handshake::TokenFrame;
use crate::{close, message};

const DESCRIPTION: &str = "One connection for everything that concerns a user, as text frames. The token comes in the \
    header `Authorization`, in the address, or as the first frame (`token`, without an id). Commands are carried out one after the other; \
    the answer names the id of its command, and comes after everything that its result may have seen. Before the server closes it says \
    `closing`; the close codes are in `x-close-codes`.";

/// What goes over a WebSocket.
pub(crate) fn connection(schemas: &mut Schemas) -> Connection {
    let mut says = deliveries(schemas);
    let mut answer = Value::Null;
    for (word, mut payload) in schemas.variants::<message::Message<'static>>() {
        let summary = described(&mut payload);
        if word == "answer" {
            answer = payload; // one for each command, below
            continue;
        }
        let (id, example) = (format!("webSocket.{word}"), example(&word));
        says.push(Message { id, kind: word, summary, payload, example });
    }
    let mut takes = vec![first_frame(schemas)];
    takes.extend(COMMANDS.iter().map(|shape| command(shape, &answer, schemas)));
    Connection {
        id: "webSocket",
        address: "/v1/ws",
        title: "WebSocket",
        description: DESCRIPTION,
        protocol: Protocol::WebSocket,
        says,
        takes,
        closes: close::ALL
            .iter()
            .map(|(close, meaning)| (close.code, close.reason, meaning.trim()))
            .collect(),
    }
}

/// The token, when it comes in the first frame: the hello answers it.
fn first_frame(schemas: &mut Schemas) -> Command {
    let mut payload = schemas.given_here::<TokenFrame>();
    let message = Message {
        id: "command.first-token".to_owned(),
        kind: "token".to_owned(),
        summary: described(&mut payload),
        payload,
        example: json!({ "type": "token", "token": "eyJhbGciOiJIUzI1NiJ9.e30.x", "cursor": "8e80c0ca40ee.57" }),
    };
    Command { message, replies: Vec::new() }
}

fn command(shape: &Shape, answer: &Value, schemas: &mut Schemas) -> Command {
    let Shape { name, summary, takes, gives, examples: (fields, result) } = shape;
    let mut payload = takes(schemas);
    described(&mut payload);
    let id = json!({ "oneOf": [
        { "type": "integer", "minimum": 0 },
        { "type": "string", "minLength": 1, "maxLength": ID_BYTES },
    ] });
    payload["properties"]["type"] = json!({ "const": name });
    payload["properties"]["id"] = id.clone();
    let mut required = vec![json!("type")];
    if *name != "ack" {
        required.push(json!("id"));
    }
    required.extend(payload["required"].as_array().into_iter().flatten().cloned());
    payload["required"] = required.into();
    let mut example: Value = serde_json::from_str(fields).unwrap_or_default();
    (example["type"], example["id"]) = ((*name).into(), 7.into());
    let message = Message {
        id: format!("command.{name}"),
        kind: (*name).to_owned(),
        summary: (*summary).to_owned(),
        payload,
        example,
    };

    let mut payload = answer.clone();
    payload["properties"]["id"] = id;
    payload["properties"]["result"] = gives(schemas);
    let result: Value = serde_json::from_str(result).unwrap_or_default();
    let answered = Message {
        id: format!("answer.{name}"),
        kind: "answer".to_owned(),
        summary: format!("What `{name}` came to."),
        payload,
        example: json!({ "type": "answer", "id": 7, "result": result }),
    };
    Command { message, replies: vec![answered] }
}

/// One of each message that a connection says by itself.
fn example(word: &str) -> Value {
    let (cursor, at) = ("8e80c0ca40ee.57", "2026-11-21T08:00:05Z");
    match word {
        "hello" => json!({
            "type": "hello", "tenant": "default", "user": "ada", "epoch": "8e80c0ca40ee", "position": 57, "cursor": cursor,
            "device": "phone-7f3a", "counts": { "unread": 7, "unseen": 2, "position": 57 },
            "channels": ["everyone", "role:SUPPORT"], "watching": ["session:s1"], "expiresAt": at,
            "resume": { "result": "continued" },
            "limits": { "frameBytes": 262_144, "commands": 100, "commandsSeconds": 5, "notificationsPerCommand": 1_000,
                "watches": 64, "heartbeatSeconds": 25 },
        }),
        "heartbeat" => json!({ "type": "heartbeat", "position": 57, "cursor": cursor }),
        "expiring" => json!({ "type": "expiring", "expiresAt": at }),
        "error" => {
            json!({ "type": "error", "id": 7, "problem": Problem::field("channel", "expected a channel") })
        }
        "closing" => {
            json!({ "type": "closing", "code": close::STOPPING.code, "reason": close::STOPPING.reason,
            "cursor": cursor, "retryAfterMs": 2_750 })
        }
        _ => Value::Null,
    }
}
