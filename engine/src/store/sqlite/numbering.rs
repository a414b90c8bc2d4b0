//! Numbers in streams: given from memory, and written into the index of the streams (`streams`, `entries`) some thousand at a
//! time, since nearly each entry lies in a page of its own. What the index does not have yet is in the events, which are
//! durable first; it is indexed before the next append after a start.
//!
//! Owned by the thread that writes. Decides nothing about which streams there are.

use hashlink::LruCache;
use rusqlite::{OptionalExtension, Row, params};

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

/// What is known of the streams. Nothing, before the first append and after one that was taken back.
#[derive(Default)]
pub(super) struct Numbering(Option<Known>);

struct Known {
    /// All streams that have entries which are not indexed, and others that were used lately.
    streams: LruCache<(Tenant, StreamName), Numbered>,
    /// Streams with long names, to be forgotten once they are indexed.
    long: Vec<(Tenant, StreamName)>,
    unindexed: Vec<Indexed>,
}

impl Numbering {
    /// To be called when an append was taken back: its numbers were never given.
    pub(super) fn forget(&mut self) {
        self.0 = None;
    }

    /// The next number in a stream, for the event at a position.
    pub(super) fn next(
        &mut self,
        connection: &Connection,
        tenant: &Tenant,
        stream: &StreamName,
        position: i64,
    ) -> Result<Entry, StoreError> {
        let known = self.known(connection)?;
        let named = (tenant.clone(), stream.clone());
        let Numbered { id, head } = match known.streams.get_mut(&named) {
            Some(numbered) => {
                numbered.head += 1;
                *numbered
            }
            None => {
                let found = find(connection, tenant, stream)?
                    .map_or_else(|| begin(connection, tenant, stream), Ok)?;
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
            Some(known) if known.unindexed.len() >= UNINDEXED_MOST => known.index(connection, head),
            _ => Ok(()),
        }
    }

    /// Indexes all there is, in a transaction of its own.
    pub(super) fn finish(&mut self, connection: &Connection) -> Result<(), StoreError> {
        let Some(known) = self.0.as_mut().filter(|known| !known.unindexed.is_empty()) else { return Ok(()) };
        let transaction = connection.unchecked_transaction()?;
        let head = transaction.query_row("SELECT position FROM head", [], |row| row.get(0))?;
        known.index(&transaction, head)?;
        Ok(crate::sqlite::commit(transaction)?)
    }

    fn known(&mut self, connection: &Connection) -> Result<&mut Known, StoreError> {
        if self.0.is_none() {
            index_what_is_left(connection)?;
        }
        Ok(self.0.get_or_insert_with(|| Known {
            streams: LruCache::new_unbounded(),
            long: Vec::new(),
            unindexed: Vec::new(),
        }))
    }
}

impl Known {
    fn index(&mut self, connection: &Connection, head: i64) -> Result<(), StoreError> {
        write(connection, &mut self.unindexed, head)?;
        self.unindexed.clear();
        for stream in self.long.drain(..) {
            self.streams.remove(&stream);
        }
        while self.streams.len() > KEPT_MOST {
            self.streams.remove_lru();
        }
        Ok(())
    }
}

fn find(connection: &Connection, tenant: &Tenant, stream: &StreamName) -> rusqlite::Result<Option<Numbered>> {
    let mut find =
        connection.prepare_cached("SELECT id, head FROM streams WHERE tenant = ?1 AND name = ?2")?;
    let numbered = |row: &Row<'_>| Ok(Numbered { id: row.get(0)?, head: row.get(1)? });
    find.query_row(params![tenant.as_str(), stream.key()], numbered).optional()
}

/// A stream that is addressed for the first time gets its id with the event.
fn begin(connection: &Connection, tenant: &Tenant, stream: &StreamName) -> rusqlite::Result<Numbered> {
    let mut insert =
        connection.prepare_cached("INSERT INTO streams (tenant, name, head) VALUES (?1, ?2, 0)")?;
    insert.execute(params![tenant.as_str(), stream.key()])?;
    Ok(Numbered { id: connection.last_insert_rowid(), head: 0 })
}

/// Indexes what the events say that came after the index was written last.
fn index_what_is_left(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(include_str!("unindexed.sql"))?;
    let mut rows = statement.query([])?;
    let mut left = Vec::new();
    while let Some(row) = rows.next()? {
        let (position, entries): (i64, String) = (row.get(0)?, row.get(1)?);
        let corrupt = |error: serde_json::Error| StoreError::Corrupt {
            position: Position::from_sql(position),
            reason: format!("its entries cannot be read: {error}"),
        };
        let entries: Vec<(i64, i64)> = serde_json::from_str(&entries).map_err(corrupt)?;
        left.extend(entries.into_iter().map(|(stream, offset)| Indexed { stream, offset, position }));
    }
    if left.is_empty() {
        return Ok(());
    }
    let head = connection.query_row("SELECT position FROM head", [], |row| row.get(0))?;
    Ok(write(connection, &mut left, head)?)
}

/// In the order of their keys, so that those of one page are written together.
fn write(connection: &Connection, rows: &mut [Indexed], head: i64) -> rusqlite::Result<()> {
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
}
