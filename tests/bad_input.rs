//! Bad input is an answer: for every endpoint and every command, the status and the problem that the documentation says,
//! with the field that was wrong, and nothing half-done.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Device, SECRET, World, person, service, token};

const ID: &str = "0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001";

/// Every endpoint that takes a token: how it is asked rightly, and as whom.
fn endpoints() -> Vec<(Method, String, Value, String)> {
    let note = || json!({ "type": "note", "audience": { "users": ["ada"] } });
    let (ada, service) = (person("ada"), service());
    let mut endpoints = vec![
        (Method::POST, "/v1/notifications".to_owned(), note(), service.clone()),
        (Method::POST, "/v1/notifications/batch".to_owned(), json!([note()]), service.clone()),
        (Method::GET, "/v1/inbox".to_owned(), Value::Null, ada.clone()),
        (Method::GET, format!("/v1/inbox/{ID}"), Value::Null, ada.clone()),
        (Method::DELETE, format!("/v1/inbox/{ID}"), Value::Null, ada.clone()),
        (Method::POST, "/v1/inbox/read-all".to_owned(), json!({ "upTo": 1 }), ada.clone()),
        (Method::POST, "/v1/inbox/seen".to_owned(), json!({ "upTo": 1 }), ada.clone()),
        (Method::GET, "/v1/counts".to_owned(), Value::Null, ada.clone()),
        (Method::GET, "/v1/channels/topic:a/members".to_owned(), Value::Null, service.clone()),
        (Method::POST, "/v1/channels/topic:a/members".to_owned(), json!({ "add": ["ada"] }), service.clone()),
        (Method::PUT, "/v1/channels/topic:a/members/ada".to_owned(), Value::Null, service.clone()),
        (Method::DELETE, "/v1/channels/topic:a/members/ada".to_owned(), Value::Null, service.clone()),
        (Method::POST, "/v1/channels/topic:a/join".to_owned(), Value::Null, ada.clone()),
        (Method::POST, "/v1/channels/topic:a/leave".to_owned(), Value::Null, ada.clone()),
        (Method::GET, "/v1/channels/topic:a/presence".to_owned(), Value::Null, ada.clone()),
        (Method::GET, "/v1/presence".to_owned(), Value::Null, service.clone()),
        (Method::GET, "/v1/log".to_owned(), Value::Null, service.clone()),
    ];
    let until = "2026-12-24T18:00:00Z";
    endpoints.extend([
        (Method::PUT, format!("/v1/notifications/{ID}"), json!({ "title": "t" }), service.clone()),
        (Method::DELETE, format!("/v1/notifications/{ID}"), Value::Null, service.clone()),
        (Method::GET, "/v1/scheduled".to_owned(), Value::Null, service.clone()),
        (Method::DELETE, "/v1/scheduled?key=k".to_owned(), Value::Null, service.clone()),
        (
            Method::POST,
            "/v1/inbox/snooze".to_owned(),
            json!({ "notifications": [ID], "until": until }),
            ada.clone(),
        ),
    ]);
    for command in ["read", "clicked", "unread", "archive", "unarchive", "pin", "unpin", "delete", "wake"] {
        let path = format!("/v1/inbox/{command}");
        endpoints.push((Method::POST, path, json!({ "notifications": [ID] }), ada.clone()));
    }
    endpoints
}

struct Answer {
    status: StatusCode,
    problem: Value,
}

impl Answer {
    /// Checks that it is a problem document of a kind, about a field.
    fn is(&self, what: &str, status: u16, kind: &str, field: Option<&str>) {
        let problem = &self.problem;
        assert_eq!(self.status.as_u16(), status, "{what}: {problem}");
        assert_eq!(problem["type"], format!("urn:tidings:problem:{kind}"), "{what}: {problem}");
        assert_eq!(problem["status"], status, "{what}: {problem}");
        assert!(problem["title"].is_string() && problem["detail"].is_string(), "{what}: {problem}");
        if let Some(field) = field {
            assert_eq!(problem["errors"][0]["field"], field, "{what}: {problem}");
            let detail = problem["errors"][0]["detail"].as_str().unwrap_or_default();
            let says = ["expected", "missing field", "no such"].iter().any(|word| detail.contains(word));
            assert!(says, "{what} says what was expected: {problem}");
        }
    }
}

