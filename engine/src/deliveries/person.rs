//! What the delivery view knows of one person: their memberships, and what was sent to any of their devices.

use std::collections::BTreeMap;

use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::intervals::{Interval, Intervals, common};
use super::lanes::{Lane, LaneId};
use crate::event::Maker;
use crate::inbox::damaged;
use crate::names::{Channel, UserKey};
use crate::position::Position;
use crate::sorted_map::SortedMap;
use crate::sqlite::Connection;

/// The number of a person in the view.
pub(super) type PersonId = i64;

/// A person.
#[derive(Clone, Debug)]
pub(super) struct Person {
    pub(super) key: UserKey,
    pub(super) claims_issued_at: Option<i64>,
    /// The channels they are a member of.
    pub(super) memberships: SortedMap<Channel, Member>,
    /// Whether they ever left one.
    pub(super) has_left: bool,
    pub(super) sent: Coverage,
    pub(super) delivered: Coverage,
}

/// A membership that lasts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) since: Position,
    /// On whose word: a bit for each maker.
    pub(super) makers: u8,
}

pub(super) fn bit(maker: Maker) -> u8 {
    match maker {
        Maker::Claims => 1,
        Maker::Service => 2,
        Maker::User => 4,
    }
}

/// Positions that devices have come past.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Coverage {
    pub(super) all: Intervals,
    /// Of lanes that the person left once: who comes back afterwards is not sent what was left.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    apart: BTreeMap<LaneId, Intervals>,
}

impl Coverage {
    pub(super) fn of(&self, lane: LaneId) -> &Intervals {
        self.apart.get(&lane).unwrap_or(&self.all)
    }

    /// From now on a lane is looked at by itself.
    pub(super) fn set_apart(&mut self, lane: LaneId) {
        if !self.apart.contains_key(&lane) {
            self.apart.insert(lane, self.all.clone());
        }
    }

    /// Notes what of a lane was covered, if it is one that is looked at by itself.
    pub(super) fn add_apart(&mut self, lane: LaneId, theirs: &[Interval], covered: Interval) {
        if let Some(intervals) = self.apart.get_mut(&lane) {
            theirs
                .iter()
                .filter_map(|interval| common(*interval, covered))
                .for_each(|part| intervals.add(part));
        }
    }

    pub(super) fn forget(&mut self, floor: u64) {
        self.all.forget(floor);
        self.apart.values_mut().for_each(|intervals| intervals.forget(floor));
    }
}

impl Person {
    pub(super) fn stranger(key: UserKey) -> Self {
        let (memberships, sent, delivered) = (SortedMap::default(), Coverage::default(), Coverage::default());
        Self { key, claims_issued_at: None, memberships, has_left: false, sent, delivered }
    }

    /// Whether a lane's notifications reach them.
    pub(super) fn is_in(&self, lane: &Lane) -> bool {
        lane.channels.iter().any(|channel| self.memberships.contains_key(channel))
    }

    /// When a lane's notifications were theirs, as far as that counts for somebody who looks from `began` on: what was
    /// left by then is not shown again.
    pub(super) fn theirs(
        &self,
        connection: &Connection,
        lane: &Lane,
        began: Position,
    ) -> rusqlite::Result<Vec<Interval>> {
        let mut spans: Vec<Interval> = Vec::new();
        if self.has_left {
            for channel in lane.channels.iter() {
                spans.extend(history(connection, &self.key, channel)?.into_iter().map(|(_, span)| span));
            }
        } else {
            let members = lane.channels.iter().filter_map(|channel| self.memberships.get(channel));
            spans.extend(members.map(|member| (member.since.0, u64::MAX)));
        }
        Ok(merged(spans, lane.is_live, began))
    }
}

/// Spans of membership as one sees them from `began` on. Of what has an inbox, a span that others continue goes on.
pub(super) fn merged(mut spans: Vec<Interval>, is_live: bool, began: Position) -> Vec<Interval> {
    spans.sort_unstable();
    if is_live {
        spans.retain(|span| span.1 > began.0);
    }
    let mut merged: Vec<Interval> = Vec::with_capacity(spans.len());
    for span in spans {
        match merged.last_mut() {
            Some(last) if span.0 <= last.1 => last.1 = last.1.max(span.1),
            _ => merged.push(span),
        }
    }
    merged.retain(|span| span.1 > began.0);
    merged
}

/// When a person was a member of a channel, oldest first.
pub(super) fn history(
    connection: &Connection,
    key: &UserKey,
    channel: &Channel,
) -> rusqlite::Result<Vec<(Channel, Interval)>> {
    let mut statement = connection.prepare_cached(include_str!("sql/membership_history.sql"))?;
    let arguments = params![key.tenant.as_str(), channel.as_str(), key.user.as_str()];
    let rows = statement.query_map(arguments, |row| {
        let until = row.get::<_, Option<i64>>(1)?.map_or(u64::MAX, |until| until as u64);
        Ok((channel.clone(), (row.get::<_, i64>(0)? as u64, until)))
    })?;
    rows.collect()
}

/// A person as they are stored.
pub(super) fn load(connection: &Connection, id: PersonId, key: UserKey) -> rusqlite::Result<Person> {
    let mut person = Person::stranger(key);
    let sql = "SELECT claims_issued_at, has_left, sent, delivered FROM people WHERE id = ?1";
    connection.prepare_cached(sql)?.query_row([id], |row| {
        let coverage = |column| -> rusqlite::Result<Coverage> {
            let text: String = row.get(column)?;
            serde_json::from_str(&text).map_err(|error| damaged(column, error))
        };
        person.claims_issued_at = row.get(0)?;
        person.has_left = row.get(1)?;
        (person.sent, person.delivered) = (coverage(2)?, coverage(3)?);
        Ok(())
    })?;
    let mut statement = connection.prepare_cached(include_str!("sql/load_memberships.sql"))?;
    let (tenant, user) = (person.key.tenant.as_str(), person.key.user.as_str());
    let rows = statement.query_map([tenant, user], |row| {
        let member = Member { since: Position::from_sql(row.get(1)?), makers: row.get(2)? };
        Ok((Channel::stored(&row.get::<_, String>(0)?), member))
    })?;
    let memberships = rows.collect::<rusqlite::Result<_>>()?;
    person.memberships = memberships;
    Ok(person)
}
