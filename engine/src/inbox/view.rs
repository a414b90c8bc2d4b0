//! The inbox view's rows: how the fold is kept in an SQLite file of its own.
//!
//! Loads and stores, decides nothing. Everything a batch changed is written in one transaction with its checkpoint.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::fold::{Changes, Effect, FOLD, Fold, Newest, Written};
use super::ranks::rank;
use super::reading::{Offsets, Reading};
use super::stream::SharedStream;
use super::{concerns, timers};
use crate::event::{Event, Fact};
use crate::names::{Channel, CollapseKey, Tenant, UserId, UserKey};
use crate::notification::{Notification, NotificationId, encode};
use crate::position::{Cursor, Epoch, Offset, Position, StreamId};
use crate::sqlite::{Connection, commit};

/// Of the tables. A view of other tables, or of what another fold made of events, is rebuilt.
const TABLES: i64 = 5;
const VERSION: i64 = TABLES << 16 | FOLD as i64;

const SCHEMA: &str = include_str!("sql/schema.sql");

/// Makes an empty view, which has come as far as `start`.
pub(super) fn create(connection: &Connection, start: &Cursor) -> rusqlite::Result<()> {
    create_tables(connection, start)?;
    create_late_indexes(connection)
}

/// What is only needed to read a view: made at once at the end of a long rebuild, which costs less than row by row.
pub(super) fn create_late_indexes(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(include_str!("sql/late_indexes.sql"))
}

/// Makes the tables of an empty view, with what is needed to write it.
pub(super) fn create_tables(connection: &Connection, start: &Cursor) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    let place = params![VERSION, start.epoch.as_str(), start.position.sql()];
    transaction.execute("INSERT INTO checkpoint VALUES (1, ?1, ?2, ?3)", place)?;
    commit(transaction)
}

/// How far the view has come; `None` when it is not a view of this version.
pub(crate) fn checkpoint(connection: &Connection) -> Option<Cursor> {
    checkpoint_of(connection, VERSION)
}

/// How far a view of whatever kind has come; `None` when it is not one of this version.
pub(crate) fn checkpoint_of(connection: &Connection, version: i64) -> Option<Cursor> {
    let row = connection.query_row("SELECT version, epoch, position FROM checkpoint", [], |row| {
        let epoch: String = row.get(1)?;
        let position = Position::from_sql(row.get(2)?);
        Ok((row.get::<_, i64>(0)?, Cursor { epoch: Epoch::from_stored(&epoch), position }))
    });
    // Whatever else is in the file, it cannot be used: a rebuild is always possible.
    row.ok().filter(|(found, _)| *found == version).map(|(_, checkpoint)| checkpoint)
}

/// All streams of channels.
pub(super) fn load_shared_streams(
    connection: &Connection,
) -> rusqlite::Result<Vec<(StreamId, SharedStream)>> {
    let sql =
        "SELECT id, tenant, channels, head, first, last, retracted FROM streams WHERE channels IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let (tenant, channels): (String, String) = (row.get(1)?, row.get(2)?);
        let stream = SharedStream {
            tenant: Tenant::stored(&tenant),
            channels: json::<Vec<String>>(2, &channels)?.iter().map(|name| Channel::stored(name)).collect(),
            head: Offset::from_sql(row.get(3)?),
            first: Position::from_sql(row.get(4)?),
            last: Position::from_sql(row.get(5)?),
            retracted: offsets(row, 6)?.into(),
        };
        Ok((StreamId::from_sql(row.get(0)?), stream))
    })?;
    rows.collect()
}

pub(super) fn json<T: serde::de::DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(column, error))
}

pub(crate) fn damaged(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, Box::new(error))
}

/// A set of offsets; NULL is the empty one.
pub(super) fn offsets(row: &Row<'_>, column: usize) -> rusqlite::Result<Offsets> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else {
        return Ok(Offsets::default());
    };
    Offsets::deserialize_from(bytes).map_err(|error| damaged(column, error))
}