async fn send(
    world: &World,
    method: &Method,
    path: &str,
    token: Option<&str>,
    media: &str,
    body: String,
) -> Answer {
    let mut request = world.http.request(method.clone(), world.url(path));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    if !body.is_empty() {
        request = request.header("content-type", media).body(body);
    }
    let response = request.send().await.unwrap();
    let status = response.status();
    let media = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(media, "application/problem+json", "{method} {path}: {status}");
    Answer { status, problem: response.json().await.unwrap() }
}

const JSON: &str = "application/json";

#[tokio::test]
async fn every_endpoint_refuses_what_is_not_a_valid_token_alike() {
    let world = World::start().await;
    let before = world.log().await.len();
    let now = jsonwebtoken::get_current_timestamp();
    let sign = |secret: &str, exp: u64| {
        let claims = json!({ "sub": "ada", "scope": "publish admin", "exp": exp });
        let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    };
    let forged = sign("another secret, which is long enough too", now + 600);
    let expired = sign(SECRET, now - 600);
    for (method, path, body, _) in endpoints() {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut problems = Vec::new();
        for (what, token) in [("none", None), ("forged", Some(&forged)), ("expired", Some(&expired))] {
            let answer = send(&world, &method, &path, token.map(String::as_str), JSON, body.clone()).await;
            answer.is(&format!("{method} {path} with a token that is {what}"), 401, "unauthorized", None);
            problems.push(answer.problem);
        }
        assert!(problems.iter().all(|problem| *problem == problems[0]), "no hint of what was wrong");
    }
    assert_eq!(world.log().await.len(), before, "nothing was done");
}

#[tokio::test]
async fn every_endpoint_with_a_body_refuses_what_is_no_such_body() {
    let world = World::start().await;
    world.get("/v1/counts", &person("ada")).await;
    let before = world.log().await.len();
    for (method, path, body, token) in endpoints().into_iter().filter(|(_, _, body, _)| !body.is_null()) {
        let is_batch = path.ends_with("/batch");
        let most = if is_batch { 8 << 20 } else { 256 << 10 };
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for (what, media, body, status, kind) in [
            ("nothing", JSON, " ".to_owned(), 400, "malformed-json"),
            ("half of it", JSON, body.to_string()[..5].to_owned(), 400, "malformed-json"),
            ("more than it", JSON, format!("{body} x"), 400, "malformed-json"),
            ("not UTF-8", JSON, "\u{fffd}{".to_owned(), 400, "malformed-json"),
            ("a number", JSON, "7".to_owned(), 422, "invalid-field"),
            ("too much", JSON, format!("\"{}\"", "x".repeat(most)), 413, "too-large"),
            ("another type", "text/plain", body.to_string(), 415, "unsupported-media-type"),
            ("a form", "application/x-www-form-urlencoded", "a=b".to_owned(), 415, "unsupported-media-type"),
        ] {
            let answer = send(&world, &method, &path, Some(&token), media, body).await;
            answer.is(&format!("{method} {path} with {what}"), status, kind, None);
        }
        if !is_batch {
            let answer = send(&world, &method, &path, Some(&token), JSON, deep.clone()).await;
            answer.is(&format!("{method} {path} with deep JSON"), 400, "malformed-json", None);
            let answer = send(&world, &method, &path, Some(&token), JSON, "{}".to_owned()).await;
            answer.is(&format!("{method} {path} with no field"), 422, "invalid-field", None);
            let mut more = body.clone();
            more["surprise"] = json!(1);
            let answer = send(&world, &method, &path, Some(&token), JSON, more.to_string()).await;
            answer.is(&format!("{method} {path} with a field too many"), 422, "invalid-field", None);
            assert!(answer.problem["detail"].as_str().unwrap().contains("surprise"), "{}", answer.problem);
        } else {
            let deep = format!("{}{}", "[".repeat(60), "]".repeat(60));
            let items = serde_json::from_str(&format!("[{deep}, 7, {{}}]")).unwrap();
            let answer = world.post(&path, &token, items).await;
            let statuses: Vec<_> =
                answer["results"].as_array().unwrap().iter().map(|r| &r["status"]).collect();
            assert_eq!(statuses, [&json!(400), &json!(422), &json!(422)]);
        }
    }
    assert_eq!(world.log().await.len(), before, "nothing was done");
}

