//! The native encoding: one JSON object a message, its `type` first. Shared by WebSocket and everything else that speaks JSON.
//!
//! What a message looks like is said once, by the type that is encoded: documents take its schema from there.

use bytes::Bytes;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::Message;
use crate::epochs::Epochs;
use crate::event::{EntryRef, Event, Fact, RetractReason, Selection};
use crate::inbox::Counts;
use crate::names::Channel;
use crate::notification::{Document, NotificationId, encode};
use crate::position::{Cursor, Position};

macro_rules! kinds {
    ($(#[doc = $meaning:literal] $name:ident $word:literal $json:ty;)*) => {
        /// What a message may be on the wire.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind {
            $(#[doc = $meaning] $name),*
        }

        impl Kind {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word for it: the `type` it has on the wire.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word),*
                }
            }

            /// What it means, in a sentence.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                let meaning = match self {
                    $(Self::$name => $meaning),*
                };
                meaning.trim()
            }

            /// What it looks like.
            #[must_use]
            pub fn json_schema(self, generator: &mut SchemaGenerator) -> Schema {
                let schema = match self {
                    $(Self::$name => <$json>::json_schema(generator)),*
                };
                of_type(schema, self.word())
            }
        }
    };
}

kinds! {
    /// A notification. `counts`: whether it adds one to unread and unseen; it does not for channels that are only watched. `supersedes`: older ones whose place it takes.
    Notification "notification" NotificationJson<'static>;
    /// A notification says this from now on.
    Updated "updated" UpdatedJson<'static>;
    /// Notifications are gone, and why.
    Retracted "retracted" RetractedJson<'static>;
    /// The user's counts. One whose position is below that of another is older.
    Counts "counts" CountsJson;
    /// Notifications were read, or all up to a position, on any of the user's devices.
    Read "read" ReadJson;
    /// All up to a position was seen.
    Seen "seen" UpToJson;
    /// Notifications are unread again.
    Unread "unread" NotificationsJson;
    /// Notifications were archived.
    Archived "archived" NotificationsJson;
    /// Notifications are back from the archive.
    Unarchived "unarchived" NotificationsJson;
    /// Notifications were deleted by the user.
    Deleted "deleted" NotificationsJson;
    /// Notifications were pinned.
    Pinned "pinned" NotificationsJson;
    /// Notifications are no longer pinned.
    Unpinned "unpinned" NotificationsJson;
    /// Notifications were put off.
    Snoozed "snoozed" SnoozedJson;
    /// Notifications that were put off are back: unread, and listed at this position.
    Woken "woken" NotificationsJson;
    /// The user became a member of channels: reload the inbox.
    Joined "joined" ChannelsJson<'static>;
    /// The user ceased to be a member of channels: reload the inbox.
    Left "left" ChannelsJson<'static>;
    /// Everything that was missed has been sent: it is live from here on.
    CaughtUp "caughtUp" PlaceJson;
}

/// A schema whose `type` is this word: of an object, or of each of several that it may be.
fn of_type(mut schema: Schema, word: &str) -> Schema {
    if let Some(choices) = schema.get_mut("anyOf").and_then(|choices| choices.as_array_mut()) {
        for choice in choices {
            choice["properties"]["type"] = json!({ "const": word });
        }
    } else if let Some(properties) = schema.get_mut("properties").and_then(|fields| fields.as_object_mut()) {
        properties.insert("type".to_owned(), json!({ "const": word }));
    }
    schema
}

