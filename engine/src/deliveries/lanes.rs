//! Lanes: where the delivery view numbers what is addressed to channels. Each set of channels is one, and what is only
//! shown live has its own.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::params;

use super::intervals::Interval;
use crate::inbox::damaged;
use crate::names::{Channel, Tenant};
use crate::position::Position;
use crate::sqlite::Connection;

/// The number of a lane; 0 is what was addressed to people by name.
pub(super) type LaneId = i64;

/// Notifications to channels remembered, for devices that are up to date: minutes of a busy server.
const RECENT_KEPT: usize = 65_536;

/// A set of channels that were addressed together.
#[derive(Clone, Debug)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    pub(super) tenant: Tenant,
    pub(super) channels: Arc<[Channel]>,
    pub(super) is_live: bool,
    /// How many notifications it has.
    pub(super) head: u64,
    /// How many people are in it now.
    pub(super) members: u64,
    /// The last number that does not reach everybody in it.
    pub(super) last_displaced: u64,
}

/// A run of a lane's notifications: numbers after the first, up to the second.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    pub(super) lane: LaneId,
    pub(super) numbers: Interval,
    /// Where the first of them is.
    pub(super) first: u64,
}

/// All lanes.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: HashMap<LaneId, Lane>,
    by_name: HashMap<(Tenant, Arc<[Channel]>, bool), LaneId>,
    by_channel: HashMap<(Tenant, Channel), Vec<LaneId>>,
    /// Positions with their lanes and numbers, all after `recent_after`.
    recent: VecDeque<(u64, LaneId, u64)>,
    recent_after: u64,
    pub(super) changed: std::collections::BTreeSet<LaneId>,
}

impl Lanes {
    pub(super) fn load(connection: &Connection, position: Position) -> rusqlite::Result<Self> {
        let mut lanes = Self { recent_after: position.0, ..Self::default() };
        let mut statement = connection.prepare(include_str!("sql/load_lanes.sql"))?;
        let rows = statement.query_map([], |row| {
            let (tenant, channels): (String, String) = (row.get(1)?, row.get(2)?);
            let names: Vec<String> = serde_json::from_str(&channels).map_err(|error| damaged(2, error))?;
            Ok(Lane {
                id: row.get(0)?,
                tenant: Tenant::stored(&tenant),
                channels: names.iter().map(|name| Channel::stored(name)).collect(),
                is_live: row.get(3)?,
                head: row.get::<_, i64>(4)? as u64,
                members: row.get::<_, i64>(5)? as u64,
                last_displaced: row.get::<_, i64>(6)? as u64,
            })
        })?;
        for lane in rows {
            lanes.insert(lane?);
        }
        Ok(lanes)
    }

    fn insert(&mut self, lane: Lane) {
        for channel in lane.channels.iter() {
            self.by_channel.entry((lane.tenant.clone(), channel.clone())).or_default().push(lane.id);
        }
        self.by_name.insert((lane.tenant.clone(), lane.channels.clone(), lane.is_live), lane.id);
        self.lanes.insert(lane.id, lane);
    }

    pub(super) fn get(&self, id: LaneId) -> Option<&Lane> {
        self.lanes.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: LaneId) -> Option<&mut Lane> {
        self.changed.insert(id);
        self.lanes.get_mut(&id)
    }

    pub(super) fn named(&self, tenant: &Tenant, channels: &[Channel], is_live: bool) -> Option<LaneId> {
        self.by_name.get(&(tenant.clone(), channels.into(), is_live)).copied()
    }

    /// A new lane.
    pub(super) fn begin(
        &mut self,
        tenant: &Tenant,
        channels: &[Channel],
        is_live: bool,
        members: u64,
    ) -> LaneId {
        let id = self.lanes.len() as LaneId + 1;
        let (tenant, channels) = (tenant.clone(), channels.into());
        self.insert(Lane { id, tenant, channels, is_live, head: 0, members, last_displaced: 0 });
        self.changed.insert(id);
        id
    }

    /// The lanes that a channel leads to.
    pub(super) fn of_channel(&self, tenant: &Tenant, channel: &Channel) -> Vec<LaneId> {
        self.by_channel.get(&(tenant.clone(), channel.clone())).cloned().unwrap_or_default()
    }

    /// Notes where a notification is.
    pub(super) fn remember(&mut self, position: Position, lane: LaneId, number: u64) {
        self.recent.push_back((position.0, lane, number));
        if self.recent.len() > RECENT_KEPT
            && let Some((oldest, ..)) = self.recent.pop_front()
        {
            self.recent_after = oldest;
        }
    }

    /// What the lanes of a tenant have in an interval.
    pub(super) fn stretches(
        &self,
        connection: &Connection,
        tenant: &Tenant,
        interval: Interval,
    ) -> rusqlite::Result<Vec<Stretch>> {
        let mut found: HashMap<LaneId, Stretch> = HashMap::new();
        let mut add = |position: u64, lane: LaneId, number: u64| {
            let numbers = (number - 1, number);
            let stretch = found.entry(lane).or_insert(Stretch { lane, numbers, first: position });
            stretch.numbers.1 = number;
        };
        if interval.0 >= self.recent_after {
            let first = self.recent.partition_point(|(position, ..)| *position <= interval.0);
            let later = self.recent.range(first..);
            for (position, lane, number) in later.take_while(|(position, ..)| *position <= interval.1) {
                add(*position, *lane, *number);
            }
        } else {
            let mut statement = connection.prepare_cached(include_str!("sql/in_lanes.sql"))?;
            let mut rows = statement.query([interval.0 as i64, interval.1 as i64])?;
            while let Some(row) = rows.next()? {
                add(row.get::<_, i64>(0)? as u64, row.get(1)?, row.get::<_, i64>(2)? as u64);
            }
        }
        let of_tenant = |stretch: &Stretch| self.get(stretch.lane).is_some_and(|lane| lane.tenant == *tenant);
        Ok(found.into_values().filter(of_tenant).collect())
    }

    /// Writes what changed.
    pub(super) fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        for id in std::mem::take(&mut self.changed) {
            let Some(lane) = self.lanes.get(&id) else { continue };
            let names: Vec<&str> = lane.channels.iter().map(Channel::as_str).collect();
            connection.prepare_cached(include_str!("sql/upsert_lane.sql"))?.execute(params![
                id,
                lane.tenant.as_str(),
                serde_json::json!(names).to_string(),
                lane.is_live,
                lane.head as i64,
                lane.members as i64,
                lane.last_displaced as i64
            ])?;
        }
        Ok(())
    }
}

/// How many notifications a lane has up to a position.
pub(super) fn rank(connection: &Connection, lane: LaneId, position: u64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(include_str!("sql/lane_rank.sql"))?;
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let number: Option<i64> = statement.query_row([lane, position], |row| row.get(0))?;
    Ok(number.unwrap_or(0) as u64)
}
