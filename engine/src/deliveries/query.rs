//! What became of a notification: for each person and each of their devices, computed when it is asked for, and in all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use rusqlite::{OptionalExtension, params};
use schemars::JsonSchema;
use serde::Serialize;

use super::fold::{BLOCK, State};
use super::intervals::Interval;
use super::lanes::LaneId;
use super::person::{PersonId, history, merged};
use super::retraction::Retraction;
use crate::access::{Identity, Scope};
use crate::audience::Audience;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Event, Fact};
use crate::limits;
use crate::names::{Channel, DeviceName, UserId, UserKey};
use crate::notification::NotificationId;
use crate::position::Position;

/// Records of progress looked at to find out when a connection came past a notification; where that is not enough, the
/// time is left out.
const PROGRESS_LOOKED_AT: usize = 32;
/// Connections of one person looked at, the newest.
const CONNECTIONS_LOOKED_AT: i64 = 256;

/// How far a notification has come with a person: the furthest of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Status {
    /// It was never for them.
    NotRouted,
    /// It would have been for them, but was taken from them.
    Dropped,
    /// It has not gone out yet. It is for them when it does, unless they have left by then.
    Held,
    /// It is for them.
    Routed,
    /// It was written to one of their devices.
    Sent,
    /// One of their devices acknowledged it.
    Delivered,
    /// They read it.
    Read,
    /// They followed its action.
    Clicked,
}

/// Why a notification is for somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "by", rename_all = "camelCase")]
pub enum Rule {
    /// They were addressed by name.
    Name,
    /// They were a member of a channel that was addressed.
    Channel {
        /// Which: the first of them.
        channel: Channel,
        /// Since the event here.
        since: Position,
    },
}

/// Why a notification was taken from somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum DropReason {
    /// The publisher left them out.
    Excepted,
    /// Its publisher took it back before it was sent to them.
    Retracted,
    /// Its time was over before it was sent to them.
    Expired,
}

/// What became of a notification on a device. A time is that of the record, up to a second later than the thing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeviceDelivery {
    /// Which.
    pub device: DeviceName,
    /// How it was connected.
    pub transport: String,
    /// When it was sent, if that can still be told.
    pub sent_at: Option<Timestamp>,
    /// Whether it was acknowledged.
    pub delivered: bool,
    /// When, if that can be told.
    pub delivered_at: Option<Timestamp>,
}

/// What became of a notification for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PersonDelivery {
    /// Who.
    pub user: UserId,
    /// How far it came.
    pub status: Status,
    /// Why it is for them, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// Why it was taken from them, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<DropReason>,
    /// The devices to which it was sent.
    pub devices: Vec<DeviceDelivery>,
    /// When they read it first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// When they followed its action first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clicked_at: Option<Timestamp>,
    /// When it was taken back from everybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retracted_at: Option<Timestamp>,
}

/// How many people a notification came how far with. Each counts in every column that they reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Totals {
    /// People it was for, when it was published.
    pub routed: u64,
    /// Of them, those with a device to which it was written.
    pub sent: u64,
    /// Of them, those with a device that acknowledged it.
    pub delivered: u64,
    /// Of them, those who read it, were it only once.
    pub read: u64,
    /// Of them, those who followed its action.
    pub clicked: u64,
    /// People from whom it was taken: members of the channels addressed whom the publisher left out and, when it was
    /// retracted or expired, those to whom it had not been written.
    pub dropped: u64,
}

/// What became of a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deliveries {
    /// Which.
    pub id: NotificationId,
    /// Where it is in the log.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// When it goes out, if it has not yet. Until then the people are those addressed by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_until: Option<Timestamp>,
    /// In all.
    pub totals: Totals,
    /// Some of the people, by name.
    pub people: Vec<PersonDelivery>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<UserId>,
}

/// Whose deliveries are asked for.
#[derive(Clone, Debug, Default)]
pub struct DeliveriesQuery {
    /// How many people at most; 0 means [`limits::PAGE_DEFAULT`].
    pub limit: usize,
    /// Those after this one.
    pub after: Option<UserId>,
    /// Only this one.
    pub user: Option<UserId>,
}

/// What the view knows of one person and a notification.
struct Found {
    delivery: PersonDelivery,
    lines: Vec<Line>,
    retraction: Option<Retraction>,
}

/// A connection of theirs.
#[derive(Clone, Debug)]
struct Line {
    run: Position,
    number: u32,
    device: DeviceName,
    transport: String,
    began: Position,
    covers: Interval,
    acknowledged: Position,
    first: Position,
}

/// What is asked of the view.
pub(super) struct Question {
    pub(super) tenant: crate::names::Tenant,
    pub(super) position: Position,
    pub(super) audience: Audience,
    pub(super) is_live: bool,
    pub(super) query: DeliveriesQuery,
}

/// What it answers: totals, people, where the next page begins, and which records of progress tell the times.
type Answer = (Totals, Vec<Found>, Option<UserId>, Vec<Position>);

