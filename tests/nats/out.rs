//! What goes out for downstream services: under which subjects, with what, and across what is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::stream::Config;
use async_nats::{Client, Message, Subscriber};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use super::broker::Broker;
use super::{note, pair, until, until_state};
use crate::world::{World, in_time, service};

const ALL: &str = "out = ['users', 'channels', 'log']\n";

/// Where nobody listens.
const NOBODY: &str = "nobody.is.there";

async fn listen(client: &Client, subject: &str) -> Subscriber {
    let subscriber = client.subscribe(subject.to_owned()).await.expect("a subscription");
    client.flush().await.expect("it is written");
    // A request is answered after what was written before it: the broker has the subscription.
    let _ = client.request(NOBODY, "".into()).await;
    subscriber
}

fn header<'m>(message: &'m Message, name: &str) -> &'m str {
    message.headers.as_ref().and_then(|headers| headers.get(name)).expect("a header").as_str()
}

/// What has come so far, and nothing for a while.
async fn heard(subscriber: &mut Subscriber) -> Vec<Message> {
    let mut heard = Vec::new();
    while let Ok(Some(message)) = tokio::time::timeout(Duration::from_millis(700), subscriber.next()).await {
        heard.push(message);
    }
    heard
}

#[tokio::test]
async fn notifications_go_out_under_those_they_are_for_and_events_under_the_log() {
    let (broker, world) = pair(ALL).await;
    let client = broker.client().await;
    let mut all = listen(&client, "tidings.>").await;
    let audience = json!({ "users": ["ada", "bob"], "channels": ["everyone", "topic:a.b"] });
    let receipt = world.publish(json!({ "type": "note", "title": "t", "audience": audience })).await;
    let id = receipt["id"].as_str().expect("an id");
    let path = format!("/v1/notifications/{id}");
    let revision = json!({ "title": "other" });
    world.ok(reqwest::Method::PUT, &path, &service(), &revision).await;
    world.ok(reqwest::Method::DELETE, &path, &service(), &Value::Null).await;
    let mut by_subject: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for message in heard(&mut all).await {
        let json: Value = serde_json::from_slice(&message.payload).expect("JSON");
        assert!(
            header(&message, "Tidings-Cursor")
                .ends_with(&format!(".{}", header(&message, "Tidings-Position")))
        );
        assert!(ids.insert(header(&message, "Nats-Msg-Id").to_owned()), "each has an id of its own");
        let position = header(&message, "Tidings-Position").to_owned();
        by_subject.entry(message.subject.to_string()).or_default().push((position, json));
    }
    let log = by_subject.remove("tidings.log").expect("the log");
    let kinds: Vec<&str> = log.iter().filter_map(|(_, event)| event["type"].as_str()).collect();
    assert_eq!(kinds, ["NotificationPublished", "Updated", "Retracted"]);
    let expected = world.log().await;
    for (position, event) in &log {
        assert!(expected.contains(event), "it is the event that the log has");
        assert_eq!(event["position"].to_string(), *position);
    }
    let subjects: Vec<&str> = by_subject.keys().map(String::as_str).collect();
    let own =
        ["tidings.channel.everyone", "tidings.channel.topic:a%2Eb", "tidings.user.ada", "tidings.user.bob"];
    assert_eq!(subjects, own);
    for (subject, messages) in by_subject {
        let kinds: Vec<&str> = messages.iter().filter_map(|(_, message)| message["type"].as_str()).collect();
        assert_eq!(kinds, ["notification", "updated", "retracted"], "{subject}");
        assert_eq!(messages[0].1["notification"]["id"], id);
    }
}

#[tokio::test]
async fn nothing_goes_out_that_was_not_asked_for() {
    let (broker, world) = pair("").await;
    let client = broker.client().await;
    let mut all = listen(&client, "tidings.>").await;
    world.publish(note("quiet")).await;
    assert_eq!(heard(&mut all).await.len(), 0);
}

#[tokio::test]
async fn another_tenant_has_subjects_of_its_own() {
    let (broker, world) = pair(ALL).await;
    let client = broker.client().await;
    let mut all = listen(&client, "tidings.>").await;
    let of_shop = crate::world::token(&tidings_http::token::Grant {
        tenant: Some("shop".to_owned()),
        scopes: vec!["publish".to_owned()],
        ..Default::default()
    });
    world.post("/v1/notifications", &of_shop, note("shop's")).await;
    let subjects: BTreeSet<String> =
        heard(&mut all).await.iter().map(|message| message.subject.to_string()).collect();
    assert_eq!(
        subjects.iter().map(String::as_str).collect::<Vec<_>>(),
        ["tidings.tenant.shop.log", "tidings.tenant.shop.user.ada"]
    );
}

#[tokio::test]
async fn an_id_never_becomes_more_than_a_token_of_what_goes_out() {
    let broker = Broker::start().await;
    let world = World::with_configuration(&broker.settings(&format!("ingest = false\n{ALL}"))).await;
    until_state(&world, "connected").await;
    let client = broker.client().await;
    let mut all = listen(&client, ">").await;
    let ids = ["a.b.c", "*", ">", "a b", "x PUB tidings.publish.x 0", "ä.ö", "%3E", "$SYS.REQ"];
    let channels = ["topic:a.>", "topic:.", "topic:$SYS.x"];
    world
        .publish(json!({ "type": "note", "title": "t", "audience": { "users": ids, "channels": channels } }))
        .await;
    let subjects: BTreeSet<String> = heard(&mut all)
        .await
        .iter()
        .map(|message| message.subject.to_string())
        .filter(|subject| !subject.starts_with("_INBOX") && subject != "tidings.log" && subject != NOBODY)
        .collect();
    let ours = subjects.iter().filter(|subject| {
        let tokens: Vec<&str> = subject.split('.').collect();
        let plain = |token: &str| token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_:@%".contains(&b));
        matches!(tokens[..], ["tidings", "user" | "channel", token] if plain(token))
    });
    assert_eq!(ours.count(), subjects.len(), "{subjects:?}");
    assert_eq!(subjects.len(), ids.len() + channels.len(), "each has one of its own: {subjects:?}");
}

