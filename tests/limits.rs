//! Limits: each is refused as documented, with its name and when to try again, and nobody else notices.

use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use tidings_http::token::Grant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::world::{Device, World, in_time, person, service, token};

async fn limited(limits: &str) -> World {
    World::with_configuration(&format!("[limits]\n{limits}")).await
}

fn note(user: &str) -> Value {
    json!({ "type": "note", "audience": { "users": [user] } })
}

/// A refusal names the limit, and says when to try again.
fn assert_refusal(problem: &Value, kind: &str, limit: &str) {
    assert_eq!(problem["type"], format!("urn:tidings:problem:{kind}"), "{problem}");
    assert_eq!(problem["limit"], limit, "{problem}");
    assert!(problem["retryAfterMs"].as_u64().is_some_and(|wait| wait > 0), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains(limit), "{problem}");
}

async fn assert_refused(response: Response, kind: &str, limit: &str) {
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let retry_after = response.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap();
    let problem: Value = response.json().await.unwrap();
    assert_refusal(&problem, kind, limit);
    assert_eq!(retry_after, problem["retryAfterMs"].as_u64().unwrap().div_ceil(1_000), "{problem}");
}

/// With what an attempt to open a WebSocket is answered instead.
fn status(refused: Result<Device, tungstenite::Error>) -> StatusCode {
    match refused {
        Err(tungstenite::Error::Http(response)) => response.status(),
        Err(other) => panic!("expected an answer, got {other}"),
        Ok(_) => panic!("it was let in"),
    }
}

#[tokio::test]
async fn commands_beyond_the_limit_are_refused_and_what_is_free_goes_on() {
    let world = limited("commands = { count = 5, seconds = 1 }").await;
    let mut device = world.connect(&person("ada")).await;
    assert_eq!(device.hello["limits"]["commands"], 5);
    for _ in 0..5 {
        assert!(device.ask(json!({ "type": "counts" })).await["unread"].is_u64());
    }
    let refused = device.ask(json!({ "type": "counts" })).await;
    assert_refusal(&refused["problem"], "too-many-requests", "limits.commands");
    let wait = Duration::from_millis(refused["problem"]["retryAfterMs"].as_u64().unwrap() + 1);
    let position = device.hello["position"].clone();
    for _ in 0..20 {
        assert!(device.ask(json!({ "type": "ping" })).await["position"].is_u64());
        assert!(device.ask(json!({ "type": "ack", "upTo": position })).await["position"].is_u64());
    }
    let mut other = world.connect(&person("ada")).await;
    assert!(other.ask(json!({ "type": "counts" })).await["unread"].is_u64(), "each connection has its own");
    tokio::time::sleep(wait).await;
    assert!(device.ask(json!({ "type": "counts" })).await["unread"].is_u64(), "it said when");
}

#[tokio::test]
async fn who_goes_on_whatever_is_answered_is_let_go() {
    let world = limited("commands = { count = 5, seconds = 3600 }").await;
    let mut device = world.connect(&person("ada")).await;
    for id in 0..12 {
        device.send(&json!({ "type": "counts", "id": id })).await;
    }
    let mut refusals = 0;
    let closing = loop {
        let message = device.next().await.expect("a message");
        match message["type"].as_str() {
            Some("error") => refusals += 1,
            Some("closing") => break message,
            _ => {}
        }
    };
    assert_eq!((refusals, &closing["code"]), (5, &json!(4429)), "{closing}");
    assert!(closing["retryAfterMs"].as_u64().is_some_and(|wait| wait >= 5_000), "{closing}");
    assert!(closing["cursor"].is_string(), "it may come back, and loses nothing: {closing}");
    assert_eq!(device.closed().await, 4429);
}

