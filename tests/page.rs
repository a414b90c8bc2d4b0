//! The page in Chromium, and the browser client in Node, against the real server. `tests/page/` holds what they do; its
//! libraries are installed by `./test.sh`.

use std::path::PathBuf;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{SECRET, World, binary, person};

fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/page"))
}

/// Runs a program of the folder, pointed at a server; what it says is shown when it fails.
async fn run(world: &World, program: &str, arguments: &[&str]) {
    let libraries = folder().join("node_modules");
    assert!(libraries.exists(), "{} is missing: ./test.sh makes it", libraries.display());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder()).kill_on_drop(true);
    command.env("TIDINGS_URL", world.url("")).env("TIDINGS_BINARY", binary()).env("TIDINGS_SECRET", SECRET);
    let output = command.output().await.expect("node is there: ./test.sh installs it");
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}:\n{said}\n{complaint}");
}

/// A test file of the browser client. Node before version 22 has WebSocket only when it is asked for.
async fn client_test(name: &str) {
    let world = World::start().await;
    let file = format!("client/{name}.test.mjs");
    run(&world, "node", &["--experimental-websocket", "--test", "--test-reporter=spec", &file]).await;
}

#[tokio::test]
async fn the_client_keeps_an_inbox_over_both_transports() {
    client_test("inbox").await;
}

#[tokio::test]
async fn a_fold_of_messages_and_pages_in_any_order_is_what_a_plain_model_says() {
    client_test("fold").await;
}

#[tokio::test]
async fn the_client_outlives_connections_tokens_and_servers() {
    client_test("connection").await;
}

#[tokio::test]
async fn clients_that_come_and_go_at_random_end_with_what_the_server_has() {
    client_test("random").await;
}

#[tokio::test]
async fn the_types_of_client_and_page_are_sound() {
    let world = World::start().await;
    run(&world, "node_modules/.bin/tsc", &["--project", "../../web/tsconfig.json"]).await;
}

/// A server with the demo.
async fn demo_world() -> World {
    let mut world = World::prepared("");
    world.add_argument("--demo");
    world.resume().await;
    world
}

#[tokio::test]
async fn the_page_tells_its_story_on_a_desk() {
    run(&demo_world().await, "node", &["story.mjs", "1280", "900"]).await;
}

#[tokio::test]
async fn the_page_tells_its_story_on_a_phone() {
    run(&demo_world().await, "node", &["story.mjs", "390", "844"]).await;
}

#[tokio::test]
async fn the_page_can_be_used_by_keyboard_without_movement_and_in_the_dark() {
    run(&demo_world().await, "node", &["keyboard.mjs"]).await;
}

#[tokio::test]
async fn the_reference_is_read_on_a_desk() {
    run(&World::start().await, "node", &["reference.mjs", "1280", "900"]).await;
}

#[tokio::test]
async fn the_reference_is_read_on_a_phone() {
    run(&World::start().await, "node", &["reference.mjs", "390", "844"]).await;
}

#[tokio::test]
async fn without_a_demo_the_page_asks_for_tokens_and_keeps_them_nowhere() {
    run(&World::start().await, "node", &["seats.mjs"]).await;
}

