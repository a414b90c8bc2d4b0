//! What people read and clicked: each thing once, the first time.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::connections::Count;
use super::fold::State;
use super::intervals::{Interval, Intervals, common};
use super::lanes::{LaneId, rank};
use super::person::PersonId;
use super::retraction::without;
use crate::event::{Event, Marked, Read, Selection};
use crate::names::{Channel, UserKey};
use crate::notification::NotificationId;
use crate::position::Position;

impl State<'_> {
    pub(super) fn click(&mut self, event: &Event, clicked: &Marked) -> rusqlite::Result<()> {
        let key = UserKey { tenant: event.tenant.clone(), user: clicked.user.clone() };
        let (id, at) = (self.id(&key)?, event.recorded_at.as_millisecond());
        for entry in &clicked.entries {
            let mut insert = self.connection.prepare_cached(include_str!("sql/insert_click.sql"))?;
            if insert.execute(params![id, entry.id.as_bytes(), key.tenant.as_str(), at])? == 1 {
                let mut count = self.connection.prepare_cached(include_str!("sql/count_click.sql"))?;
                let kind = count.query_row([entry.id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?, 1)))?;
                drop(count);
                self.count_kinds(&key.tenant, at, "", vec![kind], |counters| &mut counters.clicked)?;
            }
        }
        Ok(())
    }

    pub(super) fn has_clicked(&self, id: PersonId, notification: &NotificationId) -> rusqlite::Result<bool> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/has_clicked.sql"))?;
        statement.query_row(params![id, notification.as_bytes()], |row| row.get(0))
    }

    /// When a person clicked a notification first.
    pub(super) fn clicked_at(&self, id: PersonId, position: Position) -> rusqlite::Result<Option<Timestamp>> {
        let sql = "SELECT clicked_at FROM clicks WHERE person = ?1 AND position = ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        let at: Option<i64> = statement.query_row([id, position.sql()], |row| row.get(0)).optional()?;
        Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    pub(super) fn read(&mut self, event: &Event, read: &Read) -> rusqlite::Result<()> {
        let key = UserKey { tenant: event.tenant.clone(), user: read.user.clone() };
        let at = event.recorded_at.as_millisecond();
        let id = self.id(&key)?;
        match &read.selection {
            Selection::Entries(entries) => {
                let has_snoozes = self.has_snoozes(id)?;
                for entry in entries {
                    let sql = "SELECT position, lane FROM notifications WHERE id = ?1 AND tenant = ?2";
                    let mut statement = self.connection.prepare_cached(sql)?;
                    let found = statement
                        .query_row(params![entry.id.as_bytes(), key.tenant.as_str()], |row| {
                            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, Option<LaneId>>(1)?))
                        });
                    let Some((position, lane)) = found.optional()? else { continue };
                    drop(statement);
                    let one = (position - 1, position);
                    if self.is_own(id, position)? {
                        self.read_own(id, one, at)?;
                    } else if let Some(lane) = lane {
                        self.read_in_lane(id, lane, one, event.position, at)?;
                    }
                    if has_snoozes {
                        self.forget_read(id, position)?;
                    }
                }
            }
            Selection::UpTo(position) => {
                // What was taken back before is not read any more.
                let retracted = self.retracted_in(&key.tenant, (0, position.0))?;
                let all = without((0, position.0), &retracted, event.position);
                // What came back after what they had seen stays unread.
                let woken = self.woken_since(id, *position)?;
                let parts = |lane: LaneId| -> Vec<Interval> {
                    let of_lane = woken.iter().filter(|one| one.lane == lane);
                    let out: Vec<_> = of_lane.map(|one| (one.published, one.woken)).collect();
                    all.iter().flat_map(|part| without(*part, &out, event.position)).collect()
                };
                for part in parts(0) {
                    self.read_own(id, part, at)?;
                }
                let channels: Vec<Channel> = self
                    .people
                    .get(&id)
                    .map(|person| person.memberships.keys().cloned().collect())
                    .unwrap_or_default();
                let lanes: BTreeSet<LaneId> =
                    channels.iter().flat_map(|channel| self.lanes.of_channel(&key.tenant, channel)).collect();
                for lane in lanes {
                    for part in parts(lane) {
                        self.read_in_lane(id, lane, part, event.position, at)?;
                    }
                }
                self.forget_read_up_to(id, *position)?;
            }
        }
        Ok(())
    }

    pub(super) fn is_own(&self, id: PersonId, position: u64) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM own WHERE person = ?1 AND position = ?2)";
        self.connection.prepare_cached(sql)?.query_row([id, position as i64], |row| row.get(0))
    }

    /// Notes what a person read of a lane, as far as it is theirs now.
    pub(super) fn read_in_lane(
        &mut self,
        id: PersonId,
        lane_id: LaneId,
        interval: Interval,
        now: Position,
        at: i64,
    ) -> rusqlite::Result<()> {
        let (Some(lane), Some(person)) = (self.lanes.get(lane_id), self.people.get(&id)) else {
            return Ok(());
        };
        if lane.is_live || !person.is_in(lane) {
            return Ok(()); // what has no inbox cannot be read
        }
        let theirs = person.theirs(self.connection, lane, now)?;
        let (last_displaced, tenant) = (lane.last_displaced, lane.tenant.clone());
        for part in theirs.iter().filter_map(|span| common(*span, interval)) {
            for fresh in self.not_read(id, lane_id, part)? {
                let numbers =
                    (rank(self.connection, lane_id, fresh.0)?, rank(self.connection, lane_id, fresh.1)?);
                if numbers.0 < numbers.1 {
                    self.insert_read(id, lane_id, fresh, at)?;
                    self.count(Count::Read, id, lane_id, numbers, last_displaced)?;
                    let kinds = self.kinds_in_lane(id, lane_id, fresh)?;
                    self.count_kinds(&tenant, at, "", kinds, |counters| &mut counters.read)?;
                }
            }
        }
        Ok(())
    }

    /// Notes what a person read of what was addressed to them by name.
    fn read_own(&mut self, id: PersonId, interval: Interval, at: i64) -> rusqlite::Result<()> {
        let Some(tenant) = self.people.get(&id).map(|person| person.key.tenant.clone()) else {
            return Ok(());
        };
        for fresh in self.not_read(id, 0, interval)? {
            let kinds = self.own_kinds(id, fresh, true)?;
            if !kinds.is_empty() {
                self.insert_read(id, 0, fresh, at)?;
                self.count_kinds(&tenant, at, "", kinds, |counters| &mut counters.read)?;
            }
        }
        Ok(())
    }

    /// The parts of an interval of which it is not noted yet that a person read them.
    pub(super) fn not_read(
        &self,
        id: PersonId,
        lane: LaneId,
        interval: Interval,
    ) -> rusqlite::Result<Vec<Interval>> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/reads_in.sql"))?;
        let arguments = params![id, lane, interval.0 as i64, interval.1 as i64];
        let rows = statement
            .query_map(arguments, |row| Ok((row.get::<_, i64>(0)? as u64, row.get::<_, i64>(1)? as u64)))?;
        let mut known = Intervals::default();
        for row in rows {
            known.add(row?);
        }
        Ok(known.missing(interval))
    }

    fn insert_read(
        &mut self,
        id: PersonId,
        lane: LaneId,
        (after, up_to): Interval,
        at: i64,
    ) -> rusqlite::Result<()> {
        let mut insert = self.connection.prepare_cached("INSERT INTO reads VALUES (?1, ?2, ?3, ?4, ?5)")?;
        insert.execute(params![id, lane, after as i64, up_to as i64, at])?;
        Ok(())
    }
}
