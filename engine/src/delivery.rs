//! What goes out to subscribers: messages, each encoded once for all who get it, in parcels of one commit.
//!
//! Knows what a message says, not how it travels: a transport brings an [`Encoding`] and gets shared bytes.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::deliveries::{Meter, Meters, Noted};
use crate::epochs::Epochs;
use crate::event::{Event, Fact, Mark, RetractReason, Selection};
use crate::inbox::Counts;
use crate::names::Channel;
use crate::notification::{NotificationId, encode};
use crate::position::{Cursor, Position};

/// Encodings a server can have at a time: the native one, and one for each dialect.
pub const ENCODINGS_MOST: usize = 8;

/// What a subscriber is told.
#[derive(Clone, Debug)]
pub enum Message {
    /// A notification that concerns them.
    Notification {
        /// The event that published it.
        event: Arc<Event>,
        /// Whether it counts for them: a client may add one by itself. It does not for those who only watch.
        counts: bool,
        /// Older ones whose place it takes: they are gone.
        supersedes: Vec<NotificationId>,
    },
    /// A notification says something else from now on.
    Updated(Arc<Event>),
    /// A notification was taken back.
    Retracted(Arc<Event>),
    /// Notifications gave up their place for one that was taken back since.
    Superseded {
        /// Which.
        ids: Vec<NotificationId>,
        /// By the event here.
        position: Position,
    },
    /// The user read, saw, marked, put off or got back something, on any of their devices.
    Changed(Arc<Event>),
    /// The user became a member of channels.
    Joined {
        /// Which.
        channels: Vec<Channel>,
        /// By the event here.
        position: Position,
    },
    /// The user ceased to be a member of channels: their notifications are no longer in the inbox.
    Left {
        /// Which.
        channels: Vec<Channel>,
        /// By the event here.
        position: Position,
    },
    /// The user's counts.
    Counts(Counts),
    /// Everything that was missed has been sent: it is live from here on.
    CaughtUp(Position),
}

impl Message {
    /// What a notification, or a change of one, is to somebody whom it reaches.
    pub(crate) fn of(event: Arc<Event>, counts: bool, supersedes: Vec<NotificationId>) -> Self {
        match &event.fact {
            Fact::Updated(_) => Self::Updated(event),
            Fact::Retracted(_) => Self::Retracted(event),
            _ => Self::Notification { event, counts, supersedes },
        }
    }

    /// What is left to say of a notification that was taken back since: what it took the place of.
    pub(crate) fn of_what_is_gone(self) -> Option<Self> {
        match self {
            Self::Notification { event, supersedes: ids, .. } if !ids.is_empty() => {
                Some(Self::Superseded { ids, position: event.position })
            }
            Self::Superseded { .. } => Some(self),
            _ => None,
        }
    }

    /// The word for it: the `type` it has on the wire.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Notification { .. } => "notification",
            Self::Updated(_) => "updated",
            Self::Retracted(_) | Self::Superseded { .. } => "retracted",
            Self::Changed(event) => match &event.fact {
                Fact::Read(_) => "read",
                Fact::Seen(_) => "seen",
                Fact::Marked(mark, _) => mark_word(*mark),
                Fact::Snoozed(_) => "snoozed",
                Fact::Woken(_) => "woken",
                _ => "unknown",
            },
            Self::Joined { .. } => "joined",
            Self::Left { .. } => "left",
            Self::Counts(_) => "counts",
            Self::CaughtUp(_) => "caughtUp",
        }
    }

    /// The position it belongs to.
    #[must_use]
    pub fn position(&self) -> Position {
        match self {
            Self::Notification { event, .. }
            | Self::Updated(event)
            | Self::Retracted(event)
            | Self::Changed(event) => event.position,
            Self::Joined { position, .. }
            | Self::Left { position, .. }
            | Self::Superseded { position, .. } => *position,
            Self::Counts(counts) => counts.position,
            Self::CaughtUp(position) => *position,
        }
    }

    /// Roughly its size on the wire, to bound a mailbox before anything is encoded.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Notification { event, supersedes, .. } => {
                128 + event.document().len() + 40 * supersedes.len()
            }
            Self::Updated(event) => 128 + event.document().len(),
            Self::Retracted(_) => 192,
            Self::Superseded { ids, .. } => 128 + 40 * ids.len(),
            Self::Changed(event) => event.weight(),
            Self::Joined { channels, .. } | Self::Left { channels, .. } => 128 + 64 * channels.len(),
            Self::Counts(_) | Self::CaughtUp(_) => 96,
        }
    }
}

