//! The WebSocket protocol: how a connection begins, what it may ask, how it ends.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{self, Message};

use crate::world::{SECRET, World, id, ids, person, service, token};

fn grant(user: &str) -> tidings_http::token::Grant {
    tidings_http::token::Grant { user: Some(user.to_owned()), ..Default::default() }
}

#[tokio::test]
async fn a_token_comes_in_the_header_in_the_query_or_in_the_first_frame() {
    let world = World::start().await;
    let mut request = format!("ws://{}/v1/ws", world.address()).into_client_request().unwrap();
    let bearer = format!("Bearer {}", person("ada")).parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let hello = futures_util::StreamExt::next(&mut socket).await.unwrap().unwrap().into_text().unwrap();
    assert!(hello.starts_with(r#"{"type":"hello""#), "its type comes first: {hello}");

    assert_eq!(world.connect(&person("ada")).await.hello["user"], "ada");

    let mut device = world.try_connect("/v1/ws").await.unwrap();
    device.send(&json!({ "type": "token", "token": person("ada") })).await;
    assert_eq!(device.expect("hello").await["user"], "ada");
}

#[tokio::test]
async fn hello_says_where_the_log_is_and_what_the_user_has() {
    let world = World::start().await;
    world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let mut grant = grant("ada");
    grant.roles = vec!["PRO".to_owned()];
    grant.session = Some("s1".to_owned());
    let mut device = world.connect(&token(&grant)).await;
    let hello = device.hello.clone();
    assert_eq!((&hello["tenant"], &hello["user"]), (&json!("default"), &json!("ada")));
    assert_eq!(hello["channels"], json!(["everyone", "role:PRO"]));
    assert_eq!(hello["watching"], json!(["session:s1"]));
    assert_eq!((&hello["counts"]["unread"], &hello["counts"]["unseen"]), (&json!(1), &json!(1)));
    let (epoch, position) = (hello["epoch"].as_str().unwrap(), hello["position"].as_u64().unwrap());
    assert_eq!(hello["cursor"], format!("{epoch}.{position}"));
    assert!(hello["limits"]["frameBytes"].is_u64());
    let receipt = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let message = device.expect("notification").await;
    assert_eq!(message["cursor"], format!("{epoch}.{}", receipt["position"]));
}

#[tokio::test]
async fn an_answer_comes_after_what_it_changed() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    for _ in 0..50 {
        let receipt = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
        let read = json!({ "type": "read", "notifications": [id(&receipt)] });
        let (answer, heard) = device.ask_and_hear(read).await;
        assert_eq!(answer["type"], "answer", "{answer}");
        assert!(heard.iter().any(|message| message["type"] == "read"), "{heard:?}");
        let ack = json!({ "type": "ack", "upTo": answer["result"]["position"] });
        device.send(&ack).await;
    }
    let (_, heard) = device.ask_and_hear(json!({ "type": "ping" })).await;
    assert!(
        heard.iter().all(|message| message["type"] != "error"),
        "no acknowledgement is refused: {heard:?}"
    );
}

#[tokio::test]
async fn a_bad_token_is_refused_wherever_it_comes() {
    let world = World::start().await;
    for path in ["/v1/ws?token=forged", "/v1/ws?token="] {
        let Err(tungstenite::Error::Http(response)) = world.try_connect(path).await.map(drop) else {
            panic!("{path}: expected the handshake to be refused");
        };
        assert_eq!(response.status().as_u16(), StatusCode::UNAUTHORIZED.as_u16(), "{path}");
    }
    for first in [
        json!({ "type": "token", "token": "forged" }),
        json!({ "type": "ping", "id": 1 }),
        json!({ "type": "token" }),
        json!("token"),
    ] {
        let mut device = world.try_connect("/v1/ws").await.unwrap();
        device.send(&first).await;
        assert_eq!(device.expect("closing").await["code"], 4401, "{first}");
        assert_eq!(u16::from(device.next().await.unwrap_err().unwrap().code), 4401, "{first}");
    }
    let mut device = world.try_connect("/v1/ws").await.unwrap();
    device.send(&json!({ "type": "token", "token": service() })).await;
    assert_eq!(device.expect("closing").await["code"], 4403, "no user, no inbox");
}

#[tokio::test]
async fn who_shows_no_token_in_time_is_closed() {
    let world = World::start().await;
    let mut device = world.try_connect("/v1/ws").await.unwrap();
    assert_eq!(device.expect("closing").await["code"], 4408);
}

#[tokio::test]
async fn a_connection_ends_when_its_token_does() {
    let world = World::start().await;
    let now = jsonwebtoken::get_current_timestamp();
    // Five seconds of leeway are part of a token's life.
    let claims = json!({ "sub": "ada", "exp": now - 3 });
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let ending = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    let mut device = world.connect(&ending).await;
    let closing = device.expect("closing").await;
    assert_eq!((&closing["code"], &closing["cursor"]), (&json!(4401), &device.hello["cursor"]));
}

#[tokio::test]
async fn every_command_has_an_answer_with_its_id() {
    let world = World::start().await;
    let mut all = grant("ada");
    all.scopes = vec!["publish".to_owned(), "admin".to_owned()];
    all.channels = vec!["topic:*".to_owned()];
    let mut device = world.connect(&token(&all)).await;
    let note = json!({ "type": "note", "audience": { "users": ["ada"] } });
    let receipt = device.ask(json!({ "type": "publish", "notification": note })).await;
    assert_eq!(receipt["duplicate"], false);
    let cloud_event = json!({ "specversion": "1.0", "id": "1", "source": "/x", "type": "note",
                              "data": { "audience": { "users": ["ada"] } } });
    let answer = device.ask(json!({ "type": "publish", "cloudEvent": cloud_event })).await;
    assert_eq!(answer["duplicate"], false);

    let page = device.ask(json!({ "type": "inbox", "limit": 1, "unread": true })).await;
    assert_eq!((ids(&page), &page["unread"]), (vec![id(&answer)], &json!(2)));
    let next = device.ask(json!({ "type": "inbox", "cursor": page["next"] })).await;
    assert_eq!(ids(&next), [id(&receipt)]);
    assert_eq!(device.ask(json!({ "type": "counts" })).await["unread"], 2);
    let by = device.ask(json!({ "type": "counts", "by": "type" })).await;
    assert_eq!(by["parts"]["note"]["unread"], 2);
    let by = device.ask(json!({ "type": "counts", "by": "channel" })).await;
    assert_eq!(by["parts"]["user:ada"]["unread"], 2);
    for command in ["read", "unread", "pin", "unpin", "archive", "unarchive", "delete"] {
        let answer = device.ask(json!({ "type": command, "notifications": [receipt["id"]] })).await;
        assert!(answer["position"].is_u64(), "{command}: {answer}");
    }
    for command in ["join", "leave", "watch", "unwatch"] {
        let answer = device.ask(json!({ "type": command, "channel": "topic:a" })).await;
        assert_ne!(answer["type"], "error", "{command}: {answer}");
    }
    assert_eq!(device.ask(json!({ "type": "presence" })).await["connections"], 1);
    assert!(device.ask(json!({ "type": "ping" })).await["position"].is_u64());
    // An id may be text as well.
    device.send(&json!({ "type": "ping", "id": "a" })).await;
    assert_eq!(device.expect("answer").await["id"], "a");
}

#[tokio::test]
async fn read_all_without_a_position_means_what_was_written_to_this_connection() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    let note = json!({ "type": "note", "audience": { "users": ["ada"] } });
    world.publish(note.clone()).await;
    device.expect("notification").await;
    for command in ["read-all", "seen"] {
        assert!(device.ask(json!({ "type": command })).await["position"].is_u64());
    }
    let counts = world.get("/v1/counts", &person("ada")).await;
    assert_eq!((&counts["unread"], &counts["unseen"]), (&json!(0), &json!(0)));
    let before = device.hello["position"].as_u64().unwrap();
    world.publish(note).await;
    let up_to = format!("{}.{before}", device.hello["epoch"].as_str().unwrap());
    device.ask(json!({ "type": "read-all", "upTo": up_to })).await;
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 1, "a cursor says how far was seen");
}

