//! Who was in which channel when, as the log tells it.

use super::fold::State;
use super::person::{Member, bit};
use crate::event::{Event, Maker, Membership};
use crate::names::{Channel, UserKey};
use crate::position::Position;
use crate::sqlite::Connection;
use rusqlite::params;

impl State<'_> {
    pub(super) fn join(&mut self, event: &Event, membership: &Membership) -> rusqlite::Result<()> {
        for user in &membership.users {
            let key = UserKey { tenant: event.tenant.clone(), user: user.clone() };
            if !self.claims_count(&key, membership)? {
                continue;
            }
            self.hear(&key, event.position)?;
            for channel in membership.channels.iter().filter(|channel| !channel.is_everyone()) {
                self.begin_membership(&key, channel, event.position, bit(membership.by))?;
            }
        }
        Ok(())
    }

    /// Somebody the server has not heard of before is a member of `everyone` from now on.
    pub(super) fn hear(&mut self, key: &UserKey, position: Position) -> rusqlite::Result<()> {
        let (_, person) = self.change(key)?;
        if person.memberships.contains_key(&Channel::everyone()) {
            return Ok(());
        }
        self.begin_membership(key, &Channel::everyone(), position, 0)
    }

    pub(super) fn begin_membership(
        &mut self,
        key: &UserKey,
        channel: &Channel,
        since: Position,
        maker: u8,
    ) -> rusqlite::Result<()> {
        let connection = self.connection;
        let (_, person) = self.change(key)?;
        if let Some(member) = person.memberships.get_mut(channel) {
            member.makers |= maker;
            return write_makers(connection, key, channel, *member);
        }
        let before = person.clone();
        let member = Member { since, makers: maker };
        person.memberships.insert(channel.clone(), member);
        for lane in self.lanes.of_channel(&key.tenant, channel) {
            if let Some(lane) = self.lanes.get_mut(lane)
                && !before.is_in(lane)
            {
                lane.members += 1;
            }
        }
        let mut insert = connection.prepare_cached(include_str!("sql/insert_membership.sql"))?;
        let (tenant, user) = (key.tenant.as_str(), key.user.as_str());
        insert.execute(params![tenant, channel.as_str(), user, since.sql(), maker])?;
        Ok(())
    }

    pub(super) fn leave(&mut self, event: &Event, membership: &Membership) -> rusqlite::Result<()> {
        for user in &membership.users {
            let key = UserKey { tenant: event.tenant.clone(), user: user.clone() };
            if !self.claims_count(&key, membership)? {
                continue;
            }
            for channel in membership.channels.iter().filter(|channel| !channel.is_everyone()) {
                self.end_membership(&key, channel, event.position, bit(membership.by))?;
            }
        }
        Ok(())
    }

    pub(super) fn end_membership(
        &mut self,
        key: &UserKey,
        channel: &Channel,
        until: Position,
        maker: u8,
    ) -> rusqlite::Result<()> {
        let lanes = self.lanes.of_channel(&key.tenant, channel);
        let connection = self.connection;
        let (id, person) = self.change(key)?;
        let Some(member) = person.memberships.get_mut(channel) else { return Ok(()) };
        member.makers &= !maker;
        if member.makers != 0 {
            return write_makers(connection, key, channel, *member);
        }
        let since = member.since;
        person.memberships.remove(channel);
        person.has_left = true;
        for lane in &lanes {
            person.sent.set_apart(*lane);
            person.delivered.set_apart(*lane);
        }
        let has_snoozes = self.has_snoozes(id)?;
        for lane_id in lanes {
            let is_in = |lane: &_| self.people.get(&id).is_some_and(|person| person.is_in(lane));
            if let Some(lane) = self.lanes.get_mut(lane_id)
                && !is_in(lane)
            {
                lane.members -= 1;
                if has_snoozes {
                    self.forget_left(id, lane_id)?;
                }
            }
        }
        let mut end = self.connection.prepare_cached(include_str!("sql/end_membership.sql"))?;
        let (tenant, user) = (key.tenant.as_str(), key.user.as_str());
        end.execute(params![tenant, channel.as_str(), user, since.sql(), until.sql()])?;
        Ok(())
    }

    /// Whether a change of membership counts: claims only when no newer token has spoken.
    pub(super) fn claims_count(&mut self, key: &UserKey, membership: &Membership) -> rusqlite::Result<bool> {
        let Some(issued_at) = membership.issued_at.filter(|_| membership.by == Maker::Claims) else {
            return Ok(true);
        };
        let (_, person) = self.change(key)?;
        if person.claims_issued_at.is_some_and(|newest| newest > issued_at) {
            return Ok(false);
        }
        person.claims_issued_at = Some(issued_at);
        Ok(true)
    }
}

fn write_makers(
    connection: &Connection,
    key: &UserKey,
    channel: &Channel,
    member: Member,
) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(include_str!("sql/update_makers.sql"))?;
    let (tenant, user) = (key.tenant.as_str(), key.user.as_str());
    update.execute(params![tenant, channel.as_str(), user, member.since.sql(), member.makers])?;
    Ok(())
}
