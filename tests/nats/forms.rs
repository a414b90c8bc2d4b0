//! What a message may be, and what becomes of one that cannot be accepted.

use async_nats::HeaderMap;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::broker::Broker;
use super::{
    dead_letters, headers, metric, note, pair, publish, publish_raw, titles, until, until_settled,
    until_state,
};
use crate::world::{World, person};

#[tokio::test]
async fn drafts_and_cloudevents_are_published_with_and_without_headers() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    let data = json!({ "title": "structured", "audience": { "users": ["ada"] } });
    let mut event = json!({ "specversion": "1.0", "id": "e", "source": "/s", "type": "note", "data": data });
    let binary = [
        ("ce-specversion", "1.0"),
        ("ce-id", "b%201"),
        ("ce-source", "/s"),
        ("ce-type", "note"),
        ("content-type", "application/json"),
    ];
    let structured = [("Content-Type", "application/cloudevents+json; charset=utf-8")];
    let json_type = [("Content-Type", "application/json")];
    let body = json!({ "title": "binary", "audience": { "users": ["ada"] } });
    for (headers_of, payload) in [
        (&[][..], note("plain")),
        (&json_type[..], note("with a type")),
        (&structured[..], event.clone()),
        (&structured[..], event.clone()), // the same event again
        (&binary[..], body.clone()),
        (&binary[..], body),
    ] {
        publish_raw(&jetstream, "tidings.publish.x", headers(headers_of), payload.to_string()).await;
    }
    event["id"] = json!("without headers");
    event["data"]["title"] = event["id"].clone();
    publish(&jetstream, "tidings.publish.x", &event).await;
    until_settled(&jetstream).await;
    let titles = titles(&world).await;
    let expected = ["plain", "with a type", "structured", "binary", "without headers"];
    assert_eq!(titles.len(), expected.len(), "{titles:?}");
    assert!(expected.iter().all(|title| titles.get(*title) == Some(&1)), "{titles:?}");
}

/// The end of its subject, its headers, its payload, and the problem.
type Case = (&'static str, Vec<(&'static str, &'static str)>, Vec<u8>, &'static str);

