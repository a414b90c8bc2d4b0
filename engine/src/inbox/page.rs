//! Reading an inbox: pages, single notifications, and counts by type or channel.
//!
//! A broadcast is stored once, so a person's list is merged when it is read: their streams, each from its newest entry
//! down, by position. Which entries are theirs is known in memory; only what is on the page is looked up. Decides
//! nothing and writes nothing.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::fold::{Counts, Fold, streams_of};
use super::person::Person;
use super::ranks;
use super::reading::{NONE, Offsets, Reading};
use crate::event::EntryRef;
use crate::limits;
use crate::names::{Channel, NotificationType, Tag, UserKey};
use crate::notification::{Document, NotificationId};
use crate::position::{Offset, Position, StreamId};
use crate::sqlite::Connection;

/// A person and their streams, all at one position.
#[derive(Clone)]
pub(crate) struct Inbox {
    pub(crate) key: UserKey,
    pub(crate) person: Arc<Person>,
    pub(crate) counts: Counts,
    streams: Vec<StreamState>,
}

#[derive(Clone)]
struct StreamState {
    id: StreamId,
    head: Offset,
    last: Position,
    /// Those that were taken back from everybody.
    retracted: Arc<Offsets>,
    /// `None` for the person's own.
    channels: Option<Arc<[Channel]>>,
}

/// Which notifications to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct InboxQuery {
    /// How many at most; 0 means [`limits::PAGE_DEFAULT`].
    pub limit: usize,
    /// Only those that come before this position: where an earlier page ended.
    pub before: Option<Position>,
    /// Only unread or only read ones.
    pub unread: Option<bool>,
    /// Those in the archive instead of those in the list.
    pub archived: bool,
    /// Those that are put off instead of those in the list.
    pub snoozed: bool,
    /// Only pinned or only unpinned ones.
    pub pinned: Option<bool>,
    /// Only those of a type.
    pub kind: Option<NotificationType>,
    /// Only those with a tag.
    pub tag: Option<Tag>,
    /// Only those of a channel.
    pub channel: Option<Channel>,
}

/// A notification in an inbox, with what its owner has done with it.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboxItem {
    /// Where it is listed: where it was published or, if it was put off, where it woke.
    pub position: Position,
    /// Whether its owner has read it.
    pub read: bool,
    /// Whether its owner has opened the list since it came.
    pub seen: bool,
    /// Whether it is in the archive.
    pub archived: bool,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Until when it is put off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<Timestamp>,
    /// The notification.
    #[schemars(with = "Document<'static>")]
    pub notification: Box<RawValue>,
}

/// A page of an inbox.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboxPage {
    /// The notifications, newest first.
    pub items: Vec<InboxItem>,
    /// Where the next page begins; `None` when this is the last. With a filter, a page may be short and yet have a next.
    pub next: Option<String>,
    /// The counts when the page was made, with the position it shows.
    #[serde(flatten)]
    pub counts: Counts,
}

/// Counts of a part of an inbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PartCounts {
    /// Not read.
    pub unread: u64,
    /// Come since the list was last opened.
    pub unseen: u64,
}

/// Where a person meets a notification.
pub(crate) struct Found {
    pub(crate) entry: EntryRef,
    pub(crate) item: InboxItem,
}

impl Inbox {
    /// A person as they are in the fold; `None` when they are not in memory.
    pub(crate) fn of(fold: &Fold, key: &UserKey) -> Option<Self> {
        let person = fold.person(key)?.clone();
        let shared = streams_of(fold.shared(), &key.tenant, &person).map(|(id, stream)| StreamState {
            id,
            head: stream.head,
            last: stream.last,
            retracted: stream.retracted.clone(),
            channels: Some(stream.channels.clone()),
        });
        let own = person.own.map(|own| StreamState {
            id: own.id,
            head: own.head,
            last: own.last,
            retracted: NONE.clone(),
            channels: None,
        });
        let streams = shared.chain(own).collect();
        let counts = fold.counts_of(&key.tenant, &person);
        Some(Self { key: key.clone(), person, counts, streams })
    }

    pub(crate) fn position(&self) -> Position {
        self.counts.position
    }

    /// Whether a stream reaches this person.
    pub(crate) fn has_stream(&self, id: StreamId) -> bool {
        self.streams.iter().any(|stream| stream.id == id)
    }