#[tokio::test]
async fn what_is_free_is_read_more_slowly_when_there_is_too_much_of_it() {
    let world = limited("commands = { count = 1, seconds = 1 }").await;
    let mut device = world.connect(&person("ada")).await;
    let begun = Instant::now();
    for _ in 0..20 {
        device.send_raw(Message::text(r#"{"type":"ping","id":1}"#)).await;
    }
    for _ in 0..20 {
        device.expect("answer").await;
    }
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(850), "ten at once, and ten a second: {took:?}");
}

#[tokio::test]
async fn requests_beyond_the_limit_are_refused_to_their_user_alone() {
    let world = limited("requests = { count = 3, seconds = 3600 }").await;
    let ada = person("ada");
    for _ in 0..3 {
        world.get("/v1/counts", &ada).await;
    }
    for path in ["/v1/counts", "/v1/inbox", "/v1/events"] {
        let refused = world.request(Method::GET, path, &ada).send().await.unwrap();
        assert_refused(refused, "too-many-requests", "limits.requests").await;
    }
    let refused = world.try_connect(&format!("/v1/ws?token={ada}")).await;
    assert_eq!(status(refused), StatusCode::TOO_MANY_REQUESTS);
    let mut device = world.try_connect("/v1/ws").await.unwrap();
    device.send(&json!({ "type": "token", "token": ada })).await;
    let closing = device.expect("closing").await;
    assert_eq!(closing["code"], 4429);
    assert!(closing["retryAfterMs"].is_u64(), "{closing}");
    world.get("/v1/counts", &person("bo")).await;
    let of_another_tenant =
        Grant { tenant: Some("other".to_owned()), user: Some("ada".to_owned()), ..Grant::default() };
    world.get("/v1/counts", &token(&of_another_tenant)).await;
    for _ in 0..4 {
        world.publish(note("ada")).await; // a service's own are others
    }
}

#[tokio::test]
async fn the_services_of_a_tenant_share_a_limit_of_their_own() {
    let world = limited("service-requests = { count = 3, seconds = 3600 }").await;
    for _ in 0..3 {
        world.get("/v1/presence", &service()).await;
    }
    let refused = world.request(Method::GET, "/v1/presence", &service()).send().await.unwrap();
    assert_refused(refused, "too-many-requests", "limits.service-requests").await;
    world.get("/v1/counts", &person("ada")).await;
}

#[tokio::test]
async fn notifications_beyond_the_limit_are_not_published() {
    let world = limited("publishes = { count = 10, seconds = 3600 }").await;
    let batch = |count: usize| json!(vec![note("ada"); count]);
    world.post("/v1/notifications/batch", &service(), batch(8)).await;
    let refused = |path, body: Value| world.request(Method::POST, path, &service()).json(&body).send();
    let answer = refused("/v1/notifications/batch", batch(3)).await.unwrap();
    assert_refused(answer, "too-many-requests", "limits.publishes").await;
    world.post("/v1/notifications/batch", &service(), batch(2)).await;
    let answer = refused("/v1/notifications", note("ada")).await.unwrap();
    assert_refused(answer, "too-many-requests", "limits.publishes").await;
    // Somebody with the scope, over their own connection, has their own.
    let publisher =
        Grant { user: Some("ada".to_owned()), scopes: vec!["publish".to_owned()], ..Grant::default() };
    let mut device = world.connect(&token(&publisher)).await;
    for _ in 0..10 {
        let published = device.ask(json!({ "type": "publish", "notification": note("ada") })).await;
        assert!(published["id"].is_string(), "{published}");
    }
    let answer = device.ask(json!({ "type": "publish", "notification": note("ada") })).await;
    assert_refusal(&answer["problem"], "too-many-requests", "limits.publishes");
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 20);
}

