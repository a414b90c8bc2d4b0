//! The messages that a connection says by itself, beside deliveries: hello, heartbeat, answers, errors, closing.
//!
//! Each is one JSON object whose `type` comes first.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use tidings_config::LimitSettings;
use tidings_engine::inbox::Counts;
use tidings_engine::{
    Channel, Cursor, DeviceName, Epoch, Hello, Identity, Position, Resumed, Tenant, UserId, limits,
};
use tidings_http::problem::Problem;

use crate::close::Close;

/// What is said of each is in the document that is made of them.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(crate) enum Message<'a> {
    /// The first message: who one is, where the log stands, what one has.
    Hello {
        tenant: &'a Tenant,
        user: Option<&'a UserId>,
        epoch: &'a Epoch,
        position: Position,
        cursor: &'a Cursor,
        device: &'a DeviceName,
        counts: Counts,
        channels: &'a [Channel],
        watching: &'a [Channel],
        /// When the connection ends, unless another token is shown before.
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<Resumed>,
        limits: Limits,
    },
    /// How far a quiet connection is, now and then.
    Heartbeat { position: Position, cursor: &'a Cursor },
    /// The token ends in a minute: show another one.
    Expiring { expires_at: Option<Timestamp> },
    /// What a command came to.
    Answer { id: &'a Value, result: &'a Value },
    /// What was wrong with a command; the id is null when it could not be read.
    Error { id: &'a Value, problem: &'a Problem },
    /// The last message of a connection that the server closes.
    Closing {
        code: u16,
        reason: &'static str,
        /// Everything up to here was sent.
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a Cursor>,
        /// When to come back; for those who may.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
}

/// What a client may do.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub(crate) struct Limits {
    frame_bytes: u32,
    commands: u32,
    commands_seconds: u32,
    notifications_per_command: usize,
    watches: usize,
    heartbeat_seconds: u32,
}

impl Message<'_> {
    fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|error| unreachable!("our own messages encode: {error}"))
    }
}

/// The first message: who one is, where the log stands, what one has.
pub(crate) fn hello(identity: &Identity, hello: &Hello, given: &LimitSettings) -> String {
    let message = Message::Hello {
        tenant: &identity.tenant,
        user: identity.user.as_ref(),
        epoch: &hello.cursor.epoch,
        position: hello.cursor.position,
        cursor: &hello.cursor,
        device: &hello.device,
        counts: hello.counts,
        channels: &hello.channels,
        watching: &hello.watching,
        expires_at: moment(identity.expires_at),
        resume: hello.resume,
        limits: Limits {
            frame_bytes: given.message_bytes.get(),
            commands: given.commands.count.get(),
            commands_seconds: given.commands.seconds.get(),
            notifications_per_command: limits::NOTIFICATIONS_PER_COMMAND,
            watches: limits::WATCHES_PER_SUBSCRIBER,
            heartbeat_seconds: given.heartbeat_seconds.get(),
        },
    };
    message.text()
}

/// Tells a quiet connection how far it is.
pub(crate) fn heartbeat(cursor: &Cursor) -> String {
    Message::Heartbeat { position: cursor.position, cursor }.text()
}

/// Tells a client that its token ends soon.
pub(crate) fn expiring(expires_at: i64) -> String {
    Message::Expiring { expires_at: moment(expires_at) }.text()
}

/// A time in seconds since 1970, if it is one that can be written.
pub(crate) fn moment(seconds: i64) -> Option<Timestamp> {
    Timestamp::from_second(seconds).ok()
}

/// What a command came to.
pub(crate) fn answer(id: &Value, result: &Value) -> String {
    Message::Answer { id, result }.text()
}

/// What was wrong with a command.
pub(crate) fn error(id: &Value, problem: &Problem) -> String {
    Message::Error { id, problem }.text()
}

/// The last message of a connection that we close.
pub(crate) fn closing(close: Close, cursor: Option<&Cursor>, retry_after_ms: Option<u64>) -> String {
    Message::Closing { code: close.code, reason: close.reason, cursor, retry_after_ms }.text()
}