    /// The streams that reach this person and have had something after a position.
    pub(crate) fn streams_since(&self, after: Position) -> impl Iterator<Item = StreamId> {
        self.streams.iter().filter(move |stream| stream.last > after).map(|stream| stream.id)
    }

    /// Whether an entry of a stream may be of a notification that was taken back by where this person stands: what was is
    /// retracted from everybody, or out of one's own sight.
    pub(crate) fn may_be_gone(&self, id: StreamId) -> impl Fn(Offset) -> bool {
        let state = self.streams.iter().find(|stream| stream.id == id);
        let reading = self.person.reading(id);
        move |offset| match state {
            Some(StreamState { channels: Some(_), retracted, .. }) => retracted.contains(offset.0),
            Some(_) => !reading.is_listed(offset),
            None => true, // only watched
        }
    }

    pub(crate) fn would_change(&self, mark: crate::event::Mark, entry: &EntryRef) -> bool {
        self.person.reading(entry.stream).would_change(mark, entry.offset)
    }

    pub(crate) fn is_snoozed(&self, entry: &EntryRef) -> bool {
        self.person.reading(entry.stream).is_snoozed(entry.offset)
    }

    pub(crate) fn is_read(&self, entry: &EntryRef) -> bool {
        self.person.reading(entry.stream).is_read(entry.offset)
    }

    /// Counts for each channel. A notification to several channels counts in each that its owner is a member of.
    pub(crate) fn counts_by_channel(&self) -> BTreeMap<Channel, PartCounts> {
        let mut counts: BTreeMap<Channel, PartCounts> = BTreeMap::new();
        for stream in &self.streams {
            let reading = self.person.reading(stream.id);
            let unread = reading.unread_count(stream.head, &stream.retracted);
            let unseen = reading.unseen_count(stream.head, &stream.retracted);
            for channel in self.channels_of(stream).filter(|_| unread + unseen > 0) {
                let part = counts.entry(channel).or_default();
                part.unread += unread;
                part.unseen += unseen;
            }
        }
        counts
    }

    /// The channels through which a stream reaches this person.
    fn channels_of(&self, stream: &StreamState) -> impl Iterator<Item = Channel> {
        let own = stream.channels.is_none().then(|| Channel::of_user(&self.key.user));
        let channels = stream.channels.as_deref().unwrap_or_default();
        own.into_iter().chain(channels.iter().filter(|channel| self.person.is_member(channel)).cloned())
    }

    /// Counts for each type.
    pub(crate) fn counts_by_type(
        &self,
        connection: &Connection,
    ) -> rusqlite::Result<BTreeMap<String, PartCounts>> {
        let mut counts: BTreeMap<String, PartCounts> = BTreeMap::new();
        for stream in &self.streams {
            let reading = self.person.reading(stream.id);
            // All above the lower watermark in one scan; below it, only what was marked unread.
            let low = reading.cursor.min(reading.seen);
            let mut add = |kind: String, offset: Offset| {
                let (unread, unseen) = (!reading.is_read(offset), !reading.is_seen(offset));
                let is_listed = reading.is_listed(offset) && !stream.retracted.contains(offset.0);
                if is_listed && (unread || unseen) {
                    let part = counts.entry(kind).or_default();
                    part.unread += u64::from(unread);
                    part.unseen += u64::from(unseen);
                }
            };
            let mut types = connection.prepare_cached(include_str!("sql/types_after.sql"))?;
            let mut rows = types.query([stream.id.sql(), low.sql(), stream.head.sql()])?;
            while let Some(row) = rows.next()? {
                add(row.get(1)?, Offset::from_sql(row.get(0)?));
            }
            for offset in reading.listed_unread(low) {
                add(entry_at(connection, stream.id, offset)?.1, offset);
            }
        }
        Ok(counts)
    }

    /// A page of the inbox.
    pub(crate) fn page(&self, connection: &Connection, query: &InboxQuery) -> rusqlite::Result<InboxPage> {
        let limit = if query.limit == 0 { limits::PAGE_DEFAULT } else { query.limit.min(limits::PAGE_MOST) };
        let mut merge = Merge::new(self, connection, query)?;
        let mut items = Vec::new();
        let mut looked_at = None;
        for _ in 0..limits::SCANNED_PER_PAGE {
            if items.len() == limit {
                break;
            }
            let Some(candidate) = merge.next()? else { break };
            looked_at = Some(candidate.listed_at);
            if let Some(item) = self.item(connection, query, &candidate)? {
                items.push(item);
            }
        }
        let next = looked_at.filter(|_| !merge.is_done()).map(|position| position.to_string());
        Ok(InboxPage { items, next, counts: self.counts })
    }

