//! What people put off and have not read yet. A read-all does not read what came back after what it had seen.
//!
//! By the rules of the inbox (`inbox/reading.rs`). Never holds what was read once: nothing takes that back.

use rusqlite::{OptionalExtension, params};

use super::fold::State;
use super::lanes::LaneId;
use super::person::PersonId;
use crate::event::{Event, Mark, Marked, Snoozed, Woken};
use crate::names::{Tenant, UserKey};
use crate::notification::NotificationId;
use crate::position::Position;

/// What a read-all leaves unread: of which lane, where it was published, and where it woke.
pub(super) struct WokenSince {
    pub(super) lane: LaneId,
    pub(super) published: u64,
    pub(super) woken: Position,
}

impl State<'_> {
    /// Notes what a person put off, as far as it is theirs and they never read it.
    pub(super) fn snooze(&mut self, event: &Event, snoozed: &Snoozed) -> rusqlite::Result<()> {
        let key = UserKey { tenant: event.tenant.clone(), user: snoozed.user.clone() };
        let id = self.id(&key)?;
        for entry in &snoozed.entries {
            let Some((lane, position)) = self.in_inbox(id, &key.tenant, &entry.id, event.position)? else {
                continue;
            };
            if !self.not_read(id, lane, (position - 1, position))?.is_empty() {
                let mut upsert = self.connection.prepare_cached(include_str!("sql/upsert_snooze.sql"))?;
                upsert.execute(params![id, position as i64, lane, event.position.sql()])?;
            }
        }
        Ok(())
    }

    /// Brings back what a person put off, if the event means that it is put off by the event that did it.
    pub(super) fn wake(&mut self, event: &Event, woken: &Woken) -> rusqlite::Result<()> {
        let key = UserKey { tenant: event.tenant.clone(), user: woken.user.clone() };
        let Some(id) = self.find_id(&key)? else { return Ok(()) };
        let snoozed_at = woken.snoozed_at.map(Position::sql);
        let mut wake = self.connection.prepare_cached(include_str!("sql/wake.sql"))?;
        wake.execute(params![id, woken.entry.id.as_bytes(), snoozed_at, event.position.sql()])?;
        Ok(())
    }

    /// What goes to the archive is not put off any more, and what is deleted never comes back.
    pub(super) fn mark(&mut self, event: &Event, mark: Mark, marked: &Marked) -> rusqlite::Result<()> {
        let sql = match mark {
            Mark::Archived => include_str!("sql/archive_snoozed.sql"),
            Mark::Deleted => include_str!("sql/delete_snoozed.sql"),
            Mark::Unread | Mark::Unarchived | Mark::Pinned | Mark::Unpinned => return Ok(()),
        };
        let key = UserKey { tenant: event.tenant.clone(), user: marked.user.clone() };
        let Some(id) = self.find_id(&key)? else { return Ok(()) };
        if !self.has_snoozes(id)? {
            return Ok(());
        }
        for entry in &marked.entries {
            self.connection.prepare_cached(sql)?.execute(params![id, entry.id.as_bytes()])?;
        }
        let sql = "DELETE FROM snoozes WHERE person = ?1 AND snoozed_at IS NULL AND woken_at IS NULL";
        self.connection.prepare_cached(sql)?.execute([id])?;
        Ok(())
    }

    /// What came back to a person after a position, of what was published by then, in order.
    pub(super) fn woken_since(&self, id: PersonId, had_seen: Position) -> rusqlite::Result<Vec<WokenSince>> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/woken_since.sql"))?;
        let rows = statement.query_map([id, had_seen.sql()], |row| {
            let (lane, published) = (row.get(0)?, row.get::<_, i64>(1)? as u64);
            Ok(WokenSince { lane, published, woken: Position::from_sql(row.get(2)?) })
        })?;
        rows.collect()
    }

    /// Whether anything is noted here of a person. Nearly always nothing is.
    pub(super) fn has_snoozes(&self, id: PersonId) -> rusqlite::Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM snoozes WHERE person = ?1)";
        self.connection.prepare_cached(sql)?.query_row([id], |row| row.get(0))
    }

    /// Forgets what a person read up to a position.
    pub(super) fn forget_read_up_to(&mut self, id: PersonId, had_seen: Position) -> rusqlite::Result<()> {
        let sql = "DELETE FROM snoozes
            WHERE person = ?1 AND position <= ?2 AND (woken_at IS NULL OR woken_at <= ?2)";
        self.connection.prepare_cached(sql)?.execute([id, had_seen.sql()])?;
        Ok(())
    }

    /// Forgets one that a person read.
    pub(super) fn forget_read(&mut self, id: PersonId, position: u64) -> rusqlite::Result<()> {
        let sql = "DELETE FROM snoozes WHERE person = ?1 AND position = ?2";
        self.connection.prepare_cached(sql)?.execute([id, position as i64])?;
        Ok(())
    }

    /// Forgets what a person had through a lane that they left.
    pub(super) fn forget_left(&mut self, id: PersonId, lane: LaneId) -> rusqlite::Result<()> {
        let sql = "DELETE FROM snoozes WHERE person = ?1 AND lane = ?2";
        self.connection.prepare_cached(sql)?.execute([id, lane])?;
        Ok(())
    }

    /// Forgets what was taken back from everybody.
    pub(super) fn forget_retracted(&mut self, position: Position) -> rusqlite::Result<()> {
        let sql = "DELETE FROM snoozes WHERE position = ?1";
        self.connection.prepare_cached(sql)?.execute([position.sql()])?;
        Ok(())
    }

    /// Through which lane a person has a notification now, and where it was published; `None` when they do not have it.
    fn in_inbox(
        &self,
        id: PersonId,
        tenant: &Tenant,
        notification: &NotificationId,
        now: Position,
    ) -> rusqlite::Result<Option<(LaneId, u64)>> {
        let sql = "SELECT position, lane FROM notifications
            WHERE id = ?1 AND tenant = ?2 AND inbox AND retracted IS NULL";
        let mut statement = self.connection.prepare_cached(sql)?;
        let found = statement.query_row(params![notification.as_bytes(), tenant.as_str()], |row| {
            Ok((row.get::<_, i64>(0)? as u64, row.get::<_, Option<LaneId>>(1)?))
        });
        let Some((position, lane)) = found.optional()? else { return Ok(None) };
        if self.is_own(id, position)? {
            return Ok(Some((0, position)));
        }
        let lane = lane.and_then(|lane| self.lanes.get(lane));
        let Some((lane, person)) = lane.zip(self.people.get(&id)) else { return Ok(None) };
        let theirs = person.theirs(self.connection, lane, now)?;
        let is_theirs = theirs.iter().any(|span| span.0 < position && position <= span.1);
        Ok((person.is_in(lane) && is_theirs).then_some((lane.id, position)))
    }
}

#[cfg(test)]
mod tests;
