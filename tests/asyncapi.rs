//! The AsyncAPI document says what goes over connections: it is sound by AsyncAPI's own schema, and everything that a real
//! server says and takes in a run with all kinds of messages is as it says.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tidings_config::TokenSettings;
use tidings_http::token::{Grant, mint};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::world::{Device, SECRET, World, id, in_time, person, service};

/// A heartbeat in every second, and no limit that is met.
const CONFIGURATION: &str = "[limits]\nheartbeat-seconds = 1\ncommands = { count = 10_000, seconds = 1 }\n";

/// What was said, by the names of the document.
struct Run {
    document: Value,
    messages: Vec<(String, Value)>,
    next_id: u64,
}

impl Run {
    fn note(&mut self, connection: &str, message: Value) {
        let kind = message["type"].as_str().expect("a type");
        let own = format!("{connection}.{kind}");
        let known = self.document["components"]["messages"].get(&own).is_some();
        self.messages.push((if known { own } else { kind.to_owned() }, message));
    }

    /// Sends a command, and notes everything up to its answer.
    async fn ask(&mut self, device: &mut Device, mut command: Value) -> Value {
        self.next_id += 1;
        command["id"] = json!(self.next_id);
        let kind = command["type"].as_str().unwrap().to_owned();
        device.send(&command).await;
        self.messages.push((format!("command.{kind}"), command));
        loop {
            let message = device.next().await.expect("an answer");
            if message["id"] != json!(self.next_id) {
                self.note("webSocket", message);
            } else if message["type"] == "answer" {
                let result = message["result"].clone();
                self.messages.push((format!("answer.{kind}"), message));
                return result;
            } else {
                panic!("{kind} was refused: {message}");
            }
        }
    }

    /// Notes what comes up to a message of a type.
    async fn until(&mut self, device: &mut Device, kind: &str) {
        let until = async {
            loop {
                let message = device.next().await.expect("a message");
                let is_it = message["type"] == kind;
                self.note("webSocket", message);
                if is_it {
                    return;
                }
            }
        };
        in_time(kind, until).await;
    }

    /// Notes the events of a stream up to one of a type, each as its `event` and `id` say.
    async fn events(&mut self, stream: &mut Response, text: &mut String, kind: &str) {
        in_time(kind, self.events_until(stream, text, kind)).await;
    }

