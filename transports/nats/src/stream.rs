//! What is made on demand at the broker: the stream that keeps what is published until it is in the log, the one of dead letters, and
//! the durable consumer that all servers share. What is there already is used as its operator made it.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, Info, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{Context, ErrorCode};
use tidings_config::NatsSettings;

use crate::subject::Subjects;

/// After this long without an acknowledgement a message comes again: many times what a commit takes, also on a disk that struggles.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// How long the broker remembers ids: as short as it can be. It knows an id once for a whole stream, and would drop what another tenant
/// publishes under the same, or what is published again because it was put aside. The log knows the keys of each tenant.
const DUPLICATES: Duration = Duration::from_millis(100);
/// Bytes of dead letters that are kept; the oldest go first.
const DEAD_BYTES: i64 = 256 << 20;
/// How long they are kept.
const DEAD_AGE: Duration = Duration::from_secs(30 * 24 * 3_600);

/// Why the broker has not what is needed: in its own words.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub(crate) struct StreamError {
    what: &'static str,
    error: Box<dyn std::error::Error + Send + Sync>,
}

fn failed<E: std::error::Error + Send + Sync + 'static>(what: &'static str) -> impl FnOnce(E) -> StreamError {
    move |error| StreamError { what, error: error.into() }
}

/// The consumer that messages are taken from.
pub(crate) struct Consumer {
    stream: Stream,
    consumer: PullConsumer,
}

impl Consumer {
    /// The consumer, made if it is not there; and so its stream, and that of dead letters.
    pub(crate) async fn prepare(
        context: &Context,
        settings: &NatsSettings,
        subjects: &Subjects,
    ) -> Result<Self, StreamError> {
        let stream = stream(context, of_published(settings, subjects)).await?;
        warn_of_losses(&stream.cached_info().config);
        stream_of_dead_letters(context, settings, subjects).await?;
        let made = stream.get_or_create_consumer(&settings.consumer, config(settings, subjects)).await;
        let consumer = made.map_err(failed("the consumer cannot be made"))?;
        let made = Self { stream, consumer };
        made.require_subject(&subjects.publish())?;
        made.require_acknowledgements()?;
        Ok(made)
    }

    /// What is published for others, under another prefix, is not ours to take.
    fn require_subject(&self, wanted: &str) -> Result<(), StreamError> {
        let filter = self.consumer.cached_info().config.filter_subject.as_str();
        let is_all = filter.is_empty() && self.stream.cached_info().config.subjects == [wanted];
        if filter == wanted || is_all {
            return Ok(());
        }
        let error = format!(
            "expected a consumer of {wanted}, got one of {filter:?}: name others (nats.stream, nats.consumer)"
        );
        Err(StreamError { what: "the consumer cannot be used", error: error.into() })
    }

    /// Without them the broker forgets what it has handed out, whatever becomes of it.
    fn require_acknowledgements(&self) -> Result<(), StreamError> {
        let config = &self.consumer.cached_info().config;
        if config.ack_policy != AckPolicy::Explicit {
            let got = config.ack_policy;
            let error = format!("expected the acknowledgement policy explicit, got {got:?}").to_lowercase();
            return Err(StreamError { what: "the consumer cannot be used", error: error.into() });
        }
        if config.max_deliver > 0 {
            tracing::warn!(
                consumer = config.name,
                max_deliver = config.max_deliver,
                "the consumer gives up messages that it has handed out so often, also when the log could not take them: expected -1"
            );
        }
        Ok(())
    }

    /// How it is doing.
    pub(crate) async fn info(&self) -> Result<Info, StreamError> {
        self.consumer.get_info().await.map_err(failed("the consumer cannot be looked at"))
    }

    pub(crate) fn stream_name(&self) -> &str {
        &self.consumer.cached_info().stream_name
    }

    pub(crate) fn name(&self) -> &str {
        &self.consumer.cached_info().name
    }

