//! From the records of a snapshot, and the content of the notifications in the log, to the rows of a new view.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Transaction, TransactionBehavior, params};
use sqlx::ConnectOptions;

use super::part::{PartError, unpack};
use super::record::{Action, Entries, FORMAT, Notification, Reading, Record, Stream, Timer};
use crate::event::{Event, Events, Fact};
use crate::inbox::build::{PARTS_AHEAD, building};
use crate::inbox::fold::FOLD;
use crate::inbox::person::Makers;
use crate::inbox::projection::ViewError;
use crate::inbox::reading::Snooze;
use crate::inbox::{concerns, timers, view};
use crate::log::{Log, LogError};
use crate::names::{IdempotencyKey, Publisher, Tenant, UserId};
use crate::notification::encode;
use crate::position::Position;
use crate::sqlite::{Closed, Connection, on_thread};
use crate::store::SnapshotHeader;

/// Why a snapshot cannot be used. Another one can, or the log from its first event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the notification at position {0} is not in the log")]
    NoContent(Position),
    #[error(transparent)]
    View(#[from] ViewError),
    #[error(transparent)]
    Open(#[from] sqlx::Error),
    #[error("the inbox view's database failed: {0}")]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Records, and the events that have the content of those that are notifications.
struct Part {
    records: Vec<Record>,
    contents: HashMap<Position, Arc<Event>>,
}

/// Whether a snapshot is of this log, and of what this version makes of events.
pub(crate) fn is_usable(snapshot: &SnapshotHeader, log: &Log) -> bool {
    let is_of_this_version = (snapshot.format, snapshot.fold) == (FORMAT, FOLD);
    is_of_this_version && log.epochs().hold(&snapshot.at) && snapshot.at.position <= log.head()
}

/// Makes a new view of a snapshot, in a file that is not there yet. When it fails, what is there is of no use.
pub(crate) async fn import(path: &Path, log: &Log, snapshot: &SnapshotHeader) -> Result<(), ImportError> {
    let connection = building(path).connect().await?;
    let (parts, unpacked) = flume::bounded(PARTS_AHEAD);
    let (start, at) = (log.epochs().cursor(Position(0)), snapshot.at.clone());
    let expected = snapshot.parts;
    let thread = on_thread("tidings-import", connection, move |connection| -> Result<(), ImportError> {
        view::create_tables(connection, &start)?;
        let mut written = 0;
        for part in unpacked {
            write(connection, &part?)?;
            written += 1;
        }
        // Whoever reads the parts may have gone.
        if written < expected {
            return Err(PartError::Missing.into());
        }
        Ok(view::set_checkpoint(connection, &at)?)
    });
    for number in 0..snapshot.parts {
        let part = read(log, snapshot, number).await;
        let failed = part.is_err();
        // When the thread has failed, it says why.
        if parts.send_async(part).await.is_err() || failed {
            break;
        }
    }
    drop(parts);
    thread.ended().await?
}

async fn read(log: &Log, snapshot: &SnapshotHeader, number: u32) -> Result<Part, ImportError> {
    let part = log.snapshot_part(snapshot.at.position, number).await?.ok_or(PartError::Missing)?;
    let records = unpack(&part)?;
    let notifications = records.iter().filter_map(|record| match record {
        Record::Notification(notification) => Some(notification.content()),
        _ => None,
    });
    let mut wanted: Vec<Position> = notifications.collect();
    wanted.sort_unstable();
    let events: Events = if wanted.is_empty() { Events::new() } else { log.events_at(wanted).await? };
    for event in &events {
        let _ = event.document(); // encoded here, so that the thread need not
    }
    let contents = events.into_iter().map(|event| (event.position, event)).collect();
    Ok(Part { records, contents })
}

fn write(connection: &Connection, part: &Part) -> Result<(), ImportError> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for record in &part.records {
        match record {
            Record::Stream(stream) => insert_stream(&transaction, stream)?,
            Record::Entries(entries) => insert_entries(&transaction, entries)?,
            Record::Notification(notification) => {
                let content = part.contents.get(&notification.content());
                let content = content.ok_or(ImportError::NoContent(notification.content()))?;
                insert_notification(&transaction, notification, content)?;
            }
            Record::Person(person) => {
                let (tenant, user, since) =
                    (&person.tenant, &person.user, person.known_since.map(Position::sql));
                let mut insert = transaction.prepare_cached(include_str!("../sql/upsert_person.sql"))?;
                insert.execute(params![tenant, user, since, person.claims_issued_at])?;
            }
            Record::Membership(member) => {
                let makers =
                    member.makers.iter().fold(Makers::default(), |makers, maker| makers.with(*maker));
                let mut insert = transaction.prepare_cached(include_str!("../sql/upsert_membership.sql"))?;
                let (tenant, channel, user) = (&member.tenant, &member.channel, &member.user);
                insert.execute(params![tenant, channel, user, member.since.sql(), makers.0])?;
            }
            Record::Reading(reading) => insert_reading(&transaction, reading)?,
            Record::Concern(concern) => {
                let names =
                    |names: &Option<Vec<String>>| names.as_ref().map(|names| view::text(encode(names)));
                let (joined, left) = (names(&concern.joined), names(&concern.left));
                let (tenant, channel, at) = (&concern.tenant, &concern.channel, concern.position.sql());
                let mut insert = transaction.prepare_cached(include_str!("../sql/import_concern.sql"))?;
                insert.execute(params![tenant, channel, at, joined, left, concern.of.map(Position::sql)])?;
            }
            Record::Superseded(older) => {
                let mut insert = transaction.prepare_cached(include_str!("../sql/insert_superseded.sql"))?;
                let (position, stream, offset) =
                    (older.position.sql(), older.stream.sql(), older.offset.sql());
                insert.execute(params![position, stream, offset, older.id.as_bytes(), older.is_alone])?;
            }
            Record::Newest(newest) => {
                let mut insert = transaction.prepare_cached(include_str!("../sql/upsert_newest.sql"))?;
                let (stream, offset) = (newest.stream.sql(), newest.offset.sql());
                insert.execute(params![stream, newest.key, newest.id.as_bytes(), offset, newest.is_alone])?;
            }
            Record::Woken(position) => concerns::insert_woken(&transaction, *position)?,
            Record::Timer(timer) => timers::insert(&transaction, &timer_of(timer))?,
        }
    }
    Ok(transaction.commit()?)
}

fn insert_stream(connection: &Connection, stream: &Stream) -> rusqlite::Result<()> {
    let channels = stream.channels.as_ref().map(|channels| view::text(encode(channels)));
    connection.prepare_cached(include_str!("../sql/import_stream.sql"))?.execute(params![
        stream.id.sql(),
        stream.tenant,
        stream.user,
        channels,
        stream.head.sql(),
        stream.first.sql(),
        stream.last.sql(),
        view::blob(&stream.retracted.0),
    ])?;
    Ok(())
}

fn insert_entries(connection: &Connection, entries: &Entries) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached(include_str!("../sql/insert_entry.sql"))?;
    for (offset, (position, kind)) in (entries.first.sql()..).zip(&entries.entries) {
        insert.execute(params![entries.stream.sql(), offset, position.sql(), kind])?;
    }
    Ok(())
}