#[tokio::test]
async fn what_happens_while_the_broker_or_the_server_is_away_goes_out_afterwards() {
    let (mut broker, mut world) = pair("out = ['log']\n").await;
    let jetstream = broker.jetstream().await;
    take(&jetstream, &["tidings.log"]).await;
    let mut expected = BTreeSet::new();
    for title in ["first", "second"] {
        world.publish(note(title)).await;
        expected.insert(title.to_owned());
    }
    until("the first ones", async || taken(&jetstream).await >= 2).await;
    // What is written to a broker that takes nothing any more is lost on the way.
    broker.signal("STOP");
    for number in 0..5 {
        let title = format!("on the way {number}");
        world.publish(note(&title)).await;
        expected.insert(title);
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    broker.kill().await;
    for number in 0..20 {
        let title = format!("away {number}");
        world.publish(note(&title)).await;
        expected.insert(title);
    }
    // Stopped without a broker, and started again before there is one.
    assert!(world.stop().await.success());
    world.resume().await;
    world.publish(note("last")).await;
    expected.insert("last".to_owned());
    broker.resume().await;
    let jetstream = broker.jetstream().await;
    until("the others", async || taken(&jetstream).await >= 29).await; // with a start
    let stream = jetstream.get_stream("THEIRS").await.expect("the stream");
    let consumer = stream.create_consumer(pull::Config::default()).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages").take(taken(&jetstream).await as usize);
    let (mut titles, mut last) = (Vec::new(), 0);
    while let Some(message) = messages.next().await {
        let message = message.expect("a message");
        let event: Value = serde_json::from_slice(&message.payload).expect("JSON");
        let position = event["position"].as_u64().expect("a position");
        assert_eq!(
            position,
            if last == 0 { position } else { last + 1 },
            "in order, each once, none missing"
        );
        last = position;
        titles.extend(event["content"]["title"].as_str().map(str::to_owned));
    }
    assert_eq!(titles.len(), expected.len());
    assert_eq!(titles.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// A stream of a service that takes what goes out.
async fn take(jetstream: &Context, subjects: &[&str]) {
    let subjects = subjects.iter().map(|subject| (*subject).to_owned()).collect();
    let config = Config { name: "THEIRS".to_owned(), subjects, ..Config::default() };
    jetstream.create_stream(config).await.expect("a stream");
}

/// How much it has.
async fn taken(jetstream: &Context) -> u64 {
    jetstream.get_stream("THEIRS").await.expect("the stream").cached_info().state.messages
}

#[tokio::test]
async fn a_stream_of_a_service_has_every_event_once_though_the_server_is_killed() {
    let (broker, mut world) = pair(ALL).await;
    let jetstream = broker.jetstream().await;
    take(&jetstream, &["tidings.log", "tidings.user.>"]).await;
    for round in 0..5 {
        for number in 0..20 {
            world.publish(note(&format!("{round} {number}"))).await;
        }
        // What was accepted a moment ago may not have gone out yet.
        tokio::time::sleep(Duration::from_millis(20 * round)).await;
        world.kill().await;
        world.resume().await;
    }
    let count = world.log().await.len() as u64;
    let notifications = 100;
    until("everything", async || {
        // The first start came before sending began. Each other event is sent, once.
        let messages = taken(&jetstream).await;
        assert!(
            messages < count + notifications,
            "{messages} of {count} events and {notifications} notifications"
        );
        messages + 1 == count + notifications
    })
    .await;
}

#[tokio::test]
async fn the_log_can_be_followed_from_the_command_line() {
    let broker = Broker::start().await;
    let world = World::with_configuration(&broker.settings("out = ['log']\n")).await;
    until_state(&world, "consuming").await;
    let mut tail = world.command(&["tail", "--nats", "--json"]);
    tail.env("TIDINGS_NATS_URL", broker.url()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let mut tail = tail.spawn().expect("it starts");
    let mut said = BufReader::new(tail.stderr.take().expect("an output")).lines();
    let first = in_time("its word", said.next_line()).await.expect("its output").expect("a line");
    assert!(first.starts_with("following nats://"), "{first}");
    let mut lines = BufReader::new(tail.stdout.take().expect("an output")).lines();
    let line = in_time("a line", async {
        // It may still be connecting.
        loop {
            world.publish(note("followed")).await;
            if let Ok(line) = tokio::time::timeout(Duration::from_millis(500), lines.next_line()).await {
                return line.expect("its output").expect("a line");
            }
        }
    })
    .await;
    let event: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&event["type"], &event["content"]["title"]),
        (&json!("NotificationPublished"), &json!("followed"))
    );
    let mut alone = world.command(&["tail", "--nats"]);
    let refused = alone.output().await.expect("it runs");
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("nats.url"), "{said}");
}
