//! Changing what was published: updating and retracting it, and cancelling what has not gone out yet.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Done;
use crate::access::Identity;
use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Fact, Published, RetractReason, ScheduleCancelled, Updated};
use crate::inbox::published_at;
use crate::inbox::timers::{Action, Timer, all_scheduled, scheduled, scheduled_by_key};
use crate::input::optional_object;
use crate::limits;
use crate::log::{Append, Appended};
use crate::names::{IdempotencyKey, Priority, Publisher, Tag};
use crate::notification::{Action as Link, Content, Notification, NotificationId};
use crate::position::Position;
use crate::timers::{Once, retraction};

/// What a notification says from now on: all of it. What is left out is empty.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revision {
    /// One line.
    #[schemars(length(max = limits::TITLE_BYTES))]
    pub title: String,
    /// A few lines.
    #[serde(default)]
    #[schemars(length(max = limits::BODY_BYTES))]
    pub body: String,
    /// Whatever the application needs to act on it.
    #[serde(default)]
    pub data: Map<String, Value>,
    /// How much it wants to be noticed.
    #[serde(default)]
    pub priority: Priority,
    /// What a person can do about it.
    #[serde(default, deserialize_with = "optional_object")]
    #[schemars(with = "Option<Link>")]
    pub action: Option<Link>,
    /// Words to find it by.
    #[serde(default)]
    #[schemars(length(max = limits::TAGS_PER_NOTIFICATION))]
    pub tags: Vec<Tag>,
    /// When its time is over.
    #[serde(default)]
    pub expires_at: Option<Timestamp>,
}

/// A notification that has not gone out yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// It, as it will be.
    pub notification: Notification,
    /// Under which key it can be cancelled.
    pub key: Option<IdempotencyKey>,
    /// Who published it.
    pub publisher: Publisher,
    /// The event that scheduled it.
    pub position: Position,
}

/// Notifications that have not gone out yet, the next one first.
#[derive(Clone, Debug)]
pub struct PendingPage {
    /// They.
    pub items: Vec<Pending>,
    /// Where the next page begins; `None` when this is the last.
    pub next: Option<PendingPlace>,
}

/// A place in the order in which notifications go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingPlace {
    /// When, in milliseconds since 1970.
    pub due: i64,
    /// The event that scheduled it.
    pub position: Position,
}