#[tokio::test]
async fn a_user_has_so_many_live_connections() {
    let world = limited("connections-per-user = 2").await;
    let ada = person("ada");
    let device = world.connect(&ada).await;
    let stream = world.request(Method::GET, "/v1/events", &ada).send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);

    let refused = world.request(Method::GET, "/v1/events", &ada).send().await.unwrap();
    assert_refused(refused, "too-many-connections", "limits.connections-per-user").await;
    for first_frame in [false, true] {
        let path = if first_frame { "/v1/ws".to_owned() } else { format!("/v1/ws?token={ada}") };
        let mut refused = world.open(&path).await.unwrap();
        if first_frame {
            refused.send(&json!({ "type": "token", "token": ada })).await;
        }
        let closing = refused.expect("closing").await;
        assert_eq!(closing["code"], 4429, "{closing}");
        assert!(closing["retryAfterMs"].as_u64().is_some_and(|wait| wait >= 5_000), "{closing}");
        assert_eq!(refused.closed().await, 4429);
    }
    world.connect(&person("bo")).await.close().await;
    world.get("/v1/counts", &ada).await; // a request is no live connection

    drop(stream);
    device.close().await;
    let again = async {
        for _ in 0..2 {
            while world.request(Method::GET, "/v1/events", &ada).send().await.unwrap().status()
                != StatusCode::OK
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    };
    in_time("seats that were given up", again).await;
}

/// A connection that has sent the head of a request with a body of so many bytes, and the answer to it.
async fn head_of(world: &World, path: &str, token: &str, bytes: usize) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(world.address()).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = in_time("an answer", read_answer(&mut stream)).await;
    (stream, answer)
}

