//! The inbox view's rows: how the fold is kept in an SQLite file of its own.
//!
//! Loads and stores, decides nothing. Everything a batch changed is written in one transaction with its checkpoint.

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::concerns;
use super::fold::{Changes, Effect, Fold};
use super::reading::Offsets;
use super::stream::SharedStream;
use crate::event::Event;
use crate::names::{Channel, Tenant, UserId, UserKey};
use crate::notification::encode;
use crate::position::{Epoch, Offset, Position, StreamId};
use crate::sqlite::Connection;

/// Of the schema and of the fold. A view of another version is rebuilt.
const VERSION: i64 = 2;

const SCHEMA: &str = include_str!("sql/schema.sql");

/// How far a view has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) epoch: Epoch,
    pub(super) position: Position,
}

/// Makes the tables of an empty view.
pub(super) fn create(connection: &Connection, epoch: &Epoch) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(SCHEMA)?;
    transaction.execute("INSERT INTO checkpoint VALUES (1, ?1, ?2, 0)", params![VERSION, epoch.as_str()])?;
    transaction.commit()
}

/// How far the view has come; `None` when it is not a view of this version.
pub(super) fn checkpoint(connection: &Connection) -> Option<Checkpoint> {
    let row = connection.query_row("SELECT version, epoch, position FROM checkpoint", [], |row| {
        let epoch: String = row.get(1)?;
        let position = Position::from_sql(row.get(2)?);
        Ok((row.get::<_, i64>(0)?, Checkpoint { epoch: Epoch::from_stored(&epoch), position }))
    });
    // Whatever else is in the file, it cannot be used: a rebuild is always possible.
    row.ok().filter(|(version, _)| *version == VERSION).map(|(_, checkpoint)| checkpoint)
}

/// All streams of channels.
pub(super) fn load_shared_streams(
    connection: &Connection,
) -> rusqlite::Result<Vec<(StreamId, SharedStream)>> {
    let sql = "SELECT id, tenant, channels, head, first, last FROM streams WHERE channels IS NOT NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| {
        let (tenant, channels): (String, String) = (row.get(1)?, row.get(2)?);
        let stream = SharedStream {
            tenant: Tenant::stored(&tenant),
            channels: json::<Vec<String>>(2, &channels)?.iter().map(|name| Channel::stored(name)).collect(),
            head: Offset::from_sql(row.get(3)?),
            first: Position::from_sql(row.get(4)?),
            last: Position::from_sql(row.get(5)?),
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

/// How many of a stream's notifications there were up to and including a position.
pub(super) fn rank(
    connection: &Connection,
    stream: StreamId,
    position: Position,
) -> rusqlite::Result<Offset> {
    let mut statement = connection.prepare_cached(include_str!("sql/rank.sql"))?;
    let offset = statement.query_row([stream.sql(), position.sql()], |row| row.get(0)).optional()?;
    Ok(Offset::from_sql(offset.unwrap_or(0)))
}

/// Writes what a batch changed, up to and including the fold's position.
pub(super) fn write(
    connection: &Connection,
    fold: &Fold,
    changes: &Changes,
    effects: &[Effect],
) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for event in &changes.published {
        write_notification(&transaction, event)?;
    }
    concerns::write(&transaction, effects)?;
    for stream in &changes.shared {
        write_shared_stream(&transaction, fold, *stream)?;
    }
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
    for (key, stream) in &changes.readings {
        write_reading(&transaction, fold, key, *stream)?;
    }
    transaction.prepare_cached("UPDATE checkpoint SET position = ?1")?.execute([fold.position().sql()])?;
    transaction.commit()
}

fn write_notification(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    let Some(published) = event.published().filter(|published| published.notification.inbox) else {
        return Ok(());
    };
    let (notification, position) = (&published.notification, event.position.sql());
    let shared = event.shared_entry().map(|(_, entry)| entry.stream.sql());
    let tags = (!notification.tags.is_empty()).then(|| text(encode(&notification.tags)));
    let document = std::str::from_utf8(event.document()).unwrap_or_default();
    connection.prepare_cached(include_str!("sql/insert_notification.sql"))?.execute(params![
        position,
        event.tenant.as_str(),
        notification.id.as_bytes(),
        tags,
        shared,
        document
    ])?;
    let mut insert = connection.prepare_cached(include_str!("sql/insert_entry.sql"))?;
    for entry in &event.entries {
        insert.execute(params![
            entry.stream.sql(),
            entry.offset.sql(),
            position,
            notification.kind.as_str()
        ])?;
    }
    let mut upsert = connection.prepare_cached(include_str!("sql/upsert_own_stream.sql"))?;
    for (user, entry) in event.own_entries() {
        let (tenant, head) = (event.tenant.as_str(), entry.offset.sql());
        upsert.execute(params![entry.stream.sql(), tenant, user.as_str(), head, position])?;
    }
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
    let (tenant, user) = (key.tenant.as_str(), key.user.as_str());
    let Some(reading) = fold.person(key).and_then(|person| person.readings.get(&stream)) else {
        let sql = "DELETE FROM readings WHERE tenant = ?1 AND user = ?2 AND stream = ?3";
        connection.prepare_cached(sql)?.execute(params![tenant, user, stream.sql()])?;
        return Ok(());
    };
    let unread: Vec<(u64, u64)> =
        reading.unread.iter().map(|(offset, position)| (offset.0, position.0)).collect();
    connection.prepare_cached(include_str!("sql/upsert_reading.sql"))?.execute(params![
        tenant,
        user,
        stream.sql(),
        reading.join.sql(),
        reading.cursor.sql(),
        reading.seen.sql(),
        blob(&reading.read),
        (!unread.is_empty()).then(|| text(encode(&unread))),
        blob(&reading.hidden),
        blob(&reading.archived),
        blob(&reading.pinned),
    ])?;
    Ok(())
}

fn blob(offsets: &Offsets) -> Option<Vec<u8>> {
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
