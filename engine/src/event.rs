//! Events: the facts in the log, and what surrounds each of them.
//!
//! An event never changes. What its type looked like in earlier versions is `codec`'s business alone.

pub(crate) mod codec;
mod progress;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audience::Audience;
use crate::names::{Channel, Publisher, Tenant, UserId};
use crate::notification::{Notification, NotificationId};
use crate::position::{Offset, Position, StreamId};
use crate::store::StreamName;

pub use progress::{Connected, LATENCIES_MS, Metered, Numbers, Progress, Reached};

/// One event, as it stands in the log.
#[derive(Debug)]
pub struct Event {
    /// Its place in the log.
    pub position: Position,
    /// The application it belongs to.
    pub tenant: Tenant,
    /// When it was recorded, by this server's clock. Never used to order anything.
    pub recorded_at: Timestamp,
    /// Where a notification was numbered: one entry for each of [`Fact::streams`], in that order.
    pub entries: Vec<Entry>,
    /// What happened.
    pub fact: Fact,
    /// The size of its stored form.
    bytes: usize,
    document: OnceLock<Bytes>,
}

/// A notification's place in one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// The stream.
    pub stream: StreamId,
    /// Its number there.
    pub offset: Offset,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// A server began to serve this log.
    Started(Started),
    /// A notification was accepted.
    NotificationPublished(Box<Published>),
    /// Users became members of channels.
    Joined(Membership),
    /// Users ceased to be members of channels.
    Left(Membership),
    /// A user read notifications.
    Read(Read),
    /// A user opened the list.
    Seen(Seen),
    /// A user changed the state of single notifications.
    Marked(Mark, Marked),
    /// A user followed the action of notifications.
    Clicked(Marked),
    /// How far devices have come: what was sent to them, and what they acknowledged.
    Progress(Box<Progress>),
    /// An event this version does not know; it is passed over and counted.
    Unknown(Unknown),
}

/// A server began to serve.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The version of the engine.
    pub version: String,
}

/// A notification and whom it is for. The audience is what the routing rules made of the publisher's, so that a replay
/// never asks them again.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// The notification.
    pub notification: Notification,
    /// Whom it is for, [settled](Audience::settled).
    pub audience: Audience,
    /// Who published it.
    pub publisher: Publisher,
}

/// On whose word a membership stands. It lasts while one of them remains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Maker {
    /// The claims of the user's token.
    Claims,
    /// The service, by its API.
    Service,
    /// The user.
    User,
}

/// Users and channels, every one of the users with every one of the channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Membership {
    /// Who.
    pub users: Vec<UserId>,
    /// In which channels.
    pub channels: Vec<Channel>,
    /// On whose word.
    pub by: Maker,
    /// When the token was issued whose claims these are, in seconds since 1970. Only newer ones change anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<i64>,
}

/// A user read notifications.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Read {
    /// Who.
    pub user: UserId,
    /// What.
    #[serde(flatten)]
    pub selection: Selection,
}

/// Which notifications a user read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Selection {
    /// These.
    Entries(Vec<EntryRef>),
    /// All up to and including this position, as far as the user had seen; what became unread later stays unread.
    UpTo(Position),
}

/// A notification as a user meets it: through which stream, and where there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryRef {
    /// The notification.
    pub id: NotificationId,
    /// The stream through which the user meets it.
    pub stream: StreamId,
    /// Its number there.
    pub offset: Offset,
}

/// A user opened the list and saw what was there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Seen {
    /// Who.
    pub user: UserId,
    /// How far the user had seen.
    pub up_to: Position,
}

/// A change of single notifications' state for one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Mark {
    /// Unread again.
    Unread,
    /// Out of the list, to be found under archived.
    Archived,
    /// Back in the list.
    Unarchived,
    /// Gone for this user.
    Deleted,
    /// Pinned.
    Pinned,
    /// No longer pinned.
    Unpinned,
}

/// A user's notifications, of which something is said: that their state changed, or that they were clicked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Marked {
    /// Who.
    pub user: UserId,
    /// What.
    pub entries: Vec<EntryRef>,
}

/// An event of a type or version that this engine does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct Unknown {
    /// The name of its type.
    pub type_name: String,
    /// The version of its schema.
    pub version: u16,
    /// Its envelope, a JSON object.
    pub envelope: String,
}

impl Event {
    pub(crate) fn new(
        position: Position,
        tenant: Tenant,
        recorded_at: Timestamp,
        entries: Vec<Entry>,
        fact: Fact,
        bytes: usize,
    ) -> Self {
        Self { position, tenant, recorded_at, entries, fact, bytes, document: OnceLock::new() }
    }

    /// The notification this event is about, if it published one.
    #[must_use]
    pub fn published(&self) -> Option<&Published> {
        match &self.fact {
            Fact::NotificationPublished(published) => Some(published),
            _ => None,
        }
    }

    /// Whether it belongs to no application but to the server itself.
    #[must_use]
    pub fn is_of_server(&self) -> bool {
        self.tenant == Tenant::server()
    }

    /// The document that clients get of the notification, encoded once. Empty for events that published none.
    #[must_use]
    pub fn document(&self) -> &Bytes {
        self.document.get_or_init(|| {
            let published = self.published();
            published.map_or_else(Bytes::new, |p| p.notification.document(p.audience.only_channel()).into())
        })
    }

    /// Where a named user's own entry is.
    pub(crate) fn own_entries(&self) -> impl Iterator<Item = (&UserId, Entry)> {
        let users = self.published().map_or(&[][..], |published| &published.audience.users);
        users.iter().zip(self.entries.iter().copied())
    }

    /// The channels addressed, and where the notification is in their stream.
    pub(crate) fn shared_entry(&self) -> Option<(&[Channel], Entry)> {
        let audience = &self.published()?.audience;
        let entry = self.entries.get(audience.users.len())?;
        Some((&audience.channels, *entry))
    }

    /// Roughly what it takes in memory, with the document that may be made of it.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + 16 * self.entries.len() + 3 * self.bytes
    }
}

impl Fact {
    /// The streams in which the log has to number this event, in the order of its [`Event::entries`].
    #[must_use]
    pub fn streams(&self) -> Vec<StreamName> {
        match self {
            Self::NotificationPublished(published) if published.notification.inbox => {
                let audience = &published.audience;
                let own = audience.users.iter().cloned().map(StreamName::User);
                let shared =
                    (!audience.channels.is_empty()).then(|| StreamName::Channels(audience.channels.clone()));
                own.chain(shared).collect()
            }
            _ => Vec::new(),
        }
    }
}

impl Audience {
    /// The channel addressed, if it is one and nothing else: who was addressed by name need not know of the channel.
    fn only_channel(&self) -> Option<&Channel> {
        match self.channels.as_slice() {
            [channel] if self.users.is_empty() => Some(channel),
            _ => None,
        }
    }
}

/// A run of events, shared by all who read it.
pub type Events = Vec<Arc<Event>>;
