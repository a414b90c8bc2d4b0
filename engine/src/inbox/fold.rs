//! The one fold: events into what each person has, live and in a rebuild alike.
//!
//! Depends on nothing but the log: no clock, no randomness, no order but that of positions. SQL only loads and stores
//! its rows. People are loaded when an event concerns them and may be forgotten once their rows are written.

mod change;
mod membership;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use self::change::{expiry_of, timers_of};
use super::person::{OwnStream, Person};
use super::reading::{NONE, Offsets, Reading};
use super::stream::{SharedStream, SharedStreams};
use super::timers::{Timer, TimerChange};
use crate::event::{Addressed, Entry, Event, Fact, Selection};
use crate::names::{Channel, CollapseKey, Tenant, UserId, UserKey};
use crate::notification::NotificationId;
use crate::position::{Offset, Position, StreamId};

/// Which fold this is: another number whenever it makes something else of the same events. What an older one made, in views
/// and snapshots, is not used.
pub(super) const FOLD: u16 = 1;

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
    /// Updates and retractions, in order.
    pub(super) changed: Vec<Arc<Event>>,
    pub(super) shared: BTreeSet<StreamId>,
    /// Streams in which something was retracted.
    pub(super) retracted: BTreeSet<StreamId>,
    /// The newest notification of each stream and collapse key.
    pub(super) newest: HashMap<(StreamId, CollapseKey), Newest>,
    /// In order.
    pub(super) timers: Vec<TimerChange>,
    pub(super) people: BTreeSet<UserKey>,
    /// Heard of by an address, while not in memory.
    pub(super) heard: BTreeMap<UserKey, Position>,
    /// The streams of those who were addressed while they were not in memory.
    own_streams: HashMap<UserKey, OwnStream>,
    pub(super) memberships: BTreeSet<(UserKey, Channel)>,
    pub(super) readings: BTreeSet<(UserKey, StreamId)>,
    /// Thrown away and begun anew within this batch, so that they follow from the membership: no row of theirs stays,
    /// however the events fell into batches.
    pub(super) begun_anew: BTreeSet<(UserKey, StreamId)>,
    /// Entries of this batch, which the view does not have yet.
    entries: HashMap<StreamId, Vec<(Position, Offset)>>,
}

impl Changes {
    fn add_entry(&mut self, entry: Entry, position: Position) {
        self.entries.entry(entry.stream).or_default().push((position, entry.offset));
    }

    /// Adds what is not written yet to a person who was not in memory, as they were loaded.
    pub(super) fn complete(&self, key: &UserKey, person: &mut Person) {
        person.own = self.own_streams.get(key).copied().or(person.own);
        if let Some(since) = self.heard.get(key)
            && !person.is_known()
        {
            person.hear_of(*since);
        }
    }

    /// A stream's rank at a position, if that lies within this batch.
    pub(super) fn rank(&self, id: StreamId, at: Position) -> Option<Offset> {
        let entries = self.entries.get(&id)?;
        let until = entries.partition_point(|(position, _)| *position <= at);
        entries.get(until.checked_sub(1)?).map(|(_, offset)| *offset)
    }
}

/// The newest notification of a stream with a collapse key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Newest {
    pub(super) id: NotificationId,
    pub(super) offset: Offset,
    /// Whether the notification is in no other stream.
    pub(super) is_alone: bool,
}

/// A notification that gave up its place in a stream for a newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Superseded {
    pub(crate) stream: StreamId,
    pub(crate) offset: Offset,
    pub(crate) id: NotificationId,
    /// Whether it was in no other stream.
    pub(crate) is_alone: bool,
}

/// What an event meant for those who are connected.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    /// A notification goes out, and takes the place of others; or it is updated or retracted.
    Addressed(Arc<Event>, Vec<Superseded>),
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
            Self::Addressed(event, _) | Self::Changed(_, event) => event.position,
            Self::Joined(_, _, position) | Self::Left(_, _, position) => *position,
        }
    }

    /// Roughly what it keeps in memory.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Addressed(event, superseded) => event.weight() + 32 * superseded.len(),
            Self::Changed(_, event) => event.weight(),
            Self::Joined(_, channels, _) | Self::Left(_, channels, _) => 64 + 32 * channels.len(),
        }
    }
}

