//! Exactly once: with the server or the broker killed, paused, away, or with its stream made anew.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use serde_json::Value;

use super::broker::Broker;
use super::{headers, metric, note, pair, publish, publish_raw, titles, until, until_settled, until_state};
use crate::world::{World, person};

const ROUNDS: u64 = 20;

/// What the broker said it has: each title with its number in the stream.
type Stored = BTreeMap<String, u64>;

/// Publishes to the stream until it is told to stop, every other one with an id. What the broker took.
async fn publisher(jetstream: Context, name: String, stop: Arc<AtomicBool>) -> Stored {
    let mut stored = Stored::new();
    for count in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let title = format!("{name}-{count}");
        let headers = if count % 2 == 0 { HeaderMap::new() } else { headers(&[("Nats-Msg-Id", &title)]) };
        let payload = note(&title).to_string().into();
        let Ok(sent) = jetstream.publish_with_headers("tidings.publish.load", headers, payload).await else {
            continue;
        };
        if let Ok(ack) = sent.await {
            stored.insert(title, ack.sequence);
        }
    }
    stored
}

/// Everything that the broker took and kept is in the log once, and in the inbox of whom it was for; nothing else is.
async fn check(world: &World, stored: &Stored, sent: impl Fn(&str) -> bool) {
    let titles = titles(world).await;
    let twice: Vec<_> = titles.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "more than once: {twice:?}");
    let lost: Vec<_> = stored.keys().filter(|title| !titles.contains_key(*title)).collect();
    assert!(lost.is_empty(), "lost {} of {}: {:?}", lost.len(), stored.len(), &lost[..lost.len().min(9)]);
    assert!(titles.keys().all(|title| sent(title)), "nothing is there that nobody sent");
    let counts = world.get("/v1/counts", &person("ada")).await;
    assert_eq!(counts["unread"], titles.len(), "each has reached whom it was for, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_has_is_in_the_log_once_though_the_server_is_killed_again_and_again() {
    let (broker, mut world) = pair("").await;
    let jetstream = broker.jetstream().await;
    let (stop, mut stored) = (Arc::new(AtomicBool::new(false)), Stored::new());
    let names = (0..4).map(|number| format!("p{number}"));
    let publishers: Vec<_> =
        names.map(|name| tokio::spawn(publisher(jetstream.clone(), name, stop.clone()))).collect();
    for round in 0..ROUNDS {
        // Another moment each time, so that the kill meets every phase of a batch.
        tokio::time::sleep(Duration::from_millis(60 + 13 * (round % 7))).await;
        world.kill().await;
        world.resume().await;
        if round % 5 == 0 {
            until_state(&world, "consuming").await;
        }
    }
    stop.store(true, Ordering::Relaxed);
    for publisher in publishers {
        stored.extend(publisher.await.expect("a publisher ends"));
    }
    assert!(stored.len() > 200, "there was load: {}", stored.len());
    until_all_are_there(&world, &stored).await;
    check(&world, &stored, |title| title.starts_with('p')).await;
}

/// Waits until the log has as many as were stored. What the server had when it was killed comes again only after a while.
async fn until_all_are_there(world: &World, stored: &Stored) {
    until("taking what is there", async || {
        let titles = titles(world).await;
        stored.keys().all(|title| titles.contains_key(title))
    })
    .await;
}

#[tokio::test]
async fn what_is_published_while_the_server_is_down_is_there_when_it_comes_back() {
    let (broker, mut world) = pair("").await;
    let jetstream = broker.jetstream().await;
    assert!(world.stop().await.success());
    let mut stored = Stored::new();
    for number in 0..100 {
        let title = format!("away {number}");
        stored.insert(title.clone(), publish(&jetstream, "tidings.publish.x", &note(&title)).await);
    }
    world.resume().await;
    until_settled(&jetstream).await;
    check(&world, &stored, |title| title.starts_with("away")).await;
    let in_order: Vec<String> = world
        .log()
        .await
        .iter()
        .filter_map(|event| event["content"]["title"].as_str().map(str::to_owned))
        .collect();
    let expected: Vec<String> = (0..100).map(|number| format!("away {number}")).collect();
    assert_eq!(in_order, expected, "the order of the stream is that of the log");
    let device = world.connect(&person("ada")).await;
    assert_eq!(device.hello["counts"]["unread"], 100);
}

