//! Which kinds of notifications a person did something with, for the stats.

use rusqlite::params;

use super::fold::State;
use super::intervals::Interval;
use super::lanes::LaneId;
use super::person::PersonId;
use crate::names::Tenant;
use crate::stats::Counters;

/// Notifications by type and by what stands for their audience.
pub(super) type Kinds = Vec<(String, String, u64)>;

impl State<'_> {
    /// What a lane has in an interval, but for what does not reach a person through it.
    pub(super) fn kinds_in_lane(
        &self,
        person: PersonId,
        lane: LaneId,
        (after, up_to): Interval,
    ) -> rusqlite::Result<Kinds> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/kinds_in_lane.sql"))?;
        let up_to = i64::try_from(up_to).unwrap_or(i64::MAX);
        let rows = statement.query_map(params![person, lane, after as i64, up_to], kind)?;
        rows.collect()
    }

    /// What was addressed to a person by name in an interval; `in_inbox` leaves out what was only shown live.
    pub(super) fn own_kinds(
        &self,
        person: PersonId,
        (after, up_to): Interval,
        in_inbox: bool,
    ) -> rusqlite::Result<Kinds> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/own_kinds.sql"))?;
        let rows = statement.query_map(params![person, after as i64, up_to as i64, in_inbox], kind)?;
        rows.collect()
    }

    /// Counts kinds of notifications in a minute.
    pub(super) fn count_kinds(
        &mut self,
        tenant: &Tenant,
        at: i64,
        transport: &str,
        kinds: Kinds,
        counter: impl Fn(&mut Counters) -> &mut u64,
    ) -> rusqlite::Result<()> {
        for (kind, channel, count) in kinds {
            let counters = self.minutes.counters(self.connection, tenant, at, (kind, channel), transport)?;
            *counter(counters) += count;
        }
        Ok(())
    }
}

fn kind(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String, u64)> {
    Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)? as u64))
}