pub(super) fn notification_id(row: &Row<'_>, column: usize) -> rusqlite::Result<NotificationId> {
    row.get(column).map(NotificationId::from_bytes)
}

impl Written for Connection {
    fn rank(&self, stream: StreamId, position: Position) -> rusqlite::Result<Offset> {
        rank(self, stream, position)
    }

    fn newest(&self, stream: StreamId, key: &CollapseKey) -> rusqlite::Result<Option<Newest>> {
        let sql = r#"SELECT id, "offset", alone FROM newest WHERE stream = ?1 AND key = ?2"#;
        let newest = self.prepare_cached(sql)?.query_row(params![stream.sql(), key.as_str()], |row| {
            let offset = Offset::from_sql(row.get(1)?);
            Ok(Newest { id: notification_id(row, 0)?, offset, is_alone: row.get(2)? })
        });
        newest.optional()
    }
}

/// Writes what a batch changed, up to and including the fold's position, which is `reached`.
pub(super) fn write(
    connection: &Connection,
    fold: &Fold,
    reached: &Cursor,
    changes: &Changes,
    effects: &[Effect],
) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    write_notifications(&transaction, &changes.published)?;
    for event in &changes.changed {
        write_change(&transaction, event)?;
    }
    concerns::write(&transaction, effects)?;
    for stream in &changes.shared {
        write_shared_stream(&transaction, fold, *stream)?;
    }
    for stream in &changes.retracted {
        write_retracted(&transaction, fold, *stream)?;
    }
    for ((stream, key), newest) in &changes.newest {
        let mut upsert = transaction.prepare_cached(include_str!("sql/upsert_newest.sql"))?;
        let Newest { id, offset, is_alone } = newest;
        upsert.execute(params![stream.sql(), key.as_str(), id.as_bytes(), offset.sql(), is_alone])?;
    }
    timers::write(&transaction, &changes.timers)?;
    for (key, position) in &changes.heard {
        let mut statement = transaction.prepare_cached(include_str!("sql/hear_person.sql"))?;
        statement.execute(params![key.tenant.as_str(), key.user.as_str(), position.sql()])?;
    }
    for key in &changes.people {
        write_person(&transaction, fold, key)?;
    }
    for (key, channel) in &changes.memberships {
        write_membership(&transaction, fold, key, channel)?;
    }
    for (key, stream) in &changes.begun_anew {
        delete_reading(&transaction, key, *stream)?;
    }
    for (key, stream) in &changes.readings {
        write_reading(&transaction, fold, key, *stream)?;
    }
    set_checkpoint(&transaction, reached)?;
    commit(transaction)
}

/// Notes how far the view has come.
pub(super) fn set_checkpoint(connection: &Connection, reached: &Cursor) -> rusqlite::Result<()> {
    let mut checkpoint =
        connection.prepare_cached("UPDATE checkpoint SET epoch = ?1, position = ?2 WHERE id = 1")?;
    checkpoint.execute(params![reached.epoch.as_str(), reached.position.sql()]).map(drop)
}

/// A statement each for all of them, the entries in the order of their key.
fn write_notifications(connection: &Connection, published: &[Arc<Event>]) -> rusqlite::Result<()> {
    let mut entries = Vec::with_capacity(published.len());
    let mut insert = connection.prepare_cached(include_str!("sql/insert_notification.sql"))?;
    let mut begin_stream = connection.prepare_cached(include_str!("sql/insert_own_stream.sql"))?;
    for event in published {
        let (Some(published), Some(addressed)) = (event.published(), event.addressed()) else { continue };
        let (notification, position) = (&published.notification, event.position.sql());
        let shared = addressed.shared_entry().map(|(_, entry)| entry.stream.sql());
        let tags = tags_of(notification);
        let (tenant, id) = (event.tenant.as_str(), notification.id.as_bytes());
        insert.execute(params![position, tenant, id, tags, shared, document_of(event)])?;
        let kind = notification.kind.as_str();
        entries.extend(event.entries.iter().map(|entry| (entry.stream, entry.offset, position, kind)));
        for (user, entry) in addressed.own_entries().filter(|(_, entry)| entry.offset == Offset(1)) {
            begin_stream.execute(params![entry.stream.sql(), tenant, user.as_str(), position])?;
        }
    }
    entries.sort_unstable();
    let mut insert = connection.prepare_cached(include_str!("sql/insert_entry.sql"))?;
    for (stream, offset, position, kind) in entries {
        insert.execute(params![stream.sql(), offset.sql(), position, kind])?;
    }
    Ok(())
}

