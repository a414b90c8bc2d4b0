//! The timers: what is due is appended to the log, once. Publications, expiries and wake-ups are commands like any other,
//! each under a key of its own, so that none happens twice, whatever crashes and whatever the clock does.
//!
//! Knows only what the view says is due and what time it is; decides nothing about what an event then means.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::clock::Clock;
use crate::engine::{Engine, WeakEngine};
use crate::error::Error;
use crate::event::{EntryRef, Event, Fact, RetractReason, Retracted, ScheduleCancelled, Woken};
use crate::inbox::timers::{Action, Timer, due_at};
use crate::log::{Append, Appended};
use crate::names::{IdempotencyKey, Publisher};
use crate::notification::NotificationId;
use crate::store::KeyClaim;

/// Timers fired with one commit.
const FIRED_AT_ONCE: usize = 256;
/// How long to wait when nothing could be appended, before it is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// What may happen to a notification only once. Whoever is first claims the key; the other's claim is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Once {
    /// It goes out, by its timer.
    Published,
    /// It is cancelled before.
    Cancelled,
    /// It is taken back.
    Retracted,
}

impl Once {
    /// The claim to be the one who does it.
    pub(crate) fn claim(self, id: NotificationId) -> KeyClaim {
        let (what, how) = match self {
            Self::Published => ("publish", "publish"),
            Self::Cancelled => ("publish", "cancel"),
            Self::Retracted => ("retract", "retract"),
        };
        claim(&format!("{what}:{id}"), how)
    }
}

/// A claim of a key of the timers' own: no token names this publisher.
fn claim(key: &str, how: &str) -> KeyClaim {
    let publisher = Publisher::stored("$timer");
    KeyClaim { publisher, key: IdempotencyKey::stored(key), content_hash: Sha256::digest(how).into() }
}

/// Fires what is due, as long as the engine lives. `due` is when the next one is, by the view.
pub(crate) async fn run(engine: WeakEngine, clock: Arc<dyn Clock>, mut due: watch::Receiver<Option<i64>>) {
    loop {
        let next = *due.borrow_and_update();
        let now = clock.now();
        let alive = match next {
            None => due.changed().await.is_ok(),
            Some(next) if next <= now.as_millisecond() => {
                let Some(engine) = engine.upgrade() else { return };
                let fired = engine.fire(now).await;
                drop(engine);
                rest(fired, &mut due).await
            }
            Some(next) => {
                let at = Timestamp::from_millisecond(next).unwrap_or(Timestamp::MAX);
                tokio::select! {
                    changed = due.changed() => changed.is_ok(),
                    () = clock.wait_for(at) => true,
                }
            }
        };
        if !alive {
            return;
        }
    }
}

/// Waits a little when nothing was done. `false` when there is nothing more to wait for.
async fn rest(fired: Result<usize, Error>, due: &mut watch::Receiver<Option<i64>>) -> bool {
    match fired {
        Ok(count) if count > 0 => return true,
        Ok(_) => {}
        Err(Error::Stopping) => return false,
        Err(error) => tracing::warn!(%error, "what is due cannot be done yet"),
    }
    tokio::select! {
        changed = due.changed() => changed.is_ok(),
        () = tokio::time::sleep(TRY_AGAIN) => true,
    }
}

impl Engine {
    /// Appends what is due, in its order, and waits until the view knows. How much there was.
    async fn fire(&self, now: Timestamp) -> Result<usize, Error> {
        // What was set by now is known, so that the order is that of all of them.
        self.reach_view(self.log().head()).await?;
        let due = self.on_view(move |view| due_at(view, now.as_millisecond(), FIRED_AT_ONCE)).await?;
        let mut appends = Vec::with_capacity(due.len());
        let mut expired = HashSet::new();
        for timer in &due {
            if matches!(timer.action, Action::Expire) {
                expired.insert(timer.id);
            } else if expired.contains(&timer.id) {
                continue; // it is over: nobody has it to come back to
            }
            let set_by = self.log().event(timer.position).await?.ok_or(Error::Internal)?;
            match fact(timer, &set_by, now) {
                Some((fact, key)) => {
                    let (tenant, key, facts) = (timer.tenant.clone(), Some(key), vec![fact]);
                    appends.push(Append { tenant, key, facts });
                }
                None => {
                    tracing::error!(position = %timer.position, "a timer was set by an event that sets none")
                }
            }
        }
        if appends.is_empty() {
            return Ok(0);
        }
        let appended = self.log().append_from_reserve(appends).await?;
        // Those that were done already are only waited for: the view will know.
        let done = appended.iter().filter(|outcome| matches!(outcome, Appended::Events(_))).count();
        self.reach_view(self.log().head()).await?;
        Ok(done)
    }
}

/// What a timer that is due does, and its claim to do it.
fn fact(timer: &Timer, set_by: &Event, now: Timestamp) -> Option<(Fact, KeyClaim)> {
    let id = timer.id;
    match (&timer.action, &set_by.fact) {
        (Action::Publish { .. }, Fact::Scheduled(scheduled)) => {
            let published = scheduled.published.clone();
            if published.notification.expires_at.is_some_and(|over| over <= now) {
                let cancelled = ScheduleCancelled { id, reason: RetractReason::Expired };
                return Some((Fact::ScheduleCancelled(cancelled), Once::Cancelled.claim(id)));
            }
            Some((Fact::NotificationPublished(Box::new(published)), Once::Published.claim(id)))
        }
        (Action::Expire, _) => {
            let retracted = retraction(id, set_by, RetractReason::Expired)?;
            Some((retracted, Once::Retracted.claim(id)))
        }
        (Action::Wake { user, stream, offset }, Fact::Snoozed(_)) => {
            let entry = EntryRef { id, stream: *stream, offset: *offset };
            let woken = Woken { user: user.clone(), entry, snoozed_at: Some(timer.position) };
            let key = format!("wake:{}:{stream}:{offset}", timer.position); // of one user, as the event is
            Some((Fact::Woken(woken), claim(&key, "wake")))
        }
        _ => None,
    }
}

/// That a notification is taken back, by the event that published or last updated it.
pub(crate) fn retraction(id: NotificationId, event: &Event, reason: RetractReason) -> Option<Fact> {
    let addressed = event.addressed()?;
    Some(Fact::Retracted(Box::new(Retracted {
        id,
        position: addressed.position,
        entries: addressed.entries.to_vec(),
        audience: addressed.audience.clone(),
        inbox: addressed.inbox,
        reason,
    })))
}
