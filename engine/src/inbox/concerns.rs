//! What concerns somebody beside the entries of their streams: changes of their own state, what they joined and left,
//! and notifications that are only shown live. With the entries, it is the index that a resume reads.
//!
//! Rows of the inbox view, written in its transactions. Read in bounded pages, by subject.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params};

use super::fold::{Effect, Superseded};
use super::ranks::rank;
use super::view::{json, notification_id, text};
use crate::event::{Event, Fact};
use crate::names::{Channel, Tenant, UserId, UserKey};
use crate::notification::encode;
use crate::position::{Offset, Position, StreamId};
use crate::resume::Viewer;
use crate::sqlite::Connection;

/// A position that concerns a viewer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Missed {
    pub(crate) position: Position,
    /// Whether the notification was taken back meanwhile: then nothing of it is shown again.
    pub(crate) is_gone: bool,
    /// What the notification there took the place of.
    pub(crate) superseded: Vec<Superseded>,
    /// What changed by it, if it is about their memberships.
    pub(crate) change: Option<MembershipChange>,
}

/// What an event changed in a person's memberships, which only the fold knew.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum MembershipChange {
    Joined(Vec<Channel>),
    Left(Vec<Channel>),
}

impl MembershipChange {
    fn into_effect(self, key: UserKey, position: Position) -> Effect {
        match self {
            Self::Joined(channels) => Effect::Joined(key, channels, position),
            Self::Left(channels) => Effect::Left(key, channels, position),
        }
    }
}

/// What an event meant for a person, with what was noted of it.
pub(crate) fn effect_for(key: &UserKey, missed: Missed, event: Arc<Event>) -> Option<Effect> {
    match &event.fact {
        Fact::NotificationPublished(_) | Fact::Updated(_) | Fact::Retracted(_) => {
            Some(Effect::Addressed(event, missed.superseded))
        }
        Fact::Joined(_) | Fact::Left(_) => Some(missed.change?.into_effect(key.clone(), event.position)),
        _ => event.owner().is_some().then(|| Effect::Changed(key.clone(), event)),
    }
}

/// What an event meant for everybody, with what was noted of it; that is taken out.
pub(crate) fn effects_of(event: Arc<Event>, noted: &mut Noted) -> Vec<Effect> {
    match &event.fact {
        Fact::NotificationPublished(_) | Fact::Updated(_) | Fact::Retracted(_) => {
            let superseded = noted.superseded.remove(&event.position).unwrap_or_default();
            vec![Effect::Addressed(event, superseded)]
        }
        Fact::Joined(_) | Fact::Left(_) => {
            let changes = noted.memberships.remove(&event.position).unwrap_or_default();
            let effect = |(key, change): (UserKey, MembershipChange)| change.into_effect(key, event.position);
            changes.into_iter().map(effect).collect()
        }
        // One that was put off anew in the same moment did not wake.
        Fact::Woken(_) if !noted.woken.contains(&event.position) => Vec::new(),
        _ => event.owner().map(|key| Effect::Changed(key, event.clone())).into_iter().collect(),
    }
}

/// What only the fold knew of some events, as the view has noted it.
pub(crate) struct Noted {
    /// Changes of memberships.
    memberships: HashMap<Position, Vec<(UserKey, MembershipChange)>>,
    /// What notifications took the place of.
    superseded: HashMap<Position, Vec<Superseded>>,
    /// Events by which something woke indeed.
    woken: HashSet<Position>,
}

/// Whether an effect is noted: not what its entries say already.
pub(super) fn is_noted(effect: &Effect) -> bool {
    match effect {
        Effect::Addressed(event, superseded) => !superseded.is_empty() || !is_in_entries(event),
        _ => true,
    }
}

/// Whether the entries of an event say whom it concerns.
fn is_in_entries(event: &Event) -> bool {
    event.addressed().is_none_or(|addressed| addressed.position == event.position && addressed.inbox)
}