    async fn events_until(&mut self, stream: &mut Response, text: &mut String, kind: &str) {
        loop {
            while let Some((event, rest)) = text.split_once("\n\n") {
                let field =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                let data = field("data: ").map(|data| serde_json::from_str::<Value>(&data).expect("JSON"));
                let (named, at) = (field("event: "), field("id: "));
                *text = rest.to_owned();
                let Some(data) = data else { continue }; // a retry alone
                assert_eq!(data["type"].as_str(), named.as_deref());
                assert!(data["cursor"].is_null() || data["cursor"].as_str() == at.as_deref(), "{data}");
                self.note("eventStream", data);
                if named.as_deref() == Some(kind) {
                    return;
                }
            }
            let chunk = in_time("an event", stream.chunk()).await.unwrap().expect("the stream goes on");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// What is wrong with all that.
    async fn wrong(&self, wrong: &[(&str, Value)]) -> String {
        let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
        let meta = tests.join("page/node_modules/@asyncapi/specs/schemas/3.0.0-without-$id.json");
        let python: PathBuf = tests.join("../target/python/bin/python");
        for needed in [&meta, &python] {
            assert!(needed.exists(), "{} is missing: ./test.sh makes it", needed.display());
        }
        let mut command = Command::new(python);
        command.arg(tests.join("asyncapi/validate.py")).kill_on_drop(true);
        command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
        let mut validator = command.spawn().unwrap();
        let input =
            json!({ "document": self.document, "meta": meta, "messages": self.messages, "wrong": wrong });
        validator.stdin.take().unwrap().write_all(input.to_string().as_bytes()).await.unwrap();
        let output = in_time("the validator", validator.wait_with_output()).await.unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }
}

fn soon(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

fn short_token(seconds: u64) -> String {
    let settings = TokenSettings { leeway_seconds: 0, ..TokenSettings::default() };
    let grant = Grant { user: Some("ada".to_owned()), ..Grant::default() };
    mint(&settings, SECRET.as_bytes(), &grant, Duration::from_secs(seconds)).unwrap()
}

fn all_scopes() -> String {
    crate::world::token(&Grant {
        user: Some("ada".to_owned()),
        channels: vec!["topic:*".to_owned()],
        scopes: vec!["publish".to_owned(), "admin".to_owned()],
        ..Grant::default()
    })
}

/// Every command, with what they lead to on the user's connections.
async fn every_command(run: &mut Run, world: &World, phone: &mut Device) {
    let note = json!({ "type": "note", "title": "one", "data": { "a": [1.5, null] }, "action": { "url": "/x", "text": "y" },
        "tags": ["t"], "audience": { "users": ["ada"], "channels": ["topic:a"] }, "collapseKey": "c" });
    let mut last = String::new();
    for _ in 0..3 {
        last = id(&run.ask(phone, json!({ "type": "publish", "notification": note })).await);
    }
    let event = json!({ "specversion": "1.0", "id": "e", "source": "/s", "type": "note", "extension": 1,
        "data": { "title": "two", "audience": { "users": ["ada"] } } });
    run.ask(phone, json!({ "type": "publish", "cloudEvent": event })).await;
    let revision = json!({ "title": "three", "expiresAt": soon(3_600) });
    world.ok(Method::PUT, &format!("/v1/notifications/{last}"), &service(), &revision).await;
    run.until(phone, "updated").await;
    for kind in ["read", "clicked", "unread", "archive", "unarchive", "pin", "unpin"] {
        run.ask(phone, json!({ "type": kind, "notifications": [last] })).await;
    }
    run.ask(phone, json!({ "type": "snooze", "notifications": [last], "until": soon(3_600) })).await;
    run.ask(phone, json!({ "type": "wake", "notifications": [last] })).await;
    for channel in ["topic:a", "topic:b"] {
        run.ask(phone, json!({ "type": "join", "channel": channel })).await;
        run.ask(phone, json!({ "type": "watch", "channel": channel })).await;
        run.ask(phone, json!({ "type": "presence", "channel": channel })).await;
        run.ask(phone, json!({ "type": "unwatch", "channel": channel })).await;
    }
    run.ask(phone, json!({ "type": "leave", "channel": "topic:b" })).await;
    run.ask(phone, json!({ "type": "presence" })).await;
    let channel = json!({ "type": "note", "title": "four", "audience": { "channels": ["topic:a"] } });
    world.publish(channel).await;
    run.until(phone, "counts").await;
    for filter in [
        json!({}),
        json!({ "limit": 1, "unread": true, "notificationType": "note", "tag": "t", "channel": "topic:a" }),
        json!({ "archived": true, "pinned": false, "cursor": "99" }),
    ] {
        let mut command = filter;
        command["type"] = json!("inbox");
        run.ask(phone, command).await;
    }
    for by in [json!({}), json!({ "by": "type" }), json!({ "by": "channel" })] {
        let mut command = by;
        command["type"] = json!("counts");
        run.ask(phone, command).await;
    }
    let cursor = phone.hello["cursor"].clone();
    for kind in ["ack", "seen", "read-all"] {
        run.ask(phone, json!({ "type": kind, "upTo": cursor })).await;
        run.ask(phone, json!({ "type": kind, "upTo": 1 })).await;
    }
    run.ask(phone, json!({ "type": "seen" })).await;
    run.ask(phone, json!({ "type": "read-all" })).await;
    run.ask(phone, json!({ "type": "token", "token": all_scopes() })).await;
    run.ask(phone, json!({ "type": "delete", "notifications": [last] })).await;
    let gone = id(&world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await);
    world.ok(Method::DELETE, &format!("/v1/notifications/{gone}"), &service(), &Value::Null).await;
    run.until(phone, "retracted").await;
    run.ask(phone, json!({ "type": "ping" })).await;
    run.until(phone, "heartbeat").await;
    for wrong in [
        json!({ "type": "join", "id": "x", "channel": "a b" }),
        json!({ "id": [] }),
        json!({ "type": "none", "id": 5 }),
    ] {
        phone.send(&wrong).await;
        run.until(phone, "error").await;
    }
}

/// Commands that neither the server nor the document takes.
fn wrong_commands() -> Vec<(&'static str, Value)> {
    vec![
        ("command.read", json!({ "type": "read", "id": 1 })),
        ("command.read", json!({ "type": "read", "id": 1, "notifications": [] })),
        ("command.read", json!({ "type": "read", "id": 1, "notifications": ["x"] })),
        (
            "command.read",
            json!({ "type": "read", "id": -1, "notifications": ["0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001"] }),
        ),
        ("command.ping", json!({ "type": "ping" })),
        ("command.ping", json!({ "type": "ping", "id": 1, "extra": true })),
        ("command.ack", json!({ "type": "ack", "id": 1 })),
        ("command.join", json!({ "type": "join", "id": 1, "channel": "topic a" })),
        ("command.counts", json!({ "type": "counts", "id": 1, "by": "day" })),
        ("command.inbox", json!({ "type": "inbox", "id": 1, "limit": 101 })),
        (
            "command.snooze",
            json!({ "type": "snooze", "id": 1, "notifications": ["0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001"] }),
        ),
        ("command.publish", json!({ "type": "publish", "id": 1, "notification": { "title": "no type" } })),
        ("command.token", json!({ "type": "token", "id": 1 })),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_a_connection_says_and_takes_is_as_the_document_says() {
    let mut world = World::with_configuration(CONFIGURATION).await;
    let response = world.http.get(world.url("/asyncapi.json")).send().await.unwrap();
    let document: Value = response.json().await.unwrap();
    let printed = world.command(&["asyncapi"]).output().await.unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&printed.stdout).unwrap(), document, "`tidings asyncapi`");
    let mut run = Run { document, messages: Vec::new(), next_id: 0 };

    let stream =
        |query: &str, token: &str| world.request(Method::GET, &format!("/v1/events{query}"), token).send();
    let (mut events, mut text) = (stream("", &person("ada")).await.unwrap(), String::new());
    let token = all_scopes();
    let mut phone = world.connect(&token).await;
    run.note("webSocket", phone.hello.clone());
    let began = phone.hello["cursor"].as_str().unwrap().to_owned();
    let wrong = wrong_commands();
    for (_, command) in &wrong {
        phone.send(command).await;
        run.until(&mut phone, "error").await;
    }
    every_command(&mut run, &world, &mut phone).await;
    for kind in ["left", "deleted", "retracted", "heartbeat"] {
        run.events(&mut events, &mut text, kind).await;
    }

    // Devices that come back, in time and not, and one that shows its token in the first frame.
    for cursor in [began.as_str(), "000000000000.1"] {
        let path = format!("/v1/ws?token={token}&device=tablet&cursor={cursor}");
        let mut back = world.try_connect(&path).await.unwrap();
        run.note("webSocket", back.hello.clone());
        if cursor == began {
            run.until(&mut back, "caughtUp").await;
        }
        let (mut events, mut text) =
            (stream(&format!("?cursor={cursor}"), &token).await.unwrap(), String::new());
        run.events(&mut events, &mut text, if cursor == began { "caughtUp" } else { "reset" }).await;
    }
    let first = json!({ "type": "token", "token": token, "device": "watch", "watch": ["topic:a"], "cursor": began, "limit": 10 });
    let mut watch = world.open("/v1/ws").await.unwrap();
    watch.send(&first).await;
    run.messages.push(("command.first-token".to_owned(), first));
    run.until(&mut watch, "hello").await;
    watch.close().await;

    // Ends: of a token, with a warning; and of the server.
    let mut warned = world.connect(&short_token(65)).await;
    run.until(&mut warned, "expiring").await;
    let (ending, mut stream_ending) = (short_token(5), String::new());
    let mut ended = world.connect(&ending).await;
    let mut ended_stream = stream("", &ending).await.unwrap();
    run.until(&mut ended, "closing").await;
    run.events(&mut ended_stream, &mut stream_ending, "closing").await;
    let mut stopped = world.connect(&token).await;
    assert!(world.stop().await.success());
    run.until(&mut stopped, "closing").await;
    run.events(&mut events, &mut text, "closing").await;

    let complaints = run.wrong(&wrong).await;
    assert!(complaints.is_empty(), "{complaints}");
    let seen: BTreeSet<&str> = run.messages.iter().map(|(name, _)| name.as_str()).collect();
    let all = run.document["components"]["messages"].as_object().unwrap();
    let unseen: Vec<&String> = all.keys().filter(|name| !seen.contains(name.as_str())).collect();
    assert!(unseen.is_empty(), "in the document, and never seen: {unseen:?}");
    println!("{} messages of {} kinds are as the document says", run.messages.len(), seen.len());
}

#[test]
fn the_frames_in_the_documents_are_as_the_document_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::start().await;
        let document =
            world.http.get(world.url("/asyncapi.json")).send().await.unwrap().json().await.unwrap();
        let mut run = Run { document, messages: Vec::new(), next_id: 0 };
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let text = std::fs::read_to_string(root.join("docs/websocket.md")).unwrap();
        for block in text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            for frame in serde_json::Deserializer::from_str(block).into_iter::<Value>() {
                let frame = frame.unwrap_or_else(|error| panic!("{error}: {block}"));
                if frame["id"].is_null() && frame["type"] == "token" {
                    run.messages.push(("command.first-token".to_owned(), frame));
                } else if run.document["components"]["messages"]
                    .get(format!("command.{}", frame["type"].as_str().unwrap()))
                    .is_some()
                {
                    run.messages.push((format!("command.{}", frame["type"].as_str().unwrap()), frame));
                } else if frame["type"] != "answer" {
                    run.note("webSocket", frame);
                }
            }
        }
        assert!(run.messages.len() > 3, "{:?}", run.messages);
        let complaints = run.wrong(&[]).await;
        assert!(complaints.is_empty(), "{complaints}");
    });
}
