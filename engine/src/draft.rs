//! What a publisher sends: a notification that has no identity, time or place in the log yet.
//!
//! A draft that was parsed and [checked](Draft::check) can be published; nothing later refuses its fields.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::audience::Audience;
use crate::input::{FieldError, object, optional_object};
use crate::limits;
use crate::names::{CollapseKey, IdempotencyKey, NotificationType, Priority, Tag};
use crate::notification::{Action, encode};

/// A notification as its publisher describes it.
///
/// ```
/// let draft: tidings_engine::Draft = serde_json::from_str(
///     r#"{"type": "booking.accepted", "title": "Booking 17 was accepted", "audience": {"users": ["ada"]}}"#,
/// )?;
/// assert!(draft.check().is_empty());
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(description = "A notification as its publisher describes it.")]
pub struct Draft {
    /// What kind of fact it reports.
    #[serde(rename = "type")]
    pub kind: NotificationType,
    /// Whom it is for; without it the routing rules decide.
    #[serde(default, deserialize_with = "object")]
    #[schemars(with = "Audience")]
    pub audience: Audience,
    /// One line.
    #[serde(default)]
    #[schemars(length(max = limits::TITLE_BYTES))]
    pub title: String,
    /// A few lines.
    #[serde(default)]
    #[schemars(length(max = limits::BODY_BYTES))]
    pub body: String,
    /// Whatever the application needs to act on it.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// How much it wants to be noticed.
    #[serde(default)]
    pub priority: Priority,
    /// What a person can do about it.
    #[serde(default, deserialize_with = "optional_object")]
    #[schemars(with = "Option<Action>")]
    pub action: Option<Action>,
    /// Words to find it by.
    #[serde(default)]
    #[schemars(length(max = limits::TAGS_PER_NOTIFICATION))]
    pub tags: Vec<Tag>,
    /// `false` for one that is only shown live: in no inbox, in no count.
    #[serde(default = "yes")]
    pub inbox: bool,
    /// When it goes out; at once, if that is not in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<Timestamp>,
    /// When its time is over: then it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// In each stream it takes the place of the one before it with the same key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapse_key: Option<CollapseKey>,
    /// Under this key it is published once, however often it is sent.
    #[serde(default, skip_serializing)]
    pub idempotency_key: Option<IdempotencyKey>,
}

fn yes() -> bool {
    true
}

/// A hash of what the publisher sent, to tell a retry from another use of the same key.
pub(crate) type ContentHash = [u8; 32];

impl Draft {
    /// A draft with nothing but a type and an audience.
    #[must_use]
    pub fn new(kind: NotificationType, audience: Audience) -> Self {
        Self {
            kind,
            audience,
            title: String::new(),
            body: String::new(),
            data: Map::new(),
            priority: Priority::normal(),
            action: None,
            tags: Vec::new(),
            inbox: true,
            deliver_at: None,
            expires_at: None,
            collapse_key: None,
            idempotency_key: None,
        }
    }