fn insert_notification(
    connection: &Connection,
    notification: &Notification,
    content: &Event,
) -> Result<(), ImportError> {
    let published = match &content.fact {
        Fact::NotificationPublished(published) => published,
        Fact::Updated(updated) => &updated.published,
        _ => return Err(ImportError::NoContent(content.position)),
    };
    if published.notification.id != notification.id || content.tenant.as_str() != notification.tenant {
        return Err(ImportError::NoContent(content.position));
    }
    connection.prepare_cached(include_str!("../sql/import_notification.sql"))?.execute(params![
        notification.position.sql(),
        notification.tenant,
        notification.id.as_bytes(),
        view::tags_of(&published.notification),
        notification.shared.map(crate::StreamId::sql),
        view::document_of(content),
        notification.updated.map(Position::sql),
        notification.retracted.map(Position::sql),
    ])?;
    Ok(())
}

fn insert_reading(connection: &Connection, reading: &Reading) -> rusqlite::Result<()> {
    let snoozed =
        reading.snoozed.iter().map(|(offset, until, at)| (*offset, Snooze { until: *until, at: *at }));
    let stored = crate::inbox::reading::Reading {
        join: reading.join,
        cursor: reading.cursor,
        seen: reading.seen,
        read: reading.read.0.clone(),
        unread: reading.unread.iter().copied().collect(),
        hidden: reading.hidden.0.clone(),
        archived: reading.archived.0.clone(),
        pinned: reading.pinned.0.clone(),
        snoozed: snoozed.collect(),
        woken: reading.woken.iter().copied().collect(),
    };
    view::upsert_reading(connection, &reading.tenant, &reading.user, reading.stream, &stored)
}

fn timer_of(timer: &Timer) -> timers::Timer {
    let action = match &timer.action {
        Action::Publish { publisher, key } => timers::Action::Publish {
            publisher: Publisher::stored(publisher),
            key: key.as_deref().map(IdempotencyKey::stored),
        },
        Action::Expire => timers::Action::Expire,
        Action::Wake { user, stream, offset } => {
            timers::Action::Wake { user: UserId::stored(user), stream: *stream, offset: *offset }
        }
    };
    let Timer { due, position, ref tenant, id, .. } = *timer;
    timers::Timer { due, position, tenant: Tenant::stored(tenant), id, action }
}
