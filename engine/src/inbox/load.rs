//! People from the view's rows, and from what is not written yet, into memory, many at once: four statements, however many they are, and a search for each stream
//! that somebody joined when it had begun.
//!
//! Loads, decides nothing. What follows from a membership alone is derived, not read.

use rusqlite::Row;

use super::fold::{Changes, streams_of};
use super::person::{Makers, Membership, OwnStream, Person};
use super::ranks::rank;
use super::reading::{Reading, Snooze};
use super::stream::SharedStreams;
use super::view::{json, offsets};
use crate::names::{Channel, Tenant, UserId, UserKey};
use crate::position::{Offset, Position, StreamId};
use crate::sqlite::Connection;

/// People as the view has them, in the order of their keys.
pub(super) fn people(
    connection: &Connection,
    keys: &[UserKey],
    shared: &SharedStreams,
    unwritten: &Changes,
) -> rusqlite::Result<Vec<Person>> {
    let wanted: Vec<(&str, &str)> = keys.iter().map(|key| (key.tenant.as_str(), key.user.as_str())).collect();
    let wanted = serde_json::json!(wanted).to_string();
    let mut people = vec![Person::default(); keys.len()];
    let mut each = |sql: &str, take: fn(&mut Person, &Row<'_>) -> rusqlite::Result<()>| {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([&wanted])?;
        while let Some(row) = rows.next()? {
            if let Some(person) = people.get_mut(index(row)?) {
                take(person, row)?;
            }
        }
        Ok::<_, rusqlite::Error>(())
    };
    each(include_str!("sql/load_people.sql"), person)?;
    each(include_str!("sql/load_memberships.sql"), membership)?;
    each(include_str!("sql/load_own_streams.sql"), own_stream)?;
    each(include_str!("sql/load_readings.sql"), add_reading)?;
    keys.iter().zip(&mut people).for_each(|(key, person)| unwritten.complete(key, person));
    derive_readings(connection, keys, shared, unwritten, &mut people)?;
    Ok(people)
}

/// The people there are, if they are not more than `most`.
pub(super) fn everybody(connection: &Connection, most: usize) -> rusqlite::Result<Vec<UserKey>> {
    let mut statement = connection.prepare_cached("SELECT tenant, user FROM people LIMIT ?1")?;
    let limit = i64::try_from(most).unwrap_or(i64::MAX).saturating_add(1);
    let rows = statement.query_map([limit], |row| {
        let (tenant, user): (String, String) = (row.get(0)?, row.get(1)?);
        Ok(UserKey { tenant: Tenant::stored(&tenant), user: UserId::stored(&user) })
    })?;
    let keys: Vec<UserKey> = rows.collect::<Result<_, _>>()?;
    Ok(if keys.len() > most { Vec::new() } else { keys })
}

/// Which of those that were asked for a row is of: the index in the JSON array.
fn index(row: &Row<'_>) -> rusqlite::Result<usize> {
    row.get::<_, i64>(0).map(|index| usize::try_from(index).unwrap_or(usize::MAX))
}

fn person(person: &mut Person, row: &Row<'_>) -> rusqlite::Result<()> {
    if let Some(since) = row.get::<_, Option<i64>>(1)? {
        person.hear_of(Position::from_sql(since));
    }
    person.claims_issued_at = row.get(2)?;
    Ok(())
}

fn membership(person: &mut Person, row: &Row<'_>) -> rusqlite::Result<()> {
    let channel: String = row.get(1)?;
    let membership = Membership { since: Position::from_sql(row.get(2)?), makers: Makers(row.get(3)?) };
    person.memberships.insert(Channel::stored(&channel), membership);
    Ok(())
}

fn own_stream(person: &mut Person, row: &Row<'_>) -> rusqlite::Result<()> {
    let (id, head) = (StreamId::from_sql(row.get(1)?), Offset::from_sql(row.get(2)?));
    person.own = Some(OwnStream { id, head, last: Position::from_sql(row.get(3)?) });
    Ok(())
}

fn add_reading(person: &mut Person, row: &Row<'_>) -> rusqlite::Result<()> {
    let (stream, reading) = reading(row)?;
    person.readings.insert(stream, reading);
    Ok(())
}

/// The reading of a row whose columns from the second on are its own.
pub(super) fn reading(row: &Row<'_>) -> rusqlite::Result<(StreamId, Reading)> {
    let at = |(offset, position): (u64, u64)| (Offset(offset), Position(position));
    let snoozed = list::<(u64, i64, u64)>(row, 10)?
        .into_iter()
        .map(|(offset, until, position)| (Offset(offset), Snooze { until, at: Position(position) }));
    let reading = Reading {
        join: Offset::from_sql(row.get(2)?),
        cursor: Offset::from_sql(row.get(3)?),
        seen: Offset::from_sql(row.get(4)?),
        read: offsets(row, 5)?,
        unread: list(row, 6)?.into_iter().map(at).collect(),
        hidden: offsets(row, 7)?,
        archived: offsets(row, 8)?,
        pinned: offsets(row, 9)?,
        snoozed: snoozed.collect(),
        woken: list(row, 11)?.into_iter().map(at).collect(),
    };
    Ok((StreamId::from_sql(row.get(1)?), reading))
}

/// A JSON array; NULL is an empty one.
fn list<T: serde::de::DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<Vec<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    Ok(text.map(|text| json(column, text)).transpose()?.unwrap_or_default())
}

/// Who was no member yet when a stream began has joined it at its rank there.
fn derive_readings(
    connection: &Connection,
    keys: &[UserKey],
    shared: &SharedStreams,
    unwritten: &Changes,
    people: &mut [Person],
) -> rusqlite::Result<()> {
    for (key, person) in keys.iter().zip(people.iter_mut()) {
        let mut joined = Vec::new();
        for (id, stream) in streams_of(shared, &key.tenant, person) {
            let missing = !person.readings.contains_key(&id);
            let since = person.in_since(stream).filter(|since| missing && stream.first <= *since);
            match since {
                Some(since) if stream.last <= since => joined.push((id, Reading::joined_at(stream.head))),
                Some(since) => {
                    let rank = unwritten.rank(id, since).map_or_else(|| rank(connection, id, since), Ok)?;
                    joined.push((id, Reading::joined_at(rank)));
                }
                None => {}
            }
        }
        person.readings.extend(joined);
    }
    Ok(())
}