    /// The item at a candidate's place, unless the query leaves it out.
    fn item(
        &self,
        connection: &Connection,
        query: &InboxQuery,
        candidate: &Candidate,
    ) -> rusqlite::Result<Option<InboxItem>> {
        let (stream, offset) = (candidate.stream, candidate.offset);
        let reading = self.person.reading(stream);
        let wanted = query.unread.is_none_or(|unread| unread != reading.is_read(offset))
            && query.pinned.is_none_or(|pinned| pinned == reading.is_pinned(offset))
            && query.kind.as_ref().is_none_or(|kind| kind.as_str() == candidate.kind);
        if !wanted {
            return Ok(None);
        }
        let sql = "SELECT document, tags FROM notifications WHERE position = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let (document, tags): (String, Option<String>) =
            statement.query_row([candidate.published_at.sql()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if let Some(tag) = &query.tag {
            let tags: Vec<Tag> = tags.and_then(|tags| serde_json::from_str(&tags).ok()).unwrap_or_default();
            if !tags.contains(tag) {
                return Ok(None);
            }
        }
        Ok(Some(item(reading, candidate.listed_at, offset, document)?))
    }

    /// A notification, if it is this person's.
    pub(crate) fn find(
        &self,
        connection: &Connection,
        id: &NotificationId,
    ) -> rusqlite::Result<Option<Found>> {
        let sql = "SELECT position, shared, document FROM notifications WHERE id = ?1 AND tenant = ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let row = statement.query_row(params![id.as_bytes(), self.key.tenant.as_str()], |row| {
            let shared = row.get::<_, Option<i64>>(1)?.map(StreamId::from_sql);
            Ok((Position::from_sql(row.get(0)?), shared, row.get::<_, String>(2)?))
        });
        let Some((position, shared, document)) = row.optional()? else {
            return Ok(None);
        };
        // Who was addressed by name meets it in their own stream, whatever channels were addressed besides.
        for stream in [self.person.own.map(|own| own.id), shared].into_iter().flatten() {
            let Some(state) = self.streams.iter().find(|reached| reached.id == stream) else { continue };
            let Some(offset) = ranks::offset_at(connection, stream, position)? else {
                continue;
            };
            let reading = self.person.reading(stream);
            if reading.is_theirs(offset) && !state.retracted.contains(offset.0) {
                let listed_at = reading.woken.get(&offset).copied().unwrap_or(position);
                let item = item(reading, listed_at, offset, document)?;
                return Ok(Some(Found { entry: EntryRef { id: *id, stream, offset }, item }));
            }
        }
        Ok(None)
    }
}

fn item(
    reading: &Reading,
    position: Position,
    offset: Offset,
    document: String,
) -> rusqlite::Result<InboxItem> {
    let notification = RawValue::from_string(document).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(error))
    })?;
    Ok(InboxItem {
        position,
        read: reading.is_read(offset),
        seen: reading.is_seen(offset),
        archived: reading.is_archived(offset),
        pinned: reading.is_pinned(offset),
        snoozed_until: reading.snoozed.get(&offset).and_then(|s| Timestamp::from_millisecond(s.until).ok()),
        notification,
    })
}

fn entry_at(
    connection: &Connection,
    stream: StreamId,
    offset: Offset,
) -> rusqlite::Result<(Position, String)> {
    let sql = r#"SELECT position, type FROM entries WHERE stream = ?1 AND "offset" = ?2"#;
    let mut statement = connection.prepare_cached(sql)?;
    statement
        .query_row([stream.sql(), offset.sql()], |row| Ok((Position::from_sql(row.get(0)?), row.get(1)?)))
}

/// An entry that may be on the page.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Candidate {
    /// First, as the newest comes first.
    listed_at: Position,
    published_at: Position,
    stream: StreamId,
    offset: Offset,
    kind: String,
    /// Which of the merged streams it came from.
    source: usize,
}

