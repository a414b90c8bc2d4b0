//! The connection to the broker: how one is known to it, and what is heard of it. It is made when the broker is there, and made
//! again whenever it is lost; nobody waits for it.

use std::hash::{BuildHasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_nats::{Client, ConnectOptions, Event};
use tidings_config::NatsSettings;
use tidings_engine::broker::Broker;
use tokio::sync::watch;

use crate::NatsError;

/// What the broker's own lists call the connection.
const NAME: &str = "tidings";
/// How often the broker is asked whether it is there: a connection that is dead is noticed after two of these.
const PING_EVERY: Duration = Duration::from_secs(10);
/// How long the broker may take for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between attempts to connect: at first, and at most.
const CONNECT_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Messages of a subscription that wait to be taken: more than are ever asked for at once. What is beyond is dropped, and a request
/// without an answer is sent again.
const SUBSCRIPTION_MESSAGES: usize = 8_192;

/// A connection to the broker.
#[derive(Clone)]
pub(crate) struct Link {
    pub(crate) client: Client,
    /// What operators are told.
    pub(crate) broker: Arc<Broker>,
    /// How often it was connected: whatever was asked for before the last time, the broker may have forgotten.
    pub(crate) connects: watch::Receiver<u64>,
}

impl Link {
    /// Begins to connect.
    pub(crate) async fn open(settings: &NatsSettings, broker: Arc<Broker>) -> Result<Self, NatsError> {
        let (connects, connected) = watch::channel(0);
        let heard = Arc::new(Heard { broker: broker.clone(), connects });
        let options = options(settings)?.event_callback(move |event| {
            let heard = heard.clone();
            async move { heard.note(&event) }
        });
        let servers: Vec<&str> = settings.servers().collect();
        let client =
            options.connect(&servers[..]).await.map_err(|error| NatsError::Connect(error.to_string()))?;
        Ok(Self { client, broker, connects: connected })
    }
}

impl Link {
    /// Waits until there is a connection.
    pub(crate) async fn connected(&self) {
        let mut connects = self.connects.clone();
        while !self.broker.is_connected() {
            if connects.changed().await.is_err() {
                std::future::pending::<()>().await; // there will be none
            }
        }
    }
}

struct Heard {
    broker: Arc<Broker>,
    connects: watch::Sender<u64>,
}

impl Heard {
    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                tracing::info!("connected to NATS");
                self.broker.set_connected(true);
                self.broker.connects.add(1);
                self.connects.send_modify(|connects| *connects += 1);
            }
            Event::Disconnected => {
                tracing::warn!("the connection to NATS was lost");
                self.broker.set_connected(false);
            }
            Event::Closed => self.broker.set_connected(false),
            Event::SlowConsumer(_) => {
                tracing::warn!("more came from NATS than could be taken: some was dropped")
            }
            Event::ServerError(error) => tracing::warn!(%error, "NATS refused something"),
            // Each attempt that fails says so.
            Event::ClientError(error) => tracing::debug!(%error, "the connection to NATS failed"),
            Event::LameDuckMode | Event::Draining => tracing::debug!(%event, "NATS"),
        }
    }
}

/// Whether one can connect as the settings say, as far as that can be said without the broker.
pub(crate) fn check(settings: &NatsSettings) -> Result<(), NatsError> {
    options(settings).map(drop)
}

/// How one connects, as the settings say.
fn options(settings: &NatsSettings) -> Result<ConnectOptions, NatsError> {
    // One server with TLS means all: else whoever keeps that one away has us speak in the clear with another.
    let is_encrypted = settings.tls || settings.servers().any(|server| server.starts_with("tls://"));
    let mut options = ConnectOptions::new()
        .name(NAME)
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(reconnect_after)
        .ping_interval(PING_EVERY)
        .connection_timeout(PATIENCE)
        .request_timeout(Some(PATIENCE))
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .require_tls(is_encrypted);
    if let Some(path) = &settings.credentials_file {
        let text = read("nats.credentials-file", path)?;
        options =
            options.credentials(&text).map_err(|error| unusable("nats.credentials-file", path, error))?;
    }
    if let Some(path) = &settings.nkey_file {
        let seed = read("nats.nkey-file", path)?.trim().to_owned();
        let is_seed = seed.len() == 58 && seed.starts_with("SU");
        let wrong = || std::io::Error::other("expected the seed of a user's NKey, which begins with SU");
        options =
            options.nkey(is_seed.then_some(seed).ok_or_else(|| unusable("nats.nkey-file", path, wrong()))?);
    }
    if let (Some(user), Some(password)) = (&settings.user, &settings.password) {
        options = options.user_and_password(user.clone(), password.clone());
    }
    if let Some(token) = &settings.token_secret {
        options = options.token(token.clone());
    }
    if let Some(path) = &settings.tls_ca {
        read("nats.tls-ca", path)?;
        options = options.add_root_certificates(path.clone());
    }
    if let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) {
        read("nats.tls-certificate", certificate)?;
        read("nats.tls-key", key)?;
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    Ok(options)
}

/// Reads a file, so that one that is not there is found at the start and not at each connection.
fn read(key: &'static str, path: &Path) -> Result<String, NatsError> {
    std::fs::read_to_string(path).map_err(|error| unusable(key, path, error))
}

fn unusable(key: &'static str, path: &Path, error: std::io::Error) -> NatsError {
    NatsError::File { key, path: path.to_owned(), error }
}

/// Longer from one attempt to the next, and each server at another moment.
fn reconnect_after(attempts: usize) -> Duration {
    let (first, most) = CONNECT_AFTER;
    let delay = first.saturating_mul(1 << attempts.min(10)).min(most);
    let share = RandomState::new().hash_one(attempts) % 256;
    delay.mul_f64(0.75 + share as f64 / 1_024.0)
}
