//! What was taken back: nothing of it is sent to a connection that begins afterwards, nobody reads it afterwards, and
//! whom it did not reach before, it was taken from.

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};

use super::fold::State;
use super::intervals::Interval;
use super::query::Question;
use super::status::DropReason;
use crate::event::{Event, RetractReason, Retracted};
use crate::names::Tenant;
use crate::position::Position;

/// That a notification was taken back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retraction {
    /// By the event here.
    pub(super) by: Position,
    pub(super) at: Option<Timestamp>,
    pub(super) reason: DropReason,
}

const EXPIRED: i64 = 1;

impl State<'_> {
    pub(super) fn retract(&mut self, event: &Event, retracted: &Retracted) -> rusqlite::Result<()> {
        let expired = i64::from(retracted.reason == RetractReason::Expired);
        let at = event.recorded_at.as_millisecond();
        let mut update = self.connection.prepare_cached(include_str!("sql/retract.sql"))?;
        let kind = update
            .query_row(params![retracted.position.sql(), event.position.sql(), at, expired], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))
            });
        let kind = kind.optional()?;
        drop(update);
        let Some(kind) = kind else { return Ok(()) };
        self.forget_retracted(retracted.position)?;
        self.write()?; // what was sent has to be in the totals
        let question = Question {
            tenant: event.tenant.clone(),
            position: retracted.position,
            audience: retracted.audience.clone(),
            is_live: !retracted.inbox,
            query: Default::default(),
        };
        let totals = self.totals(&question)?;
        let counters = self.minutes.counters(self.connection, &event.tenant, at, kind, "")?;
        counters.dropped += totals.routed.saturating_sub(totals.sent);
        Ok(())
    }

    /// Whether a notification was taken back.
    pub(super) fn retraction(&self, position: Position) -> rusqlite::Result<Option<Retraction>> {
        let sql = "SELECT retracted, retracted_at, expired FROM notifications
            WHERE position = ?1 AND retracted IS NOT NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row([position.sql()], |row| {
            let reason =
                if row.get::<_, i64>(2)? == EXPIRED { DropReason::Expired } else { DropReason::Retracted };
            let at = Timestamp::from_millisecond(row.get(1)?).ok();
            Ok(Retraction { by: Position::from_sql(row.get(0)?), at, reason })
        });
        found.optional()
    }

    /// What of an interval was taken back, and by which events.
    pub(super) fn retracted_in(
        &self,
        tenant: &Tenant,
        (after, up_to): Interval,
    ) -> rusqlite::Result<Vec<(u64, Position)>> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/retracted_in.sql"))?;
        let rows = statement.query_map(params![tenant.as_str(), after as i64, up_to as i64], |row| {
            Ok((row.get::<_, i64>(0)? as u64, Position::from_sql(row.get(1)?)))
        })?;
        rows.collect()
    }
}

/// An interval without what events up to a position took out of it.
pub(super) fn without(
    (after, up_to): Interval,
    retracted: &[(u64, Position)],
    by: Position,
) -> Vec<Interval> {
    let (mut parts, mut at) = (Vec::new(), after);
    for (gone, _) in retracted.iter().filter(|(gone, at)| *at <= by && *gone > after && *gone <= up_to) {
        if at + 1 < *gone {
            parts.push((at, gone - 1));
        }
        at = *gone;
    }
    if at < up_to {
        parts.push((at, up_to));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_back_is_cut_out() {
        let retracted = [(3, Position(10)), (4, Position(30)), (7, Position(12))];
        assert_eq!(without((0, 9), &retracted, Position(20)), [(0, 2), (3, 6), (7, 9)]);
        assert_eq!(without((0, 9), &retracted, Position(5)), [(0, 9)]);
        assert_eq!(without((2, 3), &retracted, Position(20)), []);
        assert_eq!(without((2, 4), &retracted, Position(40)), []);
    }
}
