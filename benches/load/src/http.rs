//! Requests as they are written, and heads of answers as they are read.

use std::fmt::Write;

use serde::Deserialize;

/// An answer's head.
#[derive(Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    /// How long the head is.
    pub(crate) bytes: usize,
    /// How long the body is; `None` when it is in chunks or goes on until the end.
    pub(crate) length: Option<usize>,
    /// Whether the server closes the connection after it.
    pub(crate) closes: bool,
}

/// An answer's head, when it is all there.
pub(crate) fn head(input: &[u8]) -> Result<Option<Head>, String> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut answer = httparse::Response::new(&mut headers);
    let parsed =
        answer.parse(input).map_err(|error| format!("the server does not answer as HTTP: {error}"))?;
    let httparse::Status::Complete(bytes) = parsed else { return Ok(None) };
    let named = |name: &str| answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let text = |name| named(name).and_then(|header| std::str::from_utf8(header.value).ok());
    let length = text("content-length").and_then(|value| value.trim().parse().ok());
    let closes = text("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
    Ok(Some(Head { status: answer.code.unwrap_or_default(), bytes, length, closes }))
}

/// The head of a request, its last, empty line not included.
pub(crate) fn request(method: &str, path: &str, host: &str, token: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n")
}

/// What makes a request one for a WebSocket. The answer to the key is not looked at: it is against servers that know none.
pub(crate) fn upgrade(request: &mut String) {
    let _ = write!(
        request,
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGlkaW5ncyBsb2FkIDAwMQ==\r\n"
    ); // a String takes it
}

/// Why something was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) detail: String,
    /// The setting of the server that was met.
    pub(crate) limit: Option<String>,
    pub(crate) retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Problem {
    #[serde(default)]
    detail: String,
    limit: Option<String>,
    retry_after_ms: Option<u64>,
}

impl Refusal {
    /// From an answer's status and its problem document, if that is what its body is.
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        match serde_json::from_slice::<Problem>(body) {
            Ok(Problem { detail, limit, retry_after_ms }) => Self { status, detail, limit, retry_after_ms },
            Err(_) => Self { status, ..Self::default() },
        }
    }

    /// Whether trying again changes nothing.
    pub(crate) fn is_final(&self) -> bool {
        (400..500).contains(&self.status) && !matches!(self.status, 408 | 429)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.status)?;
        if !self.detail.is_empty() {
            write!(out, ": {}", self.detail)?;
        }
        match (&self.limit, self.status) {
            (Some(limit), _) => write!(out, "; raise {limit} in the server's configuration"),
            (None, 401) => {
                write!(out, "; is the secret or the token that of this server (--secret, --tokens)?")
            }
            (None, 404 | 405) => write!(out, "; is it a Tidings server?"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_setting_to_raise() {
        let body = br#"{"type":"x","title":"y","status":429,"detail":"at most 5","limit":"limits.publishes","retryAfterMs":7}"#;
        let refusal = Refusal::new(429, body);
        assert_eq!(
            refusal.to_string(),
            "429: at most 5; raise limits.publishes in the server's configuration"
        );
        assert!(!refusal.is_final() && Refusal::new(401, b"").is_final());
    }

    #[test]
    fn a_head_is_read_when_it_is_all_there() {
        let text = b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\nconnection: close\r\n\r\nbody";
        let expected = Head { status: 201, bytes: text.len() - 4, length: Some(12), closes: true };
        assert_eq!(head(text), Ok(Some(expected)));
        assert_eq!(head(&text[..40]), Ok(None));
        assert!(head(b"SSH-2.0-none\r\n").is_err());
    }
}
