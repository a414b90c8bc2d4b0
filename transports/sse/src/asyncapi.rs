//! What the AsyncAPI document says of an event stream: every event, from the types that are sent.

use serde_json::{Value, json};
use tidings_http::asyncapi::{Connection, Message, Protocol, Schemas, deliveries, described};

use crate::event::Event;

const DESCRIPTION: &str = "What concerns a user, as server-sent events (WHATWG HTML, 9.2): `event` is the message's type, `data` the message, \
    and `id` the cursor, which a browser sends as `Last-Event-ID` when it connects again. One-way: commands go over HTTP. A `retry` says \
    after how many milliseconds a client that lost its connection is to come back.";

/// What goes over an event stream.
pub(crate) fn connection(schemas: &mut Schemas) -> Connection {
    let mut says = deliveries(schemas);
    for (word, mut payload) in schemas.variants::<Event<'static>>() {
        let (id, summary) = (format!("eventStream.{word}"), described(&mut payload));
        let example = example(&word);
        says.push(Message { id, kind: word, summary, payload, example });
    }
    Connection {
        id: "eventStream",
        address: "/v1/events",
        title: "Event stream",
        description: DESCRIPTION,
        protocol: Protocol::EventStream,
        says,
        takes: Vec::new(),
        closes: Vec::new(),
    }
}

/// One of each event that a stream says by itself.
fn example(word: &str) -> Value {
    let cursor = "8e80c0ca40ee.57";
    match word {
        "hello" => json!({
            "type": "hello", "tenant": "default", "user": "ada", "position": 57, "device": "phone-7f3a", "channels": ["everyone"],
            "watching": [], "cursor": cursor, "counts": { "unread": 7, "unseen": 2, "position": 57 },
            "expiresAt": "2026-11-21T08:00:05Z", "heartbeatSeconds": 25,
        }),
        "reset" => json!({ "type": "reset", "reason": "tooMany", "cursor": cursor }),
        "heartbeat" => json!({ "type": "heartbeat", "position": 57, "cursor": cursor }),
        "closing" => json!({ "type": "closing", "reason": "the server is stopping" }),
        _ => Value::Null,
    }
}
