//! The event stream: what a browser's `EventSource`, or curl, sees.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use tidings_config::TokenSettings;
use tidings_http::token::{Grant, mint};

use crate::world::{SECRET, World, in_time, person, service};

#[tokio::test]
async fn the_stream_is_as_the_standard_says() {
    let world = World::start().await;
    let mut response = world.request(Method::GET, "/v1/events", &person("ada")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let first = String::from_utf8(response.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    assert!(first.starts_with("retry: "), "{first}");
    assert!(first.contains("\nevent: hello\ndata: {\"type\":\"hello\","), "{first}");
    assert!(first.contains("\"expiresAt\":\"2"), "when it ends: {first}");
    let receipt =
        world.publish(json!({ "type": "note", "title": "a\nb", "audience": { "users": ["ada"] } })).await;
    let chunk = in_time("an event", response.chunk()).await.unwrap().unwrap();
    let text = String::from_utf8(chunk.to_vec()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].starts_with("id: ") && lines[0].ends_with(&format!(".{}", receipt["position"])),
        "{text}"
    );
    assert_eq!(lines[1], "event: notification");
    assert!(lines[2].starts_with("data: {\"type\":\"notification\""), "{text}");
    assert_eq!(lines[3], "", "a blank line ends it: {text}");
    assert!(text.contains("event: counts"), "the new count comes in the same write: {text}");
}

#[tokio::test]
async fn who_may_not_gets_a_problem_and_no_stream() {
    let world = World::start().await;
    let get = |path: &str, token: &str| world.request(Method::GET, path, token).send();
    for (path, token, status) in [
        ("/v1/events", "forged", StatusCode::UNAUTHORIZED),
        ("/v1/events", service().as_str(), StatusCode::FORBIDDEN),
        ("/v1/events?watch=role:ADMIN", person("ada").as_str(), StatusCode::FORBIDDEN),
        ("/v1/events?limit=x", person("ada").as_str(), StatusCode::UNPROCESSABLE_ENTITY),
        ("/v1/events?cursor=x", person("ada").as_str(), StatusCode::UNPROCESSABLE_ENTITY),
        ("/v1/events?since=1", person("ada").as_str(), StatusCode::UNPROCESSABLE_ENTITY),
    ] {
        let answer = get(path, token).await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{path}");
    }
    let odd = world.request(Method::GET, "/v1/events", &person("ada")).header("last-event-id", "odd");
    assert_eq!(odd.send().await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn the_stream_ends_with_the_token_and_with_the_server() {
    let mut world = World::start().await;
    let settings = TokenSettings { leeway_seconds: 0, ..Default::default() };
    let grant = Grant { user: Some("ada".to_owned()), ..Grant::default() };
    let short = mint(&settings, SECRET.as_bytes(), &grant, Duration::from_secs(1)).unwrap();
    let ended = |response: reqwest::Response| async { in_time("the end", response.text()).await.unwrap() };
    let response = world.request(Method::GET, "/v1/events", &short).send().await.unwrap();
    assert!(ended(response).await.contains("the token has ended"));
    let response = world.request(Method::GET, "/v1/events", &person("ada")).send().await.unwrap();
    assert!(world.stop().await.success());
    assert!(ended(response).await.contains("event: closing\ndata: {\"type\":\"closing\""));
}