    /// How many messages it hands out that are not acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        usize::try_from(self.consumer.cached_info().config.max_ack_pending).unwrap_or(usize::MAX)
    }

    /// Messages that are in the stream, if each of them is there for this consumer.
    pub(crate) async fn kept_for_it(&self) -> Result<Option<u64>, StreamError> {
        let info = self.stream.get_info().await.map_err(failed("the stream cannot be looked at"))?;
        let filter = self.consumer.cached_info().config.filter_subject.as_str();
        let is_its_own = info.config.retention == RetentionPolicy::WorkQueue
            && (filter.is_empty() || info.config.subjects == [filter]);
        Ok(is_its_own.then_some(info.state.messages))
    }

    /// Takes it away, to be made anew, if the stream forgets what was acknowledged: any other would begin once more with what was.
    pub(crate) async fn remove(&self) -> Result<(), StreamError> {
        if self.stream.cached_info().config.retention == RetentionPolicy::WorkQueue {
            let deleted = self.stream.delete_consumer(self.name()).await;
            deleted.map_err(failed("the consumer cannot be made anew"))?;
        }
        Ok(())
    }
}

/// The stream of dead letters, made if it is not there.
pub(crate) async fn stream_of_dead_letters(
    context: &Context,
    settings: &NatsSettings,
    subjects: &Subjects,
) -> Result<(), StreamError> {
    let dead = Config {
        name: format!("{}_DEAD", settings.stream),
        description: Some("What Tidings could not accept, and why.".to_owned()),
        subjects: vec![subjects.dead()],
        max_bytes: DEAD_BYTES,
        max_age: DEAD_AGE,
        discard: DiscardPolicy::Old,
        ..base(settings)
    };
    stream(context, dead).await.map(drop)
}

/// Looked for by its name, so that an operator may have made it otherwise.
async fn stream(context: &Context, config: Config) -> Result<Stream, StreamError> {
    let name = config.name.clone();
    match context.get_stream(&name).await {
        Ok(stream) => Ok(stream),
        Err(error) if is_missing(&error) => {
            tracing::info!(stream = name, "making a stream at NATS");
            context.create_stream(config).await.map_err(failed("the stream cannot be made"))
        }
        Err(error) => Err(failed("the stream cannot be looked at")(error)),
    }
}

fn is_missing(error: &async_nats::jetstream::context::GetStreamError) -> bool {
    use async_nats::jetstream::context::GetStreamErrorKind::JetStream;
    matches!(error.kind(), JetStream(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND)
}

fn of_published(settings: &NatsSettings, subjects: &Subjects) -> Config {
    Config {
        name: settings.stream.clone(),
        description: Some("What is published to Tidings, until it is in its log.".to_owned()),
        subjects: vec![subjects.publish()],
        retention: RetentionPolicy::WorkQueue,
        max_bytes: i64::try_from(settings.stream_bytes).unwrap_or(i64::MAX),
        // A publisher that is refused knows; one whose message is dropped later does not.
        discard: DiscardPolicy::New,
        duplicate_window: DUPLICATES,
        ..base(settings)
    }
}

fn base(settings: &NatsSettings) -> Config {
    Config {
        storage: StorageType::File,
        num_replicas: usize::try_from(settings.replicas.get()).unwrap_or(1),
        ..Config::default()
    }
}

fn config(settings: &NatsSettings, subjects: &Subjects) -> pull::Config {
    pull::Config {
        durable_name: Some(settings.consumer.clone()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: ACK_WAIT,
        max_deliver: -1,
        max_ack_pending: settings.in_flight.get().into(),
        filter_subject: subjects.publish(),
        ..pull::Config::default()
    }
}

/// A stream that its operator made may drop what nobody has taken yet.
fn warn_of_losses(config: &Config) {
    let drops = config.discard == DiscardPolicy::Old
        && (config.max_bytes > 0 || config.max_messages > 0 || config.max_messages_per_subject > 0);
    if drops || !config.max_age.is_zero() {
        tracing::warn!(
            stream = config.name,
            "the stream may drop messages before they are published: expected one that refuses what is new when it is full, and \
             keeps the rest until it is acknowledged",
        );
    }
    if config.duplicate_window > DUPLICATES {
        tracing::warn!(
            stream = config.name,
            seconds = config.duplicate_window.as_secs(),
            "the stream drops messages whose Nats-Msg-Id it had so long ago, also of another tenant, and also when the first was \
             put aside: expected a duplicate window of 100 ms"
        );
    }
}
