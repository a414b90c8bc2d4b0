//! What is known of one person: their memberships, and what they have done with the streams these lead to.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::fold::Superseded;
use super::reading::Reading;
use super::stream::SharedStream;
use crate::event::{Addressed, Maker};
use crate::names::Channel;
use crate::position::{Offset, Position, StreamId};
use crate::sorted_map::SortedMap;

/// A person, as the log tells of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Person {
    /// Where the server first heard of them: from here on they are a member of `everyone`. `None` for a stranger.
    pub(super) known_since: Option<Position>,
    /// When the newest token was issued whose claims made or ended a membership, in seconds since 1970.
    pub(super) claims_issued_at: Option<i64>,
    /// The channels they are a member of.
    pub(super) memberships: SortedMap<Channel, Membership>,
    /// Their own stream, once something was addressed to them by name.
    pub(super) own: Option<OwnStream>,
    /// What they have done with each stream. A stream that is missing is untouched, and wholly theirs.
    pub(super) readings: BTreeMap<StreamId, Reading>,
}

/// A membership, unbroken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Membership {
    /// Since when.
    pub(super) since: Position,
    /// On whose word.
    pub(super) makers: Makers,
}

/// The stream of what is addressed to a person by name.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct OwnStream {
    pub(super) id: StreamId,
    pub(super) head: Offset,
    /// Where its last notification is in the log.
    pub(super) last: Position,
}

/// A set of makers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Makers(pub(super) u8);

impl Makers {
    fn bit(maker: Maker) -> u8 {
        match maker {
            Maker::Claims => 1,
            Maker::Service => 2,
            Maker::User => 4,
        }
    }

    pub(super) fn with(self, maker: Maker) -> Self {
        Self(self.0 | Self::bit(maker))
    }

    pub(super) fn without(self, maker: Maker) -> Self {
        Self(self.0 & !Self::bit(maker))
    }

    pub(super) fn contains(self, maker: Maker) -> bool {
        self.0 & Self::bit(maker) != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Maker> {
        [Maker::Claims, Maker::Service, Maker::User].into_iter().filter(move |maker| self.contains(*maker))
    }
}

static UNTOUCHED: LazyLock<Reading> = LazyLock::new(Reading::default);

impl Person {
    pub(crate) fn is_known(&self) -> bool {
        self.known_since.is_some()
    }

    /// The server first heard of them there: a member of `everyone` from then on.
    pub(super) fn hear_of(&mut self, since: Position) {
        self.known_since = Some(since);
        self.memberships.insert(Channel::everyone(), Membership { since, makers: Makers::default() });
    }

    pub(crate) fn is_member(&self, channel: &Channel) -> bool {
        self.memberships.contains_key(channel)
    }

    /// Since when they have been a member.
    pub(super) fn member_since(&self, channel: &Channel) -> Option<Position> {
        self.memberships.get(channel).map(|membership| membership.since)
    }

    /// Whether they are a member on this maker's word.
    pub(crate) fn is_member_by(&self, channel: &Channel, maker: Maker) -> bool {
        self.memberships.get(channel).is_some_and(|membership| membership.makers.contains(maker))
    }

    pub(crate) fn channels(&self) -> impl Iterator<Item = &Channel> {
        self.memberships.keys()
    }

    /// The channels they are in by their claims, and of when those are.
    pub(crate) fn claimed(&self) -> (Option<i64>, impl Iterator<Item = &Channel>) {
        let by_claims =
            self.memberships.iter().filter(|(_, membership)| membership.makers.contains(Maker::Claims));
        (self.claims_issued_at, by_claims.map(|(channel, _)| channel))
    }

    /// Whether a stream's notifications reach them.
    pub(super) fn is_in(&self, stream: &SharedStream) -> bool {
        stream.channels.iter().any(|channel| self.is_member(channel))
    }

    /// The channel through which a stream counts for them: the first of its channels that they are a member of, so
    /// that a stream of several channels counts once.
    pub(super) fn counting_channel<'s>(&self, stream: &'s SharedStream) -> Option<&'s Channel> {
        stream.channels.iter().find(|channel| self.is_member(channel))
    }

    /// Whether a notification reached them through its channels, and would still.
    pub(crate) fn was_reached(&self, addressed: &Addressed<'_>) -> bool {
        match addressed.shared_entry() {
            Some((channels, entry)) => {
                channels.iter().any(|channel| self.is_member(channel))
                    && entry.offset > self.reading(entry.stream).join
            }
            // Without an entry, what counts is whether they were a member then and have been since.
            None if !addressed.inbox => {
                let since = |channel| self.member_since(channel);
                let mut memberships = addressed.audience.channels.iter().filter_map(since);
                memberships.any(|since| since < addressed.position)
            }
            None => false,
        }
    }

    /// Whether they had a notification through the stream in which it gave up its place: their own it was taken from,
    /// from a stream of channels it is taken by the side.
    pub(crate) fn had(&self, older: &Superseded) -> bool {
        self.own.is_some_and(|own| own.id == older.stream)
            || self.reading(older.stream).is_theirs(older.offset)
    }

    pub(super) fn reading(&self, stream: StreamId) -> &Reading {
        self.readings.get(&stream).unwrap_or(&UNTOUCHED)
    }

    /// Since when they have been in a stream without a break, as far as their present memberships tell.
    pub(super) fn in_since(&self, stream: &SharedStream) -> Option<Position> {
        let memberships = stream.channels.iter().filter_map(|channel| self.memberships.get(channel));
        memberships.map(|membership| membership.since).min()
    }
}
