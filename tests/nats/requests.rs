//! Requests: publishing with an answer, and inboxes, with the same answers and problems as on HTTP.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, Request};
use reqwest::Method;
use serde_json::{Value, json};

use super::{headers, note, pair};
use crate::world::{in_time, person, service};

const INBOXES: &str = "
[[nats.inboxes]]
users = ['*']
allow = ['read', 'write']
[[nats.inboxes]]
tenant = 'shop'
users = ['svc-*']
";

async fn ask(
    client: &Client,
    subject: &str,
    headers: HeaderMap,
    payload: impl Into<bytes::Bytes>,
) -> Message {
    let request =
        Request::new().payload(payload.into()).headers(headers).timeout(Some(Duration::from_secs(20)));
    in_time("an answer", client.send_request(subject.to_owned(), request)).await.expect("somebody answers")
}

async fn ask_json(client: &Client, subject: &str, payload: &Value) -> Value {
    let answer = ask(client, subject, HeaderMap::new(), payload.to_string()).await;
    serde_json::from_slice(&answer.payload).expect("JSON")
}

fn header(message: &Message, name: &str) -> Option<String> {
    Some(message.headers.as_ref()?.get(name)?.as_str().to_owned())
}

#[tokio::test]
async fn who_publishes_by_a_request_is_answered_when_it_is_durable() {
    let (broker, mut world) = pair("").await;
    let client = broker.client().await;
    let with_key = headers(&[("Nats-Msg-Id", "k")]);
    let first =
        ask(&client, "tidings.request.publish.x.y", with_key.clone(), note("asked").to_string()).await;
    let receipt: Value = serde_json::from_slice(&first.payload).expect("JSON");
    assert_eq!(receipt["duplicate"], false);
    assert_eq!(header(&first, "Content-Type").as_deref(), Some("application/json"));
    assert_eq!(header(&first, "Tidings-Position"), Some(receipt["position"].to_string()));
    assert_eq!(header(&first, "Nats-Service-Error-Code"), None);
    world.kill().await;
    world.resume().await;
    super::until_state(&world, "consuming").await;
    let again = ask(&client, "tidings.request.publish", with_key, note("asked").to_string()).await;
    let again: Value = serde_json::from_slice(&again.payload).expect("JSON");
    assert_eq!((&again["id"], &again["position"]), (&receipt["id"], &receipt["position"]));
    assert_eq!(again["duplicate"], true);
    assert_eq!(super::titles(&world).await.get("asked"), Some(&1));
}

#[tokio::test]
async fn a_request_is_refused_with_the_problem_that_http_has() {
    let (broker, world) = pair(INBOXES).await;
    let client = broker.client().await;
    for body in ["nope", "{}", r#"{"type":"note"}"#, r#"{"type":"note","audience":{"users":[""]}}"#, "[1]"] {
        let request = world.request(Method::POST, "/v1/notifications", &service());
        let request = request.header("content-type", "application/json").body(body);
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let expected: Value = response.json().await.expect("a problem");
        let answer = ask(&client, "tidings.request.publish", HeaderMap::new(), body).await;
        let problem: Value = serde_json::from_slice(&answer.payload).expect("JSON");
        assert_eq!(problem, expected, "{body}");
        assert_eq!(header(&answer, "Nats-Service-Error-Code"), Some(status.to_string()));
        assert_eq!(header(&answer, "Nats-Service-Error").as_deref(), expected["title"].as_str());
        assert_eq!(header(&answer, "Content-Type").as_deref(), Some("application/problem+json"));
    }
    let unknown = json!({ "notifications": ["0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001"] });
    let late = json!({ "upTo": "8e80c0ca40ee.57" });
    for (verb, body) in [("read", &unknown), ("archive", &unknown), ("read-all", &late), ("snooze", &unknown)]
    {
        let path = format!("/v1/inbox/{verb}");
        let (_, expected) = world.send(Method::POST, &path, &person("ada"), body).await;
        assert!(expected["type"].is_string(), "{verb}: {expected}");
        assert_eq!(ask_json(&client, &format!("tidings.inbox.ada.{verb}"), body).await, expected, "{verb}");
    }
}