#[tokio::test]
async fn every_field_of_a_notification_has_its_bounds() {
    let world = World::start().await;
    let before = world.log().await.len();
    let many = |count: usize| (0..count).map(|number| format!("u{number}")).collect::<Vec<_>>();
    let topics = |count: usize| (0..count).map(|number| format!("topic:{number}")).collect::<Vec<_>>();
    for (field, value, named) in [
        ("type", Value::Null, "type"),
        ("type", json!(7), "type"),
        ("type", json!(""), "type"),
        ("type", json!("a b"), "type"),
        ("type", json!("x".repeat(129)), "type"),
        ("audience", json!("ada"), "audience"),
        ("audience", json!({ "user": ["ada"] }), "audience"),
        ("audience", json!({ "users": "ada" }), "audience.users"),
        ("audience", json!({ "users": ["ada", ""] }), "audience.users[1]"),
        ("audience", json!({ "users": [null] }), "audience.users[0]"),
        ("audience", json!({ "users": ["a\u{0}b"] }), "audience.users[0]"),
        ("audience", json!({ "users": ["x".repeat(129)] }), "audience.users[0]"),
        ("audience", json!({ "users": many(10_001) }), "audience.users"),
        ("audience", json!({ "channels": ["orders"] }), "audience.channels[0]"),
        ("audience", json!({ "channels": ["topic:*"] }), "audience.channels[0]"),
        ("audience", json!({ "channels": topics(33) }), "audience.channels"),
        ("audience", json!({ "channels": ["everyone"], "except": many(1_001) }), "audience.except"),
        ("audience", json!({ "users": ["ada"], "except": ["eve"] }), "audience.except"),
        (
            "audience",
            json!({ "users": ["ada"], "channels": ["everyone"], "except": ["ada"] }),
            "audience.except",
        ),
        ("title", json!(7), "title"),
        ("title", json!("x".repeat(513)), "title"),
        ("body", json!(["x"]), "body"),
        ("body", json!("x".repeat(16 * 1024 + 1)), "body"),
        ("data", json!("x"), "data"),
        ("data", json!([1]), "data"),
        ("data", json!({ "x": "x".repeat(32 * 1024) }), "data"),
        ("priority", json!(""), "priority"),
        ("priority", json!("x".repeat(33)), "priority"),
        ("action", json!("https://example.org"), "action"),
        ("action", json!({}), "action"),
        ("action", json!({ "url": "javascript:alert(1)" }), "action.url"),
        ("action", json!({ "url": "//evil.example" }), "action.url"),
        ("action", json!({ "url": "x".repeat(2_049) }), "action.url"),
        ("action", json!({ "url": "/", "text": "x".repeat(129) }), "action.text"),
        ("tags", json!("x"), "tags"),
        ("tags", json!([""]), "tags[0]"),
        ("tags", json!(vec!["x"; 17]), "tags"),
        ("inbox", json!("no"), "inbox"),
        ("idempotencyKey", json!(""), "idempotencyKey"),
        ("idempotencyKey", json!("x".repeat(256)), "idempotencyKey"),
        ("deliverAt", json!("tomorrow"), "deliverAt"),
        ("deliverAt", json!(1_795_158_000), "deliverAt"),
        ("deliverAt", json!("2099-12-24T18:00:00Z"), "deliverAt"),
        ("expiresAt", json!("2020-12-24T18:00:00Z"), "expiresAt"),
        ("expiresAt", json!("2099-12-24T18:00:00Z"), "expiresAt"),
        ("collapseKey", json!(""), "collapseKey"),
        ("collapseKey", json!("x".repeat(256)), "collapseKey"),
        ("surprise", json!(1), "surprise"),
    ] {
        let mut note = json!({ "type": "note", "audience": { "users": ["ada"] } });
        if value.is_null() {
            note.as_object_mut().unwrap().remove(field)
        } else {
            note[field].take().into()
        };
        if !value.is_null() {
            note[field] = value;
        }
        let path = "/v1/notifications";
        let answer = send(&world, &Method::POST, path, Some(&service()), JSON, note.to_string()).await;
        // serde names a field that is missing, unknown or of a wrong shape in the words, the others by their path.
        let about = answer.problem["errors"][0].to_string();
        answer.is(&note.to_string()[..note.to_string().len().min(200)], 422, "invalid-field", None);
        assert!(about.contains(named), "{named}: {about}");
        let batch = world.post("/v1/notifications/batch", &service(), json!([note])).await;
        assert_eq!(batch["results"][0]["status"], 422, "{named} in a batch");
        assert_eq!(batch["results"][0]["problem"], answer.problem, "{named} in a batch is the same problem");
    }
    let too_many = json!(vec![json!({ "type": "n", "audience": { "users": ["ada"] } }); 1_001]).to_string();
    let path = "/v1/notifications/batch";
    let answer = send(&world, &Method::POST, path, Some(&service()), JSON, too_many).await;
    answer.is("a batch of 1,001", 422, "invalid-field", Some("notifications"));
    let answer =
        send(&world, &Method::POST, path, Some(&service()), JSON, json!(vec![0; 1_001]).to_string()).await;
    answer.is("a batch of 1,001 that are none", 422, "invalid-field", Some("notifications"));
    let answer = send(&world, &Method::POST, path, Some(&person("ada")), JSON, json!([0]).to_string()).await;
    answer.is("a batch without the scope", 403, "forbidden", None);
    for (body, field) in [
        (json!(["n", { "users": ["ada"] }]), None),
        (json!({ "type": "n", "audience": [["ada"], [], []] }), Some("audience")),
        (json!({ "type": "n", "audience": { "users": ["ada"] }, "action": ["/u"] }), Some("action")),
        (json!({ "audience": { "users": ["ada"] } }), Some("type")),
    ] {
        let path = "/v1/notifications";
        let answer = send(&world, &Method::POST, path, Some(&service()), JSON, body.to_string()).await;
        answer.is(&format!("a list is no object: {body}"), 422, "invalid-field", field);
    }
    assert_eq!(world.log().await.len(), before, "nothing was published");
}