    /// Everything that is wrong with it; empty when it can be published.
    #[must_use]
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Vec::new();
        self.audience.check(&mut errors);
        check_bytes(&mut errors, "title", self.title.len(), limits::TITLE_BYTES);
        check_bytes(&mut errors, "body", self.body.len(), limits::BODY_BYTES);
        if !self.data.is_empty() {
            check_bytes(&mut errors, "data", encode(&self.data).len(), limits::DATA_BYTES);
        }
        if self.tags.len() > limits::TAGS_PER_NOTIFICATION {
            let (most, count) = (limits::TAGS_PER_NOTIFICATION, self.tags.len());
            errors.push(FieldError::new("tags", format!("expected at most {most} entries, got {count}")));
        }
        if let Some(action) = &self.action {
            check_action(&mut errors, action);
        }
        errors
    }

    /// What is wrong with its times, as the clock shows them.
    pub(crate) fn check_times(&self, now: Timestamp, errors: &mut Vec<FieldError>) {
        let days = |days: i64| now + SignedDuration::from_hours(24 * days);
        if self.deliver_at.is_some_and(|at| at > days(limits::SCHEDULED_DAYS)) {
            let detail = format!("expected a time within {} days", limits::SCHEDULED_DAYS);
            errors.push(FieldError::new("deliverAt", detail));
        }
        let Some(expires_at) = self.expires_at else { return };
        if expires_at <= self.deliver_at.map_or(now, |deliver_at| deliver_at.max(now)) {
            let detail = "expected a time in the future, and after `deliverAt`";
            errors.push(FieldError::new("expiresAt", detail));
        }
        if expires_at > days(limits::EXPIRES_DAYS) {
            let detail = format!("expected a time within {} days", limits::EXPIRES_DAYS);
            errors.push(FieldError::new("expiresAt", detail));
        }
    }

    /// The hash of everything but the key. Spaces and the order of fields do not matter. Keys outlive versions: a field
    /// that is added later is left out of it while it has its default.
    pub(crate) fn content_hash(&self) -> ContentHash {
        Sha256::digest(encode(self)).into()
    }
}

fn check_bytes(errors: &mut Vec<FieldError>, field: &str, count: usize, most: usize) {
    if count > most {
        errors.push(FieldError::new(field, format!("expected at most {most} bytes, got {count}")));
    }
}

fn check_action(errors: &mut Vec<FieldError>, action: &Action) {
    check_bytes(errors, "action.url", action.url.len(), limits::URL_BYTES);
    check_bytes(
        errors,
        "action.text",
        action.text.as_ref().map_or(0, String::len),
        limits::ACTION_TEXT_BYTES,
    );
    // Anything else may run code where it is clicked (`javascript:`, `data:`) or lead elsewhere unseen (`//host`).
    let absolute = ["https://", "http://"].iter().any(|scheme| action.url.starts_with(scheme));
    let path = action.url.starts_with('/') && !action.url.starts_with("//") && !action.url.starts_with("/\\");
    if !(absolute || path) || action.url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        let detail = "expected a URL that starts with https:// or http://, or a path that starts with one /";
        errors.push(FieldError::new("action.url", detail));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(json: &str) -> Draft {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_hash_is_of_the_content_not_of_the_bytes() {
        let one = draft(r#"{"type":"a","title":"t","data":{"x":1,"y":2}}"#);
        let same = draft(r#"{ "title":"t", "data":{"y":2,"x":1}, "type":"a", "idempotencyKey":"k" }"#);
        let other = draft(r#"{"type":"a","title":"t","data":{"x":1,"y":3}}"#);
        assert_eq!(one.content_hash(), same.content_hash());
        assert_ne!(one.content_hash(), other.content_hash());
    }

    #[test]
    fn a_retry_after_an_upgrade_has_the_hash_of_before() {
        let full = draft(
            r#"{"type":"a","title":"t","body":"b","data":{"x":1},"priority":"high","action":{"url":"/u","text":"Open"},
                "tags":["x"],"inbox":false,"audience":{"users":["ada"],"channels":["topic:a"],"except":["bob"]}}"#,
        );
        let hex: String = full.content_hash().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "84ebd5b8680d941c");
    }

    #[test]
    fn links_that_could_run_code_or_leave_unseen_are_refused() {
        for (url, good) in [
            ("https://example.org/x", true),
            ("/bookings/17?x=1", true),
            ("javascript:alert(1)", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("data:text/html,x", false),
            ("https://example.org/\nx", false),
            ("", false),
        ] {
            let mut sample = draft(r#"{"type":"a"}"#);
            sample.action = Some(Action { url: url.into(), text: None });
            assert_eq!(sample.check().is_empty(), good, "{url:?}");
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let mut sample = draft(r#"{"type":"a","audience":{"except":["ada"]}}"#);
        sample.title = "x".repeat(513);
        let fields: Vec<String> = sample.check().into_iter().map(|error| error.field).collect();
        assert_eq!(fields, ["audience.except", "title"]);
    }
}