#[tokio::test]
async fn an_inbox_is_read_and_changed_by_requests() {
    let (broker, world) = pair(INBOXES).await;
    let client = broker.client().await;
    let ids: Vec<Value> = {
        let mut ids = Vec::new();
        for number in 0..3 {
            ids.push(world.publish(note(&format!("n {number}"))).await["id"].clone());
        }
        ids
    };
    let of = |verb: &str| format!("tidings.inbox.ada.{verb}");
    for (verb, query, path) in [
        ("list", json!({ "limit": 2 }), "/v1/inbox?limit=2"),
        ("counts", json!({}), "/v1/counts"),
        ("counts", json!({ "by": "type" }), "/v1/counts?by=type"),
        ("get", json!({ "notification": ids[0] }), &format!("/v1/inbox/{}", ids[0].as_str().expect("an id"))),
    ] {
        let expected = world.get(path, &person("ada")).await;
        assert_eq!(ask_json(&client, &of(verb), &query).await, expected, "{verb}");
    }
    let done =
        ask(&client, &of("read"), HeaderMap::new(), json!({ "notifications": [ids[0]] }).to_string()).await;
    let position = header(&done, "Tidings-Position").expect("where it is so");
    let at_least = headers(&[("Tidings-Min-Position", &position)]);
    let counts = ask(&client, &of("counts"), at_least, "").await;
    let counts: Value = serde_json::from_slice(&counts.payload).expect("JSON");
    assert_eq!(counts["unread"], 2, "who asks for the position sees the change");
    for (verb, body) in [
        ("archive", json!({ "notifications": [ids[1]] })),
        ("pin", json!({ "notifications": [ids[2]] })),
        ("clicked", json!({ "notifications": [ids[2]] })),
        ("snooze", json!({ "notifications": [ids[0]], "until": "2027-01-01T00:00:00Z" })),
        ("wake", json!({ "notifications": [ids[0]] })),
        ("delete", json!({ "notifications": [ids[0]] })),
        ("seen", json!({ "upTo": position.parse::<u64>().expect("a number") })),
        ("read-all", json!({ "upTo": position.parse::<u64>().expect("a number") })),
    ] {
        let answer = ask_json(&client, &of(verb), &body).await;
        assert!(answer["position"].is_u64(), "{verb}: {answer}");
    }
    let left = world.get("/v1/inbox", &person("ada")).await;
    assert_eq!(left["items"].as_array().expect("items").len(), 1, "{left}");
    let wrong = ask_json(&client, &of("burn"), &json!({})).await;
    assert!(
        wrong["detail"].as_str().is_some_and(|detail| detail.contains("expected one of list, get")),
        "{wrong}"
    );
}

#[tokio::test]
async fn an_inbox_that_the_table_does_not_name_is_nobody_s_to_ask_for() {
    let (broker, _world) = pair(INBOXES).await;
    let client = broker.client().await;
    for (subject, status) in [
        ("tidings.tenant.shop.inbox.svc-1.counts", None),
        ("tidings.tenant.shop.inbox.svc-1.read", Some(403)),
        ("tidings.tenant.shop.inbox.ada.counts", Some(403)),
        ("tidings.tenant.other.inbox.ada.counts", Some(403)),
        ("tidings.tenant.%24server.inbox.ada.counts", Some(422)),
        ("tidings.tenant.$server.inbox.ada.counts", Some(422)),
    ] {
        let answer = ask_json(&client, subject, &json!({})).await;
        assert_eq!(answer["status"].as_u64(), status, "{subject}: {answer}");
    }
    let (broker, _world) = pair("").await;
    let asked = broker.client().await.request("tidings.inbox.ada.list", "".into()).await;
    assert!(asked.is_err(), "without the table nobody answers: {asked:?}");
}

