//! What is to happen at a time: publications, expiries and wake-ups that are due, as rows of the inbox view.
//!
//! Derived from the log like everything else: an event sets a timer, and what makes it void takes it away. Reads no
//! clock; whoever looks says what time it is.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, Row, params};

use super::view::notification_id;
use crate::event::{EntryRef, Event, Scheduled};
use crate::names::{IdempotencyKey, Publisher, Tenant, UserId, UserKey};
use crate::notification::{Notification, NotificationId};
use crate::position::{Offset, Position, StreamId};
use crate::sqlite::Connection;

/// Something that is to happen at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Timer {
    /// When, in milliseconds since 1970.
    pub(crate) due: i64,
    /// The event that set it. Of timers with the same time, the one that was set first is first; of those that one event
    /// set, the one of the lower stream and offset.
    pub(crate) position: Position,
    pub(crate) tenant: Tenant,
    /// The notification.
    pub(crate) id: NotificationId,
    pub(crate) action: Action,
}

/// What is to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A notification goes out. The key is that under which it can be cancelled.
    Publish { publisher: Publisher, key: Option<IdempotencyKey> },
    /// A notification is taken back.
    Expire,
    /// A notification comes back to somebody who put it off.
    Wake { user: UserId, stream: StreamId, offset: Offset },
}

/// What an event does to the timers.
#[derive(Debug)]
pub(super) enum TimerChange {
    Set(Timer),
    /// Of a notification that was published here.
    SetExpiry(Timer, Position),
    VoidPublication(NotificationId),
    VoidExpiry(NotificationId),
    /// For one person.
    VoidWake(UserKey, StreamId, Offset),
    /// For everybody.
    VoidWakes(StreamId, Offset),
}

impl Timer {
    /// When a scheduled notification goes out.
    pub(super) fn publication(event: &Event, scheduled: &Scheduled) -> Option<Self> {
        let (notification, publisher) = (&scheduled.published.notification, &scheduled.published.publisher);
        let action = Action::Publish { publisher: publisher.clone(), key: scheduled.key.clone() };
        Some(Self {
            due: due(notification.deliver_at?),
            position: event.position,
            tenant: event.tenant.clone(),
            id: notification.id,
            action,
        })
    }

    /// When a notification is taken back.
    pub(super) fn expiry(event: &Event, notification: &Notification) -> Option<Self> {
        Some(Self {
            due: due(notification.expires_at?),
            position: event.position,
            tenant: event.tenant.clone(),
            id: notification.id,
            action: Action::Expire,
        })
    }

    /// When a notification comes back to somebody who put it off.
    pub(super) fn wake(event: &Event, key: &UserKey, due: i64, entry: &EntryRef) -> Self {
        let EntryRef { id, stream, offset } = *entry;
        let action = Action::Wake { user: key.user.clone(), stream, offset };
        Self { due, position: event.position, tenant: event.tenant.clone(), id, action }
    }
}

/// The first millisecond that is not before a time.
fn due(at: Timestamp) -> i64 {
    let floor = at.as_millisecond();
    if Timestamp::from_millisecond(floor).is_ok_and(|whole| whole < at) { floor + 1 } else { floor }
}

const PUBLISH: &str = "publish";
const EXPIRE: &str = "expire";
const WAKE: &str = "wake";

pub(super) fn write(connection: &Connection, changes: &[TimerChange]) -> rusqlite::Result<()> {
    for change in changes {
        match change {
            TimerChange::Set(timer) => insert(connection, timer)?,
            TimerChange::SetExpiry(timer, published_at) => {
                // What was taken back in the same moment as it was updated does not expire.
                if !is_retracted(connection, *published_at)? {
                    insert(connection, timer)?;
                }
            }
            TimerChange::VoidPublication(id) => void(connection, PUBLISH, id)?,
            TimerChange::VoidExpiry(id) => void(connection, EXPIRE, id)?,
            TimerChange::VoidWake(key, stream, offset) => {
                let sql =
                    r#"DELETE FROM timers WHERE stream = ?1 AND "offset" = ?2 AND tenant = ?3 AND user = ?4"#;
                let (tenant, user) = (key.tenant.as_str(), key.user.as_str());
                connection.prepare_cached(sql)?.execute(params![stream.sql(), offset.sql(), tenant, user])?;
            }
            TimerChange::VoidWakes(stream, offset) => {
                let sql = r#"DELETE FROM timers WHERE stream = ?1 AND "offset" = ?2"#;
                connection.prepare_cached(sql)?.execute([stream.sql(), offset.sql()])?;
            }
        }
    }
    Ok(())
}