/// A way to write messages. Made once, by [`Engine::encoding`](crate::Engine::encoding); cheap to clone.
#[derive(Clone)]
pub struct Encoding {
    slot: usize,
    encode: Arc<dyn Fn(&Message) -> Bytes + Send + Sync>,
}

impl Encoding {
    pub(crate) fn new(slot: usize, encode: impl Fn(&Message) -> Bytes + Send + Sync + 'static) -> Self {
        Self { slot, encode: Arc::new(encode) }
    }

    /// Writes a message anew. For one that goes to several, [`Delivery::encoded`] shares the bytes.
    #[must_use]
    pub fn encode(&self, message: &Message) -> Bytes {
        (self.encode)(message)
    }
}

impl fmt::Debug for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoding").field("slot", &self.slot).finish_non_exhaustive()
    }
}

/// A message on its way, shared by all who get it.
#[derive(Debug)]
pub struct Delivery {
    message: Message,
    /// What counts it, once it was sent to anybody.
    meter: OnceLock<Arc<Meter>>,
    encoded: [OnceLock<Bytes>; ENCODINGS_MOST],
}

impl Delivery {
    pub(crate) fn new(message: Message) -> Self {
        Self { message, meter: OnceLock::new(), encoded: Default::default() }
    }

    /// What it says.
    #[must_use]
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// What counts it, if it is a notification. Looked up once for all who get it.
    pub(crate) fn meter(&self, meters: &Meters) -> Option<&Arc<Meter>> {
        let Message::Notification { event, .. } = &self.message else { return None };
        let published = event.published()?;
        Some(self.meter.get_or_init(|| meters.meter(&event.tenant, published)))
    }

    /// It in an encoding. The first who asks encodes it; everybody else gets the same bytes.
    #[must_use]
    pub fn encoded(&self, encoding: &Encoding) -> &Bytes {
        self.encoded[encoding.slot].get_or_init(|| encoding.encode(&self.message))
    }
}

/// What one commit means for a subscriber: to be written with one flush. Shared by all who get the same.
#[derive(Debug)]
pub struct Parcel {
    deliveries: Box<[Arc<Delivery>]>,
    position: Position,
    weight: usize,
    noted: OnceLock<Option<Arc<Noted>>>,
    notifications: u64,
    oldest_ms: Option<i64>,
}

impl Parcel {
    /// A parcel that brings its receiver to `position`.
    pub(crate) fn new(deliveries: Box<[Arc<Delivery>]>, position: Position) -> Self {
        let weight = deliveries.iter().map(|delivery| delivery.message.weight()).sum();
        let times = deliveries.iter().filter_map(|delivery| match &delivery.message {
            Message::Notification { event, .. } => Some(event.recorded_at.as_millisecond()),
            _ => None,
        });
        let (notifications, oldest_ms) = (times.clone().count() as u64, times.min());
        Self { deliveries, position, weight, noted: OnceLock::new(), notifications, oldest_ms }
    }

    /// The messages, in the order of their positions.
    #[must_use]
    pub fn deliveries(&self) -> &[Arc<Delivery>] {
        &self.deliveries
    }

    /// Who has got it has everything of theirs up to here.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Roughly its bytes on the wire.
    #[must_use]
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// What is counted of it, if it has notifications.
    pub(crate) fn noted(&self, meters: &Meters) -> Option<&Arc<Noted>> {
        self.noted.get_or_init(|| Noted::of(&self.deliveries, meters)).as_ref()
    }

    /// How many of its messages are notifications.
    pub(crate) fn notifications(&self) -> u64 {
        self.notifications
    }

