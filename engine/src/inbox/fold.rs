//! The one fold: events into what each person has, live and in a rebuild alike.
//!
//! Depends on nothing but the log: no clock, no randomness, no order but that of positions. SQL only loads and stores
//! its rows. People are loaded when an event concerns them and may be forgotten once their rows are written.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::person::{Makers, Membership as Member, OwnStream, Person};
use super::reading::Reading;
use super::stream::{SharedStream, SharedStreams};
use crate::event::{Event, Fact, Maker, Membership, Selection};
use crate::names::{Channel, Tenant, UserId, UserKey};
use crate::position::{Offset, Position, StreamId};

/// What everybody has, as far as it is in memory.
#[derive(Default)]
pub(crate) struct Fold {
    /// Everything up to here is folded.
    position: Position,
    shared: SharedStreams,
    people: HashMap<UserKey, Kept>,
    /// How many of them are pinned.
    pinned: usize,
    /// Counts up with every use, so that those unused for longest can be forgotten.
    clock: AtomicU64,
}

/// A person in memory. Readers take the `Arc`; the fold copies it only when one of them still holds it.
struct Kept {
    person: Arc<Person>,
    used: AtomicU64,
    /// Connections of theirs: while there are any, they stay.
    pins: usize,
}

/// What a batch changed, for the view to write. Values are taken from the fold when it is written.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) published: Vec<Arc<Event>>,
    pub(super) shared: BTreeSet<StreamId>,
    pub(super) people: BTreeSet<UserKey>,
    /// Heard of by an address, while not in memory.
    pub(super) heard: Vec<(UserKey, Position)>,
    pub(super) memberships: BTreeSet<(UserKey, Channel)>,
    pub(super) readings: BTreeSet<(UserKey, StreamId)>,
    /// Entries of this batch, which the view does not have yet.
    entries: Vec<(StreamId, Position, Offset)>,
}

/// What an event meant for those who are connected.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A notification goes out.
    Published(Arc<Event>),
    /// A person's own state changed: all their devices are told.
    Changed(UserKey, Arc<Event>),
    /// A person became a member of these channels, of which they were none before.
    Joined(UserKey, Vec<Channel>, Position),
    /// A person ceased to be a member of these channels.
    Left(UserKey, Vec<Channel>, Position),
}

impl Effect {
    /// The event it is of.
    pub(crate) fn position(&self) -> Position {
        match self {
            Self::Published(event) | Self::Changed(_, event) => event.position,
            Self::Joined(_, _, position) | Self::Left(_, _, position) => *position,
        }
    }

    /// Roughly what it keeps in memory.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Published(event) | Self::Changed(_, event) => event.weight(),
            Self::Joined(_, channels, _) | Self::Left(_, channels, _) => 64 + 32 * channels.len(),
        }
    }
}

/// How many notifications a person has not dealt with, and at which position that is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Not read.
    pub unread: u64,
    /// Come since the list was last opened.
    pub unseen: u64,
    /// True after this position. A client drops counts that are older than those it has.
    pub position: Position,
}

/// Finds a stream's rank at a position in what was written before this batch.
pub(super) type WrittenRank<'a> = &'a dyn Fn(StreamId, Position) -> rusqlite::Result<Offset>;

impl Fold {
    /// A fold that has come to `position`, with the streams of channels there are.
    pub(super) fn loaded(position: Position, streams: Vec<(StreamId, SharedStream)>) -> Self {
        let mut shared = SharedStreams::default();
        for (id, stream) in streams {
            shared.insert(id, stream);
        }
        Self { position, shared, ..Self::default() }
    }

    pub(crate) fn position(&self) -> Position {
        self.position
    }

    pub(super) fn shared(&self) -> &SharedStreams {
        &self.shared
    }

