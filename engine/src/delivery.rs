//! What goes out to subscribers: messages, each encoded once for all who get it, in parcels of one commit.
//!
//! Knows what a message says, not how it travels: a transport brings an [`Encoding`] and gets shared bytes.

mod json;

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;

use crate::deliveries::{Meter, Meters, Noted};
use crate::event::{Event, Fact, Mark};
use crate::inbox::Counts;
use crate::names::Channel;
use crate::notification::NotificationId;
use crate::position::Position;

pub use json::Kind;
pub(crate) use json::to_json;

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
        let kind = match self {
            Self::Notification { .. } => Kind::Notification,
            Self::Updated(_) => Kind::Updated,
            Self::Retracted(_) | Self::Superseded { .. } => Kind::Retracted,
            Self::Changed(event) => match &event.fact {
                Fact::Read(_) => Kind::Read,
                Fact::Seen(_) => Kind::Seen,
                Fact::Marked(Mark::Unread, _) => Kind::Unread,
                Fact::Marked(Mark::Archived, _) => Kind::Archived,
                Fact::Marked(Mark::Unarchived, _) => Kind::Unarchived,
                Fact::Marked(Mark::Deleted, _) => Kind::Deleted,
                Fact::Marked(Mark::Pinned, _) => Kind::Pinned,
                Fact::Marked(Mark::Unpinned, _) => Kind::Unpinned,
                Fact::Snoozed(_) => Kind::Snoozed,
                Fact::Woken(_) => Kind::Woken,
                _ => return "unknown",
            },
            Self::Joined { .. } => Kind::Joined,
            Self::Left { .. } => Kind::Left,
            Self::Counts(_) => Kind::Counts,
            Self::CaughtUp(_) => Kind::CaughtUp,
        };
        kind.word()
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
    encoded: [OnceLock<Bytes>; ENCODINGS_MOST],
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
        let (noted, encoded) = (OnceLock::new(), Default::default());
        Self { deliveries, position, weight, noted, notifications, oldest_ms, encoded }
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

    /// All of it in an encoding, as one run of bytes. The first who asks puts it together; everybody else gets the same bytes.
    #[must_use]
    pub fn encoded(&self, encoding: &Encoding) -> &Bytes {
        self.encoded[encoding.slot].get_or_init(|| match &*self.deliveries {
            [delivery] => delivery.encoded(encoding).clone(),
            deliveries => {
                let messages: SmallVec<[&Bytes; 8]> =
                    deliveries.iter().map(|delivery| delivery.encoded(encoding)).collect();
                let mut run = BytesMut::with_capacity(messages.iter().map(|bytes| bytes.len()).sum());
                messages.iter().for_each(|bytes| run.extend_from_slice(bytes));
                run.freeze()
            }
        })
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