#[tokio::test]
async fn every_parameter_has_its_bounds() {
    let world = World::start().await;
    let (ada, admin) = (person("ada"), service());
    world.get("/v1/counts", &ada).await;
    let before = world.log().await.len();
    let long = format!("/v1/channels/topic:{}/join", "x".repeat(200));
    for (method, path, token, status, kind, field) in [
        (Method::GET, "/v1/inbox?limit=0", &ada, 422, "invalid-field", Some("limit")),
        (Method::GET, "/v1/inbox?limit=101", &ada, 422, "invalid-field", Some("limit")),
        (Method::GET, "/v1/inbox?limit=x", &ada, 422, "invalid-field", Some("limit")),
        (Method::GET, "/v1/inbox?limit=5&limit=6", &ada, 422, "invalid-field", Some("limit")),
        (Method::GET, "/v1/inbox?cursor=x", &ada, 422, "invalid-field", Some("cursor")),
        (Method::GET, "/v1/inbox?cursor=-1", &ada, 422, "invalid-field", Some("cursor")),
        (Method::GET, "/v1/inbox?unread=yes", &ada, 422, "invalid-field", Some("unread")),
        (Method::GET, "/v1/inbox?archived=1", &ada, 422, "invalid-field", Some("archived")),
        (Method::GET, "/v1/inbox?pinned=", &ada, 422, "invalid-field", Some("pinned")),
        (Method::GET, "/v1/inbox?type=a%20b", &ada, 422, "invalid-field", Some("type")),
        (Method::GET, "/v1/inbox?tag=", &ada, 422, "invalid-field", Some("tag")),
        (Method::GET, "/v1/inbox?channel=orders", &ada, 422, "invalid-field", Some("channel")),
        (Method::GET, "/v1/inbox?surprise=1", &ada, 422, "invalid-field", Some("surprise")),
        (Method::GET, "/v1/inbox?tag=%ff", &ada, 422, "invalid-field", None),
        (Method::GET, "/v1/inbox/17", &ada, 422, "invalid-field", Some("id")),
        (Method::GET, &format!("/v1/inbox/{ID}"), &ada, 404, "no-such-notification", Some("id")),
        (Method::DELETE, &format!("/v1/inbox/{ID}"), &ada, 404, "no-such-notification", None),
        (Method::DELETE, "/v1/inbox/%ff", &ada, 422, "invalid-field", Some("path")),
        (Method::GET, "/v1/counts?by=user", &ada, 422, "invalid-field", Some("by")),
        (Method::GET, "/v1/counts?x=1", &ada, 422, "invalid-field", Some("x")),
        (Method::POST, "/v1/channels/orders/join", &ada, 422, "invalid-field", Some("channel")),
        (Method::POST, &long, &ada, 422, "invalid-field", Some("channel")),
        (Method::GET, "/v1/channels/topic:a/members?limit=1001", &admin, 422, "invalid-field", Some("limit")),
        (Method::GET, "/v1/channels/topic:a/members?cursor=", &admin, 422, "invalid-field", Some("cursor")),
        (Method::PUT, "/v1/channels/everyone/members/ada", &admin, 422, "invalid-field", Some("channel")),
        (Method::PUT, "/v1/channels/user:ada/members/ada", &admin, 422, "invalid-field", Some("channel")),
        (Method::PUT, "/v1/channels/topic:a/members/%20ada", &admin, 422, "invalid-field", Some("user")),
        (Method::GET, "/v1/log?after=x", &admin, 422, "invalid-field", Some("after")),
        (Method::GET, "/v1/log?limit=0", &admin, 422, "invalid-field", Some("limit")),
        (Method::GET, "/v1/log?follow=x", &admin, 422, "invalid-field", Some("follow")),
        (Method::GET, "/v2/inbox", &ada, 404, "not-found", None),
        (Method::GET, "/v1/notifications", &admin, 405, "method-not-allowed", None),
        (Method::PUT, "/v1/inbox", &ada, 405, "method-not-allowed", None),
        (Method::GET, "/v1/ws", &ada, 422, "invalid-field", Some("upgrade")),
    ] {
        let answer = send(&world, &method, path, Some(token), JSON, String::new()).await;
        answer.is(&format!("{method} {path}"), status, kind, field);
    }
    for (path, body, kind, status, field) in [
        ("/v1/inbox/read", json!({ "notifications": [] }), "invalid-field", 422, "notifications"),
        (
            "/v1/inbox/read",
            json!({ "notifications": vec![ID; 1_001] }),
            "invalid-field",
            422,
            "notifications",
        ),
        ("/v1/inbox/read", json!({ "notifications": [ID, 7] }), "invalid-field", 422, "notifications[1]"),
        ("/v1/inbox/read", json!({ "notifications": ["x"] }), "invalid-field", 422, "notifications[0]"),
        ("/v1/inbox/pin", json!({ "notifications": [ID] }), "no-such-notification", 404, "notifications[0]"),
        ("/v1/inbox/read-all", json!({ "upTo": 999_999 }), "invalid-field", 422, "upTo"),
        ("/v1/inbox/read-all", json!({ "upTo": "0123456789ab.1" }), "invalid-field", 422, "upTo"),
        ("/v1/inbox/seen", json!({ "upTo": -1 }), "invalid-field", 422, "upTo"),
        ("/v1/inbox/seen", json!({ "upTo": "x" }), "invalid-field", 422, "upTo"),
    ] {
        let answer = send(&world, &Method::POST, path, Some(&ada), JSON, body.to_string()).await;
        answer.is(&format!("{path} {field}"), status, kind, Some(field));
    }
    let members = "/v1/channels/topic:a/members";
    let many: Vec<String> = (0..10_001).map(|number| format!("u{number}")).collect();
    for (body, field) in [
        (json!({ "add": [], "remove": [] }), "add"),
        (json!({ "add": many }), "add"),
        (json!({ "add": ["ada"], "remove": ["ada"] }), "remove"),
        (json!({ "add": [""] }), "add[0]"),
    ] {
        let answer = send(&world, &Method::POST, members, Some(&admin), JSON, body.to_string()).await;
        answer.is("members", 422, "invalid-field", Some(field));
    }
    assert_eq!(world.log().await.len(), before, "nothing was done");
}

