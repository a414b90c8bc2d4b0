//! From the view's rows to the records of a snapshot, as they are at one moment, in the order of their keys.

use rusqlite::{Row, Transaction, TransactionBehavior};

use super::part::{Packer, PartError};
use super::record::{
    Action, Concern, Entries, Membership, Newest, Notification, Person, Reading, Record, Runs, Stream,
    Superseded, Timer,
};
use crate::inbox::person::Makers;
use crate::inbox::view::{json, notification_id, offsets};
use crate::inbox::{load, timers, view};
use crate::position::{Cursor, Offset, Position, StreamId};
use crate::sqlite::Connection;

/// Entries in a record.
const ENTRIES_AT_ONCE: usize = 1_000;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExportError {
    #[error("the inbox view cannot be read: {0}")]
    Database(#[from] rusqlite::Error),
    #[error("there is no inbox view of this version")]
    NoView,
    #[error(transparent)]
    Part(#[from] PartError),
    /// Whoever takes the parts wants no more of them.
    #[error("it was given up")]
    GivenUp,
}

/// Of which moment a snapshot is, and how many parts it has.
pub(crate) struct Exported {
    pub(crate) at: Cursor,
    pub(crate) parts: u32,
}

/// Hands the parts of a snapshot to `take`, in order, with the position it is of, until `take` refuses one.
pub(crate) fn export(
    connection: &Connection,
    take: impl FnMut(Position, u32, Vec<u8>) -> bool,
) -> Result<Exported, ExportError> {
    // One read transaction: everything is of one moment, while others go on writing.
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Deferred)?;
    let at = view::checkpoint(&transaction).ok_or(ExportError::NoView)?;
    let (packer, position) = (Packer::default(), at.position);
    let mut export = Export { connection: &transaction, packer, position, parts: 0, take };
    export.everything()?;
    Ok(Exported { at, parts: export.finish()? })
}

struct Export<'c, F> {
    connection: &'c Connection,
    packer: Packer,
    position: Position,
    parts: u32,
    take: F,
}

type Done = Result<(), ExportError>;