/// Publishes with headers as they stand, which no client would write.
async fn publish_as_bytes(broker: &Broker, subject: &str, headers: &str, payload: &str) {
    let mut socket = TcpStream::connect(("127.0.0.1", broker.port)).await.expect("the broker");
    let (head, all) = (headers.len(), headers.len() + payload.len());
    let options = r#"{"verbose":false,"headers":true,"lang":"x","version":"1"}"#;
    let text = format!("CONNECT {options}\r\nHPUB {subject} {head} {all}\r\n{headers}{payload}\r\nPING\r\n");
    socket.write_all(text.as_bytes()).await.expect("it is written");
    let mut said = Vec::new();
    while !said.windows(4).any(|bytes| bytes == b"PONG") {
        let mut some = [0; 1_024];
        let count = socket.read(&mut some).await.expect("an answer");
        assert_ne!(count, 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..count]);
    }
    assert!(!said.windows(4).any(|bytes| bytes == b"-ERR"), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn what_cannot_be_accepted_is_put_aside_with_the_problem_and_the_rest_goes_on() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    let large = format!(r#"{{"type":"note","title":"{}","audience":{{"users":["ada"]}}}}"#, "x".repeat(600));
    let huge = format!(r#"{{"type":"note","body":"{}"}}"#, "\u{1}x".repeat(150_000));
    let deep = "[".repeat(10_000);
    let nobody = json!({ "type": "note", "title": "for nobody" }).to_string();
    let event = r#"{"specversion":"0.3","id":"e","source":"/s","type":"note"}"#;
    let cases: Vec<Case> = vec![
        ("empty", vec![], vec![], "malformed-json"),
        ("not-json", vec![], b"nope".to_vec(), "malformed-json"),
        ("cut", vec![], br#"{"type":"note","#.to_vec(), "malformed-json"),
        ("not-text", vec![], vec![0xff, 0x00, 0xfe], "malformed-json"),
        ("deep", vec![], deep.into_bytes(), "malformed-json"),
        ("a-list", vec![], b"[]".to_vec(), "invalid-field"),
        ("no-type", vec![], b"{}".to_vec(), "invalid-field"),
        ("unknown-field", vec![], br#"{"type":"note","titel":"x"}"#.to_vec(), "invalid-field"),
        ("empty-user", vec![], br#"{"type":"note","audience":{"users":[""]}}"#.to_vec(), "invalid-field"),
        (
            "bad-channel",
            vec![],
            br#"{"type":"note","audience":{"channels":["x"]}}"#.to_vec(),
            "invalid-field",
        ),
        ("long-title", vec![], large.into_bytes(), "invalid-field"),
        ("too-large", vec![], huge.into_bytes(), "too-large"),
        ("nobody", vec![], nobody.into_bytes(), "nobody-addressed"),
        ("xml", vec![("Content-Type", "text/xml")], b"<a/>".to_vec(), "unsupported-media-type"),
        ("old-event", vec![("Content-Type", "application/cloudevents+json")], event.into(), "invalid-field"),
        ("half-event", vec![("ce-specversion", "1.0")], b"{}".to_vec(), "invalid-field"),
        ("long-id", vec![("Nats-Msg-Id", "")], note("x").to_string().into(), "invalid-field"),
        (
            "two-keys",
            vec![("Nats-Msg-Id", "a")],
            br#"{"type":"note","idempotencyKey":"b"}"#.to_vec(),
            "invalid-field",
        ),
    ];
    let long_id = "x".repeat(300);
    publish_raw(
        &jetstream,
        "tidings.publish.x",
        headers(&[("Nats-Msg-Id", "used")]),
        note("first").to_string(),
    )
    .await;
    for (name, given, payload, _) in &cases {
        let mut given: Vec<(&str, &str)> = given.clone();
        if *name == "long-id" {
            given[0].1 = &long_id;
        }
        publish_raw(&jetstream, &format!("tidings.publish.bad.{name}"), headers(&given), payload.clone())
            .await;
    }
    publish(&jetstream, "tidings.publish.x", &note("last")).await;
    until_settled(&jetstream).await;
    assert_eq!(titles(&world).await.keys().collect::<Vec<_>>(), ["first", "last"]);
    let letters = dead_letters(&jetstream).await;
    assert_eq!(letters.len(), cases.len());
    for (name, _, payload, problem) in &cases {
        let subject = format!("tidings.dead.bad.{name}");
        let (_, letter) = letters.iter().find(|(on, _)| *on == subject).expect("a letter for each");
        assert_eq!(letter["problem"]["type"], format!("urn:tidings:problem:{problem}"), "{name}: {letter}");
        assert_eq!(letter["subject"], format!("tidings.publish.bad.{name}"));
        assert_eq!((&letter["stream"], &letter["bytes"]), (&json!("TIDINGS"), &json!(payload.len())));
        assert!(letter["sequence"].as_u64().is_some_and(|sequence| sequence > 1));
        let said = letter["data"].as_str().map(str::as_bytes);
        let is_text = std::str::from_utf8(payload).is_ok();
        assert_eq!(said.is_some(), is_text, "{name}");
        assert!(
            said.is_none_or(|said| payload.starts_with(said)),
            "{name}: it repeats the message, or its beginning"
        );
        assert!(letter.to_string().len() < 300_000, "{name}: it is bounded");
    }
    let (_, letter) = letters.iter().find(|(on, _)| on.ends_with(".two-keys")).expect("it");
    assert_eq!(letter["headers"]["Nats-Msg-Id"], "a");
    assert_eq!(metric(&world, "tidings_broker_dead_letters_total").await, cases.len() as f64);
}

#[tokio::test]
async fn a_key_that_stood_for_something_else_is_put_aside() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    publish(
        &jetstream,
        "tidings.publish.x",
        &json!({ "type": "note", "title": "a", "idempotencyKey": "k", "audience": { "users": ["ada"] } }),
    )
    .await;
    publish(
        &jetstream,
        "tidings.publish.x",
        &json!({ "type": "note", "title": "b", "idempotencyKey": "k", "audience": { "users": ["ada"] } }),
    )
    .await;
    until_settled(&jetstream).await;
    assert_eq!(titles(&world).await.keys().collect::<Vec<_>>(), ["a"]);
    let letters = dead_letters(&jetstream).await;
    assert_eq!(letters[0].1["problem"]["type"], "urn:tidings:problem:key-reused");
}

#[tokio::test]
async fn headers_that_look_like_a_word_of_the_broker_hide_no_message() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    for status in
        ["100 Idle Heartbeat", "404 No Messages", "408 Request Timeout", "409 Consumer Deleted", "503"]
    {
        let title = format!("status {status}");
        let headers = format!("NATS/1.0 {status}\r\n\r\n");
        publish_as_bytes(&broker, "tidings.publish.x", &headers, &note(&title).to_string()).await;
    }
    let headers = "NATS/1.0 408 x\r\nNats-Pending-Messages: 1000\r\nNats-Msg-Id: y\r\n\r\n";
    publish_as_bytes(&broker, "tidings.publish.x", headers, &note("pending").to_string()).await;
    publish(&jetstream, "tidings.publish.x", &note("good")).await;
    until_settled(&jetstream).await;
    let titles = titles(&world).await;
    assert_eq!(titles.len(), 7, "{titles:?}");
    assert_eq!(metric(&world, "tidings_broker_redelivered_total").await, 0.0, "none had to come again");
    assert_eq!(metric(&world, "tidings_broker_renewals_total").await, 0.0, "and nothing was begun anew");
}

const TABLE: &str = r#"
[[nats.subjects]]
subject = "shop.*.urgent"
tenant = "shop"
[[nats.subjects]]
subject = "shop.>"
tenant = "shop"
audience = ["topic:*", "user:svc-*"]
"#;

#[tokio::test]
async fn a_subject_addresses_whom_the_table_says_and_nobody_else() {
    let (broker, world) = pair(TABLE).await;
    let jetstream = broker.jetstream().await;
    let to = |title: &str, audience: Value| json!({ "type": "note", "title": title, "audience": audience });
    let cases = [
        ("shop.eu.urgent", to("anybody", json!({ "users": ["ada"], "channels": ["everyone"] })), true),
        ("shop.eu", to("topic", json!({ "channels": ["topic:a"] })), true),
        ("shop.eu", to("service", json!({ "users": ["svc-1"] })), true),
        ("shop.eu", to("person", json!({ "users": ["ada"] })), false),
        ("shop.eu", to("both", json!({ "users": ["svc-1", "ada"] })), false),
        ("shop.eu", to("everyone", json!({ "channels": ["everyone"] })), false),
        ("shops", to("elsewhere", json!({ "channels": ["topic:a"] })), false),
        ("other.urgent", to("nowhere", json!({ "channels": ["topic:a"] })), false),
    ];
    for (subject, notification, _) in &cases {
        publish(&jetstream, &format!("tidings.publish.{subject}"), notification).await;
    }
    until_settled(&jetstream).await;
    let of_shop = crate::world::token(&tidings_http::token::Grant {
        tenant: Some("shop".to_owned()),
        scopes: vec!["admin".to_owned()],
        ..Default::default()
    });
    let page = world.get("/v1/log?limit=1000", &of_shop).await;
    let events = page["events"].as_array().expect("events").iter();
    let published: Vec<&str> = events.filter_map(|event| event["content"]["title"].as_str()).collect();
    assert_eq!(published.len(), 3, "{published:?}");
    for (_, notification, accepted) in &cases {
        let title = notification["title"].as_str().expect("a title");
        assert_eq!(published.contains(&title), *accepted, "{title}");
    }
    let letters = dead_letters(&jetstream).await;
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|(_, letter)| letter["problem"]["type"] == "urn:tidings:problem:forbidden"));
    assert!(titles(&world).await.is_empty(), "nothing is of the default tenant");
}

#[tokio::test]
async fn many_that_cannot_be_accepted_keep_no_good_one_from_its_way() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    let client = jetstream.client();
    let _device = world.connect(&person("ada")).await;
    for number in 0..3_000 {
        let payload =
            if number % 30 == 0 { note(&format!("good {number}")).to_string() } else { "poison".to_owned() };
        client.publish("tidings.publish.x", payload.into()).await.expect("it is sent");
    }
    client.flush().await.expect("they are sent");
    until("the good ones", async || titles(&world).await.len() == 100).await;
    until_settled(&jetstream).await;
    let stream = jetstream.get_stream("TIDINGS_DEAD").await.expect("the stream of dead letters");
    assert_eq!(stream.cached_info().state.messages, 2_900, "each has a letter");
}