/// How many notifications a person has not dealt with, and at which position that is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub struct Counts {
    /// Not read.
    pub unread: u64,
    /// Come since the list was last opened.
    pub unseen: u64,
    /// True after this position. A client drops counts that are older than those it has.
    pub position: Position,
}

/// What was written before this batch.
pub(super) trait Written {
    /// A stream's rank at a position.
    fn rank(&self, stream: StreamId, position: Position) -> rusqlite::Result<Offset>;

    /// The newest notification of a stream with a collapse key.
    fn newest(&self, stream: StreamId, key: &CollapseKey) -> rusqlite::Result<Option<Newest>>;
}

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

    /// Those who are connected, and by how many connections.
    pub(super) fn connected(&self) -> Vec<(UserKey, usize)> {
        let connected = self.people.iter().filter(|(_, kept)| kept.pins > 0);
        connected.map(|(key, kept)| (key.clone(), kept.pins)).collect()
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
        if let Some(owner) = event.owner() {
            return vec![owner];
        }
        let users: Vec<&UserId> = match &event.fact {
            // Somebody addressed by name needs no state for that alone: their stream's head is in the event.
            Fact::NotificationPublished(published)
                if published.notification.collapse_key.is_some() || has_shared_entry(event) =>
            {
                published.audience.users.iter().chain(&published.audience.except).collect()
            }
            Fact::Retracted(retracted) if retracted.inbox => retracted.audience.users.iter().collect(),
            Fact::Joined(membership) | Fact::Left(membership) => membership.users.iter().collect(),
            _ => Vec::new(),
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
        written: &dyn Written,
    ) -> rusqlite::Result<()> {
        match &event.fact {
            Fact::NotificationPublished(published) => {
                self.publish(event, changes);
                let superseded = self.collapse(event, &published.notification, changes, written)?;
                changes.timers.extend(timers_of(event, &published.notification));
                effects.push(Effect::Addressed(event.clone(), superseded));
            }
            Fact::Updated(updated) => {
                changes.changed.push(event.clone());
                changes.timers.push(TimerChange::VoidExpiry(updated.published.notification.id));
                changes.timers.extend(expiry_of(event, &updated.published.notification));
                effects.push(Effect::Addressed(event.clone(), Vec::new()));
            }
            Fact::Retracted(retracted) => {
                self.retract(event, retracted, changes);
                effects.push(Effect::Addressed(event.clone(), Vec::new()));
            }
            Fact::Scheduled(scheduled) => {
                changes.timers.extend(Timer::publication(event, scheduled).map(TimerChange::Set));
            }
            Fact::ScheduleCancelled(cancelled) => {
                changes.timers.push(TimerChange::VoidPublication(cancelled.id));
            }
            Fact::Joined(membership) => self.join(event, membership, changes, effects),
            Fact::Left(membership) => self.leave(event, membership, changes, effects),
            Fact::Read(_) | Fact::Seen(_) | Fact::Marked(..) | Fact::Snoozed(_) | Fact::Woken(_) => {
                self.act(event, changes, effects, written)?;
            }
            Fact::Started(_) | Fact::Clicked(_) | Fact::Progress(_) | Fact::Unknown(_) => {}
        }
        self.position = event.position;
        Ok(())
    }

    /// What a person did with what they have, or what came back to them.
    fn act(
        &mut self,
        event: &Arc<Event>,
        changes: &mut Changes,
        effects: &mut Vec<Effect>,
        written: &dyn Written,
    ) -> rusqlite::Result<()> {
        let Some(key) = event.owner() else { return Ok(()) };
        match &event.fact {
            Fact::Read(read) => match &read.selection {
                Selection::Entries(entries) => {
                    for entry in entries {
                        self.change(&key, entry.stream, entry.offset, changes, |reading| {
                            reading.read_one(entry.offset)
                        });
                    }
                }
                Selection::UpTo(position) => {
                    self.change_all(&key, *position, changes, written, Reading::read_up_to)?;
                }
            },
            Fact::Seen(seen) => {
                let see = |reading: &mut Reading, rank, _| reading.see_up_to(rank);
                self.change_all(&key, seen.up_to, changes, written, see)?;
            }
            Fact::Marked(mark, marked) => {
                for entry in &marked.entries {
                    self.mark(&key, *mark, entry.stream, entry.offset, event.position, changes);
                }
            }
            Fact::Snoozed(snoozed) => self.snooze(event, &key, snoozed, changes),
            // One that was overtaken wakes nothing, and nobody is told.
            Fact::Woken(woken) if !self.wake(event, &key, woken, changes) => return Ok(()),
            _ => {}
        }
        effects.push(Effect::Changed(key, event.clone()));
        Ok(())
    }

    fn publish(&mut self, event: &Arc<Event>, changes: &mut Changes) {
        changes.published.push(event.clone());
        let tenant = &event.tenant;
        // The stream of the channels first: who is heard of by this very event joins `everyone` after it.
        let Some(addressed) = event.addressed() else { return };
        if let Some((channels, entry)) = addressed.shared_entry() {
            self.shared.advance(tenant, channels, entry.stream, entry.offset, event.position);
            changes.shared.insert(entry.stream);
            changes.add_entry(entry, event.position);
        }
        for (user, entry) in addressed.own_entries() {
            let key = UserKey { tenant: tenant.clone(), user: user.clone() };
            changes.add_entry(entry, event.position);
            self.address(&key, entry.stream, entry.offset, event.position, changes);
        }
        let Some((_, entry)) = addressed.shared_entry() else { return };
        for user in addressed.audience.users.iter().chain(&addressed.audience.except) {
            let key = UserKey { tenant: tenant.clone(), user: user.clone() };
            self.change(&key, entry.stream, entry.offset, changes, |reading| reading.displace(entry.offset));
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
        let own = OwnStream { id, head, last: position };
        let Some(kept) = self.people.get_mut(key) else {
            // Whoever was addressed before was heard of then.
            if head == Offset(1) {
                changes.heard.insert(key.clone(), position);
            }
            changes.own_streams.insert(key.clone(), own);
            return;
        };
        Arc::make_mut(&mut kept.person).own = Some(own);
        self.hear(key, position, changes);
    }

    /// Changes what a person has done with one notification of a stream, if it reaches them and is not retracted.
    fn change(
        &mut self,
        key: &UserKey,
        id: StreamId,
        offset: Offset,
        changes: &mut Changes,
        change: impl FnOnce(&mut Reading),
    ) {
        let Some(kept) = self.people.get_mut(key) else {
            return;
        };
        let is_own = kept.person.own.is_some_and(|own| own.id == id);
        let is_in = |stream: &SharedStream| {
            stream.tenant == key.tenant && kept.person.is_in(stream) && !stream.retracted.contains(offset.0)
        };
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
        written: &dyn Written,
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
                changes.rank(id, at).map_or_else(|| written.rank(id, at), Ok)?
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
        let shared = streams_of(&self.shared, tenant, person);
        let shared = shared.map(|(id, stream)| (id, stream.head, &*stream.retracted));
        let nothing: &Offsets = &NONE;
        for (id, head, retracted) in shared.chain(person.own.map(|own| (own.id, own.head, nothing))) {
            let reading = person.reading(id);
            counts.unread += reading.unread_count(head, retracted);
            counts.unseen += reading.unseen_count(head, retracted);
        }
        counts
    }

    /// Whether a person had a notification through the stream in which it gave up its place.
    pub(crate) fn had(&self, key: &UserKey, older: &Superseded) -> bool {
        self.people.get(key).is_some_and(|kept| kept.person.had(older))
    }

    /// Whether a notification reached a person through its channels, and would still.
    pub(crate) fn was_reached(&self, key: &UserKey, addressed: &Addressed<'_>) -> bool {
        self.people.get(key).is_some_and(|kept| kept.person.was_reached(addressed))
    }
}

fn has_shared_entry(event: &Event) -> bool {
    event.addressed().is_some_and(|addressed| addressed.shared_entry().is_some())
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
