//! What is said of a notification and those it was for: the words, for people and for JSON alike. Nothing is computed here.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::names::{Channel, DeviceName, UserId};
use crate::notification::NotificationId;
use crate::position::Position;

/// How far a notification has come with a person: the furthest of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It was never for them.
    NotRouted,
    /// It would have been for them, but was taken from them.
    Dropped,
    /// It has not gone out yet. It is for them when it does, unless they have left by then.
    Held,
    /// It is for them.
    Routed,
    /// It was written to one of their devices.
    Sent,
    /// One of their devices acknowledged it.
    Delivered,
    /// They read it.
    Read,
    /// They followed its action.
    Clicked,
}

/// Why a notification is for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "by", rename_all = "camelCase")]
pub enum Rule {
    /// They were addressed by name.
    Name,
    /// They were a member of a channel that was addressed.
    Channel {
        /// Which: the first of them.
        channel: Channel,
        /// Since the event here.
        since: Position,
    },
}

/// Why a notification was taken from somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DropReason {
    /// The publisher left them out.
    Excepted,
    /// Its publisher took it back before it was sent to them.
    Retracted,
    /// Its time was over before it was sent to them.
    Expired,
}

/// What became of a notification on a device. A time is that of the record, up to a second later than the thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceDelivery {
    /// Which.
    pub device: DeviceName,
    /// How it was connected.
    pub transport: String,
    /// When it was sent, if that can still be told.
    pub sent_at: Option<Timestamp>,
    /// Whether it was acknowledged.
    pub delivered: bool,
    /// When, if that can be told.
    pub delivered_at: Option<Timestamp>,
}

/// What became of a notification for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonDelivery {
    /// Who.
    pub user: UserId,
    /// How far it came.
    pub status: Status,
    /// Why it is for them, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Why it was taken from them, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DropReason>,
    /// The devices to which it was sent.
    pub devices: Vec<DeviceDelivery>,
    /// When they read it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// When they followed its action first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clicked_at: Option<Timestamp>,
    /// When it was taken back from everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retracted_at: Option<Timestamp>,
}

/// How many people a notification came how far with. Each counts in every column that they reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// People it was for, when it was published.
    pub routed: u64,
    /// Of them, those with a device to which it was written.
    pub sent: u64,
    /// Of them, those with a device that acknowledged it.
    pub delivered: u64,
    /// Of them, those who read it, were it only once.
    pub read: u64,
    /// Of them, those who followed its action.
    pub clicked: u64,
    /// People from whom it was taken: members of the channels addressed whom the publisher left out and, when it was
    /// retracted or expired, those to whom it had not been written.
    pub dropped: u64,
}

/// What became of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deliveries {
    /// Which.
    pub id: NotificationId,
    /// Where it is in the log.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// When it goes out, if it has not yet. Until then the people are those addressed by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
    /// In all.
    pub totals: Totals,
    /// Some of the people, by name.
    pub people: Vec<PersonDelivery>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<UserId>,
}

/// Whose deliveries are asked for.
#[derive(Clone, Debug, Default)]
pub struct DeliveriesQuery {
    /// How many people at most; 0 means [`PAGE_DEFAULT`](crate::limits::PAGE_DEFAULT).
    pub limit: usize,
    /// Those after this one.
    pub after: Option<UserId>,
    /// Only this one.
    pub user: Option<UserId>,
}