#[tokio::test]
async fn an_acknowledgement_is_free_and_checked() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    let (position, cursor) = (device.hello["position"].clone(), device.hello["cursor"].clone());
    device.send(&json!({ "type": "ack", "upTo": position })).await;
    device.send(&json!({ "type": "ack", "upTo": cursor })).await;
    assert_eq!(device.heard().await, Vec::<Value>::new(), "no answer");
    device.send(&json!({ "type": "ack", "upTo": 999_999 })).await;
    let error = device.expect("error").await;
    assert_eq!((&error["id"], &error["problem"]["errors"][0]["field"]), (&Value::Null, &json!("upTo")));
}

#[tokio::test]
async fn a_server_that_stops_says_when_to_come_back() {
    let mut world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let last = device.expect("notification").await["cursor"].clone();
    assert!(world.stop().await.success());
    let closing = device.expect("closing").await;
    assert_eq!((&closing["code"], &closing["cursor"]), (&json!(1012), &last));
    assert!(closing["retryAfterMs"].as_u64().unwrap() < 10_000, "within shutdown.return-within-seconds");
    assert_eq!(u16::from(device.next().await.unwrap_err().unwrap().code), 1012);
}

#[tokio::test]
async fn a_frame_that_is_none_of_ours_is_answered_with_its_close_code() {
    let world = World::start().await;
    let mut other = world.connect(&person("ada")).await;
    let large = "x".repeat(300_000);
    for (frame, code) in [(Message::text(large), 1009), (Message::binary(vec![1, 2, 3]), 1003)] {
        let mut device = world.connect(&person("ada")).await;
        device.send_raw(frame.clone()).await;
        assert_eq!(device.expect("closing").await["code"], code);
        assert_eq!(device.closed().await, code, "after the hello");
        let mut device = world.try_connect("/v1/ws").await.unwrap();
        device.send_raw(frame).await;
        assert_eq!(device.closed().await, code, "as the first frame");
    }
    assert!(
        other.ask(json!({ "type": "ping" })).await["position"].is_u64(),
        "it ends nobody else's connection"
    );
}