#[tokio::test]
async fn headers_and_cloudevents_are_checked() {
    let world = World::start().await;
    let note = json!({ "type": "note", "audience": { "users": ["ada"] } });
    let post = async |headers: &[(&str, &str)], body: &Value| {
        let mut request = world.request(Method::POST, "/v1/notifications", &service());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.to_string()).send().await.unwrap();
        Answer { status: response.status(), problem: response.json().await.unwrap() }
    };
    let json_type = ("content-type", JSON);
    let long = "x".repeat(256);
    let mut other_key = note.clone();
    other_key["idempotencyKey"] = json!("b");
    let cloud_event = json!({ "specversion": "1.0", "id": "1", "source": "/s", "type": "note",
                              "data": { "audience": { "users": ["ada"] } } });
    let without = |attribute: &str| {
        let mut event = cloud_event.clone();
        event.as_object_mut().unwrap().remove(attribute);
        event
    };
    let structured = ("content-type", "application/cloudevents+json");
    let binary = [json_type, ("ce-specversion", "1.0"), ("ce-source", "/s"), ("ce-type", "note")];
    post(&[json_type, ("idempotency-key", "")], &note).await.is(
        "empty key",
        422,
        "invalid-field",
        Some("idempotency-key"),
    );
    post(&[json_type, ("idempotency-key", &long)], &note).await.is(
        "key",
        422,
        "invalid-field",
        Some("idempotency-key"),
    );
    post(&[json_type, ("idempotency-key", "a")], &other_key).await.is(
        "two",
        422,
        "invalid-field",
        Some("idempotencyKey"),
    );
    post(&[structured, ("idempotency-key", "a")], &cloud_event).await.is(
        "ce",
        422,
        "invalid-field",
        Some("idempotency-key"),
    );
    post(&binary, &note["audience"]).await.is("no ce-id", 422, "invalid-field", Some("ce-id"));
    let with_id = [&binary[..], &[("ce-id", "1")]].concat();
    post(&with_id, &json!({ "audience": { "users": [7] } })).await.is(
        "ce data",
        422,
        "invalid-field",
        Some("data.audience.users[0]"),
    );
    post(&with_id, &json!([1])).await.is("ce data", 422, "invalid-field", Some("data"));
    for attribute in ["specversion", "id", "source", "type"] {
        let answer = post(&[structured], &without(attribute)).await;
        answer.is(attribute, 422, "invalid-field", None);
        assert!(answer.problem["detail"].as_str().unwrap().contains(attribute), "{}", answer.problem);
    }
    let request = world.request(Method::GET, "/v1/inbox", &person("ada")).header("tidings-min-position", "x");
    assert_eq!(request.send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(world.log().await.len(), 1, "nothing was published");
}

