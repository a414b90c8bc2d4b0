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
use crate::names::IdempotencyKey;
use crate::names::{Channel, Publisher, Tenant, UserId, UserKey};
use crate::notification::{Notification, NotificationId};
use crate::position::{Offset, Position, StreamId};
use crate::request::RequestId;
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
    /// The request that brought it, as long as it is in memory.
    pub(crate) request: Option<RequestId>,
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
    /// A notification was accepted, and goes out.
    NotificationPublished(Box<Published>),
    /// A notification says something else from now on.
    Updated(Box<Updated>),
    /// A notification was taken back, for everybody.
    Retracted(Box<Retracted>),
    /// A notification was accepted, to go out later.
    Scheduled(Box<Scheduled>),
    /// A notification that was to go out later will not.
    ScheduleCancelled(ScheduleCancelled),
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
    /// A user put notifications off.
    Snoozed(Snoozed),
    /// A notification that was put off is back.
    Woken(Woken),
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

/// What a notification says from now on.
#[derive(Clone, Debug, PartialEq)]
pub struct Updated {
    /// The notification as it is now, and whom it has been for from the start.
    pub published: Published,
    /// Where it was published.
    pub position: Position,
    /// Where it was numbered: the entries of that event.
    pub entries: Vec<Entry>,
}

/// A notification was taken back.
#[derive(Clone, Debug, PartialEq)]
pub struct Retracted {
    /// Which.
    pub id: NotificationId,
    /// Where it was published.
    pub position: Position,
    /// Where it was numbered: the entries of that event.
    pub entries: Vec<Entry>,
    /// Whom it was for.
    pub audience: Audience,
    /// Whether it stood in inboxes and counts.
    pub inbox: bool,
    /// Why.
    pub reason: RetractReason,
}

/// Why a notification was taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RetractReason {
    /// Its publisher wanted it.
    ByHand,
    /// Its time was over.
    Expired,
}

/// A notification that goes out later.
#[derive(Clone, Debug, PartialEq)]
pub struct Scheduled {
    /// What is published then; its [`deliver_at`](Notification::deliver_at) says when.
    pub published: Published,
    /// The key under which it can be cancelled.
    pub key: Option<IdempotencyKey>,
}

/// A notification that will not go out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScheduleCancelled {
    /// Which.
    pub id: NotificationId,
    /// Why.
    pub reason: RetractReason,
}

/// A user put notifications off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snoozed {
    /// Who.
    pub user: UserId,
    /// What.
    pub entries: Vec<EntryRef>,
    /// Until when.
    pub until: Timestamp,
}

/// A notification that a user had put off is back: unread, and in the list where this event is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Woken {
    /// Who.
    pub user: UserId,
    /// What. Only one, so that no two stand at the same place of a list.
    pub entry: EntryRef,
    /// When the time was over: the event that put it off. If it was put off anew since, it stays so. `None` when the
    /// user wanted it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed_at: Option<Position>,
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
        Self { position, tenant, recorded_at, entries, fact, request: None, bytes, document: OnceLock::new() }
    }

    /// The same, with the request that brought it.
    pub(crate) fn of_request(self, request: Option<RequestId>) -> Self {
        Self { request, ..self }
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

    /// The document that clients get of the notification, encoded once. Empty for events that carry none.
    #[must_use]
    pub fn document(&self) -> &Bytes {
        self.document.get_or_init(|| {
            let (published, updated_at) = match &self.fact {
                Fact::NotificationPublished(published) => (&**published, None),
                Fact::Updated(updated) => (&updated.published, Some(self.recorded_at)),
                _ => return Bytes::new(),
            };
            let channel = published.audience.only_channel();
            published.notification.document(channel, updated_at).into()
        })
    }

    /// Whom it is for, if it is a notification or a change of one.
    pub(crate) fn addressed(&self) -> Option<Addressed<'_>> {
        match &self.fact {
            Fact::NotificationPublished(published) => {
                let (audience, inbox) = (&published.audience, published.notification.inbox);
                Some(Addressed { audience, entries: &self.entries, inbox, position: self.position })
            }
            Fact::Updated(updated) => {
                let (audience, inbox) = (&updated.published.audience, updated.published.notification.inbox);
                Some(Addressed { audience, entries: &updated.entries, inbox, position: updated.position })
            }
            Fact::Retracted(retracted) => {
                let Retracted { audience, entries, inbox, position, .. } = &**retracted;
                Some(Addressed { audience, entries, inbox: *inbox, position: *position })
            }
            _ => None,
        }
    }

    /// Whose state it changed, if it is about one person's.
    pub(crate) fn owner(&self) -> Option<UserKey> {
        let user = match &self.fact {
            Fact::Read(read) => &read.user,
            Fact::Seen(seen) => &seen.user,
            Fact::Marked(_, marked) => &marked.user,
            Fact::Snoozed(snoozed) => &snoozed.user,
            Fact::Woken(woken) => &woken.user,
            _ => return None,
        };
        Some(UserKey { tenant: self.tenant.clone(), user: user.clone() })
    }

    /// Roughly what it takes in memory, with the document that may be made of it.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>() + 16 * self.entries.len() + 3 * self.bytes
    }
}

/// Whom a notification, or a change of one, is for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addressed<'e> {
    pub(crate) audience: &'e Audience,
    /// Where the notification was numbered.
    pub(crate) entries: &'e [Entry],
    /// Whether it stands in inboxes and counts.
    pub(crate) inbox: bool,
    /// Where the notification was published.
    pub(crate) position: Position,
}

impl<'e> Addressed<'e> {
    /// Where a named user's own entry is.
    pub(crate) fn own_entries(&self) -> impl Iterator<Item = (&'e UserId, Entry)> + use<'e> {
        self.audience.users.iter().zip(self.entries.iter().copied())
    }

    /// The channels addressed, and where the notification is in their stream.
    pub(crate) fn shared_entry(&self) -> Option<(&'e [Channel], Entry)> {
        let entry = self.entries.get(self.audience.users.len())?;
        Some((&self.audience.channels, *entry))
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