#[tokio::test]
async fn commands_of_one_connection_are_carried_out_in_their_order() {
    let world = World::start().await;
    let mut all = grant("ada");
    all.scopes = vec!["publish".to_owned()];
    let mut device = world.connect(&token(&all)).await;
    for number in 0..50 {
        let note = json!({ "type": "note", "title": number.to_string(), "audience": { "users": ["ada"] } });
        device.send(&json!({ "type": "publish", "id": number, "notification": note })).await;
    }
    for number in 0..50 {
        let answer = tokio::time::timeout(Duration::from_secs(20), device.expect("answer")).await.unwrap();
        assert_eq!(answer["id"], number);
    }
    let page = world.get("/v1/inbox?limit=50", &person("ada")).await;
    let titles: Vec<&str> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["notification"]["title"].as_str().unwrap())
        .collect();
    let expected: Vec<String> = (0..50).rev().map(|number: i32| number.to_string()).collect();
    assert_eq!(titles, expected);
}

#[tokio::test]
async fn a_client_that_closes_is_answered() {
    let world = World::start().await;
    for path in [format!("/v1/ws?token={}", person("ada")), "/v1/ws".to_owned()] {
        let mut device = world.open(&path).await.unwrap();
        if path.contains("token") {
            device.expect("hello").await;
        }
        let frame = CloseFrame { code: CloseCode::Normal, reason: "that is all".into() };
        device.send_raw(Message::Close(Some(frame))).await;
        assert_eq!(device.closed().await, 1000, "{path}");
    }
}

#[tokio::test]
async fn an_answer_waits_for_what_is_still_told_of_the_time_before() {
    let world = World::start().await;
    let ada = person("ada");
    let device = world.connect(&ada).await;
    let cursor = device.hello["cursor"].as_str().unwrap().to_owned();
    device.close().await;
    let note = json!({ "type": "note", "body": "x".repeat(500), "audience": { "users": ["ada"] } });
    let (batch, mut published) = (json!(vec![note; 1_000]), 0);
    for _ in 0..3 {
        published += world.post("/v1/notifications/batch", &service(), batch.clone()).await["results"]
            .as_array()
            .map_or(0, Vec::len);
    }
    let path = format!("/v1/ws?token={ada}&limit=10000&cursor={cursor}");
    let mut device = world.try_connect(&path).await.unwrap();
    let (answer, heard) = device.ask_and_hear(json!({ "type": "ping" })).await;
    let told = heard.iter().filter(|message| message["type"] == "notification");
    assert_eq!(told.count(), published, "all that the answer speaks of came before it");
    assert!(heard.last().unwrap()["position"].as_u64() <= answer["result"]["position"].as_u64());
    assert!(device.ask(json!({ "type": "counts" })).await["unread"].is_u64(), "and it goes on");
}