/// An answer, which comes at once.
async fn read_answer(stream: &mut TcpStream) -> String {
    let mut buffer = vec![0; 16 << 10];
    let count = stream.read(&mut buffer).await.unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

#[tokio::test]
async fn what_is_refused_before_it_is_read_is_answered_at_once_and_may_still_be_sent() {
    let world = limited("batch-bytes = 1_048_576").await;
    let stranger = "nobody's token";
    for (what, path, token, bytes, status) in [
        ("too large", "/v1/notifications/batch", service(), 10 << 20, 413),
        ("too large for one", "/v1/notifications", service(), 10 << 20, 413),
        ("by somebody who may not", "/v1/notifications/batch", person("ada"), 500_000, 403),
        ("by a stranger", "/v1/notifications", stranger.to_owned(), 500_000, 401),
        ("to nowhere", "/v1/nothing", service(), 500_000, 404),
    ] {
        let (mut stream, answer) = head_of(&world, path, &token, bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{what}: {answer}");
        in_time(what, stream.write_all(&vec![b'x'; bytes])).await.unwrap();
        stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let next = in_time(what, read_answer(&mut stream)).await;
        assert!(next.starts_with("HTTP/1.1 200"), "the connection goes on after what is {what}: {next}");
    }
}

#[tokio::test]
async fn what_is_thrown_away_is_read_slowly_and_not_for_ever() {
    let world = limited("body-seconds = 3").await;
    let begun = Instant::now();
    let (mut stream, _) = head_of(&world, "/v1/notifications/batch", &service(), 30 << 20).await;
    in_time("a body", stream.write_all(&vec![b'x'; 30 << 20])).await.unwrap();
    stream.write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    in_time("an answer", read_answer(&mut stream)).await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(800), "sixteen mebibytes at once, and as many a second: {took:?}");
    // One that has no end.
    let (mut stream, _) = head_of(&world, "/v1/notifications/batch", &service(), 1 << 40).await;
    let endless = async { while stream.write_all(&[b'x'; 4_096]).await.is_ok() {} };
    in_time("the end of the connection", endless).await;
}

#[tokio::test]
async fn limits_that_are_reloaded_count_from_then_on_and_send_nobody_away() {
    let world = limited("requests = { count = 3, seconds = 3600 }\nconnections-per-user = 2").await;
    let ada = person("ada");
    let (mut first, second) = (world.connect(&ada).await, world.connect(&ada).await);
    assert_eq!(first.hello["limits"]["commands"], 100);
    world.get("/v1/counts", &ada).await;
    let refused = world.request(Method::GET, "/v1/counts", &ada).send().await.unwrap();
    assert_refused(refused, "too-many-requests", "limits.requests").await;

    let limits = "[limits]\nrequests = { count = 1000, seconds = 5 }\nconnections-per-user = 1\n\
                  commands = { count = 2, seconds = 3600 }\nmessage-bytes = 40_000";
    std::fs::write(world.directory.path().join("tidings.toml"), limits).unwrap();
    world.signal("HUP");
    let raised = async {
        while world.request(Method::GET, "/v1/counts", &ada).send().await.unwrap().status() != StatusCode::OK
        {
        }
    };
    in_time("the new limit of requests", raised).await;
    let refused = world.request(Method::GET, "/v1/events", &ada).send().await.unwrap();
    assert_refused(refused, "too-many-connections", "limits.connections-per-user").await;
    for _ in 0..4 {
        let answer = first.ask(json!({ "type": "counts" })).await;
        assert!(answer["unread"].is_u64(), "what is open goes by what it was told: {answer}");
    }
    second.close().await;
    first.close().await;
    let again = async {
        loop {
            let mut device = world.open(&format!("/v1/ws?token={ada}")).await.unwrap();
            let said = device.next().await.expect("a message");
            if said["type"] == "hello" {
                return (device, said);
            }
        }
    };
    let (mut device, hello) = in_time("a place", again).await;
    assert_eq!((&hello["limits"]["commands"], &hello["limits"]["frameBytes"]), (&json!(2), &json!(40_000)));
    for _ in 0..2 {
        assert!(device.ask(json!({ "type": "counts" })).await["unread"].is_u64());
    }
    let refused = device.ask(json!({ "type": "counts" })).await;
    assert_refusal(&refused["problem"], "too-many-requests", "limits.commands");
    let large = json!({ "type": "note", "body": "x".repeat(50_000), "audience": { "users": ["ada"] } });
    let (status, _) = world.send(Method::POST, "/v1/notifications", &service(), &large).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn sizes_are_those_that_are_set() {
    let world =
        limited("message-bytes = 32_768\nbatch-bytes = 65_536\nheader-bytes = 8_192\nheaders = 20").await;
    let of =
        |bytes: usize| json!({ "type": "note", "body": "x".repeat(bytes), "audience": { "users": ["ada"] } });
    for (path, body) in [("", of(33_000)), ("/batch", json!(vec![of(15_000); 5]))] {
        let path = format!("/v1/notifications{path}");
        let (status, problem) = world.send(Method::POST, &path, &service(), &body).await;
        assert_eq!((status.as_u16(), &problem["type"]), (413, &json!("urn:tidings:problem:too-large")));
    }
    let mut device = world.connect(&person("ada")).await;
    assert_eq!(device.hello["limits"]["frameBytes"], 32_768);
    device.send(&json!({ "type": "ping", "id": "x".repeat(33_000) })).await;
    assert_eq!(device.closed().await, 1009);

    let get = || world.request(Method::GET, "/v1/counts", &person("ada"));
    let many = (0..20).fold(get(), |request, number| request.header(format!("x-{number}"), "x"));
    let large = get().header("x-large", "x".repeat(9_000));
    for request in [many, large] {
        assert_eq!(request.send().await.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    assert_eq!(get().send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn who_sends_commands_without_end_is_let_go_although_refusals_come_slowly() {
    let world = limited("commands = { count = 20, seconds = 1 }").await;
    let mut device = world.connect(&person("ada")).await;
    for id in 0..300 {
        device.send(&json!({ "type": "counts", "id": id })).await;
    }
    assert_eq!(device.closed().await, 4429);
}

#[tokio::test]
async fn a_connection_keeps_the_heartbeat_that_its_hello_has_named() {
    let world = limited("heartbeat-seconds = 4").await;
    let mut device = world.connect(&person("ada")).await;
    assert_eq!(device.hello["limits"]["heartbeatSeconds"], 4);
    std::fs::write(world.directory.path().join("tidings.toml"), "[limits]\nheartbeat-seconds = 1").unwrap();
    world.signal("HUP");
    device.expect("heartbeat").await;
}