/// What clients get of the notification that an event carries.
pub(super) fn document_of(event: &Event) -> &str {
    std::str::from_utf8(event.document()).unwrap_or_default()
}

pub(super) fn tags_of(notification: &Notification) -> Option<String> {
    (!notification.tags.is_empty()).then(|| text(encode(&notification.tags)))
}

/// Writes what an update or a retraction made of a notification.
fn write_change(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    match &event.fact {
        Fact::Updated(updated) => {
            let (document, tags) = (document_of(event), tags_of(&updated.published.notification));
            let (position, by) = (updated.position.sql(), event.position.sql());
            let sql = "UPDATE notifications SET document = ?2, tags = ?3, updated = ?4 WHERE position = ?1";
            connection.prepare_cached(sql)?.execute(params![position, document, tags, by])?;
        }
        Fact::Retracted(retracted) => {
            let sql = "UPDATE notifications SET retracted = ?2 WHERE position = ?1";
            let (position, by) = (retracted.position.sql(), event.position.sql());
            connection.prepare_cached(sql)?.execute([position, by])?;
        }
        _ => {}
    }
    Ok(())
}

fn write_retracted(connection: &Connection, fold: &Fold, id: StreamId) -> rusqlite::Result<()> {
    let Some(stream) = fold.shared().get(id) else { return Ok(()) };
    let sql = "UPDATE streams SET retracted = ?2 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![id.sql(), blob(&stream.retracted)])?;
    Ok(())
}

fn write_shared_stream(connection: &Connection, fold: &Fold, id: StreamId) -> rusqlite::Result<()> {
    let Some(stream) = fold.shared().get(id) else {
        return Ok(());
    };
    let channels: Vec<&str> = stream.channels.iter().map(Channel::as_str).collect();
    let mut upsert = connection.prepare_cached(include_str!("sql/upsert_shared_stream.sql"))?;
    upsert.execute(params![
        id.sql(),
        stream.tenant.as_str(),
        text(encode(&channels)),
        stream.head.sql(),
        stream.first.sql(),
        stream.last.sql(),
    ])?;
    Ok(())
}

fn write_person(connection: &Connection, fold: &Fold, key: &UserKey) -> rusqlite::Result<()> {
    let Some(person) = fold.person(key) else {
        return Ok(());
    };
    let known_since = person.known_since.map(Position::sql);
    let mut upsert = connection.prepare_cached(include_str!("sql/upsert_person.sql"))?;
    upsert.execute(params![key.tenant.as_str(), key.user.as_str(), known_since, person.claims_issued_at])?;
    Ok(())
}

fn write_membership(
    connection: &Connection,
    fold: &Fold,
    key: &UserKey,
    channel: &Channel,
) -> rusqlite::Result<()> {
    let (tenant, channel_name, user) = (key.tenant.as_str(), channel.as_str(), key.user.as_str());
    let membership = fold.person(key).and_then(|person| person.memberships.get(channel));
    if let Some(membership) = membership {
        let mut upsert = connection.prepare_cached(include_str!("sql/upsert_membership.sql"))?;
        upsert.execute(params![tenant, channel_name, user, membership.since.sql(), membership.makers.0])?;
    } else {
        let sql = "DELETE FROM memberships WHERE tenant = ?1 AND channel = ?2 AND user = ?3";
        connection.prepare_cached(sql)?.execute(params![tenant, channel_name, user])?;
    }
    Ok(())
}