#[tokio::test]
async fn the_files_come_with_their_types_are_asked_about_again_and_may_load_nothing_from_elsewhere() {
    let world = World::start().await;
    let mut found = vec!["/".to_owned(), "/reference".to_owned()];
    let mut at = 0;
    // Whatever a file names is there, too.
    while let Some(path) = found.get(at).cloned() {
        at += 1;
        let answer = world.http.get(world.url(&path)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        let headers = answer.headers().clone();
        let kind = match path.rsplit_once('.').map(|(_, ending)| ending) {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(headers["content-type"], kind, "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        assert_eq!(headers["cache-control"], "no-cache");
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        let text = answer.text().await.expect("text");
        assert!(
            !text.contains("src=\"http")
                && !text.contains("href=\"http")
                && !text.contains("url(http")
                && (!text.contains("https://") || path.ends_with(".svg") || path == "/reference"),
            "{path}"
        );

        let head = world.http.head(world.url(&path)).send().await.expect("an answer");
        assert_eq!((head.status(), &head.headers()["etag"]), (StatusCode::OK, &headers["etag"]), "{path}");
        assert_eq!(head.headers()["content-length"], text.len().to_string().as_str());
        for tag in [
            headers["etag"].to_str().expect("text"),
            &format!("\"x\", W/{}", headers["etag"].to_str().expect("text")),
        ] {
            let again = world.http.get(world.url(&path)).header("if-none-match", tag).send().await;
            let again = again.expect("an answer");
            assert_eq!(
                (again.status(), &again.headers()["etag"]),
                (StatusCode::NOT_MODIFIED, &headers["etag"])
            );
        }
        let changed = world.http.get(world.url(&path)).header("if-none-match", "\"x\"").send().await;
        assert_eq!(changed.expect("an answer").status(), StatusCode::OK);

        for named in text.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
            let base = reqwest::Url::parse(&world.url(&path)).expect("a URL");
            let named = base.join(named).expect("a path").path().to_owned();
            if !found.contains(&named) {
                found.push(named);
            }
        }
    }
    assert!(found.len() >= 19, "{found:?}");
    let posted = world.http.post(world.url("/tidings.js")).send().await.expect("an answer");
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}

/// Asks for a token of the demo, with more headers.
async fn ask_for_token(world: &World, who: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut request = world.http.post(world.url("/demo/token")).json(&json!({ "who": who }));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.json().await.unwrap_or_default())
}

#[tokio::test]
async fn a_server_gives_no_tokens_unless_it_was_asked_for_a_demo() {
    let world = World::start().await;
    assert_eq!(ask_for_token(&world, "ada", &[]).await.0, StatusCode::NOT_FOUND);
    let id = "0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001";
    let path = format!("/demo/notifications/{id}/deliveries");
    assert_eq!(world.send(Method::GET, &path, &person("ada"), &Value::Null).await.0, StatusCode::NOT_FOUND);
    let page = world.http.get(world.url("/")).send().await.expect("an answer").text().await.expect("text");
    assert!(page.contains("data-demo=\"off\""), "the page does not even ask");
}

#[tokio::test]
async fn the_demo_is_for_the_page_on_this_machine_alone() {
    let world = demo_world().await;
    let ours = format!("http://{}", world.address());
    let port = world.address().rsplit_once(':').expect("a port").1.to_owned();
    for headers in
        [&[][..], &[("origin", ours.as_str()), ("sec-fetch-site", "same-origin")], &[("host", "localhost")]]
    {
        assert_eq!(ask_for_token(&world, "ada", headers).await.0, StatusCode::OK, "{headers:?}");
    }
    let rebound = format!("rebound.example:{port}");
    let others = format!("http://{rebound}");
    for headers in [
        &[("host", rebound.as_str())][..],
        &[("host", rebound.as_str()), ("origin", others.as_str()), ("sec-fetch-site", "same-origin")],
        &[("origin", "https://elsewhere.example")],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("x-forwarded-for", "203.0.113.7")],
        &[("forwarded", "for=203.0.113.7")],
    ] {
        let (status, problem) = ask_for_token(&world, "ada", headers).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(problem["type"], "urn:tidings:problem:forbidden");
        assert!(problem.get("token").is_none());
    }
    assert_eq!(ask_for_token(&world, "root", &[]).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    // What a form of another site can send without being asked for leave.
    let form = world
        .http
        .post(world.url("/demo/token"))
        .header("content-type", "text/plain")
        .body(r#"{"who":"ada"}"#);
    assert_eq!(form.send().await.expect("an answer").status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let long = world.http.post(world.url("/demo/token")).json(&json!({ "who": "x".repeat(2_000) }));
    assert_eq!(long.send().await.expect("an answer").status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn the_tokens_of_the_demo_allow_what_the_page_needs_in_a_tenant_of_their_own() {
    let world = demo_world().await;
    let token = |who| {
        let world = &world;
        async move {
            let (_, given) = ask_for_token(world, who, &[]).await;
            assert_eq!((&given["tenant"], &given["expiresInSeconds"]), (&json!("demo"), &json!(600)));
            given["token"].as_str().expect("a token").to_owned()
        }
    };
    let (ada, service) = (token("ada").await, token("service").await);
    // Another tenant's Ada and everybody there hear nothing of it, nor the demo of them.
    let note = json!({ "type": "note", "title": "theirs", "audience": { "users": ["ada"], "channels": ["everyone"] } });
    let theirs = world.publish(note.clone()).await;
    world.get("/v1/inbox", &ada).await;
    let receipt = world.post("/v1/notifications", &service, note).await;
    assert_eq!(world.get("/v1/inbox", &ada).await["unread"], 1);
    assert_eq!(world.get("/v1/inbox", &person("ada")).await["unread"], 1);

    let path = |receipt: &Value| {
        format!("/demo/notifications/{}/deliveries", receipt["id"].as_str().expect("an id"))
    };
    let deliveries = world.get(&path(&receipt), &service).await;
    assert_eq!(
        (&deliveries["totals"]["routed"], &deliveries["people"][0]["user"]),
        (&json!(1), &json!("ada"))
    );
    for (token, receipt, status) in [
        (service.as_str(), &theirs, StatusCode::NOT_FOUND),
        (&ada, &receipt, StatusCode::FORBIDDEN),
        (&crate::world::service(), &receipt, StatusCode::FORBIDDEN),
        ("forged", &receipt, StatusCode::UNAUTHORIZED),
    ] {
        assert_eq!(world.send(Method::GET, &path(receipt), token, &Value::Null).await.0, status);
    }
    for token in [&ada, &service] {
        for (method, path) in [
            (Method::GET, "/v1/log"),
            (Method::GET, "/v1/presence"),
            (Method::GET, "/v1/stats"),
            (Method::POST, "/v1/admin/rebuild"),
            (Method::GET, "/v1/channels/everyone/members"),
        ] {
            assert_eq!(
                world.send(method, path, token, &Value::Null).await.0,
                StatusCode::FORBIDDEN,
                "{path}"
            );
        }
    }
    let publish = json!({ "type": "note", "audience": { "users": ["ben"] } });
    assert_eq!(world.send(Method::POST, "/v1/notifications", &ada, &publish).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_demo_that_others_could_reach_does_not_start() {
    let world = World::prepared("");
    let mut command = Command::new(binary());
    command.args(["serve", "--demo", "--listen", "0.0.0.0:0", "--data-dir"]).arg(world.data());
    let output = command.env("TIDINGS_SECRET", SECRET).output().await.expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("listens on a loopback address only") && said.contains("0.0.0.0:"), "{said}");
}