impl Engine {
    /// What became of a notification: in all, and for some of the people it was for.
    ///
    /// # Errors
    /// [`Error::Forbidden`] without the scope admin; [`Error::NotFound`] when the tenant has no such notification; see
    /// [`Error`].
    pub async fn deliveries(
        &self,
        identity: &Identity,
        id: NotificationId,
        query: DeliveriesQuery,
    ) -> Result<Deliveries, Error> {
        identity.require(Scope::Admin)?;
        self.settle_progress().await?;
        let event = match self.published_event(identity, id).await {
            Err(Error::NotFound { .. }) => match self.held_deliveries(identity, id, query.clone()).await {
                // It may have gone out between the two looks.
                Err(Error::NotFound { .. }) => self.published_event(identity, id).await?,
                held => return held,
            },
            found => found?,
        };
        let Some(published) = event.published() else { return Err(Error::Internal) };
        let question = Question {
            tenant: identity.tenant.clone(),
            position: event.position,
            audience: published.audience.clone(),
            is_live: !published.notification.inbox,
            query,
        };
        let (totals, found, next, records) =
            self.delivery_view().ask(move |state| state.answer(&question)).await?;
        let records = self.log().events_at(records).await?;
        let people = found.into_iter().map(|found| timed(found, event.position, &records)).collect();
        let (position, recorded_at) = (event.position, event.recorded_at);
        Ok(Deliveries { id, position, recorded_at, held_until: None, totals, people, next })
    }

    /// The event that published a notification of the tenant.
    pub(crate) async fn published_event(
        &self,
        identity: &Identity,
        id: NotificationId,
    ) -> Result<Arc<Event>, Error> {
        let tenant = identity.tenant.clone();
        let find = move |state: &mut State<'_>| {
            let sql = "SELECT position FROM notifications WHERE id = ?1 AND tenant = ?2";
            let mut statement = state.connection.prepare_cached(sql)?;
            let found = statement.query_row(params![id.as_bytes(), tenant.as_str()], |row| row.get(0));
            Ok(found.optional()?.map(Position::from_sql))
        };
        let position = self.delivery_view().ask(find).await?;
        let position = position.ok_or_else(|| Error::NotFound { field: "id".to_owned() })?;
        self.log().event(position).await?.ok_or(Error::Internal)
    }
}