#[tokio::test]
async fn nobody_uses_the_server_to_speak_where_they_may_not() {
    let (broker, world) = pair(INBOXES).await;
    let jetstream = broker.jetstream().await;
    let client = jetstream.client();
    let theirs = async_nats::jetstream::stream::Config {
        name: "THEIRS".to_owned(),
        subjects: vec!["theirs".to_owned()],
        ..Default::default()
    };
    jetstream.create_stream(theirs).await.expect("a stream");
    super::publish(&jetstream, "theirs", &json!({})).await;
    // An answer that the broker would take for a wish to empty a stream, and one that would be published again.
    for reply in ["$JS.API.STREAM.PURGE.THEIRS", "tidings.publish.x", "tidings.request.publish"] {
        let payload = note("asked").to_string();
        for (subject, payload) in
            [("tidings.request.publish", payload.as_str()), ("tidings.inbox.ada.counts", "{}")]
        {
            let sent = client.publish_with_reply(subject, reply, payload.to_owned().into()).await;
            sent.expect("it is sent");
        }
    }
    // Another request is answered after those.
    let answer = ask_json(&client, "tidings.inbox.ada.counts", &json!({})).await;
    assert!(answer["unread"].is_u64(), "{answer}");
    super::publish(&jetstream, "tidings.publish.x", &note("last")).await;
    super::until_settled(&jetstream).await;
    let stream = jetstream.get_stream("THEIRS").await.expect("the stream");
    assert_eq!(stream.cached_info().state.messages, 1);
    assert_eq!(super::dead_letters(&jetstream).await.len(), 0);
    assert_eq!(super::titles(&world).await.keys().collect::<Vec<_>>(), ["last"], "and nothing was done");
}

#[tokio::test]
async fn an_id_is_one_token_and_leads_to_its_own_inbox() {
    let (broker, world) = pair(INBOXES).await;
    let client = broker.client().await;
    let ids = ["a.b", "*", ">", "a b", "%", "a%2Eb", "Ä", "$JS.API.INFO", "x\u{a0}y", "a\u{2028}b", "null"];
    for (number, id) in ids.iter().enumerate() {
        for _ in 0..=number {
            let to = json!({ "type": "note", "title": id, "audience": { "users": [id] } });
            world.publish(to).await;
        }
    }
    for (number, id) in ids.iter().enumerate() {
        let token: String = id
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b':' | b'@' => {
                    char::from(byte).to_string()
                }
                other => format!("%{other:02X}"),
            })
            .collect();
        let counts = ask_json(&client, &format!("tidings.inbox.{token}.counts"), &json!({})).await;
        assert_eq!(counts["unread"], number + 1, "{id:?}: {counts}");
    }
    for token in ["%2e", "%41", "%", "%zz", "%FF", "%00", "%20", "Ä"] {
        let answer = ask_json(&client, &format!("tidings.inbox.{token}.counts"), &json!({})).await;
        assert_eq!(answer["type"], "urn:tidings:problem:invalid-field", "{token}: {answer}");
        assert_eq!(answer["errors"][0]["field"], "subject");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stops_answers_what_it_was_asked() {
    let (broker, mut world) = pair("requests = 1_000\n").await;
    let client = broker.client().await;
    world.signal("STOP"); // so that everything is there when it is told to stop
    let asking: Vec<_> = (0..500)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                let payload = note(&format!("asked {number}")).to_string().into();
                let request = Request::new().payload(payload).timeout(Some(Duration::from_secs(20)));
                let answer = client.send_request("tidings.request.publish", request).await;
                let answer =
                    answer.unwrap_or_else(|error| panic!("request {number} was not answered: {error}"));
                serde_json::from_slice::<Value>(&answer.payload).expect("JSON")
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.signal("TERM");
    world.signal("CONT");
    for (number, asked) in asking.into_iter().enumerate() {
        assert_eq!(asked.await.expect("it is answered")["duplicate"], false, "request {number}");
    }
    assert!(world.ended().await.success());
    world.resume().await;
    assert_eq!(super::titles(&world).await.len(), 500, "what was answered is there");
}

#[tokio::test]
async fn more_requests_than_may_be_worked_on_are_told_so() {
    let (broker, world) = pair("requests = 1\n").await;
    world.signal("STOP");
    let client = broker.client().await;
    let asking: Vec<_> = (0..200)
        .map(|number| {
            let client = client.clone();
            tokio::spawn(async move {
                ask_json(&client, "tidings.request.publish", &note(&number.to_string())).await
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.signal("CONT");
    let (mut published, mut busy) = (0, 0);
    for asked in asking {
        let answer = asked.await.expect("it ends");
        published += usize::from(answer["duplicate"] == false);
        busy += usize::from(answer["type"] == "urn:tidings:problem:busy");
    }
    assert!(published > 0 && busy > 0, "{published} published, {busy} busy");
    assert_eq!(published + busy, 200);
    assert_eq!(super::titles(&world).await.len(), published);
}
