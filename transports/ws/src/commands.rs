//! The commands there are: what each takes beside `type` and `id`, and what it comes to. How each is done is in `command`.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidings_engine::command::{Done, Receipt, UpTo};
use tidings_engine::hub::{ChannelPresence, Presence};
use tidings_engine::inbox::{Counts, InboxPage};
use tidings_engine::{
    Channel, CloudEvent, CountsBy, Draft, NotificationId, NotificationType, Position, Tag, input, limits,
};
use tidings_http::asyncapi::Schemas;

/// Bytes of a request's id, when it is text.
pub(crate) const ID_BYTES: usize = 64;

/// A command, as a document says it.
pub(crate) struct Shape {
    pub(crate) name: &'static str,
    pub(crate) summary: &'static str,
    /// Its fields.
    pub(crate) takes: fn(&mut Schemas) -> Value,
    /// The result in its answer.
    pub(crate) gives: fn(&mut Schemas) -> Value,
    /// Its fields and its result, as JSON.
    pub(crate) examples: (&'static str, &'static str),
}

const fn shape<Takes: JsonSchema, Gives: JsonSchema>(
    name: &'static str,
    summary: &'static str,
    examples: (&'static str, &'static str),
) -> Shape {
    Shape { name, summary, takes: Schemas::given_here::<Takes>, gives: Schemas::sent::<Gives>, examples }
}

