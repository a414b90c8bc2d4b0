//! Why a connection is closed: the codes, each with the reason that the `closing` message and the close frame give.

/// A reason to close a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close {
    /// The close code (RFC 6455, 7.4; those from 4000 are ours).
    pub code: u16,
    /// In a word.
    pub reason: &'static str,
}

macro_rules! closes {
    ($(#[doc = $meaning:literal] $name:ident = $code:literal, $reason:literal;)*) => {
        $(
            #[doc = $meaning]
            pub const $name: Close = Close { code: $code, reason: $reason };
        )*

        /// All there are, each with what it means.
        pub(crate) const ALL: &[(Close, &str)] = &[$(($name, $meaning)),*];
    };
}

closes! {
    /// The client sent a binary frame.
    NOT_TEXT = 1003, "expected text frames";
    /// The client sent what is no WebSocket frame.
    NOT_WEBSOCKET = 1002, "expected WebSocket frames";
    /// The client sent a text frame that is not UTF-8.
    NOT_UTF8 = 1007, "expected UTF-8";
    /// The client sent a frame that is larger than it may be.
    TOO_LARGE = 1009, "the frame is too large";
    /// The server stops, or starts anew: connect again, to wherever the address leads by then.
    STOPPING = 1012, "the server is stopping";
    /// The user comes in for the first time, or with other roles, and the disk is too full to note it.
    NO_ROOM = 1013, "the disk is nearly full";
    /// Something failed inside.
    INTERNAL = 1011, "something failed inside";
    /// There is no valid token, or it has ended: come back with another.
    UNAUTHORIZED = 4401, "a valid token is needed";
    /// The token is valid, but names no user, or does not permit what is to be watched.
    FORBIDDEN = 4403, "the token does not allow this";
    /// The client goes on sending more commands than it may, whatever it is answered.
    TOO_MANY_COMMANDS = 4429, "too many commands";
    /// The user has sent too many requests, of which opening a connection is one.
    TOO_MANY_REQUESTS = 4429, "too many requests";
    /// The user has too many connections.
    TOO_MANY_CONNECTIONS = 4429, "too many connections";
    /// Nothing came in time: the token at first, a sign of life later.
    TIMEOUT = 4408, "nothing came in time";
}