    /// When the oldest of them was recorded, in milliseconds since 1970.
    pub(crate) fn oldest_ms(&self) -> Option<i64> {
        self.oldest_ms
    }
}

/// The native encoding: one JSON object, its `type` first. Shared by WebSocket and everything else that speaks JSON.
pub(crate) fn to_json(epochs: &Epochs, message: &Message) -> Bytes {
    let (kind, position) = (message.kind(), message.position());
    let place = Place { position, cursor: epochs.cursor(position) };
    let json = match message {
        Message::Notification { event, counts, supersedes } => {
            let (counts, notification) = (Some(*counts), document(event));
            encode(&NotificationJson { kind, place, counts, supersedes, notification })
        }
        Message::Updated(event) => {
            let notification = document(event);
            encode(&NotificationJson { kind, place, counts: None, supersedes: &[], notification })
        }
        Message::Retracted(event) => {
            let (notifications, reason) = match &event.fact {
                Fact::Retracted(retracted) => {
                    (std::slice::from_ref(&retracted.id), reason_word(retracted.reason))
                }
                _ => (&[][..], ""),
            };
            encode(&RetractedJson { kind, place, notifications, reason })
        }
        Message::Superseded { ids, .. } => {
            encode(&RetractedJson { kind, place, notifications: ids, reason: "superseded" })
        }
        Message::Changed(event) => encode(&changed(kind, event, place)),
        Message::Joined { channels, .. } => encode(&ChannelsJson { kind, place, channels }),
        Message::Left { channels, .. } => encode(&ChannelsJson { kind, place, channels }),
        Message::Counts(counts) => encode(&CountsJson { kind, counts: *counts }),
        Message::CaughtUp(_) => encode(&PlaceJson { kind, place }),
    };
    json.into()
}

#[derive(Serialize)]
struct Place {
    position: Position,
    cursor: Cursor,
}

#[derive(Serialize)]
struct NotificationJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    counts: Option<bool>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    supersedes: &'a [NotificationId],
    notification: &'a RawValue,
}

/// The document of the notification that an event carries.
fn document(event: &Event) -> &RawValue {
    let document = std::str::from_utf8(event.document()).unwrap_or("null");
    serde_json::from_str(document).unwrap_or(RawValue::NULL)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ChangedJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    notifications: Option<Vec<NotificationId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    up_to: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
}

#[derive(Serialize)]
struct RetractedJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    notifications: &'a [NotificationId],
    reason: &'static str,
}

#[derive(Serialize)]
struct ChannelsJson<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
    channels: &'a [Channel],
}

#[derive(Serialize)]
struct PlaceJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    place: Place,
}

#[derive(Serialize)]
struct CountsJson {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(flatten)]
    counts: Counts,
}

fn changed(kind: &'static str, event: &Event, place: Place) -> ChangedJson {
    let ids = |entries: &[crate::event::EntryRef]| Some(entries.iter().map(|entry| entry.id).collect());
    let (mut notifications, mut up_to, mut until) = (None, None, None);
    match &event.fact {
        Fact::Read(read) => match &read.selection {
            Selection::Entries(entries) => notifications = ids(entries),
            Selection::UpTo(position) => up_to = Some(*position),
        },
        Fact::Seen(seen) => up_to = Some(seen.up_to),
        Fact::Marked(_, marked) => notifications = ids(&marked.entries),
        Fact::Snoozed(snoozed) => (notifications, until) = (ids(&snoozed.entries), Some(snoozed.until)),
        Fact::Woken(woken) => notifications = Some(vec![woken.entry.id]),
        _ => {}
    }
    ChangedJson { kind, place, notifications, up_to, until }
}

fn mark_word(mark: Mark) -> &'static str {
    match mark {
        Mark::Unread => "unread",
        Mark::Archived => "archived",
        Mark::Unarchived => "unarchived",
        Mark::Deleted => "deleted",
        Mark::Pinned => "pinned",
        Mark::Unpinned => "unpinned",
    }
}

fn reason_word(reason: RetractReason) -> &'static str {
    match reason {
        RetractReason::ByHand => "byHand",
        RetractReason::Expired => "expired",
    }
}
