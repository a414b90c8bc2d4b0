//! The log as it goes out on NATS, for `tidings tail --nats`: what somebody sees who has nothing of ours.

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tidings_config::NatsSettings;
use tidings_engine::broker::Broker;

use crate::NatsError;
use crate::link::Link;

/// The events of all tenants as they go out, each as JSON.
///
/// # Errors
/// [`NatsError`] when the settings cannot be used.
pub async fn tail(settings: &NatsSettings) -> Result<impl Stream<Item = Bytes> + use<>, NatsError> {
    let link = Link::open(settings, Broker::default().into()).await?;
    let mut subscribed = Vec::new();
    for subject in [format!("{}.log", settings.prefix), format!("{}.tenant.*.log", settings.prefix)] {
        let subscriber = link.client.subscribe(subject).await;
        subscribed.push(subscriber.map_err(|error| NatsError::Connect(error.to_string()))?);
    }
    Ok(futures_util::stream::select_all(subscribed).map(|message| message.payload))
}
