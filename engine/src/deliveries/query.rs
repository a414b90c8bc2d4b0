//! What became of a notification, computed when it is asked for: in all, and for a page of the people it was for.

use std::collections::BTreeSet;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::fold::{BLOCK, State};
use super::found::Found;
use super::lanes::LaneId;
use super::status::{Deliveries, DeliveriesQuery, Totals};
use super::times::timed;
use crate::access::{Identity, Scope};
use crate::audience::Audience;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::Event;
use crate::limits;
use crate::names::{Tenant, UserId, UserKey};
use crate::notification::NotificationId;
use crate::position::Position;

/// What is asked of the view.
pub(super) struct Question {
    pub(super) tenant: Tenant,
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
}
