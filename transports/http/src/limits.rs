//! The limits of those who are known: how much a user, a service and a publisher may do, and how often somebody may be
//! connected. Says which limit was met and when to try again; what a notification may be is the engine's business.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidings_config::{LimitSettings, Rate, Settings};
use tidings_engine::{Identity, Tenant, UserId, UserKey};
use tokio::sync::watch;

use crate::problem::Problem;
use crate::rate::Rates;
use crate::seats::{Seat, Seats};

/// How long a refusal is held back: whoever tries again at once gains nothing, and costs little. A client that waits for
/// its answers sends one request a second from there on.
pub const REFUSAL_PAUSE: Duration = Duration::from_secs(1);

/// A user of a tenant, a key of a service of its, or the services without one.
type Who = (Tenant, Option<UserId>, Option<Arc<str>>);

/// What is counted, and what the settings allow at this moment: a reload changes what is allowed, and not what is counted.
pub struct Limits {
    settings: watch::Receiver<Arc<Settings>>,
    requests: Rates<Who>,
    service_requests: Rates<Who>,
    publishes: Rates<Who>,
    users: Seats<UserKey>,
}

impl Limits {
    /// As the settings say; nothing is counted yet.
    #[must_use]
    pub fn new(settings: watch::Receiver<Arc<Settings>>) -> Arc<Self> {
        let (requests, service_requests, publishes) = (Rates::new(), Rates::new(), Rates::new());
        Arc::new(Self { settings, requests, service_requests, publishes, users: Seats::new() })
    }

    /// What the settings allow now.
    #[must_use]
    pub fn settings(&self) -> LimitSettings {
        self.settings.borrow().limits.clone()
    }

    /// Counts a request.
    ///
    /// # Errors
    /// [`Problem::too_many`], after a pause.
    pub async fn request(&self, identity: &Identity) -> Result<(), Problem> {
        let settings = self.settings();
        let (name, rates, rate) = match identity.user {
            Some(_) => ("limits.requests", &self.requests, settings.requests),
            None => ("limits.service-requests", &self.service_requests, settings.service_requests),
        };
        let taken = rates.take(who(identity), rate, 1, Instant::now());
        held_back(taken.map_err(|wait| Problem::too_many(name, "requests", rate, wait))).await
    }

    /// Counts notifications that are to be published.
    ///
    /// # Errors
    /// [`Problem::too_many`], after a pause.
    pub async fn publish(&self, identity: &Identity, count: usize) -> Result<(), Problem> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let rate = self.settings().publishes;
        let taken = self.publishes.take(who(identity), rate, count, Instant::now());
        let refused = |wait| Problem::too_many("limits.publishes", "notifications", rate, wait);
        held_back(taken.map_err(refused)).await
    }

    /// A place for one more live connection of somebody; whoever is no user has none to take.
    ///
    /// # Errors
    /// The problem `too-many-connections`, 429.
    pub fn connect(&self, identity: &Identity) -> Result<Option<Seat<UserKey>>, Problem> {
        let Ok(key) = identity.key() else { return Ok(None) };
        let most = self.settings().connections_per_user;
        let refused =
            || Problem::too_many_connections("limits.connections-per-user", &format!("{most} of a user"));
        self.users.take(key, most).ok_or_else(refused).map(Some)
    }

    /// How many commands there may be on a connection.
    #[must_use]
    pub fn commands(&self) -> Rate {
        self.settings().commands
    }

    /// Bytes of a message that carries one command.
    #[must_use]
    pub fn message_bytes(&self) -> usize {
        self.settings().message_bytes.get() as usize
    }

    /// Bytes of a body that carries a batch.
    pub(crate) fn batch_bytes(&self) -> usize {
        self.settings().batch_bytes.get() as usize
    }

    /// How long a body may take to arrive.
    pub(crate) fn body_patience(&self) -> Duration {
        seconds(self.settings().body_seconds)
    }

    /// How long a connection may take to say who it is.
    #[must_use]
    pub fn handshake_patience(&self) -> Duration {
        seconds(self.settings().handshake_seconds)
    }

    /// How often a quiet connection is told where the log is.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        seconds(self.settings().heartbeat_seconds)
    }
}

pub(crate) fn seconds(number: std::num::NonZeroU32) -> Duration {
    Duration::from_secs(number.get().into())
}

fn who(identity: &Identity) -> Who {
    (identity.tenant.clone(), identity.user.clone(), identity.key.clone())
}

async fn held_back(taken: Result<(), Problem>) -> Result<(), Problem> {
    if taken.is_err() {
        tokio::time::sleep(REFUSAL_PAUSE).await;
    }
    taken
}
