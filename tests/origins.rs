//! Which web pages may use the server from a browser: those of its own host, and those that the settings name.

use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::world::{World, in_time, person};

const APP: &str = "https://app.example.org";

/// What a browser is told when it asks whether a page of an origin may do something.
async fn preflight(world: &World, origin: &str) -> (StatusCode, HeaderMap) {
    let request = world.http.request(Method::OPTIONS, world.url("/v1/inbox/read"));
    let request = request
        .header("origin", origin)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,idempotency-key");
    let answer = request.send().await.expect("the server answers");
    (answer.status(), answer.headers().clone())
}

/// What a page of an origin may see of an answer.
async fn headers_for(world: &World, origin: &str) -> HeaderMap {
    let request = world.request(Method::GET, "/v1/counts", &person("ada")).header("origin", origin);
    let answer = request.send().await.expect("the server answers");
    assert_eq!(answer.status(), StatusCode::OK);
    answer.headers().clone()
}

async fn upgrade(world: &World, origin: Option<&str>) -> StatusCode {
    let url = format!("ws://{}/v1/ws?token={}", world.address(), person("ada"));
    let mut request = url.into_client_request().expect("a request");
    if let Some(origin) = origin {
        request.headers_mut().insert("origin", origin.parse().expect("a value"));
    }
    match tokio_tungstenite::connect_async(request).await {
        Ok((_, answer)) => answer.status(),
        Err(Error::Http(answer)) => {
            let problem = String::from_utf8(answer.body().clone().unwrap_or_default()).expect("text");
            assert!(problem.contains("origin-not-allowed"), "{problem}");
            answer.status()
        }
        Err(other) => panic!("expected an answer, got {other}"),
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().expect("text"))
}

#[tokio::test]
async fn pages_of_origins_that_are_named_may_use_it_and_no_others() {
    let world = World::with_configuration(&format!("[cors]\norigins = ['{APP}']\ncredentials = true")).await;
    let (status, told) = preflight(&world, APP).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(text(&told, "access-control-allow-origin"), Some(APP));
    assert_eq!(text(&told, "access-control-allow-credentials"), Some("true"));
    assert!(text(&told, "access-control-allow-methods").unwrap().contains("POST"));
    for header in
        ["authorization", "content-type", "idempotency-key", "last-event-id", "tidings-min-position"]
    {
        assert!(text(&told, "access-control-allow-headers").unwrap().contains(header), "{header}");
    }
    let seen = headers_for(&world, APP).await;
    assert_eq!(text(&seen, "access-control-allow-origin"), Some(APP));
    assert!(text(&seen, "access-control-expose-headers").unwrap().contains("tidings-position"));
    assert!(text(&seen, "vary").unwrap().contains("origin"), "caches tell origins apart");
    assert_eq!(upgrade(&world, Some(APP)).await, StatusCode::SWITCHING_PROTOCOLS);

    for origin in ["https://evil.example", "null", "http://app.example.org", "https://app.example.org:8443"] {
        let told = preflight(&world, origin).await.1;
        assert_eq!(text(&told, "access-control-allow-origin"), None, "{origin}");
        let seen = headers_for(&world, origin).await;
        assert_eq!(text(&seen, "access-control-allow-origin"), None, "{origin}");
        assert_eq!(upgrade(&world, Some(origin)).await, StatusCode::FORBIDDEN, "{origin}");
    }
}

#[tokio::test]
async fn origins_that_are_reloaded_count_from_then_on() {
    let world = World::with_configuration("").await;
    assert_eq!(upgrade(&world, Some(APP)).await, StatusCode::FORBIDDEN);
    let reload = async |settings: &str, expected: StatusCode| {
        std::fs::write(world.directory.path().join("tidings.toml"), settings).expect("a file");
        world.signal("HUP");
        let counts = async { while upgrade(&world, Some(APP)).await != expected {} };
        in_time("what was reloaded", counts).await;
    };
    reload(&format!("[cors]\norigins = ['{APP}']"), StatusCode::SWITCHING_PROTOCOLS).await;
    assert_eq!(text(&preflight(&world, APP).await.1, "access-control-allow-origin"), Some(APP));
    assert_eq!(text(&headers_for(&world, APP).await, "access-control-allow-origin"), Some(APP));
    reload("[cors]\norigins = ['https://other.example.org']", StatusCode::FORBIDDEN).await;
    assert_eq!(text(&preflight(&world, APP).await.1, "access-control-allow-origin"), None);
    assert_eq!(text(&headers_for(&world, APP).await, "access-control-allow-origin"), None);
}

#[tokio::test]
async fn by_default_only_pages_of_its_own_host_may_use_it() {
    let world = World::start().await;
    let own = format!("http://{}", world.address());
    assert_eq!(upgrade(&world, Some(&own)).await, StatusCode::SWITCHING_PROTOCOLS);
    assert_eq!(upgrade(&world, None).await, StatusCode::SWITCHING_PROTOCOLS, "who names none is no browser");
    assert_eq!(upgrade(&world, Some(APP)).await, StatusCode::FORBIDDEN);
    let seen = headers_for(&world, APP).await;
    assert_eq!(text(&seen, "access-control-allow-origin"), None);
    let (status, told) = preflight(&world, APP).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(text(&told, "access-control-allow-origin"), None);
}

#[tokio::test]
async fn all_pages_may_use_it_when_that_is_said_but_without_cookies() {
    let world = World::with_configuration("[cors]\norigins = ['*']").await;
    let (_, told) = preflight(&world, APP).await;
    assert_eq!(text(&told, "access-control-allow-origin"), Some("*"));
    assert_eq!(text(&told, "access-control-allow-credentials"), None);
    for origin in [APP, "null"] {
        assert_eq!(upgrade(&world, Some(origin)).await, StatusCode::SWITCHING_PROTOCOLS);
    }
}