    /// The person, if in memory.
    pub(crate) fn person(&self, key: &UserKey) -> Option<&Arc<Person>> {
        let kept = self.people.get(key)?;
        kept.used.store(self.clock.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Some(&kept.person)
    }

    /// Puts a person in memory, as the view has them.
    pub(super) fn keep(&mut self, key: UserKey, person: Person) {
        let used = AtomicU64::new(self.clock.fetch_add(1, Ordering::Relaxed));
        self.people.insert(key, Kept { person: Arc::new(person), used, pins: 0 });
    }

    /// Keeps a person in memory while a connection of theirs is open.
    pub(crate) fn pin(&mut self, key: &UserKey) {
        if let Some(kept) = self.people.get_mut(key) {
            self.pinned += usize::from(kept.pins == 0);
            kept.pins += 1;
        }
    }

    pub(crate) fn unpin(&mut self, key: &UserKey) {
        if let Some(kept) = self.people.get_mut(key) {
            self.pinned -= usize::from(kept.pins == 1);
            kept.pins = kept.pins.saturating_sub(1);
        }
    }

    /// Forgets people unused for longest, once there are more than `most` in memory who are not connected. What they have
    /// is in the view.
    pub(super) fn forget(&mut self, most: usize) {
        let idle = self.people.len() - self.pinned;
        if idle <= most {
            return;
        }
        // A tenth more than needed, so that this is not done for every newcomer.
        let surplus = idle - most + most / 10;
        let idle = self.people.iter().filter(|(_, kept)| kept.pins == 0);
        let mut idle: Vec<(u64, UserKey)> =
            idle.map(|(key, kept)| (kept.used.load(Ordering::Relaxed), key.clone())).collect();
        idle.sort_unstable();
        for (_, key) in idle.into_iter().take(surplus) {
            self.people.remove(&key);
        }
    }

    /// Whom an event concerns so that their state has to be in memory when it is applied.
    pub(super) fn concerned(event: &Event) -> Vec<UserKey> {
        let users: Vec<&UserId> = match &event.fact {
            // Somebody addressed by name needs no state for that alone: their stream's head is in the event.
            Fact::NotificationPublished(published) if event.shared_entry().is_some() => {
                published.audience.users.iter().chain(&published.audience.except).collect()
            }
            Fact::Joined(membership) | Fact::Left(membership) => membership.users.iter().collect(),
            Fact::Read(read) => vec![&read.user],
            Fact::Seen(seen) => vec![&seen.user],
            Fact::Marked(_, marked) => vec![&marked.user],
            Fact::NotificationPublished(_)
            | Fact::Started(_)
            | Fact::Clicked(_)
            | Fact::Progress(_)
            | Fact::Unknown(_) => Vec::new(),
        };
        users.into_iter().map(|user| UserKey { tenant: event.tenant.clone(), user: user.clone() }).collect()
    }

    /// Whether a person is in memory, without counting as a use.
    pub(super) fn has(&self, key: &UserKey) -> bool {
        self.people.contains_key(key)
    }

    /// Folds the next event. Everybody it [concerns](Self::concerned) is in memory.
    pub(super) fn apply(
        &mut self,
        event: &Arc<Event>,
        changes: &mut Changes,
        effects: &mut Vec<Effect>,
        written: WrittenRank<'_>,
    ) -> rusqlite::Result<()> {
        let key = |user: &UserId| UserKey { tenant: event.tenant.clone(), user: user.clone() };
        match &event.fact {
            Fact::NotificationPublished(_) => {
                self.publish(event, changes);
                effects.push(Effect::Published(event.clone()));
            }
            Fact::Joined(membership) => self.join(event, membership, changes, effects),
            Fact::Left(membership) => self.leave(event, membership, changes, effects),
            Fact::Read(read) => {
                let key = key(&read.user);
                match &read.selection {
                    Selection::Entries(entries) => {
                        for entry in entries {
                            self.change(&key, entry.stream, changes, |reading| {
                                reading.read_one(entry.offset)
                            });
                        }
                    }
                    Selection::UpTo(position) => {
                        self.change_all(&key, *position, changes, written, Reading::read_up_to)?;
                    }
                }
                effects.push(Effect::Changed(key, event.clone()));
            }
            Fact::Seen(seen) => {
                let key = key(&seen.user);
                let see = |reading: &mut Reading, rank, _| reading.see_up_to(rank);
                self.change_all(&key, seen.up_to, changes, written, see)?;
                effects.push(Effect::Changed(key, event.clone()));
            }
            Fact::Marked(mark, marked) => {
                let key = key(&marked.user);
                for entry in &marked.entries {
                    let at = event.position;
                    self.change(&key, entry.stream, changes, |reading| reading.mark(*mark, entry.offset, at));
                }
                effects.push(Effect::Changed(key, event.clone()));
            }
            Fact::Started(_) | Fact::Clicked(_) | Fact::Progress(_) | Fact::Unknown(_) => {}
        }
        self.position = event.position;
        Ok(())
    }

    fn publish(&mut self, event: &Arc<Event>, changes: &mut Changes) {
        changes.published.push(event.clone());
        let tenant = &event.tenant;
        // The stream of the channels first: who is heard of by this very event joins `everyone` after it.
        if let Some((channels, entry)) = event.shared_entry() {
            self.shared.advance(tenant, channels, entry.stream, entry.offset, event.position);
            changes.shared.insert(entry.stream);
            changes.entries.push((entry.stream, event.position, entry.offset));
        }
        for (user, entry) in event.own_entries() {
            let key = UserKey { tenant: tenant.clone(), user: user.clone() };
            changes.entries.push((entry.stream, event.position, entry.offset));
            self.address(&key, entry.stream, entry.offset, event.position, changes);
        }
        let Some((_, entry)) = event.shared_entry() else {
            return;
        };
        let audience = event.published().map(|published| &published.audience);
        for user in audience.into_iter().flat_map(|audience| audience.users.iter().chain(&audience.except)) {
            let key = UserKey { tenant: tenant.clone(), user: user.clone() };
            self.change(&key, entry.stream, changes, |reading| reading.displace(entry.offset));
        }
    }

    /// Notes the next notification of a person's own stream.
    fn address(
        &mut self,
        key: &UserKey,
        id: StreamId,
        head: Offset,
        position: Position,
        changes: &mut Changes,
    ) {
        let Some(kept) = self.people.get_mut(key) else {
            // Whoever was addressed before was heard of then.
            if head == Offset(1) {
                changes.heard.push((key.clone(), position));
            }
            return;
        };
        Arc::make_mut(&mut kept.person).own = Some(OwnStream { id, head, last: position });
        self.hear(key, position, changes);
    }

    /// Somebody the server has not heard of before is a member of `everyone` from now on.
    fn hear(&mut self, key: &UserKey, position: Position, changes: &mut Changes) -> bool {
        let Some(kept) = self.people.get_mut(key).filter(|kept| !kept.person.is_known()) else {
            return false;
        };
        Arc::make_mut(&mut kept.person).known_since = Some(position);
        changes.people.insert(key.clone());
        // `everyone` follows from being known: nobody has to say so, and no row of its own says it.
        self.begin_membership(
            key,
            &Channel::everyone(),
            Member { since: position, makers: Makers::default() },
        );
        true
    }

    fn begin_membership(&mut self, key: &UserKey, channel: &Channel, member: Member) {
        let Some(kept) = self.people.get_mut(key) else {
            return;
        };
        let person = Arc::make_mut(&mut kept.person);
        for (id, stream) in self.shared.of_channel(&key.tenant, channel) {
            if !person.is_in(stream) {
                // Follows from the membership, so it need not be written.
                person.readings.insert(id, Reading::joined_at(stream.head));
            }
        }
        person.memberships.insert(channel.clone(), member);
    }

    fn join(
        &mut self,
        event: &Arc<Event>,
        membership: &Membership,
        changes: &mut Changes,
        effects: &mut Vec<Effect>,
    ) {
        for user in &membership.users {
            let key = UserKey { tenant: event.tenant.clone(), user: user.clone() };
            if !self.claims_count(&key, membership, changes) {
                continue;
            }
            let mut joined = Vec::new();
            if self.hear(&key, event.position, changes) {
                joined.push(Channel::everyone());
            }
            for channel in membership.channels.iter().filter(|channel| !channel.is_everyone()) {
                if self.join_one(&key, channel, membership.by, event.position) {
                    joined.push(channel.clone());
                }
                changes.memberships.insert((key.clone(), channel.clone()));
            }
            if !joined.is_empty() {
                effects.push(Effect::Joined(key, joined, event.position));
            }
        }
    }

    /// Whether this is a new membership, not just another maker of one.
    fn join_one(&mut self, key: &UserKey, channel: &Channel, by: Maker, position: Position) -> bool {
        let Some(kept) = self.people.get_mut(key) else {
            return false;
        };
        let person = Arc::make_mut(&mut kept.person);
        if let Some(member) = person.memberships.get_mut(channel) {
            member.makers = member.makers.with(by);
            return false;
        }
        let makers = Makers::default().with(by);
        self.begin_membership(key, channel, Member { since: position, makers });
        true
    }

    fn leave(
        &mut self,
        event: &Arc<Event>,
        membership: &Membership,
        changes: &mut Changes,
        effects: &mut Vec<Effect>,
    ) {
        for user in &membership.users {
            let key = UserKey { tenant: event.tenant.clone(), user: user.clone() };
            if !self.claims_count(&key, membership, changes) {
                continue;
            }
            let mut left = Vec::new();
            for channel in membership.channels.iter().filter(|channel| !channel.is_everyone()) {
                if self.leave_one(&key, channel, membership.by, changes) {
                    left.push(channel.clone());
                }
            }
            if !left.is_empty() {
                effects.push(Effect::Left(key, left, event.position));
            }
        }
    }

    /// Whether the membership ended: its last maker is gone.
    fn leave_one(&mut self, key: &UserKey, channel: &Channel, by: Maker, changes: &mut Changes) -> bool {
        let Some(kept) = self.people.get_mut(key) else {
            return false;
        };
        let person = Arc::make_mut(&mut kept.person);
        let Some(member) = person.memberships.get_mut(channel) else {
            return false;
        };
        member.makers = member.makers.without(by);
        let ended = member.makers.is_empty();
        changes.memberships.insert((key.clone(), channel.clone()));
        if !ended {
            return false;
        }
        person.memberships.remove(channel);
        for (id, stream) in self.shared.of_channel(&key.tenant, channel) {
            if person.is_in(stream) {
                // It no longer follows from the memberships that are left since when they have been in it.
                person.readings.entry(id).or_default();
            } else {
                person.readings.remove(&id);
            }
            changes.readings.insert((key.clone(), id));
        }
        true
    }

    /// Whether a change of membership counts: claims only when no newer token has spoken.
    fn claims_count(&mut self, key: &UserKey, membership: &Membership, changes: &mut Changes) -> bool {
        let Some(issued_at) = membership.issued_at.filter(|_| membership.by == Maker::Claims) else {
            return true;
        };
        let Some(kept) = self.people.get_mut(key) else {
            return false;
        };
        if kept.person.claims_issued_at.is_some_and(|newest| newest > issued_at) {
            return false;
        }
        Arc::make_mut(&mut kept.person).claims_issued_at = Some(issued_at);
        changes.people.insert(key.clone());
        true
    }

    /// Changes a person's reading of one stream, if it reaches them.
    fn change(
        &mut self,
        key: &UserKey,
        id: StreamId,
        changes: &mut Changes,
        change: impl FnOnce(&mut Reading),
    ) {
        let Some(kept) = self.people.get_mut(key) else {
            return;
        };
        let is_own = kept.person.own.is_some_and(|own| own.id == id);
        let is_in = |stream: &SharedStream| stream.tenant == key.tenant && kept.person.is_in(stream);
        if !is_own && !self.shared.get(id).is_some_and(is_in) {
            return; // they have left meanwhile
        }
        change(Arc::make_mut(&mut kept.person).readings.entry(id).or_default());
        changes.readings.insert((key.clone(), id));
    }

    /// Changes a person's reading of every stream that reaches them, by its rank at a position.
    fn change_all(
        &mut self,
        key: &UserKey,
        at: Position,
        changes: &mut Changes,
        written: WrittenRank<'_>,
        change: impl Fn(&mut Reading, Offset, Position),
    ) -> rusqlite::Result<()> {
        let Some(kept) = self.people.get_mut(key) else {
            return Ok(());
        };
        let shared = streams_of(&self.shared, &key.tenant, &kept.person).map(|(id, s)| (id, s.head, s.last));
        let own = kept.person.own.map(|own| (own.id, own.head, own.last));
        let streams: Vec<_> = shared.chain(own).collect();
        for (id, head, last) in streams {
            let rank = if last <= at {
                head
            } else {
                rank_within(changes, id, at).map_or_else(|| written(id, at), Ok)?
            };
            change(Arc::make_mut(&mut kept.person).readings.entry(id).or_default(), rank, at);
            changes.readings.insert((key.clone(), id));
        }
        Ok(())
    }

    /// A person's counts.
    pub(crate) fn counts(&self, key: &UserKey) -> Option<Counts> {
        Some(self.counts_of(&key.tenant, self.person(key)?))
    }

    pub(super) fn counts_of(&self, tenant: &Tenant, person: &Person) -> Counts {
        let mut counts = Counts { unread: 0, unseen: 0, position: self.position };
        let shared = streams_of(&self.shared, tenant, person).map(|(id, stream)| (id, stream.head));
        for (id, head) in shared.chain(person.own.map(|own| (own.id, own.head))) {
            let reading = person.reading(id);
            counts.unread += reading.unread_count(head);
            counts.unseen += reading.unseen_count(head);
        }
        counts
    }
}

/// The streams of channels that reach a person, each once.
pub(super) fn streams_of<'a>(
    shared: &'a SharedStreams,
    tenant: &'a Tenant,
    person: &'a Person,
) -> impl Iterator<Item = (StreamId, &'a SharedStream)> {
    person.memberships.keys().flat_map(move |channel| {
        let streams = shared.of_channel(tenant, channel);
        streams.filter(move |(_, stream)| person.counting_channel(stream) == Some(channel))
    })
}

/// A stream's rank at a position, if that lies within this batch.
fn rank_within(changes: &Changes, id: StreamId, at: Position) -> Option<Offset> {
    let entries = changes.entries.iter().filter(|(stream, position, _)| *stream == id && *position <= at);
    entries.map(|(_, _, offset)| *offset).max()
}