/// Of a notification.
const THESE: (&str, &str) =
    (r#"{ "notifications": ["0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001"] }"#, r#"{ "position": 58 }"#);
const UP_TO: (&str, &str) = (r#"{ "upTo": "8e80c0ca40ee.57" }"#, r#"{ "position": 58 }"#);
const CHANNEL: (&str, &str) = (r#"{ "channel": "topic:orders" }"#, r#"{ "position": 58 }"#);
const WATCHED: (&str, &str) = (r#"{ "channel": "topic:orders" }"#, r#"{ "channel": "topic:orders" }"#);

/// All there are.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Shape] = &[
    shape::<UpToHere, Done>("ack", "Everything up to here was received. Free, and without an answer unless it has an id.", UP_TO),
    shape::<Nothing, Done>("ping", "Free. Everything up to the position in the answer has been sent.", ("{}", r#"{ "position": 58 }"#)),
    shape::<NewToken, Renewed>("token", "Lets the connection go on with another token of the same user.",
        (r#"{ "token": "eyJhbGciOiJIUzI1NiJ9.e30.x" }"#, r#"{ "position": 61, "watching": ["topic:a"], "expiresAt": "2026-11-21T09:00:05Z" }"#)),
    shape::<These, Done>("read", "They are read.", THESE),
    shape::<SeenUpTo, Done>("read-all", "All up to here are read; without `upTo`, up to what was last sent on this connection.", UP_TO),
    shape::<SeenUpTo, Done>("seen", "The list was opened and showed all up to here; without `upTo`, what was last sent.", UP_TO),
    shape::<These, Done>("clicked", "Their action was followed.", THESE),
    shape::<These, Done>("unread", "They are to be unread again.", THESE),
    shape::<These, Done>("archive", "They go to the archive.", THESE),
    shape::<These, Done>("unarchive", "They come back from the archive.", THESE),
    shape::<These, Done>("pin", "They are pinned.", THESE),
    shape::<These, Done>("unpin", "They are no longer pinned.", THESE),
    shape::<These, Done>("delete", "They are gone for this user.", THESE),
    shape::<Until, Done>("snooze", "They are put off until then.",
        (r#"{ "notifications": ["0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001"], "until": "2026-11-22T07:00:00Z" }"#, r#"{ "position": 58 }"#)),
    shape::<These, Done>("wake", "What was put off comes back at once.", THESE),
    shape::<WhichPage, InboxPage>("inbox", "A page of the inbox, newest first.",
        (r#"{ "limit": 20, "unread": true }"#, r#"{ "items": [], "next": null, "unread": 0, "unseen": 0, "position": 58 }"#)),
    shape::<WhichCounts, SomeCounts>("counts", "Unread and unseen, at wish in parts.",
        (r#"{ "by": "type" }"#, r#"{ "unread": 7, "unseen": 2, "position": 58, "parts": { "booking.accepted": { "unread": 7, "unseen": 2 } } }"#)),
    shape::<OfChannel, Done>("join", "Become a member.", CHANNEL),
    shape::<OfChannel, Done>("leave", "Cease to be one.", CHANNEL),
    shape::<OfChannel, Watching>("watch", "See a channel live from now on, without being a member.", WATCHED),
    shape::<OfChannel, Watching>("unwatch", "No longer.", WATCHED),
    shape::<OfSomeChannel, SomePresence>("presence", "Who of a channel is online; without one everybody, which needs the scope admin.",
        (r#"{ "channel": "topic:orders" }"#, r#"{ "channel": "topic:orders", "members": 1, "watchers": 0, "users": ["ada"] }"#)),
    shape::<Publish, Receipt>("publish", "Publish a notification or a CloudEvent, with the scope publish.",
        (r#"{ "notification": { "type": "note", "title": "Tea is ready", "audience": { "users": ["ada"] } } }"#,
         r#"{ "id": "0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001", "position": 58, "createdAt": "2026-11-21T07:00:00.123Z", "duplicate": false }"#)),
];

/// What a client may choose from.
pub(crate) fn names() -> String {
    COMMANDS.iter().map(|command| command.name).collect::<Vec<_>>().join(", ")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewToken {
    pub(crate) token: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct These {
    #[schemars(length(min = 1, max = limits::NOTIFICATIONS_PER_COMMAND))]
    pub(crate) notifications: Vec<NotificationId>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Until {
    #[schemars(length(min = 1, max = limits::NOTIFICATIONS_PER_COMMAND))]
    pub(crate) notifications: Vec<NotificationId>,
    pub(crate) until: Timestamp,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct SeenUpTo {
    pub(crate) up_to: Option<UpTo>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfChannel {
    pub(crate) channel: Channel,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfSomeChannel {
    pub(crate) channel: Option<Channel>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Publish {
    #[serde(default, deserialize_with = "input::optional_object")]
    #[schemars(with = "Option<Draft>")]
    pub(crate) notification: Option<Draft>,
    #[serde(default, deserialize_with = "input::optional_object")]
    #[schemars(with = "Option<CloudEvent>")]
    pub(crate) cloud_event: Option<CloudEvent>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhichCounts {
    pub(crate) by: Option<By>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Type,
    Channel,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WhichPage {
    #[schemars(range(min = 1, max = limits::PAGE_MOST))]
    pub(crate) limit: Option<usize>,
    pub(crate) cursor: Option<String>,
    pub(crate) unread: Option<bool>,
    #[serde(default)]
    pub(crate) archived: bool,
    #[serde(default)]
    pub(crate) snoozed: bool,
    pub(crate) pinned: Option<bool>,
    /// `type` is what the frame asks for.
    #[serde(rename = "notificationType")]
    pub(crate) kind: Option<NotificationType>,
    pub(crate) tag: Option<Tag>,
    pub(crate) channel: Option<Channel>,
}

/// As `SeenUpTo`, of which a document says that it has to be there.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields, rename_all = "camelCase")]
#[allow(dead_code, reason = "a refusal names the field, so the frame is parsed without it")]
struct UpToHere {
    up_to: UpTo,
}

/// A connection goes on with another token.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Renewed {
    pub(crate) position: Position,
    /// What the new token permits of what was watched.
    pub(crate) watching: Vec<Channel>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// What is watched from now on, or no longer.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Watching {
    pub(crate) channel: Channel,
}

/// Counts in all, or in parts by type or channel.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum SomeCounts {
    ByType(CountsBy<String>),
    ByChannel(CountsBy<Channel>),
    All(Counts),
}

/// Who is online, of a channel or of all.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub(crate) enum SomePresence {
    OfChannel(ChannelPresence),
    OfAll(Presence),
}