/// A stream and a consumer as an operator may have made them: what is not acknowledged comes again after a second.
async fn impatient(jetstream: &Context) {
    let stream = Config {
        name: "TIDINGS".to_owned(),
        subjects: vec!["tidings.publish.>".to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    let stream = jetstream.create_stream(stream).await.expect("a stream");
    let consumer = pull::Config {
        durable_name: Some("tidings".to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_secs(1),
        ..pull::Config::default()
    };
    stream.create_consumer(consumer).await.expect("a consumer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_again_because_the_server_was_paused_is_in_the_log_once() {
    let broker = Broker::start().await;
    let jetstream = broker.jetstream().await;
    impatient(&jetstream).await;
    let world = World::with_configuration(&broker.settings("")).await;
    until_state(&world, "consuming").await;
    let (stop, mut stored) = (Arc::new(AtomicBool::new(false)), Stored::new());
    let publisher = tokio::spawn(publisher(jetstream.clone(), "p".to_owned(), stop.clone()));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        world.signal("STOP");
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        world.signal("CONT");
    }
    stop.store(true, Ordering::Relaxed);
    stored.extend(publisher.await.expect("a publisher ends"));
    until_settled(&jetstream).await;
    check(&world, &stored, |title| title.starts_with('p')).await;
    assert!(metric(&world, "tidings_broker_redelivered_total").await > 0.0, "some came more than once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_kept_is_in_the_log_once_though_the_broker_is_killed_and_paused() {
    let (mut broker, world) = pair("").await;
    let (mut kept, mut names) = (Stored::new(), BTreeSet::new());
    for round in 0..5 {
        let client = broker.jetstream().await;
        let (stop, name) = (Arc::new(AtomicBool::new(false)), format!("r{round}"));
        names.insert(name.clone());
        let publisher = tokio::spawn(publisher(client, name, stop.clone()));
        tokio::time::sleep(Duration::from_millis(300)).await;
        if round == 2 {
            broker.signal("STOP");
            tokio::time::sleep(Duration::from_secs(2)).await;
            broker.signal("CONT");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        broker.kill().await;
        stop.store(true, Ordering::Relaxed);
        let stored = publisher.await.expect("a publisher ends");
        assert!(!stored.is_empty());
        broker.resume().await;
        // What a killed broker has not kept, nobody can take.
        let jetstream = broker.jetstream().await;
        let stream = jetstream.get_stream("TIDINGS").await.expect("the stream");
        let last = stream.cached_info().state.last_sequence;
        kept.extend(stored.into_iter().filter(|(_, sequence)| *sequence <= last));
    }
    until_all_are_there(&world, &kept).await;
    until_settled(&broker.jetstream().await).await;
    check(&world, &kept, |title| names.contains(title.split('-').next().unwrap_or_default())).await;
    let ready: Value =
        world.http.get(world.url("/health/ready")).send().await.expect("it").json().await.expect("JSON");
    assert_eq!(ready["status"], "ready", "the server has served all the while");
}

#[tokio::test]
async fn a_stream_or_a_consumer_that_is_taken_away_is_made_anew_and_its_numbers_are_those_of_others() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    let mut stored = Stored::new();
    for round in 0..3 {
        for number in 0..20 {
            let title = format!("round {round} {number}");
            let sequence = publish(&jetstream, "tidings.publish.x", &note(&title)).await;
            assert_eq!(sequence, number + 1, "each stream counts from one");
            stored.insert(title, sequence);
        }
        until_all_are_there(&world, &stored).await;
        until_settled(&jetstream).await;
        jetstream.delete_stream("TIDINGS").await.expect("it is deleted");
        until("the stream", async || jetstream.get_stream("TIDINGS").await.is_ok()).await;
    }
    let stream = jetstream.get_stream("TIDINGS").await.expect("the stream");
    until("the consumer", async || stream.delete_consumer("tidings").await.is_ok()).await;
    stored.insert("last".to_owned(), publish(&jetstream, "tidings.publish.x", &note("last")).await);
    until_all_are_there(&world, &stored).await;
    check(&world, &stored, |_| true).await;
    assert!(metric(&world, "tidings_broker_renewals_total").await > 0.0);
}

#[tokio::test]
async fn a_consumer_that_does_not_know_of_what_the_stream_has_is_made_anew() {
    let (mut broker, mut world) = pair("").await;
    assert!(world.stop().await.success());
    let (jetstream, mut stored) = (broker.jetstream().await, Stored::new());
    for number in 0..10 {
        let title = format!("kept {number}");
        stored.insert(title.clone(), publish(&jetstream, "tidings.publish.x", &note(&title)).await);
    }
    let copied = |from: &std::path::Path, to: &std::path::Path| {
        let copied = std::process::Command::new("cp").arg("-r").arg(from).arg(to).status();
        assert!(copied.expect("cp runs").success());
    };
    broker.stop().await;
    let messages = broker.directory.path().join("store/jetstream/$G/streams/TIDINGS/msgs");
    let before = broker.directory.path().join("before");
    copied(&messages, &before);
    broker.resume().await;
    world.resume().await;
    until_settled(&broker.jetstream().await).await;
    assert!(world.stop().await.success());
    // As a broker that is killed may find its disk: the messages are there again, and the consumer has had them.
    broker.stop().await;
    std::fs::remove_dir_all(&messages).expect("it is removed");
    copied(&before, &messages);
    broker.resume().await;
    let jetstream = broker.jetstream().await;
    let stream = jetstream.get_stream("TIDINGS").await.expect("the stream");
    assert_eq!(stream.cached_info().state.messages, 10);
    assert_eq!(stream.consumer_info("tidings").await.expect("the consumer").num_pending, 0);
    world.resume().await;
    until_settled(&jetstream).await;
    check(&world, &stored, |_| true).await;
}

#[tokio::test]
async fn the_same_id_is_published_once_beyond_what_the_broker_remembers() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    for _ in 0..2 {
        publish_raw(
            &jetstream,
            "tidings.publish.x",
            headers(&[("Nats-Msg-Id", "k")]),
            note("once").to_string(),
        )
        .await;
        until_settled(&jetstream).await;
        // A stream made anew remembers no ids.
        jetstream.delete_stream("TIDINGS").await.expect("it is deleted");
        until("the stream", async || jetstream.get_stream("TIDINGS").await.is_ok()).await;
    }
    publish(&jetstream, "tidings.publish.x", &note("end")).await;
    until_settled(&jetstream).await;
    let expected = BTreeMap::from([("once".to_owned(), 1), ("end".to_owned(), 1)]);
    assert_eq!(titles(&world).await, expected);
}

#[tokio::test]
async fn while_the_log_can_take_nothing_messages_wait_and_none_is_given_up() {
    let broker = Broker::start().await;
    let settings = format!("reserve-bytes = {}\n{}", i64::MAX, broker.settings(""));
    let mut world = World::with_configuration(&settings).await;
    let jetstream = broker.jetstream().await;
    until_state(&world, "consuming").await;
    let mut stored = Stored::new();
    for number in 0..10 {
        let title = format!("full {number}");
        stored.insert(title.clone(), publish(&jetstream, "tidings.publish.x", &note(&title)).await);
    }
    until("being refused", async || metric(&world, "tidings_broker_postponed_total").await >= 10.0).await;
    assert_eq!(titles(&world).await.len(), 0);
    assert_eq!(super::dead_letters(&jetstream).await.len(), 0);
    assert!(world.stop().await.success());
    std::fs::write(world.directory.path().join("tidings.toml"), broker.settings("")).expect("a file");
    world.resume().await;
    until_settled(&jetstream).await;
    check(&world, &stored, |_| true).await;
}

#[tokio::test]
async fn each_message_reaches_a_connected_device_once() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    let mut device = world.connect(&person("ada")).await;
    for number in 0..50 {
        publish(&jetstream, "tidings.publish.x", &note(&format!("live {number}"))).await;
    }
    for number in 0..50 {
        let heard = device.expect("notification").await;
        assert_eq!(heard["notification"]["title"], format!("live {number}"));
    }
    until_settled(&jetstream).await;
    assert_eq!(device.notifications().await.len(), 0, "and nothing more");
}

#[tokio::test]
async fn a_consumer_that_waits_for_no_acknowledgement_is_not_taken_from() {
    let broker = Broker::start().await;
    let jetstream = broker.jetstream().await;
    let stream = Config {
        name: "TIDINGS".to_owned(),
        subjects: vec!["tidings.publish.>".to_owned()],
        ..Config::default()
    };
    let stream = jetstream.create_stream(stream).await.expect("a stream");
    let consumer = pull::Config {
        durable_name: Some("tidings".to_owned()),
        ack_policy: AckPolicy::None,
        ..pull::Config::default()
    };
    stream.create_consumer(consumer).await.expect("a consumer");
    publish(&jetstream, "tidings.publish.x", &note("kept")).await;
    let world = World::with_configuration(&broker.settings("")).await;
    until("a refusal", async || metric(&world, "tidings_broker_renewals_total").await >= 1.0).await;
    assert_eq!(titles(&world).await.len(), 0);
    stream.delete_consumer("tidings").await.expect("it is deleted");
    until("a consumer of ours", async || titles(&world).await.len() == 1).await;
}