fn write_reading(
    connection: &Connection,
    fold: &Fold,
    key: &UserKey,
    stream: StreamId,
) -> rusqlite::Result<()> {
    let Some(reading) = fold.person(key).and_then(|person| person.readings.get(&stream)) else {
        return delete_reading(connection, key, stream);
    };
    upsert_reading(connection, key.tenant.as_str(), key.user.as_str(), stream, reading)
}

pub(super) fn upsert_reading(
    connection: &Connection,
    tenant: &str,
    user: &str,
    stream: StreamId,
    reading: &Reading,
) -> rusqlite::Result<()> {
    let snoozed = reading.snoozed.iter().map(|(offset, snooze)| (offset.0, snooze.until, snooze.at.0));
    connection.prepare_cached(include_str!("sql/upsert_reading.sql"))?.execute(params![
        tenant,
        user,
        stream.sql(),
        reading.join.sql(),
        reading.cursor.sql(),
        reading.seen.sql(),
        blob(&reading.read),
        list(reading.unread.iter().map(|(offset, position)| (offset.0, position.0))),
        blob(&reading.hidden),
        blob(&reading.archived),
        blob(&reading.pinned),
        list(snoozed),
        list(reading.woken.iter().map(|(offset, position)| (offset.0, position.0))),
    ])?;
    Ok(())
}

/// As a JSON array; NULL when there is none.
fn list<T: serde::Serialize>(items: impl Iterator<Item = T>) -> Option<String> {
    let items: Vec<T> = items.collect();
    (!items.is_empty()).then(|| text(encode(&items)))
}

fn delete_reading(connection: &Connection, key: &UserKey, stream: StreamId) -> rusqlite::Result<()> {
    let sql = "DELETE FROM readings WHERE tenant = ?1 AND user = ?2 AND stream = ?3";
    let reading = params![key.tenant.as_str(), key.user.as_str(), stream.sql()];
    connection.prepare_cached(sql)?.execute(reading).map(drop)
}

pub(super) fn blob(offsets: &Offsets) -> Option<Vec<u8>> {
    if offsets.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(offsets.serialized_size());
    offsets
        .serialize_into(&mut bytes)
        .unwrap_or_else(|error| unreachable!("a vector takes every byte: {error}"));
    Some(bytes)
}

pub(super) fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap_or_else(|_| unreachable!("JSON is UTF-8"))
}

/// Where a notification's action leads, as it is now, unless it was taken back.
pub(crate) fn action_url(
    connection: &Connection,
    tenant: &Tenant,
    id: &NotificationId,
) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT document ->> '$.action.url' FROM notifications
        WHERE id = ?1 AND tenant = ?2 AND retracted IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let url = statement.query_row(params![id.as_bytes(), tenant.as_str()], |row| row.get(0));
    Ok(url.optional()?.flatten())
}

/// Where a notification was published, unless it was taken back.
pub(crate) fn published_at(
    connection: &Connection,
    tenant: &Tenant,
    id: &NotificationId,
) -> rusqlite::Result<Option<Position>> {
    let sql = "SELECT position FROM notifications WHERE id = ?1 AND tenant = ?2 AND retracted IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let position = statement.query_row(params![id.as_bytes(), tenant.as_str()], |row| row.get(0));
    Ok(position.optional()?.map(Position::from_sql))
}

/// Members of a channel, by name, after a name.
pub(crate) fn members(
    connection: &Connection,
    tenant: &Tenant,
    channel: &Channel,
    after: &str,
    limit: usize,
) -> rusqlite::Result<Vec<UserId>> {
    let name = |row: &Row<'_>| row.get::<_, String>(0).map(|user| UserId::stored(&user));
    let limit = limit as i64;
    if channel.is_everyone() {
        let mut statement = connection.prepare_cached(include_str!("sql/everyone.sql"))?;
        let users = statement.query_map(params![tenant.as_str(), after, limit], name)?;
        return users.collect();
    }
    let mut statement = connection.prepare_cached(include_str!("sql/members.sql"))?;
    let users = statement.query_map(params![tenant.as_str(), channel.as_str(), after, limit], name)?;
    users.collect()
}
