//! What became of a notification for one person, as far as the view knows it without looking at the log.

use jiff::Timestamp;
use rusqlite::OptionalExtension;

use super::fold::State;
use super::intervals::Interval;
use super::lanes::LaneId;
use super::person::{PersonId, history, merged};
use super::query::Question;
use super::retraction::Retraction;
use super::status::{DropReason, PersonDelivery, Rule, Status};
use crate::audience::Audience;
use crate::names::{Channel, DeviceName, UserId, UserKey};
use crate::position::Position;

/// Connections of one person looked at, the newest.
const CONNECTIONS_LOOKED_AT: i64 = 256;

/// What the view knows of one person and a notification.
pub(super) struct Found {
    pub(super) delivery: PersonDelivery,
    pub(super) lines: Vec<Line>,
    pub(super) retraction: Option<Retraction>,
}

/// A connection of theirs.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) run: Position,
    pub(super) number: u32,
    pub(super) device: DeviceName,
    pub(super) transport: String,
    pub(super) began: Position,
    pub(super) covers: Interval,
    pub(super) acknowledged: Position,
    pub(super) first: Position,
}

impl State<'_> {
    /// What became of it for one person.
    pub(super) fn found(&self, question: &Question, user: UserId) -> rusqlite::Result<Found> {
        let (position, audience) = (question.position, &question.audience);
        let key = UserKey { tenant: question.tenant.clone(), user };
        let is_named = audience.users.contains(&key.user);
        let member = self.membership_at(&key, audience, position)?;
        let is_excepted = member.is_some() && audience.except.contains(&key.user);
        let rule = match member {
            _ if is_named => Some(Rule::Name),
            Some((channel, since)) if !is_excepted => Some(Rule::Channel { channel, since }),
            _ => None,
        };
        let reason = (is_excepted && !is_named).then_some(DropReason::Excepted);
        let retraction = self.retraction(position)?;
        let (mut lines, mut read_at, mut clicked_at) = (Vec::new(), None, None);
        if let (Some(rule), Some(id)) = (&rule, self.find_id(&key)?) {
            lines = self.lines(id)?;
            clicked_at = self.clicked_at(id, position)?;
            let lane = if *rule == Rule::Name { Some(0) } else { self.lane_of(question) };
            // What has no inbox cannot be read.
            if let Some(lane) = lane.filter(|_| !question.is_live) {
                read_at = self.read_at(id, lane, position)?;
            }
            if let Some(retraction) = retraction {
                lines.retain(|line| line.covers.0 >= position.0 || line.began < retraction.by);
            }
            if *rule != Rule::Name {
                // What was left is not shown to a connection that began afterwards.
                let spans = self.spans(&key, audience)?;
                lines.retain(|line| {
                    let seen = merged(spans.clone(), question.is_live, line.began);
                    line.covers.0 >= position.0 // it may tell when another was acknowledged
                        || seen.iter().any(|span| span.0 < position.0 && position.0 <= span.1)
                });
            }
        }
        let status = match (&rule, reason) {
            (None, None) => Status::NotRouted,
            (None, Some(_)) => Status::Dropped,
            (Some(_), _) if clicked_at.is_some() => Status::Clicked,
            (Some(_), _) if read_at.is_some() => Status::Read,
            (Some(_), _) => Status::Routed, // what its devices say comes later
        };
        let (user, devices) = (key.user, Vec::new());
        let retracted_at = None;
        let delivery =
            PersonDelivery { user, status, rule, reason, devices, read_at, clicked_at, retracted_at };
        Ok(Found { delivery, lines, retraction })
    }

    /// Through which of the channels addressed it reached a person, and since when they were a member.
    fn membership_at(
        &self,
        key: &UserKey,
        audience: &Audience,
        position: Position,
    ) -> rusqlite::Result<Option<(Channel, Position)>> {
        for channel in &audience.channels {
            let spans = history(self.connection, key, channel)?;
            let at = spans.iter().find(|(_, span)| span.0 < position.0 && position.0 <= span.1);
            if let Some((channel, span)) = at {
                return Ok(Some((channel.clone(), Position(span.0))));
            }
        }
        Ok(None)
    }

    fn spans(&self, key: &UserKey, audience: &Audience) -> rusqlite::Result<Vec<Interval>> {
        let mut spans = Vec::new();
        for channel in &audience.channels {
            spans.extend(history(self.connection, key, channel)?.into_iter().map(|(_, span)| span));
        }
        Ok(spans)
    }

    fn lines(&self, person: PersonId) -> rusqlite::Result<Vec<Line>> {
        let mut statement = self.connection.prepare_cached(include_str!("sql/connections_of.sql"))?;
        let rows = statement.query_map([person, CONNECTIONS_LOOKED_AT], |row| {
            let position = |column| row.get(column).map(Position::from_sql);
            let covers = (row.get::<_, i64>(5)? as u64, row.get::<_, i64>(6)? as u64);
            Ok(Line {
                run: position(0)?,
                number: row.get(1)?,
                device: DeviceName::stored(&row.get::<_, String>(2)?),
                transport: row.get(3)?,
                began: position(4)?,
                covers,
                acknowledged: position(7)?,
                first: position(8)?,
            })
        })?;
        rows.collect()
    }

    pub(super) fn read_at(
        &self,
        person: PersonId,
        lane: LaneId,
        position: Position,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let sql = "SELECT read_at FROM reads WHERE person = ?1 AND lane = ?2 AND after < ?3 AND up_to >= ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let at: Option<i64> =
            statement.query_row([person, lane, position.sql()], |row| row.get(0)).optional()?;
        Ok(at.and_then(|at| Timestamp::from_millisecond(at).ok()))
    }

    fn lane_of(&self, question: &Question) -> Option<LaneId> {
        self.lanes.named(&question.tenant, &question.audience.channels, question.is_live)
    }
}
