//! A notification as people see it, and as clients get it: one JSON document, the same bytes for everybody.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::limits;
use crate::names::{Channel, CollapseKey, NotificationType, Priority, Tag};

/// A notification's identity: a UUIDv7, so that ids sort by time and indexes stay compact (RFC 9562, 5.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct NotificationId(Uuid);

impl NotificationId {
    /// What one looks like.
    pub const EXAMPLE: &str = "0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001";

    /// A new id, later than all that this process has made.
    #[must_use]
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }

    /// From what [`as_bytes`](Self::as_bytes) gave.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// An id that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("expected a notification's id: a UUID such as 0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001")]
pub struct NotificationIdError;

impl FromStr for NotificationId {
    type Err = NotificationIdError;

    fn from_str(text: &str) -> Result<Self, NotificationIdError> {
        Uuid::try_parse(text).map(Self).map_err(|_| NotificationIdError)
    }
}

impl<'de> Deserialize<'de> for NotificationId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for NotificationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an action's URL looks like: nothing that runs code or leads elsewhere unseen.
const URL: &str =
    r"^(https?://[^\s\x00-\x1F\x7F-\x9F]*|/([^/\\\s\x00-\x1F\x7F-\x9F][^\s\x00-\x1F\x7F-\x9F]*)?)$";

/// What a person can do about a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Action {
    /// Where it leads: `https://…`, `http://…`, or a path of the application (`/bookings/17`).
    #[schemars(length(max = limits::URL_BYTES), regex(pattern = URL))]
    pub url: String,
    /// What the button says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = limits::ACTION_TEXT_BYTES))]
    pub text: Option<String>,
}

/// What a notification says. The part of it that may hold a person's data, kept apart so that it can be erased.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Content {
    /// One line.
    #[serde(default)]
    pub title: String,
    /// A few lines.
    #[serde(default)]
    pub body: String,
    /// Whatever the application needs to act on it.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// What a person can do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<Action>,
}

/// A notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Its identity.
    pub id: NotificationId,
    /// What kind of fact it reports.
    pub kind: NotificationType,
    /// What it says.
    pub content: Content,
    /// How much it wants to be noticed.
    pub priority: Priority,
    /// Words to find it by.
    pub tags: Vec<Tag>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was to go out, if that was later.
    pub deliver_at: Option<Timestamp>,
    /// When its time is over: then it is taken back.
    pub expires_at: Option<Timestamp>,
    /// In each stream it takes the place of the one before it with the same key.
    pub collapse_key: Option<CollapseKey>,
    /// Whether it stands in inboxes and counts; otherwise it is only shown live.
    pub inbox: bool,
}

/// A notification as clients get it.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Notification")]
pub struct Document<'a> {
    id: NotificationId,
    #[serde(rename = "type")]
    kind: &'a NotificationType,
    #[serde(flatten)]
    content: &'a Content,
    priority: &'a Priority,
    tags: &'a [Tag],
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliver_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    collapse_key: Option<&'a CollapseKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a Channel>,
    inbox: bool,
}

impl Notification {
    /// The JSON document that clients get. `channel` is the channel it was addressed to if that was exactly one:
    /// of several, nobody learns which others there were. `updated_at` is when it came to be as it is.
    pub(crate) fn document(&self, channel: Option<&Channel>, updated_at: Option<Timestamp>) -> Vec<u8> {
        let document = Document {
            id: self.id,
            kind: &self.kind,
            content: &self.content,
            priority: &self.priority,
            tags: &self.tags,
            created_at: self.created_at,
            deliver_at: self.deliver_at,
            expires_at: self.expires_at,
            updated_at,
            collapse_key: self.collapse_key.as_ref(),
            channel,
            inbox: self.inbox,
        };
        // Allocated once: growing it step by step was a twentieth of what a rebuild costs.
        let mut json = Vec::with_capacity(self.content.title.len() + self.content.body.len() + DOCUMENT_REST);
        encode_into(&mut json, &document);
        json
    }
}

/// What a document has beside its title and body, roughly.
const DOCUMENT_REST: usize = 256;

/// JSON of a type of ours, none of which has a key that is not a string or a number that JSON lacks.
pub(crate) fn encode(value: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(128);
    encode_into(&mut json, value);
    json
}

fn encode_into(json: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(json, value).unwrap_or_else(|error| unreachable!("our own types encode: {error}"));
}
