//! Numbers in streams: given from memory, and written into the index of the streams (`streams`, `entries`) some thousand at a
//! time, since nearly each entry lies in a page of its own. What the index does not have yet is in the events, which are
//! durable first; it is indexed with the first append after a start.
//!
//! Owned by the thread that writes. Decides nothing about which streams there are.

use std::collections::HashMap;

use hashlink::LruCache;
use rusqlite::{OptionalExtension, Row, params};

use super::verified_row;

use crate::event::Entry;
use crate::names::Tenant;
use crate::position::{Offset, Position, StreamId};
use crate::sqlite::Connection;
use crate::store::{StoreError, StreamName};

/// Streams kept in memory at most, some 150 bytes each; the one that was used longest ago is forgotten first.
const KEPT_MOST: usize = 65_536;
/// Channels of a stream that is kept: sets of many are as long as they are rare.
const CHANNELS_MOST: usize = 4;
/// Entries that are not indexed at most: an append that indexes them takes some ten milliseconds longer.
const UNINDEXED_MOST: usize = 4_096;
/// Events that are not indexed at most, with entries or without: whoever looks for what is not indexed reads them all.
const EVENTS_MOST: i64 = 65_536;

/// A stream, and its last number.
#[derive(Clone, Copy)]
struct Numbered {
    id: i64,
    head: i64,
}

/// A row of the index, in the order of its key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Indexed {
    stream: i64,
    offset: i64,
    position: i64,
}

/// What is known of the streams: nothing before the first append, and after one of which it is not known what became of it.
#[derive(Default)]
pub(super) struct Numbering(Option<Known>);

struct Known {
    /// The index has everything up to here.
    indexed: i64,
    /// How many of the unindexed are committed; the others are of an append that goes on.
    committed: usize,
    /// What that append indexes: up to here.
    indexing: Option<i64>,
    /// Whether that append is the first.
    is_first: bool,

    /// All streams that have entries which are not indexed, and others that were used lately.
    streams: LruCache<(Tenant, StreamName), Numbered>,
    /// Streams with long names, to be forgotten once they are indexed.
    long: Vec<(Tenant, StreamName)>,
    unindexed: Vec<Indexed>,
}

impl Numbering {
    /// Begins an append, in its transaction. It ends with [`commit`](Self::commit) or [`take_back`](Self::take_back), or what is known
    /// is to be [forgotten](Self::forget).
    pub(super) fn begin(&mut self, connection: &Connection) -> Result<(), StoreError> {
        if self.0.is_none() {
            let indexed = index_what_is_left(connection)?;
            self.0 = Some(Known {
                indexed,
                committed: 0,
                indexing: None,
                is_first: true,
                streams: LruCache::new_unbounded(),
                long: Vec::new(),
                unindexed: Vec::new(),
            });
        }
        Ok(())
    }

    /// The next number in a stream, for the event at a position of the append that was begun.
    pub(super) fn next(
        &mut self,
        connection: &Connection,
        tenant: &Tenant,
        stream: &StreamName,
        position: i64,
    ) -> Result<Entry, StoreError> {
        let known = self.0.as_mut().ok_or_else(|| StoreError::Other("no append was begun".into()))?;
        let named = (tenant.clone(), stream.clone());
        let Numbered { id, head } = match known.streams.get_mut(&named) {
            Some(numbered) => {
                numbered.head += 1;
                *numbered
            }
            None => {
                let found = find(connection, tenant, stream)?;
                let found = found.map_or_else(|| insert(connection, tenant, stream), Ok)?;
                let numbered = Numbered { head: found.head + 1, ..found };
                if matches!(stream, StreamName::Channels(channels) if channels.len() > CHANNELS_MOST) {
                    known.long.push(named.clone());
                }
                known.streams.insert(named, numbered);
                numbered
            }
        };
        known.unindexed.push(Indexed { stream: id, offset: head, position });
        Ok(Entry { stream: StreamId::from_sql(id), offset: Offset::from_sql(head) })
    }

    /// Indexes what was appended up to `head`, if it is much.
    pub(super) fn index_much(&mut self, connection: &Connection, head: i64) -> Result<(), StoreError> {
        match &mut self.0 {
            Some(known) if known.unindexed.len() >= UNINDEXED_MOST || head - known.indexed >= EVENTS_MOST => {
                known.index(connection, head)
            }
            _ => Ok(()),
        }
    }

    /// Ends an append that is on disk.
    pub(super) fn commit(&mut self) {
        if let Some(known) = &mut self.0 {
            known.commit();
        }
    }

    /// Ends an append that was rolled back: its numbers were not given.
    pub(super) fn take_back(&mut self) {
        match &mut self.0 {
            // What was left was not indexed either.
            Some(known) if known.is_first => self.0 = None,
            Some(known) => known.take_back(),
            None => {}
        }
    }

