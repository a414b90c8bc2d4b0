//! Headers of messages: their names, and how they are read. What is sent is written as NATS and CloudEvents have it; what comes is
//! taken whatever its case, as on HTTP.

use async_nats::HeaderMap;

/// The idempotency key of what is published.
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
/// The media type.
pub(crate) const CONTENT_TYPE: &str = "Content-Type";
/// The position an answer is true at, and that of what goes out.
pub(crate) const POSITION: &str = "Tidings-Position";
/// What a client holds that has seen everything up to there.
pub(crate) const CURSOR: &str = "Tidings-Cursor";
/// The position that a request wants to see at least.
pub(crate) const MIN_POSITION: &str = "Tidings-Min-Position";
/// What a request is called in the server's log.
pub(crate) const REQUEST_ID: &str = "Request-Id";
/// W3C trace context.
pub(crate) const TRACEPARENT: &str = "Traceparent";
/// The status and the words of an answer that is a problem, as NATS services have them.
pub(crate) const ERROR_CODE: &str = "Nats-Service-Error-Code";
pub(crate) const ERROR: &str = "Nats-Service-Error";

/// The value of a header.
pub(crate) fn value<'h>(headers: Option<&'h HeaderMap>, name: &str) -> Option<&'h str> {
    let mut all = headers?.iter();
    let (_, values) = all.find(|(given, _)| AsRef::<str>::as_ref(*given).eq_ignore_ascii_case(name))?;
    values.first().map(|value| value.as_str())
}
