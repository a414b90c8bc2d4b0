//! Why somebody did or did not get something, in plain words.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::person::history;
use super::status::{DeliveriesQuery, DropReason, PersonDelivery, Rule};
use crate::access::Identity;
use crate::audience::Audience;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Event, Published};
use crate::names::{Channel, UserId, UserKey};
use crate::notification::NotificationId;
use crate::position::Position;

/// Names in a sentence at most.
const NAMES_SAID: usize = 5;

/// A time at which somebody was a member of a channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Span {
    /// Which.
    pub channel: Channel,
    /// From the event here on.
    pub since: Position,
    /// When that was.
    pub since_at: Option<Timestamp>,
    /// To the event here; `None` when they still are.
    pub until: Option<Position>,
    /// When that was.
    pub until_at: Option<Timestamp>,
}

/// How a notification stands in somebody's inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InInbox {
    /// Whether it is read now.
    pub read: bool,
    /// Whether the list was opened since it came.
    pub seen: bool,
    /// Whether it is in the archive.
    pub archived: bool,
    /// Whether it is pinned.
    pub pinned: bool,
    /// Until when it is put off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snoozed_until: Option<Timestamp>,
}

/// Why somebody did or did not get a notification.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Which.
    pub id: NotificationId,
    /// Where it is in the log.
    pub position: Position,
    /// What became of it for them.
    pub delivery: PersonDelivery,
    /// When they were members of the channels addressed.
    pub memberships: Vec<Span>,
    /// How it stands in their inbox; `None` when it is not there.
    pub inbox: Option<InInbox>,
    /// All of it in words.
    pub sentences: Vec<String>,
}

impl Engine {
    /// Why somebody did or did not get a notification.
    ///
    /// # Errors
    /// As [`deliveries`](Self::deliveries).
    pub async fn explain(
        &self,
        identity: &Identity,
        id: NotificationId,
        user: UserId,
    ) -> Result<Explanation, Error> {
        let query = DeliveriesQuery { user: Some(user.clone()), ..DeliveriesQuery::default() };
        let deliveries = self.deliveries(identity, id, query).await?;
        if deliveries.held_until.is_some() {
            return self.explain_held(identity, id, user).await;
        }
        let delivery = deliveries.people.into_iter().next().ok_or(Error::Internal)?;
        let event = self.published_event(identity, id).await?;
        let published = event.published().ok_or(Error::Internal)?;
        let key = UserKey { tenant: identity.tenant.clone(), user };
        let memberships = self.spans(&key, &published.audience).await?;
        let inbox = self.inbox_of(&key, self.log().head()).await?;
        let is_known = inbox.person.is_known();
        let found = self.look(inbox, move |inbox, connection| inbox.find(connection, &id)).await?;
        let inbox = found.map(|found| InInbox {
            read: found.item.read,
            seen: found.item.seen,
            archived: found.item.archived,
            pinned: found.item.pinned,
            snoozed_until: found.item.snoozed_until,
        });
        let is_recorded = self.reports().is_some();
        let facts =
            Facts { event: &event, published, key, delivery: &delivery, memberships: &memberships, inbox };
        let sentences = facts.sentences(is_known, is_recorded);
        Ok(Explanation { id, position: event.position, delivery, memberships, inbox, sentences })
    }

    /// When a person was a member of the channels addressed.
    async fn spans(&self, key: &UserKey, audience: &Audience) -> Result<Vec<Span>, Error> {
        let (key, channels) = (key.clone(), audience.channels.clone());
        let asked = self.delivery_view().ask(move |state| {
            let mut spans = Vec::new();
            for channel in &channels {
                spans.extend(history(state.connection, &key, channel)?);
            }
            Ok(spans)
        });
        let spans = asked.await?;
        let ends = spans.iter().flat_map(|(_, span)| [span.0, span.1]).filter(|end| *end != u64::MAX);
        let mut ends: Vec<Position> = ends.map(Position).collect();
        ends.sort_unstable();
        ends.dedup();
        let events = self.log().events_at(ends).await?;
        let times: BTreeMap<Position, Timestamp> =
            events.iter().map(|event: &Arc<Event>| (event.position, event.recorded_at)).collect();
        let span = |(channel, (since, until)): (Channel, (u64, u64))| {
            let until = (until != u64::MAX).then_some(Position(until));
            let (since_at, until_at) =
                (times.get(&Position(since)).copied(), until.and_then(|until| times.get(&until).copied()));
            Span { channel, since: Position(since), since_at, until, until_at }
        };
        Ok(spans.into_iter().map(span).collect())
    }
}

/// What is to be said.
struct Facts<'a> {
    event: &'a Event,
    published: &'a Published,
    key: UserKey,
    delivery: &'a PersonDelivery,
    memberships: &'a [Span],
    inbox: Option<InInbox>,
}

/// Whom a notification is addressed to, in words.
pub(super) fn audience_said(audience: &Audience) -> String {
    let mut to: Vec<String> = audience.channels.iter().map(ToString::to_string).collect();
    match audience.users.len() {
        0 => {}
        count if count <= NAMES_SAID => to.extend(audience.users.iter().map(ToString::to_string)),
        count => to.push(format!("{count} people by name")),
    }
    to.join(", ")
}

