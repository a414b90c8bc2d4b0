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

/// The value of a header. Of several names that differ in case only, the exact one counts, or else the least, so that a message always
/// means the same.
pub(crate) fn value<'h>(headers: Option<&'h HeaderMap>, name: &str) -> Option<&'h str> {
    let named = headers?.iter().map(|(given, values)| (AsRef::<str>::as_ref(given), values));
    let fitting = named.filter(|(given, _)| given.eq_ignore_ascii_case(name));
    let (_, values) = fitting.min_by_key(|(given, _)| (*given != name, *given))?;
    values.first().map(|value| value.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_names_that_differ_in_case_the_exact_one_counts_or_else_the_least() {
        // The order of a map is another each time.
        for _ in 0..20 {
            let mut headers = HeaderMap::new();
            for name in ["nats-msg-id", "NATS-MSG-ID", "Nats-msg-id"] {
                headers.insert(name, name);
            }
            assert_eq!(value(Some(&headers), MESSAGE_ID), Some("NATS-MSG-ID"));
            headers.insert(MESSAGE_ID, "exact");
            assert_eq!(value(Some(&headers), MESSAGE_ID), Some("exact"));
        }
    }
}
