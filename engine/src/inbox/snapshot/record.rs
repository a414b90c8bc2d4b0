//! The records of a snapshot, format 1. What is written here is read for as long as there are snapshots of it: a change
//! of meaning is another format, and `golden/v1.jsonl` has one of each.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::Maker;
use crate::inbox::reading::Offsets;
use crate::notification::NotificationId;
use crate::position::{Offset, Position, StreamId};

/// Of these records.
pub(crate) const FORMAT: u16 = 1;

/// One thing that is so at the position of the snapshot. Names are as they are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Record {
    Stream(Stream),
    Entries(Entries),
    Notification(Notification),
    Person(Person),
    Membership(Membership),
    Reading(Reading),
    Concern(Concern),
    Superseded(Superseded),
    Newest(Newest),
    /// An event by which something woke indeed.
    Woken(Position),
    Timer(Timer),
}

/// A stream: of a user, or of channels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    pub(super) tenant: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) channels: Option<Vec<String>>,
    pub(super) head: Offset,
    /// Where its first and its last notification are in the log.
    pub(super) first: Position,
    pub(super) last: Position,
    /// Taken back from everybody.
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub(super) retracted: Runs,
}

/// Notifications of a stream that follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Entries {
    pub(super) stream: StreamId,
    /// The offset of the first of them.
    pub(super) first: Offset,
    /// Where each is in the log, and its type.
    pub(super) entries: Vec<(Position, String)>,
}

/// A notification. What it says is in the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Notification {
    pub(super) position: Position,
    pub(super) tenant: String,
    pub(super) id: NotificationId,
    /// The stream of the channels it was addressed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) shared: Option<StreamId>,
    /// The last update of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) updated: Option<Position>,
    /// The event that took it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retracted: Option<Position>,
}

impl Notification {
    /// The event whose content is its own.
    pub(super) fn content(&self) -> Position {
        self.updated.unwrap_or(self.position)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Person {
    pub(super) tenant: String,
    pub(super) user: String,
    /// Since when they are a member of `everyone`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) known_since: Option<Position>,
    /// Of the newest token whose claims counted, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claims_issued_at: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Membership {
    pub(super) tenant: String,
    pub(super) channel: String,
    pub(super) user: String,
    pub(super) since: Position,
    pub(super) makers: Vec<Maker>,
}

/// What a person has done with a stream, where it does not follow from their memberships.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reading {
    pub(super) tenant: String,
    pub(super) user: String,
    pub(super) stream: StreamId,
    pub(super) join: Offset,
    pub(super) cursor: Offset,
    pub(super) seen: Offset,
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub(super) read: Runs,
    /// Which, and marked so where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unread: Vec<(Offset, Position)>,
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub(super) hidden: Runs,
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub(super) archived: Runs,
    #[serde(default, skip_serializing_if = "Runs::is_empty")]
    pub(super) pinned: Runs,
    /// Which, until when in milliseconds since 1970, and put off where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) snoozed: Vec<(Offset, i64, Position)>,
    /// Which, and woken where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) woken: Vec<(Offset, Position)>,
}

/// An event that concerns a channel beside the entries of its streams.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Concern {
    pub(super) tenant: String,
    pub(super) channel: String,
    pub(super) position: Position,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) joined: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) left: Option<Vec<String>>,
    /// The notification it is nothing without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<Position>,
}

/// What a notification took the place of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Superseded {
    /// Of the newer one.
    pub(super) position: Position,
    pub(super) stream: StreamId,
    /// Of the older one, as is its id.
    pub(super) offset: Offset,
    pub(super) id: NotificationId,
    /// Whether it was in no other stream.
    pub(super) is_alone: bool,
}

/// The newest notification of a stream with a collapse key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Newest {
    pub(super) stream: StreamId,
    pub(super) key: String,
    pub(super) id: NotificationId,
    pub(super) offset: Offset,
    pub(super) is_alone: bool,
}

/// Something that is to happen at a time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Timer {
    /// In milliseconds since 1970.
    pub(super) due: i64,
    /// The event that set it.
    pub(super) position: Position,
    pub(super) tenant: String,
    pub(super) id: NotificationId,
    pub(super) action: Action,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Action {
    Publish {
        publisher: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    Expire,
    Wake {
        user: String,
        stream: StreamId,
        offset: Offset,
    },
}

/// Offsets in a run: more were never published to one stream, and are damage.
const RUN_MOST: u64 = 1 << 32;

/// A set of offsets, as runs: the first and the last of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Runs(pub(super) Offsets);

impl Runs {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Runs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut runs: Vec<(u64, u64)> = Vec::new();
        for offset in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == offset => *last = offset,
                _ => runs.push((offset, offset)),
            }
        }
        serializer.collect_seq(runs)
    }
}

impl<'de> Deserialize<'de> for Runs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut offsets = Offsets::new();
        for (first, last) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            if last.checked_sub(first).is_none_or(|length| length > RUN_MOST) {
                return Err(D::Error::custom(format_args!("{first} to {last} is no run of offsets")));
            }
            offsets.extend(first..=last); // one by one: a range is stored in another form than what was added so
        }
        Ok(Self(offsets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind, and the least of some, as version 1 has written them.
    #[test]
    fn the_records_of_format_1_stay_readable() {
        let golden = include_str!("golden/v1.jsonl");
        for line in golden.lines() {
            let record: Record = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(serde_json::to_string(&record).unwrap(), line);
        }
        assert!(serde_json::from_str::<Record>(r#"{"woken":1,"more":2}"#).is_err());
    }
}
