//! Publishing: drafts to notifications in the log, single or in batches, each with a result of its own.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::access::Identity;
use crate::audience::Audience;
use crate::cloudevent::Publication;
use crate::draft::Draft;
use crate::engine::Engine;
use crate::error::Error;
use crate::event::{Event, Fact, Published, Scheduled};
use crate::inbox::timers::count_scheduled;
use crate::limits;
use crate::log::{Append, Appended};
use crate::names::{Publisher, Tenant};
use crate::notification::{Content, Notification, NotificationId};
use crate::position::Position;
use crate::store::KeyClaim;

/// What a publish is answered with: it is durable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The notification.
    pub id: NotificationId,
    /// Where it is in the log.
    pub position: Position,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it goes out, if that is later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<Timestamp>,
    /// Whether it was published before, under the same idempotency key: then this is the answer of that time.
    pub duplicate: bool,
}

impl Engine {
    /// Publishes a notification.
    ///
    /// # Errors
    /// See [`Error`]; unless it says otherwise, nothing was done.
    pub async fn publish(&self, identity: &Identity, publication: Publication) -> Result<Receipt, Error> {
        let mut results = self.publish_all(identity, vec![publication]).await?;
        results.pop().unwrap_or(Err(Error::Internal))
    }

    /// Publishes notifications with one commit, in their order. Each has a result of its own: one that is refused
    /// does not keep the others from being published.
    ///
    /// # Errors
    /// When none of them could be: the token does not allow it, or there are too many.
    pub async fn publish_all(
        &self,
        identity: &Identity,
        publications: Vec<Publication>,
    ) -> Result<Vec<Result<Receipt, Error>>, Error> {
        self.check_batch(identity, publications.len())?;
        let mut appends = Vec::with_capacity(publications.len());
        let mut results = Vec::with_capacity(publications.len());
        let mut room = self.room_for_scheduled(identity, &publications).await?;
        for publication in publications {
            let claim = claim(identity, &publication);
            match self.prepare(identity, publication, claim.clone(), &mut room) {
                Ok(append) => {
                    appends.push(append);
                    results.push(None);
                }
                // Whether it was published before is none of their business.
                Err(error @ Error::Forbidden { .. }) => results.push(Some(Err(error))),
                Err(error) => results.push(Some(self.first_answer_or(identity, claim, error).await)),
            }
        }
        let mut appended = self.append_prepared(appends).await.into_iter();
        let settled = results.into_iter().map(|refused| refused.or_else(|| appended.next()));
        Ok(settled.map(|result| result.unwrap_or(Err(Error::Internal))).collect())
    }

    /// Whether somebody may publish so many notifications at once: to be asked before they are parsed.
    ///
    /// # Errors
    /// When the token does not allow it, or there are too many.
    pub fn check_batch(&self, identity: &Identity, count: usize) -> Result<(), Error> {
        identity.require_publish(&self.rules())?;
        let most = limits::NOTIFICATIONS_PER_BATCH;
        if count > most {
            let detail = format!("expected at most {most} notifications, got {count}");
            return Err(Error::field("notifications", detail));
        }
        Ok(())
    }

    /// Checks a draft, asks the rules, and makes a notification of it.
    fn prepare(
        &self,
        identity: &Identity,
        publication: Publication,
        claim: Option<KeyClaim>,
        room: &mut usize,
    ) -> Result<Append, Error> {
        let Publication { draft, source } = publication;
        let (mut errors, now) = (draft.check(), self.now());
        draft.check_times(now, &mut errors);
        if !errors.is_empty() {
            return Err(Error::Invalid(errors));
        }
        let publisher = identity.publisher_of(source);
        let audience = self.route(&identity.tenant, &draft)?;
        // Whoever named them: a rule that adds somebody opens no channel to whom none is open.
        identity.require_publish_to(&self.rules(), &audience)?;
        let (is_later, key) = (draft.deliver_at.is_some_and(|at| at > now), draft.idempotency_key.clone());
        let published = published(draft, audience, publisher, now);
        let fact = if is_later {
            *room = room.checked_sub(1).ok_or_else(too_many_scheduled)?;
            Fact::Scheduled(Box::new(Scheduled { published, key }))
        } else {
            Fact::NotificationPublished(Box::new(published))
        };
        Ok(Append { tenant: identity.tenant.clone(), key: claim, facts: vec![fact] })
    }