/// Notes whom the effects of a batch concern.
pub(super) fn write(connection: &Connection, effects: &[Effect]) -> rusqlite::Result<()> {
    for effect in effects {
        match effect {
            Effect::Addressed(event, superseded) => {
                for superseded in superseded {
                    insert_superseded(connection, event.position, superseded)?;
                }
                insert_addressed(connection, event)?;
            }
            Effect::Changed(key, event) => {
                insert_own(connection, key, event.position, None)?;
                if matches!(event.fact, Fact::Woken(_)) {
                    insert_woken(connection, event.position)?;
                }
            }
            Effect::Joined(key, channels, position) => {
                insert_own(connection, key, *position, Some((true, channels)))?;
            }
            Effect::Left(key, channels, position) => {
                insert_own(connection, key, *position, Some((false, channels)))?;
            }
        }
    }
    Ok(())
}

pub(super) fn insert_woken(connection: &Connection, position: Position) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT INTO woken (position) VALUES (?1)")?;
    insert.execute([position.sql()]).map(drop)
}

fn insert_addressed(connection: &Connection, event: &Event) -> rusqlite::Result<()> {
    let Some(addressed) = event.addressed().filter(|_| !is_in_entries(event)) else { return Ok(()) };
    // What is taken back is never gone for those who have to hear of it.
    let of = (!matches!(event.fact, Fact::Retracted(_))).then_some(addressed.position.sql());
    let users = addressed.audience.users.iter().map(Channel::of_user);
    let mut statement = connection.prepare_cached(include_str!("sql/insert_addressed.sql"))?;
    for channel in users.chain(addressed.audience.channels.iter().cloned()) {
        let tenant = event.tenant.as_str();
        statement.execute(params![tenant, channel.as_str(), event.position.sql(), of])?;
    }
    Ok(())
}

fn insert_superseded(
    connection: &Connection,
    position: Position,
    superseded: &Superseded,
) -> rusqlite::Result<()> {
    let Superseded { stream, offset, id, is_alone } = superseded;
    let mut statement = connection.prepare_cached(include_str!("sql/insert_superseded.sql"))?;
    statement.execute(params![position.sql(), stream.sql(), offset.sql(), id.as_bytes(), is_alone])?;
    Ok(())
}

fn insert_own(
    connection: &Connection,
    key: &UserKey,
    position: Position,
    change: Option<(bool, &Vec<Channel>)>,
) -> rusqlite::Result<()> {
    insert(connection, &key.tenant, &Channel::of_user(&key.user), position, change)
}

fn insert(
    connection: &Connection,
    tenant: &Tenant,
    channel: &Channel,
    position: Position,
    change: Option<(bool, &Vec<Channel>)>,
) -> rusqlite::Result<()> {
    let list = |wanted| change.filter(|(joined, _)| *joined == wanted).map(|(_, list)| text(encode(list)));
    let mut statement = connection.prepare_cached(include_str!("sql/insert_concern.sql"))?;
    let (tenant, channel) = (tenant.as_str(), channel.as_str());
    statement.execute(params![tenant, channel, position.sql(), list(true), list(false)])?;
    Ok(())
}