/// Encodes a message.
pub(crate) fn to_json(epochs: &Epochs, message: &Message) -> Bytes {
    let (kind, position) = (message.kind(), message.position());
    let place = Place { position, cursor: epochs.cursor(position) };
    let json = match message {
        Message::Notification { event, counts, supersedes } => {
            let notification = document(event);
            encode(&NotificationJson { kind, place, counts: *counts, supersedes, notification })
        }
        Message::Updated(event) => encode(&UpdatedJson { kind, place, notification: document(event) }),
        Message::Retracted(event) => match &event.fact {
            Fact::Retracted(retracted) => {
                let (notifications, reason) = (std::slice::from_ref(&retracted.id), retracted.reason.into());
                encode(&RetractedJson { kind, place, notifications, reason })
            }
            _ => encode(&PlaceJson { kind, place }),
        },
        Message::Superseded { ids, .. } => {
            encode(&RetractedJson { kind, place, notifications: ids, reason: Reason::Superseded })
        }
        Message::Changed(event) => changed(kind, event, place),
        Message::Joined { channels, .. } | Message::Left { channels, .. } => {
            encode(&ChannelsJson { kind, place, channels })
        }
        Message::Counts(counts) => encode(&CountsJson { kind, counts: *counts }),
        Message::CaughtUp(_) => encode(&PlaceJson { kind, place }),
    };
    json.into()
}

/// What the user did on any device.
fn changed(kind: &'static str, event: &Event, place: Place) -> Vec<u8> {
    let ids = |entries: &[EntryRef]| entries.iter().map(|entry| entry.id).collect();
    match &event.fact {
        Fact::Read(read) => match &read.selection {
            Selection::Entries(entries) => {
                let notifications = ids(entries);
                encode(&ReadJson::These(NotificationsJson { kind, place, notifications }))
            }
            Selection::UpTo(up_to) => encode(&ReadJson::UpTo(UpToJson { kind, place, up_to: *up_to })),
        },
        Fact::Seen(seen) => encode(&UpToJson { kind, place, up_to: seen.up_to }),
        Fact::Marked(_, marked) => {
            encode(&NotificationsJson { kind, place, notifications: ids(&marked.entries) })
        }
        Fact::Snoozed(snoozed) => {
            let (notifications, until) = (ids(&snoozed.entries), snoozed.until);
            encode(&SnoozedJson { kind, place, notifications, until })
        }
        Fact::Woken(woken) => encode(&NotificationsJson { kind, place, notifications: vec![woken.entry.id] }),
        _ => encode(&PlaceJson { kind, place }),
    }
}

/// The document of the notification that an event carries.
fn document(event: &Event) -> &RawValue {
    let document = std::str::from_utf8(event.document()).unwrap_or("null");
    serde_json::from_str(document).unwrap_or(RawValue::NULL)
}

#[derive(Serialize, JsonSchema)]
struct Place {
    position: Position,
    cursor: Cursor,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct PlaceJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct NotificationJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    counts: bool,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    supersedes: &'a [NotificationId],
    #[schemars(with = "Document<'static>")]
    notification: &'a RawValue,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct UpdatedJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    #[schemars(with = "Document<'static>")]
    notification: &'a RawValue,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct RetractedJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    notifications: &'a [NotificationId],
    reason: Reason,
}

/// Why a notification is gone.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
enum Reason {
    ByHand,
    Expired,
    Superseded,
}

impl From<RetractReason> for Reason {
    fn from(reason: RetractReason) -> Self {
        match reason {
            RetractReason::ByHand => Self::ByHand,
            RetractReason::Expired => Self::Expired,
        }
    }
}

#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum ReadJson {
    These(NotificationsJson),
    UpTo(UpToJson),
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct NotificationsJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    notifications: Vec<NotificationId>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
struct UpToJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    up_to: Position,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct SnoozedJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    notifications: Vec<NotificationId>,
    until: Timestamp,
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct ChannelsJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    channels: &'a [Channel],
}

#[derive(Serialize, JsonSchema)]
#[schemars(inline)]
struct CountsJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_a_word_of_its_own_which_is_its_type() {
        let mut generator = SchemaGenerator::default();
        let mut words = std::collections::BTreeSet::new();
        for kind in Kind::ALL {
            assert!(words.insert(kind.word()) && !kind.meaning().is_empty(), "{kind:?}");
            let schema = kind.json_schema(&mut generator).to_value().to_string();
            assert!(schema.contains(&format!(r#""type":{{"const":"{}"}}"#, kind.word())), "{schema}");
        }
    }
}
