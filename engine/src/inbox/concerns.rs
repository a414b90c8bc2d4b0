//! What concerns somebody beside the entries of their streams: changes of their own state, what they joined and left,
//! and notifications that are only shown live. With the entries, it is the index that a resume reads.
//!
//! Rows of the inbox view, written in its transactions. Read in bounded pages, by subject.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{Row, params};

use super::fold::Effect;
use super::view::{json, text};
use crate::event::{Event, Fact};
use crate::names::{Channel, Tenant, UserId, UserKey};
use crate::notification::encode;
use crate::position::{Position, StreamId};
use crate::resume::Viewer;
use crate::sqlite::Connection;

/// A position that concerns a viewer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Missed {
    pub(crate) position: Position,
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

/// What an event meant for a person, with the change of their memberships that was noted of it.
pub(crate) fn effect_for(
    key: &UserKey,
    change: Option<MembershipChange>,
    event: Arc<Event>,
) -> Option<Effect> {
    match &event.fact {
        Fact::NotificationPublished(_) => Some(Effect::Published(event)),
        Fact::Read(_) | Fact::Seen(_) | Fact::Marked(..) => Some(Effect::Changed(key.clone(), event)),
        Fact::Joined(_) | Fact::Left(_) => Some(change?.into_effect(key.clone(), event.position)),
        Fact::Started(_) | Fact::Clicked(_) | Fact::Progress(_) | Fact::Unknown(_) => None,
    }
}

/// What an event meant for everybody, with the changes of memberships that were noted; its own are taken out.
pub(crate) fn effects_of(event: Arc<Event>, changes: &mut MembershipChanges) -> Vec<Effect> {
    let own = |user: &UserId| UserKey { tenant: event.tenant.clone(), user: user.clone() };
    let key = match &event.fact {
        Fact::NotificationPublished(_) => return vec![Effect::Published(event)],
        Fact::Read(read) => own(&read.user),
        Fact::Seen(seen) => own(&seen.user),
        Fact::Marked(_, marked) => own(&marked.user),
        Fact::Joined(_) | Fact::Left(_) => {
            let changes = changes.remove(&event.position).unwrap_or_default();
            let effect = |(key, change): (UserKey, MembershipChange)| change.into_effect(key, event.position);
            return changes.into_iter().map(effect).collect();
        }
        Fact::Started(_) | Fact::Clicked(_) | Fact::Progress(_) | Fact::Unknown(_) => return Vec::new(),
    };
    vec![Effect::Changed(key, event)]
}

/// Changes of memberships by the events that made them.
pub(crate) type MembershipChanges = HashMap<Position, Vec<(UserKey, MembershipChange)>>;

/// Notes whom the effects of a batch concern.
pub(super) fn write(connection: &Connection, effects: &[Effect]) -> rusqlite::Result<()> {
    for effect in effects {
        match effect {
            Effect::Published(event) => {
                let Some(published) = event.published().filter(|published| !published.notification.inbox)
                else {
                    continue; // its entries say whom it concerns
                };
                let audience = &published.audience;
                let users = audience.users.iter().map(Channel::of_user);
                for channel in users.chain(audience.channels.iter().cloned()) {
                    insert(connection, &event.tenant, &channel, event.position, None)?;
                }
            }
            Effect::Changed(key, event) => insert_own(connection, key, event.position, None)?,
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
    for stream in viewer.snapshot.streams_since(after).chain(viewer.watched_streams.iter().copied()) {
        entries(connection, stream, after, up_to, most, &mut found)?;
    }
    let key = &viewer.snapshot.key;
    let own = Channel::of_user(&key.user);
    let channels = viewer.snapshot.person.channels().chain(&viewer.watches);
    for channel in std::iter::once(&own).chain(channels) {
        let mut statement = connection.prepare_cached(include_str!("sql/concerns_after.sql"))?;
        let (tenant, channel) = (key.tenant.as_str(), channel.as_str());
        let arguments = params![tenant, channel, after.sql(), up_to.sql(), most as i64];
        for missed in statement.query_map(arguments, missed_row)? {
            found.push(missed?);
        }
    }
    found.sort_unstable();
    found.dedup();
    found.truncate(most);
    Ok(found)
}

fn entries(
    connection: &Connection,
    stream: StreamId,
    after: Position,
    up_to: Position,
    most: usize,
    found: &mut Vec<Missed>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(include_str!("sql/entries_after.sql"))?;
    let arguments = params![stream.sql(), after.sql(), up_to.sql(), most as i64];
    for position in statement.query_map(arguments, |row| row.get(0).map(Position::from_sql))? {
        found.push(Missed { position: position?, change: None });
    }
    Ok(())
}

fn missed_row(row: &Row<'_>) -> rusqlite::Result<Missed> {
    Ok(Missed { position: Position::from_sql(row.get(0)?), change: change(row, 1)? })
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

/// Every change of memberships after a position.
pub(crate) fn membership_changes(
    connection: &Connection,
    after: Position,
) -> rusqlite::Result<MembershipChanges> {
    let mut statement = connection.prepare_cached(include_str!("sql/membership_changes.sql"))?;
    let rows = statement.query_map([after.sql()], |row| {
        let (tenant, channel): (String, String) = (row.get(3)?, row.get(4)?);
        let user = channel.strip_prefix("user:").unwrap_or(&channel);
        let key = UserKey { tenant: Tenant::stored(&tenant), user: UserId::stored(user) };
        Ok((key, missed_row(row)?))
    })?;
    let mut changes = MembershipChanges::new();
    for row in rows {
        if let (key, Missed { position, change: Some(change) }) = row? {
            changes.entry(position).or_default().push((key, change));
        }
    }
    Ok(changes)
}