impl State<'_> {
    fn answer(&mut self, question: &Question) -> rusqlite::Result<Answer> {
        let totals = self.totals(question)?;
        let (users, next) = match &question.query.user {
            Some(user) => (vec![user.clone()], None),
            None => self.users(question)?,
        };
        let mut found = Vec::with_capacity(users.len());
        for user in users {
            found.push(self.found(question, user)?);
        }
        let records = self.records(question, &found)?;
        Ok((totals, found, next, records))
    }

    fn lane_of(&self, question: &Question) -> Option<LaneId> {
        self.lanes.named(&question.tenant, &question.audience.channels, question.is_live)
    }

    /// How many people it came how far with: those of the channels by the difference arrays, those named one by one.
    pub(super) fn totals(&mut self, question: &Question) -> rusqlite::Result<Totals> {
        let sql = "SELECT routed, excepted, lane, number, clicked FROM notifications WHERE position = ?1";
        let row = self.connection.query_row(sql, [question.position.sql()], |row| {
            let place = (row.get::<_, Option<LaneId>>(2)?, row.get::<_, Option<i64>>(3)?);
            let count = |column| row.get::<_, i64>(column).map(|count| count as u64);
            Ok((
                Totals { routed: count(0)?, dropped: count(1)?, clicked: count(4)?, ..Totals::default() },
                place,
            ))
        });
        let (mut totals, place) = row?;
        if let (Some(lane), Some(number)) = place {
            let mut statement = self.connection.prepare_cached(include_str!("sql/total.sql"))?;
            let arguments = [lane, number, number / BLOCK as i64];
            (totals.sent, totals.delivered, totals.read) = statement.query_row(arguments, |row| {
                let count = |column| row.get::<_, i64>(column).map(|count| count as u64);
                Ok((count(0)?, count(1)?, count(2)?))
            })?;
        }
        for user in &question.audience.users {
            let key = UserKey { tenant: question.tenant.clone(), user: user.clone() };
            let Some(id) = self.find_id(&key)? else { continue };
            let person = self.person(id, &key)?;
            totals.sent += u64::from(person.sent.all.contains(question.position.0));
            totals.delivered += u64::from(person.delivered.all.contains(question.position.0));
            let is_read = !question.is_live && self.read_at(id, 0, question.position)?.is_some();
            totals.read += u64::from(is_read);
        }
        if self.retraction(question.position)?.is_some() {
            totals.dropped += totals.routed.saturating_sub(totals.sent);
        }
        Ok(totals)
    }

    /// Whom it was for, or would have been, by name: a page of them.
    fn users(&self, question: &Question) -> rusqlite::Result<(Vec<UserId>, Option<UserId>)> {
        let query = &question.query;
        let limit = if query.limit == 0 { limits::PAGE_DEFAULT } else { query.limit.min(limits::PAGE_MOST) };
        let after = query.after.as_ref().map_or("", UserId::as_str);
        let named = question.audience.users.iter().filter(|user| user.as_str() > after).take(limit + 1);
        let mut users: BTreeSet<UserId> = named.cloned().collect();
        for channel in &question.audience.channels {
            let mut statement = self.connection.prepare_cached(include_str!("sql/lane_page.sql"))?;
            let (tenant, at) = (question.tenant.as_str(), question.position.sql());
            let rows = statement
                .query_map(params![tenant, channel.as_str(), after, at, limit as i64 + 1], |row| {
                    row.get::<_, String>(0)
                })?;
            for user in rows {
                users.insert(UserId::stored(&user?));
            }
        }
        let mut users: Vec<UserId> = users.into_iter().take(limit + 1).collect();
        let next = (users.len() > limit).then(|| {
            users.truncate(limit);
            users.last().cloned()
        });
        Ok((users, next.flatten()))
    }

    /// What became of it for one person.
    fn found(&self, question: &Question, user: UserId) -> rusqlite::Result<Found> {
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

    fn read_at(
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

    /// The records of progress that may tell when connections came past a position.
    fn records(&self, question: &Question, found: &[Found]) -> rusqlite::Result<Vec<Position>> {
        let position = question.position;
        let after = |line: &Line| position.max(Position(line.first.0.saturating_sub(1)));
        let starts: BTreeSet<Position> =
            found.iter().flat_map(|found| found.lines.iter().map(after)).collect();
        let mut records: BTreeSet<Position> = BTreeSet::new();
        for start in starts {
            let sql = "SELECT position FROM progress WHERE tenant = ?1 AND position > ?2 ORDER BY position LIMIT ?3";
            let mut statement = self.connection.prepare_cached(sql)?;
            let arguments = params![question.tenant.as_str(), start.sql(), PROGRESS_LOOKED_AT as i64];
            for record in statement.query_map(arguments, |row| row.get(0).map(Position::from_sql))? {
                records.insert(record?);
            }
        }
        Ok(records.into_iter().collect())
    }
}

/// What became of a notification for a person, with the times that the records tell.
fn timed(found: Found, position: Position, records: &[Arc<Event>]) -> PersonDelivery {
    let Found { mut delivery, lines, retraction } = found;
    let mut devices: BTreeMap<DeviceName, DeviceDelivery> = BTreeMap::new();
    let covers = |line: &&Line| line.covers.0 < position.0 && position.0 <= line.covers.1;
    for line in lines.iter().filter(covers) {
        let delivered = line.acknowledged >= position;
        let sent_at = first_record(records, |event| is_past(event, line, position, false));
        let delivered_at = if delivered {
            first_record(records, |event| {
                is_past(event, line, position, true) || has_come_back(event, &delivery.user, line, position)
            })
        } else {
            None
        };
        let device = devices.entry(line.device.clone()).or_insert_with(|| DeviceDelivery {
            device: line.device.clone(),
            transport: line.transport.clone(),
            sent_at,
            delivered: false,
            delivered_at: None,
        });
        device.delivered |= delivered;
        device.delivered_at = device.delivered_at.or(delivered_at);
    }
    delivery.devices = devices.into_values().collect();
    let furthest =
        delivery.devices.iter().map(|device| if device.delivered { Status::Delivered } else { Status::Sent });
    if let Some(furthest) = furthest.max()
        && delivery.rule.is_some()
    {
        delivery.status = delivery.status.max(furthest);
    }
    delivery.retracted_at = retraction.and_then(|retraction| retraction.at);
    let was_taken = delivery.rule.is_some() && delivery.devices.is_empty();
    if let Some(retraction) = retraction.filter(|_| was_taken) {
        delivery.reason = Some(retraction.reason);
        if delivery.status == Status::Routed {
            delivery.status = Status::Dropped; // without a device it may have been read over HTTP all the same
        }
    }
    delivery
}

fn first_record(records: &[Arc<Event>], tells: impl Fn(&Event) -> bool) -> Option<Timestamp> {
    records.iter().find(|event| tells(event)).map(|event| event.recorded_at)
}

/// Whether a record says that a connection came past a position.
fn is_past(event: &Event, line: &Line, position: Position, acknowledged: bool) -> bool {
    let Fact::Progress(progress) = &event.fact else { return false };
    progress.run == line.run
        && progress.reached.iter().any(|reached| {
            let place = if acknowledged { reached.acknowledged } else { reached.sent };
            place >= position && reached.connections.0.contains(line.number)
        })
}

/// Whether a record says that the device came back and had it.
fn has_come_back(event: &Event, user: &UserId, line: &Line, position: Position) -> bool {
    let Fact::Progress(progress) = &event.fact else { return false };
    event.position >= line.first
        && progress.connections.iter().any(|connected| {
            connected.user == *user
                && connected.device == line.device
                && connected.had.is_some_and(|had| had >= position)
        })
}
