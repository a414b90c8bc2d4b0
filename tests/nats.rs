//! NATS: what is published there is in the log exactly once, whatever is killed or paused; what cannot be accepted is put aside; and
//! what is said there is what is said on HTTP.

pub mod broker;
mod doors;
mod forms;
mod out;
mod requests;
mod truth;

use std::collections::BTreeMap;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::{self, Context};
use futures_util::StreamExt;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, in_time, service};
use broker::Broker;

/// Longer than anything takes that should happen soon: broker and server find each other again by themselves.
const PATIENCE: Duration = Duration::from_secs(60);

/// A broker, and a server that takes from it.
async fn pair(more: &str) -> (Broker, World) {
    let broker = Broker::start().await;
    let world = World::with_configuration(&broker.settings(more)).await;
    until_state(&world, "consuming").await;
    (broker, world)
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("{what} took too long"));
}

/// Waits until the server says that its connection to the broker is so.
pub async fn until_state(world: &World, state: &str) {
    until(state, async || {
        let ready = world.http.get(world.url("/health/ready")).send().await.expect("an answer");
        let ready: Value = ready.json().await.expect("JSON");
        ready["brokers"]["nats"] == state
    })
    .await;
}

fn note(title: &str) -> Value {
    json!({ "type": "note", "title": title, "audience": { "users": ["ada"] } })
}

/// Publishes to the stream and waits until the broker has it: its number there.
async fn publish(jetstream: &Context, subject: &str, payload: &Value) -> u64 {
    publish_raw(jetstream, subject, HeaderMap::new(), payload.to_string()).await
}

async fn publish_raw(
    jetstream: &Context,
    subject: &str,
    headers: HeaderMap,
    payload: impl Into<bytes::Bytes>,
) -> u64 {
    let stored = async {
        let sent = jetstream.publish_with_headers(subject.to_owned(), headers, payload.into()).await;
        sent.expect("it is sent").await.expect("it is stored").sequence
    };
    in_time("the broker's word", stored).await
}

fn headers(of: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    of.iter().for_each(|(name, value)| headers.insert(*name, *value));
    headers
}

/// Waits until the stream holds nothing more: all is settled.
async fn until_settled(jetstream: &Context) {
    until("settling", async || {
        let Ok(stream) = jetstream.get_stream("TIDINGS").await else { return false };
        stream.cached_info().state.messages == 0
    })
    .await;
}

/// How often each title is in the log.
async fn titles(world: &World) -> BTreeMap<String, usize> {
    let mut titles = BTreeMap::new();
    for event in world.log().await {
        if event["type"] == "NotificationPublished" {
            *titles.entry(event["content"]["title"].as_str().unwrap_or_default().to_owned()).or_default() +=
                1;
        }
    }
    titles
}

/// The dead letters, by their subject.
async fn dead_letters(jetstream: &Context) -> Vec<(String, Value)> {
    let stream = jetstream.get_stream("TIDINGS_DEAD").await.expect("the stream of dead letters");
    let config = jetstream::consumer::pull::Config::default();
    let consumer = stream.create_consumer(config).await.expect("a consumer");
    let count = stream.cached_info().state.messages;
    let mut messages = consumer.messages().await.expect("messages");
    let mut letters = Vec::new();
    while (letters.len() as u64) < count {
        let message = in_time("a dead letter", messages.next()).await.expect("one more").expect("a message");
        letters.push((message.subject.to_string(), serde_json::from_slice(&message.payload).expect("JSON")));
    }
    letters
}

/// A number of the metrics.
async fn metric(world: &World, name: &str) -> f64 {
    let text = world.request(Method::GET, "/metrics", &service()).send().await.expect("an answer");
    let text = text.text().await.expect("text");
    let line = text.lines().find(|line| line.starts_with(&format!("{name}{{")));
    let number = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
    number.unwrap_or_else(|| panic!("there is no {name}"))
}
