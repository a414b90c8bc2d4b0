//! How an event is written: `id`, `event` and `data` on a line each, the data as the native JSON.

use bytes::Bytes;
use jiff::Timestamp;
use schemars::JsonSchema;
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

/// What a stream says by itself, beside deliveries.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Event<'a> {
    /// Who one is, where the stream begins, and what one has.
    Hello {
        tenant: &'a Tenant,
        user: Option<&'a UserId>,
        position: Position,
        #[serde(flatten)]
        hello: &'a Hello,
        /// When the stream ends, with its token.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        heartbeat_seconds: u64,
    },
    /// What was missed does not come: the inbox has to be loaded.
    Reset { reason: Reset, cursor: &'a Cursor },
    /// How far the log is, for a quiet client.
    Heartbeat { position: Position, cursor: &'a Cursor },
    /// The last event of a stream that the server ends.
    Closing { reason: &'static str },
}

impl Event<'_> {
    /// Its type, and the cursor that it brings its reader to.
    fn head(&self) -> (&'static str, Option<&Cursor>) {
        match self {
            Self::Hello { hello, .. } => ("hello", Some(&hello.cursor)),
            Self::Reset { cursor, .. } => ("reset", Some(cursor)),
            Self::Heartbeat { cursor, .. } => ("heartbeat", Some(cursor)),
            Self::Closing { .. } => ("closing", None),
        }
    }

    fn framed(&self) -> Bytes {
        let json =
            serde_json::to_vec(self).unwrap_or_else(|error| unreachable!("our own events encode: {error}"));
        let (kind, id) = self.head();
        framed(kind, id, &json).into()
    }
}

/// The first event.
pub(crate) fn hello(identity: &Identity, hello: &Hello, heartbeat_seconds: u64) -> Bytes {
    let (tenant, user, position) = (&identity.tenant, identity.user.as_ref(), hello.cursor.position);
    let expires_at = Timestamp::from_second(identity.expires_at).ok();
    Event::Hello { tenant, user, position, hello, expires_at, heartbeat_seconds }.framed()
}

/// What was missed does not come.
pub(crate) fn reset(reason: Reset, cursor: &Cursor) -> Bytes {
    Event::Reset { reason, cursor }.framed()
}

/// Tells a quiet client how far the log is.
pub(crate) fn heartbeat(cursor: &Cursor) -> Bytes {
    Event::Heartbeat { position: cursor.position, cursor }.framed()
}

/// The last event of a stream that the server ends.
pub(crate) fn closing(reason: &'static str) -> Bytes {
    Event::Closing { reason }.framed()
}

/// After how many milliseconds a client that lost its connection connects again.
pub(crate) fn retry(milliseconds: u64) -> Bytes {
    format!("retry: {milliseconds}\n\n").into()
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
