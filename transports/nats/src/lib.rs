//! NATS for Tidings: what is published there comes into the log, requests are answered, and what happens goes out for downstream
//! services. The broker is an ingest pipe and a doorbell, and never the log.
//!
//! This crate turns messages into the engine's commands and queries, and events into messages. It decides nothing about what somebody
//! may do, and nobody waits for the broker.

mod answer;
mod dead;
mod draft;
mod failing;
mod header;
mod inbox;
mod incoming;
mod ingest;
mod link;
mod out;
mod pull;
mod request;
mod stream;
mod subject;
mod table;
mod tail;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::ContextBuilder;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tidings_config::{NatsSettings, Settings};
use tidings_engine::Engine;
use tidings_engine::broker::Broker;
use tidings_engine::transport::{Transport, TransportError};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use dead::LETTERS;
use failing::Failing;
use ingest::Ingest;
use link::Link;
use out::Out;
use request::Requests;
use subject::Subjects;
use table::Table;
pub use table::TableError;
pub use tail::tail;

/// The transport's name, in logs, metrics and what is said of readiness.
pub const NAME: &str = "nats";

/// How long what was said at the end may take to be written.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// How long a request to JetStream may take.
const JETSTREAM_PATIENCE: Duration = Duration::from_secs(5);

/// Why the settings of NATS cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A file cannot be read, or is not what was expected.
    #[error("{key} names {path}, which cannot be used: {error}")]
    File {
        /// The setting.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A table cannot be used.
    #[error(transparent)]
    Table(#[from] TableError),
    /// It cannot even be begun to connect.
    #[error("nats.url cannot be used: {0}")]
    Connect(String),
}

/// Bytes that a message may have, as the settings say now.
#[derive(Clone)]
pub(crate) struct MessageBytes(watch::Receiver<Arc<Settings>>);

impl MessageBytes {
    pub(crate) fn most(&self) -> usize {
        usize::try_from(self.0.borrow().limits.message_bytes.get()).unwrap_or(usize::MAX)
    }
}

/// The NATS transport.
pub struct Nats {
    settings: NatsSettings,
    table: Arc<Table>,
    message_bytes: MessageBytes,
    data: PathBuf,
}

impl Nats {
    /// As the settings say; `None` when they name no broker. Of those that can be reloaded, the newest count.
    ///
    /// # Errors
    /// [`NatsError`] when they cannot be used.
    pub fn of(settings: watch::Receiver<Arc<Settings>>) -> Result<Option<Self>, NatsError> {
        let now = settings.borrow().clone();
        if now.nats.url.is_none() {
            return Ok(None);
        }
        let table = Arc::new(Table::new(&now.nats)?);
        link::check(&now.nats)?;
        let (message_bytes, data) = (MessageBytes(settings), now.data_dir.clone());
        Ok(Some(Self { settings: now.nats.clone(), table, message_bytes, data }))
    }

    async fn serve(
        self,
        engine: Engine,
        broker: Arc<Broker>,
        shutdown: CancellationToken,
    ) -> Result<(), TransportError> {
        let link = Link::open(&self.settings, broker).await?;
        let context = ContextBuilder::new().timeout(JETSTREAM_PATIENCE).build(link.client.clone());
        let Self { settings, table, message_bytes, data } = self;
        let subjects = Subjects::new(&settings.prefix);
        let shutdown = shutdown.child_token();
        let mut parts: JoinSet<Result<(), TransportError>> = JoinSet::new();
        let room = Arc::new(Semaphore::new(usize::try_from(settings.requests.get()).unwrap_or(usize::MAX)));
        let requests = Requests {
            link: link.clone(),
            engine: engine.clone(),
            subjects: subjects.clone(),
            table: table.clone(),
            message_bytes: message_bytes.clone(),
            room,
        };
        let until = shutdown.clone();
        parts.spawn(async move { Ok(requests.run(until).await?) });
        if !settings.out.is_empty() {
            let (link, engine, subjects) = (link.clone(), engine.clone(), subjects.clone());
            let out = Out { link, engine, subjects, wanted: settings.out.clone(), data };
            parts.spawn(out.run(shutdown.clone()).map(Ok));
        }
        if settings.ingest {
            let (dead, letters) = mpsc::channel(LETTERS);
            let (of_dead, jetstream) = (settings.clone(), context.clone());
            parts.spawn(dead::run(link.clone(), jetstream, of_dead, subjects.clone(), letters).map(Ok));
            let link = link.clone();
            let failing = Failing::default();
            let ingest =
                Ingest { link, context, engine, settings, subjects, table, message_bytes, dead, failing };
            parts.spawn(ingest.run(shutdown.clone()).map(Ok));
        }
        // Each goes on until the shutdown; one that ends before takes the others with it.
        let mut outcome = Ok(());
        while let Some(ended) = parts.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(error.into()));
            if ended.is_err() {
                shutdown.cancel();
            }
            outcome = outcome.and(ended);
        }
        let _ = tokio::time::timeout(END_PATIENCE, link.client.flush()).await; // without a broker there is nobody to write to
        outcome
    }
}

impl Transport for Nats {
    fn name(&self) -> &'static str {
        NAME
    }

    fn run(
        self: Box<Self>,
        engine: Engine,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, Result<(), TransportError>> {
        let broker = engine.metrics().broker(NAME); // from now on operators are told of it
        self.serve(engine, broker, shutdown).boxed()
    }
}