/// The positions after one, up to and including another, that may concern a viewer: the first `most` of them, in order.
/// The viewer is the judge of each.
pub(crate) fn missed(
    connection: &Connection,
    viewer: &Viewer,
    after: Position,
    up_to: Position,
    most: usize,
) -> rusqlite::Result<Vec<Missed>> {
    let mut found: Vec<Missed> = Vec::new();
    for stream in viewer.inbox.streams_since(after).chain(viewer.watched_streams.iter().copied()) {
        let may_be_gone = viewer.inbox.may_be_gone(stream);
        entries(connection, stream, (after, up_to), most, may_be_gone, &mut found)?;
    }
    let key = &viewer.inbox.key;
    let own = Channel::of_user(&key.user);
    let channels = viewer.inbox.person.channels().chain(&viewer.watches);
    for channel in std::iter::once(&own).chain(channels) {
        let mut statement = connection.prepare_cached(include_str!("sql/concerns_after.sql"))?;
        let (tenant, channel) = (key.tenant.as_str(), channel.as_str());
        let arguments = params![tenant, channel, after.sql(), up_to.sql(), most as i64];
        let missed = statement.query_map(arguments, |row| {
            let (position, is_gone) = (Position::from_sql(row.get(0)?), row.get(1)?);
            Ok(Missed { position, is_gone, superseded: Vec::new(), change: change(row, 2)? })
        })?;
        for missed in missed {
            found.push(missed?);
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(most);
    note_superseded(connection, &mut found)?;
    Ok(found)
}

fn note_superseded(connection: &Connection, found: &mut [Missed]) -> rusqlite::Result<()> {
    let positions: Vec<u64> = found.iter().map(|missed| missed.position.0).collect();
    let mut statement = connection.prepare_cached(include_str!("sql/superseded_at.sql"))?;
    let mut rows = statement.query([serde_json::json!(positions).to_string()])?;
    while let Some(row) = rows.next()? {
        let (position, superseded) = superseded_row(row)?;
        if let Ok(index) = found.binary_search_by_key(&position, |missed| missed.position) {
            found[index].superseded.push(superseded);
        }
    }
    Ok(())
}

fn superseded_row(row: &Row<'_>) -> rusqlite::Result<(Position, Superseded)> {
    let (stream, offset) = (StreamId::from_sql(row.get(1)?), Offset::from_sql(row.get(2)?));
    let superseded = Superseded { stream, offset, id: notification_id(row, 3)?, is_alone: row.get(4)? };
    Ok((Position::from_sql(row.get(0)?), superseded))
}

/// Whether a notification is gone is looked up where it may be: each is in a page of the database of its own.
fn entries(
    connection: &Connection,
    stream: StreamId,
    (after, up_to): (Position, Position),
    most: usize,
    may_be_gone: impl Fn(Offset) -> bool,
    found: &mut Vec<Missed>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(include_str!("sql/entries_after.sql"))?;
    let rank = rank(connection, stream, after)?;
    let mut rows = statement.query(params![stream.sql(), rank.sql(), up_to.sql(), most as i64])?;
    while let Some(row) = rows.next()? {
        let (position, offset) = (Position::from_sql(row.get(0)?), Offset::from_sql(row.get(1)?));
        let is_gone = may_be_gone(offset) && published_at_is_gone(connection, position)?;
        found.push(Missed { position, is_gone, superseded: Vec::new(), change: None });
    }
    Ok(())
}

fn published_at_is_gone(connection: &Connection, position: Position) -> rusqlite::Result<bool> {
    let sql = "SELECT retracted IS NOT NULL FROM notifications WHERE position = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_row([position.sql()], |row| row.get(0)).optional()?.unwrap_or_default())
}

fn change(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<MembershipChange>> {
    let list = |column| -> rusqlite::Result<Option<Vec<Channel>>> {
        let stored: Option<String> = row.get(column)?;
        let names: Option<Vec<String>> = stored.map(|stored| json(column, &stored)).transpose()?;
        Ok(names.map(|names| names.iter().map(|name| Channel::stored(name)).collect()))
    };
    let joined = list(column)?.map(MembershipChange::Joined);
    Ok(joined.or(list(column + 1)?.map(MembershipChange::Left)))
}

/// What was noted of the events after a position.
pub(crate) fn noted(connection: &Connection, after: Position) -> rusqlite::Result<Noted> {
    let mut statement = connection.prepare_cached(include_str!("sql/membership_changes.sql"))?;
    let mut rows = statement.query([after.sql()])?;
    let mut noted = Noted { memberships: HashMap::new(), superseded: HashMap::new(), woken: HashSet::new() };
    while let Some(row) = rows.next()? {
        let (tenant, channel): (String, String) = (row.get(3)?, row.get(4)?);
        let user = channel.strip_prefix("user:").unwrap_or(&channel);
        let key = UserKey { tenant: Tenant::stored(&tenant), user: UserId::stored(user) };
        if let Some(change) = change(row, 1)? {
            noted.memberships.entry(Position::from_sql(row.get(0)?)).or_default().push((key, change));
        }
    }
    let mut statement = connection.prepare_cached(
        r#"SELECT position, stream, "offset", id, alone FROM superseded WHERE position > ?1"#,
    )?;
    let mut rows = statement.query([after.sql()])?;
    while let Some(row) = rows.next()? {
        let (position, superseded) = superseded_row(row)?;
        noted.superseded.entry(position).or_default().push(superseded);
    }
    let mut statement = connection.prepare_cached("SELECT position FROM woken WHERE position > ?1")?;
    for position in statement.query_map([after.sql()], |row| row.get(0).map(Position::from_sql))? {
        noted.woken.insert(position?);
    }
    Ok(noted)
}