impl Facts<'_> {
    fn sentences(&self, is_known: bool, is_recorded: bool) -> Vec<String> {
        let mut sentences = vec![self.publishing()];
        if !is_known && self.delivery.rule.is_none() {
            sentences.push(format!("The server has never heard of {}.", self.key.user));
            return sentences;
        }
        self.routing(&mut sentences);
        if self.delivery.rule.is_some() {
            self.devices(is_recorded, &mut sentences);
            self.doings(&mut sentences);
        }
        if let Some(at) = self.delivery.retracted_at {
            sentences.push(format!(
                "It was taken back from everybody at {at}, by its publisher or as its time was over."
            ));
        }
        sentences
    }

    fn publishing(&self) -> String {
        let (at, position) = (self.event.recorded_at, self.event.position);
        let (kind, by) = (&self.published.notification.kind, &self.published.publisher);
        let to = audience_said(&self.published.audience);
        format!("It is a {kind}, published by {by} at {at}, position {position}, to {to}.")
    }

    /// Why it is for them, or is not.
    fn routing(&self, sentences: &mut Vec<String>) {
        let (user, position) = (&self.key.user, self.event.position);
        match &self.delivery.rule {
            Some(Rule::Name) => sentences.push(format!("{user} was addressed by name.")),
            Some(Rule::Channel { channel, since }) => {
                let span =
                    self.memberships.iter().find(|span| span.channel == *channel && span.since == *since);
                let since_at = span.and_then(|span| span.since_at);
                sentences.push(format!(
                    "{user} was addressed as a member of {channel}, which they had been since {}.",
                    when(since_at, *since)
                ));
                if let Some(until) = span.and_then(|span| Some(when(span.until_at, span.until?))) {
                    sentences.push(format!("They left {channel} at {until}."));
                }
            }
            None if self.delivery.reason == Some(DropReason::Excepted) => {
                sentences
                    .push(format!("{user} would have got it as a member, but the publisher left them out."));
            }
            None if self.published.audience.channels.is_empty() => {
                sentences.push(format!("It was addressed by name, and {user} was not named."));
            }
            None => {
                for channel in &self.published.audience.channels {
                    sentences.push(self.not_a_member(channel, position));
                }
            }
        }
    }

    fn not_a_member(&self, channel: &Channel, position: Position) -> String {
        let user = &self.key.user;
        let spans = || self.memberships.iter().filter(|span| span.channel == *channel);
        let left = spans().rfind(|span| span.until.is_some_and(|until| until < position));
        let joined = spans().find(|span| span.since >= position);
        let left = left.and_then(|span| Some(when(span.until_at, span.until?)));
        let joined = joined.map(|span| when(span.since_at, span.since));
        match (left, joined) {
            (Some(left), None) => format!("{user} had left {channel} before: at {left}."),
            (None, Some(joined)) => format!("{user} joined {channel} only afterwards: at {joined}."),
            (Some(left), Some(joined)) => {
                format!(
                    "{user} had left {channel} before, at {left}, and joined again afterwards, at {joined}."
                )
            }
            (None, None) => format!("{user} was never a member of {channel}."),
        }
    }

    fn devices(&self, is_recorded: bool, sentences: &mut Vec<String>) {
        if self.delivery.devices.is_empty() {
            let why =
                if is_recorded { "" } else { " This server does not record it: delivery.progress is off." };
            sentences.push(format!("It is not recorded that any of their devices was sent it.{why}"));
        }
        for device in &self.delivery.devices {
            let at = |time: Option<Timestamp>| time.map_or_else(String::new, |time| format!(" by {time}"));
            let acknowledged = if device.delivered {
                format!("acknowledged it{}", at(device.delivered_at))
            } else {
                "has not acknowledged it".to_owned()
            };
            sentences.push(format!(
                "The device {} was sent it over {}{} and {acknowledged}.",
                device.device,
                device.transport,
                at(device.sent_at)
            ));
        }
    }

    /// What they did with it.
    fn doings(&self, sentences: &mut Vec<String>) {
        if !self.published.notification.inbox {
            sentences.push("It was only shown live and is in no inbox.".to_owned());
            return;
        }
        match (self.delivery.read_at, self.inbox) {
            (Some(at), Some(InInbox { read: false, .. })) => {
                sentences.push(format!(
                    "They read it at {at}. It is unread again since, marked so or back after it was put off."
                ));
            }
            (Some(at), _) => sentences.push(format!("They read it at {at}.")),
            (None, _) => sentences.push("They have not read it.".to_owned()),
        }
        if let Some(at) = self.delivery.clicked_at {
            sentences.push(format!("They followed its action at {at}."));
        }
        match self.inbox {
            Some(InInbox { archived: true, .. }) => sentences.push("It is in their archive.".to_owned()),
            Some(InInbox { snoozed_until: Some(until), .. }) => {
                sentences.push(format!("They put it off until {until}."));
            }
            Some(InInbox { pinned: true, .. }) => sentences.push("It is in their inbox, pinned.".to_owned()),
            Some(_) => sentences.push("It is in their inbox.".to_owned()),
            None if self.delivery.retracted_at.is_some() => {}
            None if self.is_still_theirs() => sentences.push("They deleted it.".to_owned()),
            None => sentences.push("So it is no longer in their inbox.".to_owned()),
        }
    }

    /// Whether no membership ended through which they had it.
    fn is_still_theirs(&self) -> bool {
        let position = self.event.position;
        self.delivery.rule == Some(Rule::Name)
            || self.memberships.iter().any(|span| span.since < position && span.until.is_none())
    }
}

fn when(time: Option<Timestamp>, position: Position) -> String {
    time.map_or_else(|| format!("position {position}"), |time| format!("{time} (position {position})"))
}