pub(super) fn insert(connection: &Connection, timer: &Timer) -> rusqlite::Result<()> {
    let (mut user, mut entry, mut key, mut publisher) = (None, (0, 0), None, None);
    let action = match &timer.action {
        Action::Publish { publisher: by, key: given } => {
            (publisher, key) = (Some(by.as_str()), given.as_ref().map(IdempotencyKey::as_str));
            PUBLISH
        }
        Action::Expire => EXPIRE,
        Action::Wake { user: whose, stream, offset } => {
            (user, entry) = (Some(whose.as_str()), (stream.sql(), offset.sql()));
            WAKE
        }
    };
    connection.prepare_cached(include_str!("sql/insert_timer.sql"))?.execute(params![
        timer.due,
        timer.position.sql(),
        timer.tenant.as_str(),
        timer.id.as_bytes(),
        action,
        user,
        entry.0,
        entry.1,
        publisher,
        key,
    ])?;
    Ok(())
}

fn is_retracted(connection: &Connection, published_at: Position) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM notifications WHERE position = ?1 AND retracted IS NOT NULL)";
    connection.prepare_cached(sql)?.query_row([published_at.sql()], |row| row.get(0))
}

fn void(connection: &Connection, action: &str, id: &NotificationId) -> rusqlite::Result<()> {
    let mut delete = connection.prepare_cached("DELETE FROM timers WHERE id = ?1 AND action = ?2")?;
    delete.execute(params![id.as_bytes(), action])?;
    Ok(())
}

/// When the next one is due.
pub(crate) fn next_due(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached("SELECT min(due) FROM timers")?.query_row([], |row| row.get(0))
}

/// Those that are due at a time, in their order.
pub(crate) fn due_at(connection: &Connection, now: i64, most: usize) -> rusqlite::Result<Vec<Timer>> {
    let mut statement = connection.prepare_cached(include_str!("sql/timers_due.sql"))?;
    let timers = statement.query_map(params![now, most as i64], timer)?;
    timers.collect()
}

/// The timer of a notification that has not gone out yet, by its id.
pub(crate) fn scheduled(
    connection: &Connection,
    tenant: &Tenant,
    id: &NotificationId,
) -> rusqlite::Result<Option<Timer>> {
    let mut statement = connection.prepare_cached(include_str!("sql/timer_of.sql"))?;
    statement.query_row(params![id.as_bytes(), tenant.as_str()], timer).optional()
}

/// The same, by the key it was published with.
pub(crate) fn scheduled_by_key(
    connection: &Connection,
    tenant: &Tenant,
    publisher: &Publisher,
    key: &IdempotencyKey,
) -> rusqlite::Result<Option<Timer>> {
    let mut statement = connection.prepare_cached(include_str!("sql/timer_by_key.sql"))?;
    let arguments = params![tenant.as_str(), publisher.as_str(), key.as_str()];
    statement.query_row(arguments, timer).optional()
}

/// Notifications that have not gone out yet, by when they do: those after a place in that order.
pub(crate) fn all_scheduled(
    connection: &Connection,
    tenant: &Tenant,
    publisher: Option<&Publisher>,
    after: (i64, Position),
    most: usize,
) -> rusqlite::Result<Vec<Timer>> {
    let mut statement = connection.prepare_cached(include_str!("sql/timers_scheduled.sql"))?;
    let publisher = publisher.map(Publisher::as_str);
    let arguments = params![tenant.as_str(), publisher, after.0, after.1.sql(), most as i64];
    let timers = statement.query_map(arguments, timer)?;
    timers.collect()
}

/// How many notifications of a tenant have not gone out yet.
pub(crate) fn count_scheduled(connection: &Connection, tenant: &Tenant) -> rusqlite::Result<usize> {
    let sql = "SELECT count(*) FROM timers WHERE tenant = ?1 AND publisher IS NOT NULL";
    connection.prepare_cached(sql)?.query_row([tenant.as_str()], |row| {
        row.get::<_, i64>(0).map(|count| usize::try_from(count).unwrap_or_default())
    })
}

pub(super) fn timer(row: &Row<'_>) -> rusqlite::Result<Timer> {
    let action: String = row.get(4)?;
    let action = match action.as_str() {
        PUBLISH => {
            let (publisher, key): (String, Option<String>) = (row.get(8)?, row.get(9)?);
            let key = key.as_deref().map(IdempotencyKey::stored);
            Action::Publish { publisher: Publisher::stored(&publisher), key }
        }
        WAKE => {
            let user: String = row.get(5)?;
            let (stream, offset) = (StreamId::from_sql(row.get(6)?), Offset::from_sql(row.get(7)?));
            Action::Wake { user: UserId::stored(&user), stream, offset }
        }
        _ => Action::Expire,
    };
    let tenant: String = row.get(2)?;
    Ok(Timer {
        due: row.get(0)?,
        position: Position::from_sql(row.get(1)?),
        tenant: Tenant::stored(&tenant),
        id: notification_id(row, 3)?,
        action,
    })
}