#[tokio::test]
async fn letters_are_written_before_a_message_is_given_up() {
    let broker = Broker::start().await;
    let jetstream = broker.jetstream().await;
    // A stream of dead letters that takes none.
    let full = async_nats::jetstream::stream::Config {
        name: "TIDINGS_DEAD".to_owned(),
        subjects: vec!["tidings.dead.>".to_owned()],
        max_message_size: 10,
        ..Default::default()
    };
    jetstream.create_stream(full).await.expect("a stream");
    let world = World::with_configuration(&broker.settings("")).await;
    until_state(&world, "consuming").await;
    publish_raw(&jetstream, "tidings.publish.x", HeaderMap::new(), "nope").await;
    publish(&jetstream, "tidings.publish.x", &note("good")).await;
    until("the good one", async || titles(&world).await.len() == 1).await;
    until("a second try", async || metric(&world, "tidings_broker_redelivered_total").await >= 1.0).await;
    let stream = jetstream.get_stream("TIDINGS").await.expect("the stream");
    assert_eq!(stream.cached_info().state.messages, 1, "it is kept until its letter is");
    jetstream.delete_stream("TIDINGS_DEAD").await.expect("it is deleted");
    let roomy = async_nats::jetstream::stream::Config {
        name: "TIDINGS_DEAD".to_owned(),
        subjects: vec!["tidings.dead.>".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(roomy).await.expect("a stream");
    until_settled(&jetstream).await;
    assert_eq!(dead_letters(&jetstream).await.len(), 1);
}

#[tokio::test]
async fn a_letter_is_written_though_the_problem_is_larger_than_the_broker_takes() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    // The name of a field that is not known is repeated where the problem is told, and in what is told.
    let payload = format!(r#"{{"{}":1}}"#, "x".repeat(262_130));
    publish_raw(&jetstream, "tidings.publish.x", HeaderMap::new(), payload.clone()).await;
    let long = format!("tidings.publish.{}", "y".repeat(3_900));
    publish_raw(&jetstream, &long, HeaderMap::new(), "nope").await;
    publish(&jetstream, "tidings.publish.x", &note("good")).await;
    until_settled(&jetstream).await;
    assert_eq!(titles(&world).await.len(), 1);
    let letters = dead_letters(&jetstream).await;
    assert_eq!(letters.len(), 2);
    let (on, letter) =
        letters.iter().find(|(_, letter)| letter["bytes"] == payload.len()).expect("its letter");
    assert_eq!((on.as_str(), &letter["subject"]), ("tidings.dead.x", &json!("tidings.publish.x")));
    let problem = (&letter["problem"]["type"], &letter["problem"]["status"]);
    assert_eq!(problem, (&json!("urn:tidings:problem:invalid-field"), &json!(422)));
    let (on, letter) = letters.iter().find(|(_, letter)| letter["bytes"] == 4).expect("its letter");
    assert_eq!((on.as_str(), &letter["subject"]), ("tidings.dead.unknown", &json!(long)));
    assert_eq!(metric(&world, "tidings_broker_connects_total").await, 1.0, "the connection was never lost");
}

const TENANTS: &str = r#"
[[nats.subjects]]
subject = "a.>"
tenant = "a"
[[nats.subjects]]
subject = "b.>"
tenant = "b"
"#;

#[tokio::test]
async fn the_same_id_of_another_tenant_or_of_a_message_that_was_put_aside_hides_nothing() {
    let (broker, world) = pair(TENANTS).await;
    let jetstream = broker.jetstream().await;
    publish_raw(&jetstream, "tidings.publish.a.x", headers(&[("Nats-Msg-Id", "k")]), "nope").await;
    for subject in ["tidings.publish.b.x", "tidings.publish.a.x"] {
        until("the broker's forgetting", async || {
            let payload = note(subject).to_string().into();
            let id = headers(&[("Nats-Msg-Id", "k")]);
            let sent = jetstream.publish_with_headers(subject, id, payload).await.expect("it is sent");
            !sent.await.expect("it is answered").duplicate
        })
        .await;
    }
    until_settled(&jetstream).await;
    for tenant in ["a", "b"] {
        let grant = tidings_http::token::Grant {
            tenant: Some(tenant.to_owned()),
            scopes: vec!["admin".to_owned()],
            ..Default::default()
        };
        let page = world.get("/v1/log?limit=1000", &crate::world::token(&grant)).await;
        let events = page["events"].as_array().expect("events").iter();
        let titles: Vec<&str> = events.filter_map(|event| event["content"]["title"].as_str()).collect();
        assert_eq!(titles, [format!("tidings.publish.{tenant}.x")]);
    }
    assert_eq!(dead_letters(&jetstream).await.len(), 1);
}

#[tokio::test]
async fn dead_letters_have_their_stream_again_when_it_was_taken_away() {
    let (broker, world) = pair("").await;
    let jetstream = broker.jetstream().await;
    jetstream.delete_stream("TIDINGS_DEAD").await.expect("it is deleted");
    publish_raw(&jetstream, "tidings.publish.x", HeaderMap::new(), "nope").await;
    until_settled(&jetstream).await;
    assert_eq!(dead_letters(&jetstream).await.len(), 1);
    assert_eq!(titles(&world).await.len(), 0);
}