/// Every command of a connection, asked rightly.
fn commands() -> Vec<Value> {
    let mut commands = vec![
        json!({ "type": "read-all", "upTo": 1 }),
        json!({ "type": "seen", "upTo": 1 }),
        json!({ "type": "inbox" }),
        json!({ "type": "counts" }),
        json!({ "type": "presence" }),
        json!({ "type": "ping" }),
        json!({ "type": "publish", "notification": { "type": "note", "audience": { "users": ["ada"] } } }),
    ];
    for kind in ["join", "leave", "watch", "unwatch"] {
        commands.push(json!({ "type": kind, "channel": "topic:a" }));
    }
    commands.push(json!({ "type": "snooze", "notifications": [ID], "until": "2026-12-24T18:00:00Z" }));
    for kind in ["read", "clicked", "unread", "archive", "unarchive", "pin", "unpin", "delete", "wake"] {
        commands.push(json!({ "type": kind, "notifications": [ID] }));
    }
    commands
}

async fn refused(device: &mut Device, command: &Value, status: u16, kind: &str, named: &str) {
    let answer = device.ask(command.clone()).await;
    let problem = answer["problem"].clone();
    assert_eq!(
        (&answer["type"], &problem["status"]),
        (&json!("error"), &json!(status)),
        "{command}: {answer}"
    );
    assert_eq!(problem["type"], format!("urn:tidings:problem:{kind}"), "{command}: {problem}");
    assert!(problem["detail"].as_str().unwrap().contains(named), "{command} names {named}: {problem}");
}

