//! Notifications that are held until they go out: nobody has them yet, and whom they will be for is decided then.

use super::explain::{Explanation, audience_said};
use super::status::{Deliveries, DeliveriesQuery, PersonDelivery, Rule, Status, Totals};
use crate::access::Identity;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Fact, Scheduled};
use crate::inbox::timers;
use crate::limits;
use crate::names::{UserId, UserKey};
use crate::notification::NotificationId;
use crate::position::Position;

/// A notification that waits.
struct Held {
    position: Position,
    recorded_at: jiff::Timestamp,
    scheduled: Box<Scheduled>,
}

impl Engine {
    /// What is to become of a notification that has not gone out: those addressed by name, for whom it is held.
    pub(super) async fn held_deliveries(
        &self,
        identity: &Identity,
        id: NotificationId,
        query: DeliveriesQuery,
    ) -> Result<Deliveries, Error> {
        let held = self.held(identity, id).await?;
        let audience = &held.scheduled.published.audience;
        let limit = if query.limit == 0 { limits::PAGE_DEFAULT } else { query.limit.min(limits::PAGE_MOST) };
        let mut people = Vec::new();
        if let Some(user) = query.user {
            people.push(self.held_for(identity, &held, user).await?);
        } else {
            let after = query.after.as_ref();
            let named = audience.users.iter().filter(|user| after.is_none_or(|after| *user > after));
            people.extend(
                named.take(limit + 1).map(|user| person(user.clone(), Status::Held, Some(Rule::Name))),
            );
        }
        let next = (people.len() > limit).then(|| {
            people.truncate(limit);
            people.last().map(|person| person.user.clone())
        });
        Ok(Deliveries {
            id,
            position: held.position,
            recorded_at: held.recorded_at,
            held_until: held.scheduled.published.notification.deliver_at,
            totals: Totals::default(),
            people,
            next: next.flatten(),
        })
    }

    /// Why somebody has not got a notification that has not gone out.
    pub(super) async fn explain_held(
        &self,
        identity: &Identity,
        id: NotificationId,
        user: UserId,
    ) -> Result<Explanation, Error> {
        let held = self.held(identity, id).await?;
        let delivery = self.held_for(identity, &held, user.clone()).await?;
        let (published, at) = (&held.scheduled.published, held.recorded_at);
        let (kind, by, to) =
            (&published.notification.kind, &published.publisher, audience_said(&published.audience));
        let mut sentences =
            vec![format!("It is a {kind}, published by {by} at {at}, position {}, to {to}.", held.position)];
        if let Some(until) = published.notification.deliver_at {
            sentences.push(format!("It is held until {until}: nobody has it yet."));
        }
        sentences.push(match (&delivery.status, &delivery.rule) {
            (Status::Held, Some(_)) => format!("{user} is addressed by name, and gets it then."),
            (Status::Held, None) => {
                format!("{user} is a member of what it is addressed to, and gets it if they still are then.")
            }
            _ if published.audience.except.contains(&user) => {
                format!("{user} was left out by the publisher.")
            }
            _ => format!("{user} is not among those it is addressed to now."),
        });
        let (position, memberships) = (held.position, Vec::new());
        Ok(Explanation { id, position, delivery, memberships, inbox: None, sentences })
    }

    /// What is held. What goes out in this moment is not found as such: whoever asks again finds it published.
    async fn held(&self, identity: &Identity, id: NotificationId) -> Result<Held, Error> {
        self.reach_view(self.log().head()).await?;
        let tenant = identity.tenant.clone();
        let timer = self.on_view(move |view| timers::scheduled(view, &tenant, &id)).await?;
        let timer = timer.ok_or_else(|| Error::NotFound { field: "id".to_owned() })?;
        let event = self.log().event(timer.position).await?.ok_or(Error::Internal)?;
        let Fact::Scheduled(scheduled) = &event.fact else { return Err(Error::Internal) };
        Ok(Held { position: event.position, recorded_at: event.recorded_at, scheduled: scheduled.clone() })
    }

    /// How it stands with one person: as their memberships are now.
    async fn held_for(
        &self,
        identity: &Identity,
        held: &Held,
        user: UserId,
    ) -> Result<PersonDelivery, Error> {
        let audience = &held.scheduled.published.audience;
        if audience.users.contains(&user) {
            return Ok(person(user, Status::Held, Some(Rule::Name)));
        }
        let key = UserKey { tenant: identity.tenant.clone(), user: user.clone() };
        let member = self.inbox_of(&key, self.log().head()).await?.person;
        let is_meant = audience.channels.iter().any(|channel| member.is_member(channel));
        let status =
            if is_meant && !audience.except.contains(&user) { Status::Held } else { Status::NotRouted };
        Ok(person(user, status, None))
    }
}

fn person(user: UserId, status: Status, rule: Option<Rule>) -> PersonDelivery {
    let (reason, devices) = (None, Vec::new());
    PersonDelivery {
        user,
        status,
        rule,
        reason,
        devices,
        read_at: None,
        clicked_at: None,
        retracted_at: None,
    }
}