    /// How many more notifications may be scheduled, if any are to be.
    async fn room_for_scheduled(
        &self,
        identity: &Identity,
        publications: &[Publication],
    ) -> Result<usize, Error> {
        if publications.iter().all(|publication| publication.draft.deliver_at.is_none()) {
            return Ok(0);
        }
        let tenant = identity.tenant.clone();
        let waiting = self.on_view(move |view| count_scheduled(view, &tenant)).await?;
        Ok(limits::SCHEDULED_PER_TENANT.saturating_sub(waiting))
    }

    /// The first answer to what is refused now and was accepted once: its time may be over, or a rule may think otherwise.
    async fn first_answer_or(
        &self,
        identity: &Identity,
        claim: Option<KeyClaim>,
        error: Error,
    ) -> Result<Receipt, Error> {
        let Some(claim) = claim else { return Err(error) };
        match self.log().find_key(&identity.tenant, &claim).await? {
            Some((position, hash)) if hash == claim.content_hash => self.first_answer(position).await,
            Some(_) => Err(Error::KeyReused),
            None => Err(error),
        }
    }

    /// The publisher's audience and what the routing rules add to it.
    fn route(&self, tenant: &Tenant, draft: &Draft) -> Result<Audience, Error> {
        let mut audience = draft.audience.clone();
        for plugin in self.plugins() {
            let Some(rule) = plugin.routing_rule() else {
                continue;
            };
            let failed = |reason: String| Error::Rule { rule: plugin.name().to_owned(), reason };
            let added = rule.route(tenant, draft, &audience).map_err(failed)?;
            audience.users.extend(added.users);
            audience.channels.extend(added.channels);
        }
        let mut audience = audience.settled();
        // Whom the publisher leaves out is not brought back by a rule.
        let except = std::mem::take(&mut audience.except);
        audience.users.retain(|user| !except.contains(user));
        audience.except = if audience.channels.is_empty() { Vec::new() } else { except };
        if audience.is_empty() {
            return Err(Error::NobodyAddressed);
        }
        let mut errors = Vec::new();
        audience.check(&mut errors);
        if errors.is_empty() { Ok(audience) } else { Err(Error::Invalid(errors)) }
    }

    async fn append_prepared(&self, appends: Vec<Append>) -> Vec<Result<Receipt, Error>> {
        let count = appends.len();
        if count == 0 {
            return Vec::new();
        }
        let appended = match self.log().append(appends).await {
            Ok(appended) => appended,
            Err(error) => return (0..count).map(|_| Err(Error::from(&error))).collect(),
        };
        let mut results = Vec::with_capacity(count);
        for outcome in appended {
            results.push(match outcome {
                Appended::Events(events) => {
                    events.first().and_then(|event| receipt(event, false)).ok_or(Error::Internal)
                }
                Appended::Duplicate(position) => self.first_answer(position).await,
                Appended::KeyReused => Err(Error::KeyReused),
            });
        }
        results
    }

    /// What the publish at a position was answered with.
    async fn first_answer(&self, position: Position) -> Result<Receipt, Error> {
        let event = self.log().event(position).await?;
        event.and_then(|event| receipt(&event, true)).ok_or(Error::Internal)
    }
}

fn claim(identity: &Identity, publication: &Publication) -> Option<KeyClaim> {
    let key = publication.draft.idempotency_key.clone()?;
    let publisher = identity.publisher_of(publication.source.clone());
    Some(KeyClaim { publisher, key, content_hash: publication.draft.content_hash() })
}

fn too_many_scheduled() -> Error {
    let most = limits::SCHEDULED_PER_TENANT;
    Error::field("deliverAt", format!("expected at most {most} notifications that have not gone out yet"))
}

fn receipt(event: &Event, duplicate: bool) -> Option<Receipt> {
    let (notification, deliver_at) = match &event.fact {
        Fact::NotificationPublished(published) => (&published.notification, None),
        Fact::Scheduled(scheduled) => {
            let notification = &scheduled.published.notification;
            (notification, notification.deliver_at)
        }
        _ => return None,
    };
    let (id, created_at) = (notification.id, notification.created_at);
    Some(Receipt { id, position: event.position, created_at, deliver_at, duplicate })
}

pub(crate) fn published(draft: Draft, audience: Audience, publisher: Publisher, now: Timestamp) -> Published {
    let content = Content { title: draft.title, body: draft.body, data: draft.data, action: draft.action };
    let notification = Notification {
        id: NotificationId::now(),
        kind: draft.kind,
        content,
        priority: draft.priority,
        tags: draft.tags,
        created_at: now,
        deliver_at: draft.deliver_at.filter(|at| *at > now),
        expires_at: draft.expires_at,
        collapse_key: draft.collapse_key,
        inbox: draft.inbox,
    };
    Published { notification, audience, publisher }
}
