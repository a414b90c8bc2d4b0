//! Why a connection is closed: the codes, each with the reason that the `closing` message and the close frame give.

/// A reason to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code (RFC 6455, 7.4; those from 4000 are ours).
    pub code: u16,
    /// In a word.
    pub reason: &'static str,
}

/// The client sent a binary frame.
pub const NOT_TEXT: Close = Close { code: 1003, reason: "expected text frames" };
/// The client sent what is no WebSocket frame.
pub const NOT_WEBSOCKET: Close = Close { code: 1002, reason: "expected WebSocket frames" };
/// The client sent a text frame that is not UTF-8.
pub const NOT_UTF8: Close = Close { code: 1007, reason: "expected UTF-8" };
/// The client sent a frame that is larger than it may be.
pub const TOO_LARGE: Close = Close { code: 1009, reason: "the frame is too large" };
/// The server stops, or starts anew: connect again, to wherever the address leads by then.
pub const STOPPING: Close = Close { code: 1012, reason: "the server is stopping" };
/// The user comes in for the first time, or with other roles, and the disk is too full to note it.
pub const NO_ROOM: Close = Close { code: 1013, reason: "the disk is nearly full" };
/// Something failed inside.
pub const INTERNAL: Close = Close { code: 1011, reason: "something failed inside" };
/// There is no valid token, or it has ended: come back with another.
pub const UNAUTHORIZED: Close = Close { code: 4401, reason: "a valid token is needed" };
/// The token is valid, but names no user, or does not permit what is to be watched.
pub const FORBIDDEN: Close = Close { code: 4403, reason: "the token does not allow this" };
/// The client goes on sending more commands than it may, whatever it is answered.
pub const TOO_MANY_COMMANDS: Close = Close { code: 4429, reason: "too many commands" };
/// The user has sent too many requests, of which opening a connection is one.
pub const TOO_MANY_REQUESTS: Close = Close { code: 4429, reason: "too many requests" };
/// The user has too many connections.
pub const TOO_MANY_CONNECTIONS: Close = Close { code: 4429, reason: "too many connections" };
/// Nothing came in time: the token at first, a sign of life later.
pub const TIMEOUT: Close = Close { code: 4408, reason: "nothing came in time" };