impl<F: FnMut(Position, u32, Vec<u8>) -> bool> Export<'_, F> {
    fn everything(&mut self) -> Done {
        let kinds = [
            Self::streams,
            Self::entries,
            Self::notifications,
            Self::people,
            Self::memberships,
            Self::readings,
            Self::concerns,
            Self::superseded,
            Self::newest,
            Self::woken,
            Self::timers,
        ];
        kinds.iter().try_for_each(|kind| kind(self))
    }

    fn add(&mut self, record: &Record) -> Done {
        let part = self.packer.add(record)?;
        part.map_or(Ok(()), |part| self.hand_out(part))
    }

    fn hand_out(&mut self, part: Vec<u8>) -> Done {
        let number = self.parts;
        self.parts += 1;
        if (self.take)(self.position, number, part) { Ok(()) } else { Err(ExportError::GivenUp) }
    }

    /// How many parts there are.
    fn finish(mut self) -> Result<u32, ExportError> {
        if let Some(part) = self.packer.finish() {
            self.hand_out(part)?;
        }
        Ok(self.parts)
    }

    /// A record for each row.
    fn each(&mut self, sql: &str, record: fn(&Row<'_>) -> rusqlite::Result<Record>) -> Done {
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            self.add(&record(row)?)?;
        }
        Ok(())
    }

    fn streams(&mut self) -> Done {
        self.each(include_str!("../sql/all_streams.sql"), |row| {
            Ok(Record::Stream(Stream {
                id: StreamId::from_sql(row.get(0)?),
                tenant: row.get(1)?,
                user: row.get(2)?,
                channels: names(row, 3)?,
                head: Offset::from_sql(row.get(4)?),
                first: Position::from_sql(row.get(5)?),
                last: Position::from_sql(row.get(6)?),
                retracted: Runs(offsets(row, 7)?),
            }))
        })
    }

    /// Those of a stream that follow each other are one record.
    fn entries(&mut self) -> Done {
        let sql = r#"SELECT stream, "offset", position, type FROM entries ORDER BY stream, "offset""#;
        let mut statement = self.connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        let mut run: Option<Entries> = None;
        while let Some(row) = rows.next()? {
            let (stream, offset) = (StreamId::from_sql(row.get(0)?), Offset::from_sql(row.get(1)?));
            let entry = (Position::from_sql(row.get(2)?), row.get(3)?);
            match &mut run {
                Some(run) if run.stream == stream && run.follows(offset) => run.entries.push(entry),
                _ => {
                    let next = Entries { stream, first: offset, entries: vec![entry] };
                    if let Some(run) = run.replace(next) {
                        self.add(&Record::Entries(run))?;
                    }
                }
            }
        }
        run.map_or(Ok(()), |run| self.add(&Record::Entries(run)))
    }

    fn notifications(&mut self) -> Done {
        let sql =
            "SELECT position, tenant, id, shared, updated, retracted FROM notifications ORDER BY position";
        self.each(sql, |row| {
            Ok(Record::Notification(Notification {
                position: Position::from_sql(row.get(0)?),
                tenant: row.get(1)?,
                id: notification_id(row, 2)?,
                shared: row.get::<_, Option<i64>>(3)?.map(StreamId::from_sql),
                updated: position(row, 4)?,
                retracted: position(row, 5)?,
            }))
        })
    }

    fn people(&mut self) -> Done {
        let sql = "SELECT tenant, user, known_since, claims_issued_at FROM people ORDER BY tenant, user";
        self.each(sql, |row| {
            let known_since = position(row, 2)?;
            let (tenant, user, claims_issued_at) = (row.get(0)?, row.get(1)?, row.get(3)?);
            Ok(Record::Person(Person { tenant, user, known_since, claims_issued_at }))
        })
    }

    fn memberships(&mut self) -> Done {
        let sql =
            "SELECT tenant, channel, user, since, makers FROM memberships ORDER BY tenant, channel, user";
        self.each(sql, |row| {
            Ok(Record::Membership(Membership {
                tenant: row.get(0)?,
                channel: row.get(1)?,
                user: row.get(2)?,
                since: Position::from_sql(row.get(3)?),
                makers: Makers(row.get(4)?).iter().collect(),
            }))
        })
    }

    fn readings(&mut self) -> Done {
        self.each(include_str!("../sql/all_readings.sql"), |row| {
            let (stream, reading) = load::reading(row)?;
            let snoozed = reading.snoozed.iter().map(|(offset, snooze)| (*offset, snooze.until, snooze.at));
            Ok(Record::Reading(Reading {
                tenant: row.get(12)?,
                user: row.get(0)?,
                stream,
                join: reading.join,
                cursor: reading.cursor,
                seen: reading.seen,
                snoozed: snoozed.collect(),
                read: Runs(reading.read),
                unread: reading.unread.into_iter().collect(),
                hidden: Runs(reading.hidden),
                archived: Runs(reading.archived),
                pinned: Runs(reading.pinned),
                woken: reading.woken.into_iter().collect(),
            }))
        })
    }

    fn concerns(&mut self) -> Done {
        let sql = r#"SELECT tenant, channel, position, joined, "left", of FROM concerns
            ORDER BY tenant, channel, position"#;
        self.each(sql, |row| {
            Ok(Record::Concern(Concern {
                tenant: row.get(0)?,
                channel: row.get(1)?,
                position: Position::from_sql(row.get(2)?),
                joined: names(row, 3)?,
                left: names(row, 4)?,
                of: position(row, 5)?,
            }))
        })
    }

    fn superseded(&mut self) -> Done {
        let sql = r#"SELECT position, stream, "offset", id, alone FROM superseded ORDER BY position, stream"#;
        self.each(sql, |row| {
            Ok(Record::Superseded(Superseded {
                position: Position::from_sql(row.get(0)?),
                stream: StreamId::from_sql(row.get(1)?),
                offset: Offset::from_sql(row.get(2)?),
                id: notification_id(row, 3)?,
                is_alone: row.get(4)?,
            }))
        })
    }

    fn newest(&mut self) -> Done {
        let sql = r#"SELECT stream, key, id, "offset", alone FROM newest ORDER BY stream, key"#;
        self.each(sql, |row| {
            Ok(Record::Newest(Newest {
                stream: StreamId::from_sql(row.get(0)?),
                key: row.get(1)?,
                id: notification_id(row, 2)?,
                offset: Offset::from_sql(row.get(3)?),
                is_alone: row.get(4)?,
            }))
        })
    }

    fn woken(&mut self) -> Done {
        self.each("SELECT position FROM woken ORDER BY position", |row| {
            Ok(Record::Woken(Position::from_sql(row.get(0)?)))
        })
    }

    fn timers(&mut self) -> Done {
        self.each(include_str!("../sql/all_timers.sql"), |row| {
            let timers::Timer { due, position, tenant, id, action } = timers::timer(row)?;
            let name = |name: &str| name.to_owned();
            let action = match action {
                timers::Action::Publish { publisher, key } => Action::Publish {
                    publisher: name(publisher.as_str()),
                    key: key.map(|key| name(key.as_str())),
                },
                timers::Action::Expire => Action::Expire,
                timers::Action::Wake { user, stream, offset } => {
                    Action::Wake { user: name(user.as_str()), stream, offset }
                }
            };
            Ok(Record::Timer(Timer { due, position, tenant: name(tenant.as_str()), id, action }))
        })
    }
}

impl Entries {
    /// Whether an entry is the next of this record.
    fn follows(&self, offset: Offset) -> bool {
        let next = self.first.0 + self.entries.len() as u64;
        offset.0 == next && self.entries.len() < ENTRIES_AT_ONCE
    }
}

fn position(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Position>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Position::from_sql))
}

/// A JSON array of names; NULL is none.
fn names(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Vec<String>>> {
    let text: Option<String> = row.get(column)?;
    text.map(|text| json(column, &text)).transpose()
}