/// The entries of several streams, newest first. Each stream is asked only for its next one.
struct Merge<'a> {
    connection: &'a Connection,
    sources: Vec<Source<'a>>,
    heap: BinaryHeap<Candidate>,
}

/// Entries of a stream, in the order of the list; with the place where it is listed, if that is not where it was published.
struct Source<'a> {
    stream: StreamId,
    entries: Box<dyn Iterator<Item = (Offset, Option<Position>)> + 'a>,
}

impl<'a> Merge<'a> {
    fn new(inbox: &'a Inbox, connection: &'a Connection, query: &'a InboxQuery) -> rusqlite::Result<Self> {
        let mut merge = Self { connection, sources: Vec::new(), heap: BinaryHeap::new() };
        for stream in &inbox.streams {
            let in_channel = |wanted: &Channel| inbox.channels_of(stream).any(|channel| channel == *wanted);
            if !query.channel.as_ref().is_none_or(in_channel) {
                continue;
            }
            let most = match query.before {
                Some(before) if before <= stream.last => {
                    ranks::rank(connection, stream.id, Position(before.0.saturating_sub(1)))?
                }
                _ => stream.head,
            };
            let reading = inbox.person.reading(stream.id);
            let retracted = &stream.retracted;
            let published = candidates(reading, query, most)
                .filter(|offset| !retracted.contains(offset.0) && !reading.woken.contains_key(offset))
                .map(|offset| (offset, None));
            merge.add(stream.id, Box::new(published))?;
            if !reading.woken.is_empty() {
                let woken = woken(reading, query).filter(|(offset, _)| !retracted.contains(offset.0));
                let woken = woken.map(|(offset, position)| (offset, Some(position)));
                merge.add(stream.id, Box::new(woken))?;
            }
        }
        Ok(merge)
    }

    fn add(
        &mut self,
        stream: StreamId,
        entries: Box<dyn Iterator<Item = (Offset, Option<Position>)> + 'a>,
    ) -> rusqlite::Result<()> {
        self.sources.push(Source { stream, entries });
        self.pull(self.sources.len() - 1)
    }

    fn pull(&mut self, source: usize) -> rusqlite::Result<()> {
        let Source { stream, entries } = &mut self.sources[source];
        let stream = *stream;
        if let Some((offset, woken_at)) = entries.next() {
            let (published_at, kind) = entry_at(self.connection, stream, offset)?;
            let listed_at = woken_at.unwrap_or(published_at);
            self.heap.push(Candidate { listed_at, published_at, stream, offset, kind, source });
        }
        Ok(())
    }

    fn next(&mut self) -> rusqlite::Result<Option<Candidate>> {
        let Some(newest) = self.heap.pop() else {
            return Ok(None);
        };
        self.pull(newest.source)?;
        Ok(Some(newest))
    }

    fn is_done(&self) -> bool {
        self.heap.is_empty()
    }
}

/// The narrowest of a reading's lists that holds everything the query wants.
fn candidates<'a>(
    reading: &'a Reading,
    query: &InboxQuery,
    most: Offset,
) -> Box<dyn Iterator<Item = Offset> + 'a> {
    if query.snoozed {
        Box::new(reading.snoozed.range(..=most).rev().map(|(offset, _)| *offset))
    } else if query.archived {
        Box::new(reading.listed_archived(most))
    } else if query.pinned == Some(true) {
        Box::new(reading.listed_pinned(most))
    } else if query.unread == Some(true) {
        Box::new(reading.listed_unread(most))
    } else {
        Box::new(reading.listed(most))
    }
}

/// Those that woke and are in the list that the query wants, newest first, with where they woke.
fn woken<'a>(
    reading: &'a Reading,
    query: &'a InboxQuery,
) -> impl Iterator<Item = (Offset, Position)> + use<'a> {
    let is_in_list = |offset: Offset| {
        if query.snoozed {
            reading.is_snoozed(offset)
        } else if query.archived {
            reading.is_archived(offset)
        } else {
            reading.is_listed(offset)
        }
    };
    let before = |position: Position| query.before.is_none_or(|before| position < before);
    let woken = reading.woken.iter().filter(|(offset, position)| before(**position) && is_in_list(**offset));
    let mut woken: Vec<(Offset, Position)> = woken.map(|(offset, position)| (*offset, *position)).collect();
    woken.sort_unstable_by_key(|(_, position)| std::cmp::Reverse(*position));
    woken.into_iter()
}