#[tokio::test]
async fn every_command_of_a_connection_is_checked_and_the_connection_goes_on() {
    let world = World::with_configuration("[limits]\ncommands = { count = 1_000, seconds = 1 }").await;
    let mut grant = tidings_http::token::Grant { user: Some("ada".to_owned()), ..Default::default() };
    grant.channels = vec!["topic:*".to_owned()];
    grant.scopes = vec!["publish".to_owned()];
    let mut device = world.connect(&token(&grant)).await;
    let before = world.log().await.len();
    for command in commands() {
        let mut more = command.clone();
        more["surprise"] = json!(1);
        refused(&mut device, &more, 422, "invalid-field", "surprise").await;
        for (field, _) in command.as_object().unwrap().iter().filter(|(field, _)| *field != "type") {
            let mut wrong = command.clone();
            wrong[field] = json!([[7]]);
            refused(&mut device, &wrong, 422, "invalid-field", field).await;
        }
    }
    for (command, status, kind, named) in [
        (json!({ "type": "surprise" }), 422, "invalid-field", "type"),
        (json!({ "type": 7 }), 422, "invalid-field", "type"),
        (json!({}), 422, "invalid-field", "type"),
        (json!({ "type": "read" }), 422, "invalid-field", "notifications"),
        (json!({ "type": "read", "notifications": [] }), 422, "invalid-field", "notifications"),
        (json!({ "type": "read", "notifications": [ID] }), 404, "no-such-notification", "notifications[0]"),
        (json!({ "type": "read-all", "upTo": 999_999 }), 422, "invalid-field", "upTo"),
        (json!({ "type": "inbox", "limit": 0 }), 422, "invalid-field", "limit"),
        (json!({ "type": "inbox", "limit": 101 }), 422, "invalid-field", "limit"),
        (json!({ "type": "inbox", "cursor": "x" }), 422, "invalid-field", "cursor"),
        (json!({ "type": "counts", "by": "user" }), 422, "invalid-field", "by"),
        (json!({ "type": "join" }), 422, "invalid-field", "channel"),
        (json!({ "type": "join", "channel": "orders" }), 422, "invalid-field", "channel"),
        (json!({ "type": "watch", "channel": "other:x" }), 403, "forbidden", "other:x"),
        (json!({ "type": "publish" }), 422, "invalid-field", "notification"),
        (json!({ "type": "publish", "notification": { "type": "n" } }), 422, "nobody-addressed", "audience"),
        (json!({ "type": "publish", "notification": {} }), 422, "invalid-field", "type"),
        (json!({ "type": "publish", "cloudEvent": { "specversion": "1.0" } }), 422, "invalid-field", "id"),
    ] {
        refused(&mut device, &command, status, kind, named).await;
    }
    for watched in 0..64 {
        device.ask(json!({ "type": "watch", "channel": format!("topic:{watched}") })).await;
    }
    refused(&mut device, &json!({ "type": "watch", "channel": "topic:x" }), 422, "invalid-field", "channel")
        .await;

    let long_title = json!({ "type": "n", "title": "x".repeat(513), "audience": { "users": ["ada"] } });
    let command = json!({ "type": "publish", "notification": long_title });
    refused(&mut device, &command, 422, "invalid-field", "notification.title").await;
    assert_eq!(world.log().await.len(), before, "nothing was done");
}

#[tokio::test]
async fn frames_that_are_no_commands_are_answered_and_the_connection_goes_on() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    let deep = format!("{}{}", "[".repeat(9_000), "]".repeat(9_000));
    for (frame, status) in [
        ("", 400),
        ("hello", 400),
        ("{\"type\":\"ping\"", 400),
        (deep.as_str(), 400),
        ("7", 422),
        ("[]", 422),
        ("{\"type\":\"ping\"}", 422),
        ("{\"type\":\"ping\",\"id\":-1}", 422),
        ("{\"type\":\"ping\",\"id\":[]}", 422),
        ("{\"type\":\"ping\",\"id\":\"\"}", 422),
        ("{\"type\":\"ack\"}", 422),
        ("{\"type\":\"ack\",\"upTo\":\"x\"}", 422),
        ("{\"type\":\"ack\",\"upTo\":\"0123456789ab.1\"}", 422),
    ] {
        device.send_raw(tokio_tungstenite::tungstenite::Message::text(frame)).await;
        let error = device.expect("error").await;
        let shown = &frame[..frame.len().min(60)];
        assert_eq!(
            (&error["problem"]["status"], &error["id"]),
            (&json!(status), &Value::Null),
            "{shown}: {error}"
        );
    }
    assert!(device.ask(json!({ "type": "ping" })).await["position"].is_u64());
}
