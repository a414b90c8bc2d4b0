//! The id of the request that a command came with, from the command to the delivery: so that one notification can be followed
//! through the log of a server.
//!
//! It is in memory only: events that are read from the log, and what a restart came between, have none.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// Bytes of an id from outside at most.
const ID_BYTES: usize = 128;

tokio::task_local! {
    static CURRENT: RequestId;
}

/// A request's id.
#[derive(Clone, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// An id from outside: letters, digits and `-_.:/+=@`, which need no quoting in a log. `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_sound = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=@".contains(c);
        let is_id = (1..=ID_BYTES).contains(&text.len()) && text.chars().all(is_sound);
        is_id.then(|| Self(text.into()))
    }

    /// The trace id of a `traceparent` (W3C Trace Context, 3.2). `None` when it is none.
    #[must_use]
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex = |part: &str, len| {
            part.len() == len && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        let has_form = is_hex(version, 2) && is_hex(trace, 32) && is_hex(parent, 16) && is_hex(flags, 2);
        let is_whole = version != "ff" && (version != "00" || parts.next().is_none());
        (has_form && is_whole && !is_zero(trace) && !is_zero(parent)).then(|| Self(trace.into()))
    }

    /// A new one: this process, by a number of its own, and how many it has made. Told apart from others, and no secret.
    #[must_use]
    pub fn new() -> Self {
        static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
        static MADE: AtomicU64 = AtomicU64::new(0);
        Self(format!("{:016x}{:016x}", *PROCESS, MADE.fetch_add(1, Ordering::Relaxed)).into())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for RequestId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Does something for a request: the events it appends carry its id.
pub async fn within<T>(id: RequestId, work: impl Future<Output = T>) -> T {
    CURRENT.scope(id, work).await
}

/// The request that is served, if there is one.
#[must_use]
pub fn current() -> Option<RequestId> {
    CURRENT.try_with(Clone::clone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_from_outside_are_taken_when_they_are_well_formed() {
        for good in ["1", "0198f0c2-7b1e:x", &"a".repeat(128)] {
            assert_eq!(RequestId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\nb", "ü", "\"", &"a".repeat(129)] {
            assert_eq!(RequestId::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_trace_of_a_traceparent_is_taken_when_it_is_well_formed() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let of = |text: &str| RequestId::of_traceparent(text).map(|id| id.to_string());
        assert_eq!(of(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        assert_eq!(of(&format!("01-{trace}-00f067aa0ba902b7-01-more")).as_deref(), Some(trace));
        for bad in [
            format!("00-{trace}-00f067aa0ba902b7-01-more"),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{trace}-{}-01", "0".repeat(16)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7"),
            "nonsense".to_owned(),
        ] {
            assert_eq!(of(&bad), None, "{bad}");
        }
    }
}