    /// To be called when it is not known what was written.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// Indexes all there is, in a transaction of its own.
    pub(super) fn finish(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(known) = self.0.as_mut().filter(|known| !known.unindexed.is_empty()) else { return Ok(()) };
        let transaction = connection.unchecked_transaction()?;
        let head = transaction.query_row("SELECT position FROM head", [], |row| row.get(0))?;
        known.index(&transaction, head)?;
        crate::sqlite::commit(transaction)?;
        known.commit();
        Ok(())
    }
}

impl Known {
    fn index(&mut self, connection: &Connection, head: i64) -> Result<(), StoreError> {
        write(connection, self.unindexed.clone(), head)?;
        self.indexing = Some(head);
        Ok(())
    }

    fn commit(&mut self) {
        self.is_first = false;
        if let Some(indexed) = self.indexing.take() {
            self.indexed = indexed;
            self.unindexed.clear();
            for stream in self.long.drain(..) {
                self.streams.remove(&stream);
            }
            while self.streams.len() > KEPT_MOST {
                self.streams.remove_lru();
            }
        }
        self.committed = self.unindexed.len();
    }

    fn take_back(&mut self) {
        self.indexing = None;
        let mut given = HashMap::<i64, i64>::new();
        for entry in self.unindexed.drain(self.committed..) {
            *given.entry(entry.stream).or_default() += 1;
        }
        if given.is_empty() {
            return;
        }
        // A stream that had no number before has no row now.
        self.streams.retain(|_, numbered| {
            numbered.head -= given.get(&numbered.id).copied().unwrap_or(0);
            numbered.head > 0
        });
    }
}

fn find(connection: &Connection, tenant: &Tenant, stream: &StreamName) -> rusqlite::Result<Option<Numbered>> {
    let mut find =
        connection.prepare_cached("SELECT id, head FROM streams WHERE tenant = ?1 AND name = ?2")?;
    let numbered = |row: &Row<'_>| Ok(Numbered { id: row.get(0)?, head: row.get(1)? });
    find.query_row(params![tenant.as_str(), stream.key()], numbered).optional()
}

/// A stream that is addressed for the first time gets its id with the event.
fn insert(connection: &Connection, tenant: &Tenant, stream: &StreamName) -> rusqlite::Result<Numbered> {
    let mut insert =
        connection.prepare_cached("INSERT INTO streams (tenant, name, head) VALUES (?1, ?2, 0)")?;
    insert.execute(params![tenant.as_str(), stream.key()])?;
    Ok(Numbered { id: connection.last_insert_rowid(), head: 0 })
}

/// Indexes what the events say that came after the index was written last; up to where it goes then.
fn index_what_is_left(connection: &Connection) -> Result<i64, StoreError> {
    let sql = "SELECT indexed, position FROM head";
    let (indexed, head): (i64, i64) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if indexed == head {
        return Ok(head);
    }
    let mut statement = connection.prepare_cached(include_str!("unindexed.sql"))?;
    let mut rows = statement.query([indexed])?;
    let mut left = Vec::new();
    while let Some(row) = rows.next()? {
        let position = row.get(0)?;
        let corrupt = |reason| StoreError::Corrupt { position: Position::from_sql(position), reason };
        let entries = verified_row(row, position).and_then(|event| event.entries()).map_err(corrupt)?;
        left.extend(entries.into_iter().map(|entry| Indexed {
            stream: entry.stream.sql(),
            offset: entry.offset.sql(),
            position,
        }));
    }
    write(connection, left, head)?;
    Ok(head)
}