impl Engine {
    /// Lets a notification say something else, for everybody who has it. It keeps its place, and whether it was read.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn update(
        &self,
        identity: &Identity,
        id: NotificationId,
        revision: Revision,
    ) -> Result<Done, Error> {
        identity.require_publish(&self.rules())?;
        let (published, event) = self.published(identity, id).await?;
        let draft = revision.draft(&published);
        let mut errors = draft.check();
        draft.check_times(self.clock().now(), &mut errors);
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let published = Published { notification: revised(published.notification, draft), ..published };
        let updated = Updated { published, position: event.position, entries: event.entries.clone() };
        self.record(&identity.tenant, vec![Fact::Updated(Box::new(updated))]).await
    }

    /// Takes a notification back from everybody; one that has not gone out yet never will.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn retract(&self, identity: &Identity, id: NotificationId) -> Result<Done, Error> {
        identity.require_publish(&self.rules())?;
        self.reach_view(self.log().head()).await?;
        let tenant = identity.tenant.clone();
        if let Some(timer) = self.on_view(move |view| scheduled(view, &tenant, &id)).await?
            && let Some(done) = self.cancel_timer(identity, &timer).await?
        {
            return Ok(done);
        }
        let (_, event) = self.published(identity, id).await?;
        let fact = retraction(id, &event, RetractReason::ByHand).ok_or(Error::Internal)?;
        let append = Append {
            tenant: identity.tenant.clone(),
            key: Some(Once::Retracted.claim(id)),
            facts: vec![fact],
        };
        self.record_once(append).await?.ok_or_else(not_found)
    }

    /// Cancels a notification that has not gone out yet, by the key it was published with.
    ///
    /// # Errors
    /// See [`Error`]; nothing was done.
    pub async fn cancel(&self, identity: &Identity, key: IdempotencyKey) -> Result<Done, Error> {
        identity.require_publish(&self.rules())?;
        self.reach_view(self.log().head()).await?;
        let (tenant, publisher) = (identity.tenant.clone(), identity.publisher());
        let timer = self.on_view(move |view| scheduled_by_key(view, &tenant, &publisher, &key)).await?;
        let not_found = || Error::NotFound { field: "key".to_owned() };
        let timer = timer.ok_or_else(not_found)?;
        self.cancel_timer(identity, &timer).await?.ok_or_else(not_found)
    }

    /// Notifications that have not gone out yet: one's own, or with the scope `admin` everybody's.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pending(
        &self,
        identity: &Identity,
        after: Option<PendingPlace>,
        limit: usize,
    ) -> Result<PendingPage, Error> {
        identity.require_publish(&self.rules())?;
        self.reach_view(self.log().head()).await?;
        let limit = if limit == 0 { limits::PAGE_DEFAULT } else { limit.min(limits::PAGE_MOST) };
        let tenant = identity.tenant.clone();
        let publisher = (!identity.may_change_all()).then(|| identity.publisher());
        let after = after.map_or((i64::MIN, Position(0)), |place| (place.due, place.position));
        let job = move |view: &crate::sqlite::Connection| {
            all_scheduled(view, &tenant, publisher.as_ref(), after, limit + 1)
        };
        let mut timers = self.on_view(job).await?;
        let has_more = timers.len() > limit;
        timers.truncate(limit);
        let last = timers.last().map(|timer| PendingPlace { due: timer.due, position: timer.position });
        let mut items = Vec::with_capacity(timers.len());
        for timer in timers {
            let event = self.log().event(timer.position).await?.ok_or(Error::Internal)?;
            let Fact::Scheduled(scheduled) = &event.fact else { return Err(Error::Internal) };
            let Published { notification, publisher, audience } = scheduled.published.clone();
            if identity.require_publish_to(&self.rules(), &audience).is_err() {
                continue; // of another service's
            }
            items.push(Pending {
                notification,
                key: scheduled.key.clone(),
                publisher,
                position: event.position,
            });
        }
        Ok(PendingPage { items, next: last.filter(|_| has_more) })
    }

    /// `None` when it went out in the same moment.
    async fn cancel_timer(&self, identity: &Identity, timer: &Timer) -> Result<Option<Done>, Error> {
        if let Action::Publish { publisher, .. } = &timer.action {
            identity.require_change(publisher)?;
            let event = self.log().event(timer.position).await?.ok_or(Error::Internal)?;
            let Fact::Scheduled(scheduled) = &event.fact else { return Err(Error::Internal) };
            identity.require_publish_to(&self.rules(), &scheduled.published.audience)?;
        }
        let cancelled = ScheduleCancelled { id: timer.id, reason: RetractReason::ByHand };
        let append = Append {
            tenant: identity.tenant.clone(),
            key: Some(Once::Cancelled.claim(timer.id)),
            facts: vec![Fact::ScheduleCancelled(cancelled)],
        };
        self.record_once(append).await
    }

    /// Appends what happens only once. `None` when something else did: it is visible by then.
    async fn record_once(&self, append: Append) -> Result<Option<Done>, Error> {
        let appended = self.log().append(vec![append]).await?;
        if let Some(Appended::Events(events)) = appended.first() {
            let position = events.last().map_or(self.log().head(), |event| event.position);
            return Ok(Some(Done { position }));
        }
        self.reach_view(self.log().head()).await?;
        Ok(None)
    }

    /// A notification that went out and was not taken back, which the identity may change, and the event that published it.
    async fn published(
        &self,
        identity: &Identity,
        id: NotificationId,
    ) -> Result<(Published, std::sync::Arc<crate::event::Event>), Error> {
        self.reach_view(self.log().head()).await?;
        let tenant = identity.tenant.clone();
        let position = self.on_view(move |view| published_at(view, &tenant, &id)).await?;
        let event = self.log().event(position.ok_or_else(not_found)?).await?.ok_or(Error::Internal)?;
        let published = event.published().ok_or(Error::Internal)?.clone();
        identity.require_change(&published.publisher)?;
        identity.require_publish_to(&self.rules(), &published.audience)?;
        Ok((published, event))
    }
}

fn not_found() -> Error {
    Error::NotFound { field: "id".to_owned() }
}

impl Revision {
    /// As if it were published now: what is checked then is checked now.
    fn draft(self, published: &Published) -> Draft {
        let Self { title, body, data, priority, action, tags, expires_at } = self;
        let kind = published.notification.kind.clone();
        let draft = Draft::new(kind, published.audience.clone());
        Draft { title, body, data, priority, action, tags, expires_at, ..draft }
    }
}

fn revised(was: Notification, draft: Draft) -> Notification {
    let Draft { title, body, data, action, priority, tags, expires_at, .. } = draft;
    Notification { content: Content { title, body, data, action }, priority, tags, expires_at, ..was }
}
