//! How an event is written: `id`, `event` and `data` on a line each, the data as the native JSON.

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tidings_engine::delivery::Encoding;
use tidings_engine::{Cursor, Engine, Hello, Identity, Position, Reset, Tenant, UserId};

/// The encoding of deliveries as events: the native JSON in its frame. `None` when the engine has too many already.
pub(crate) fn encoding(engine: &Engine) -> Option<Encoding> {
    let (json, log) = (engine.json().clone(), engine.log().clone());
    engine.encoding(move |message| {
        let cursor = log.cursor(message.position());
        framed(message.kind(), Some(&cursor), &json.encode(message)).into()
    })
}

/// Who one is, where the stream begins, and what one has.
pub(crate) fn hello(identity: &Identity, hello: &Hello, heartbeat_seconds: u64) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Data<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        tenant: &'a Tenant,
        user: Option<&'a UserId>,
        position: Position,
        #[serde(flatten)]
        hello: &'a Hello,
        /// When the stream ends, with its token.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        heartbeat_seconds: u64,
    }
    let (tenant, user, position) = (&identity.tenant, identity.user.as_ref(), hello.cursor.position);
    let expires_at = Timestamp::from_second(identity.expires_at).ok();
    let data = Data { kind: "hello", tenant, user, position, hello, expires_at, heartbeat_seconds };
    of(data.kind, Some(&hello.cursor), &data)
}

/// What was missed does not come: the inbox has to be loaded.
pub(crate) fn reset(reason: Reset, cursor: &Cursor) -> Bytes {
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        reason: Reset,
        cursor: &'a Cursor,
    }
    let data = Data { kind: "reset", reason, cursor };
    of(data.kind, Some(cursor), &data)
}

/// Tells a quiet client how far the log is.
pub(crate) fn heartbeat(cursor: &Cursor) -> Bytes {
    #[derive(Serialize)]
    struct Data<'a> {
        #[serde(rename = "type")]
        kind: &'static str,
        position: Position,
        cursor: &'a Cursor,
    }
    let data = Data { kind: "heartbeat", position: cursor.position, cursor };
    of(data.kind, Some(cursor), &data)
}

/// The last event of a stream that the server ends.
pub(crate) fn closing(reason: &'static str) -> Bytes {
    #[derive(Serialize)]
    struct Data {
        #[serde(rename = "type")]
        kind: &'static str,
        reason: &'static str,
    }
    let data = Data { kind: "closing", reason };
    of(data.kind, None, &data)
}

/// After how many milliseconds a client that lost its connection connects again.
pub(crate) fn retry(milliseconds: u64) -> Bytes {
    format!("retry: {milliseconds}\n\n").into()
}

fn of(kind: &str, id: Option<&Cursor>, data: &impl Serialize) -> Bytes {
    let json =
        serde_json::to_vec(data).unwrap_or_else(|error| unreachable!("our own events encode: {error}"));
    framed(kind, id, &json).into()
}

/// JSON as we write it has no line breaks, so one line of data holds it.
fn framed(kind: &str, id: Option<&Cursor>, json: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(json.len() + kind.len() + 64);
    if let Some(id) = id {
        text.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    text.extend_from_slice(format!("event: {kind}\ndata: ").as_bytes());
    text.extend_from_slice(json);
    text.extend_from_slice(b"\n\n");
    text
}