/// In the order of their keys, so that those of one page are written together.
fn write(connection: &Connection, mut rows: Vec<Indexed>, head: i64) -> rusqlite::Result<()> {
    rows.sort_unstable();
    let mut insert = connection.prepare_cached(include_str!("insert_entry.sql"))?;
    let mut advance = connection.prepare_cached("UPDATE streams SET head = ?2 WHERE id = ?1")?;
    for of_stream in rows.chunk_by(|one, next| one.stream == next.stream) {
        for Indexed { stream, offset, position } in of_stream {
            insert.execute([stream, offset, position])?;
        }
        if let Some(last) = of_stream.last() {
            advance.execute([last.stream, last.offset])?;
        }
    }
    connection.prepare_cached("UPDATE head SET indexed = ?1 WHERE id = 1")?.execute([head]).map(drop)
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::names::UserId;
    use crate::store::sqlite::SqliteStore;
    use crate::store::{AppendItem, AppendOutcome, EventStore, NewEvent};

    fn to(users: &[&str]) -> AppendItem {
        let event = NewEvent {
            type_name: "T".into(),
            version: 1,
            recorded_at: Timestamp::UNIX_EPOCH,
            envelope: "{}".into(),
            payload: None,
            streams: users.iter().map(|user| StreamName::User(UserId::stored(user))).collect(),
        };
        AppendItem { tenant: Tenant::default(), key: None, events: vec![event] }
    }

    fn offsets(outcome: &AppendOutcome) -> Vec<u64> {
        let AppendOutcome::Appended { entries, .. } = outcome else { panic!("{outcome:?}") };
        entries.iter().flatten().map(|entry| entry.offset.0).collect()
    }

    async fn indexed(store: &SqliteStore) -> (i64, i64) {
        let job = |connection: &Connection| {
            let sql = "SELECT indexed, (SELECT count(*) FROM entries) FROM head";
            connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        };
        store.readers.call(job).await.unwrap().unwrap()
    }

    async fn read(store: &SqliteStore, user: &str, after: u64) -> Vec<(u64, u64)> {
        let stream = StreamName::User(UserId::stored(user));
        let read = store.read_stream(&Tenant::default(), &stream, Offset(after), 9).await.unwrap();
        read.into_iter().map(|(offset, event)| (offset.0, event.position.0)).collect()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn numbers_go_on_when_the_index_was_not_written() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
        let outcomes = store.append(vec![to(&["ada"]), to(&["bob", "ada"]), to(&["ada"])]).await.unwrap();
        assert_eq!(outcomes.iter().map(offsets).collect::<Vec<_>>(), [vec![1], vec![1, 2], vec![3]]);
        assert_eq!(indexed(&store).await, (0, 0), "so few are left in the events");
        assert_eq!(read(&store, "ada", 1).await, [(2, 2), (3, 3)]);
        store.numbering.lock().unwrap().forget(); // as after a crash
        let outcomes = store.append(vec![to(&["ada", "bob"])]).await.unwrap();
        assert_eq!(offsets(&outcomes[0]), [4, 2]);
        assert_eq!(indexed(&store).await, (3, 4));
        assert_eq!(read(&store, "ada", 2).await, [(3, 3), (4, 4)], "of the index and of the events");
        drop(store);
        let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
        assert_eq!(indexed(&store).await, (4, 6), "a store that is closed leaves nothing");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_are_indexed_with_the_append_that_makes_them_so() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
        let users: Vec<String> = (0..UNINDEXED_MOST - 1).map(|number| format!("u{number}")).collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        store.append(vec![to(&users)]).await.unwrap();
        assert_eq!(indexed(&store).await, (0, 0));
        store.append(vec![to(&["u7"])]).await.unwrap();
        assert_eq!(indexed(&store).await, (2, UNINDEXED_MOST as i64));
        assert_eq!(offsets(&store.append(vec![to(&["u7"])]).await.unwrap()[0]), [3]);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn numbers_and_streams_of_an_append_that_was_taken_back_are_given_again() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
        store.append(vec![to(&["ada"])]).await.unwrap();
        let refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON events WHEN NEW.type = 'refused'
                      BEGIN SELECT RAISE(ABORT, 'refused'); END";
        store.write(move |connection| Ok(connection.execute_batch(refuse)?)).await.unwrap();
        let mut refused = to(&["eve"]);
        refused.events[0].type_name = "refused".into();
        store.append(vec![to(&["ada", "bob"]), refused]).await.unwrap_err();
        let outcomes = store.append(vec![to(&["eve", "ada"]), to(&["bob", "eve"])]).await.unwrap();
        assert_eq!(outcomes.iter().map(offsets).collect::<Vec<_>>(), [vec![1, 2], vec![1, 2]]);
        assert_eq!(read(&store, "ada", 0).await, [(1, 1), (2, 2)]);
        assert_eq!(read(&store, "eve", 0).await, [(1, 2), (2, 3)], "and nobody else's stream");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_disk_has_no_room_for_leaves_the_numbers_as_they_were() {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("log.db")).await.unwrap();
        store.append(vec![to(&["ada"]), to(&["ada"])]).await.unwrap();
        let room = |pages: i64| {
            let set = move |connection: &Connection| {
                let now: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
                Ok(connection.pragma_update(None, "max_page_count", now + pages)?)
            };
            store.write(set)
        };
        room(0).await.unwrap();
        let mut large = to(&["ada", "eve"]);
        large.events[0].payload = Some("x".repeat(100_000));
        let refused = store.append(vec![to(&["ada", "bob"]), large]).await.unwrap_err();
        assert!(matches!(refused, StoreError::Full), "{refused}");
        room(1_000).await.unwrap();
        let outcomes = store.append(vec![to(&["eve", "ada"]), to(&["bob"])]).await.unwrap();
        assert_eq!(outcomes.iter().map(offsets).collect::<Vec<_>>(), [vec![1, 3], vec![1]]);
        assert_eq!(indexed(&store).await, (0, 0), "and nothing had to be read again");
        assert_eq!(read(&store, "ada", 1).await, [(2, 2), (3, 3)]);
        assert_eq!(read(&store, "eve", 0).await, [(1, 3)], "and nobody else's stream");
    }
}
