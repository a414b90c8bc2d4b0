//! Keys for services: made, shown, listed and revoked while the server runs, and of no use to whoever reads its disk.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite;

use crate::world::{World, in_time, person, service};

/// What a command says; it succeeds.
async fn run(world: &World, arguments: &[&str]) -> String {
    let output = world.command(arguments).output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{arguments:?}: {said} {}", String::from_utf8_lossy(&output.stderr));
    said.trim().to_owned()
}

async fn make(world: &World, arguments: &[&str]) -> String {
    run(world, &[&["key", "make"], arguments].concat()).await
}

fn id_of(key: &str) -> &str {
    key.split('_').nth(1).unwrap()
}

/// The status with which a key may publish to somebody.
async fn publishes(world: &World, key: &str, audience: Value) -> StatusCode {
    let note = json!({ "type": "n", "audience": audience });
    world.send(Method::POST, "/v1/notifications", key, &note).await.0
}

/// Waits until a key has this effect: a running server looks once a second.
async fn becomes(world: &World, key: &str, expected: StatusCode) {
    let began = Instant::now();
    while publishes(world, key, json!({ "users": ["ada"] })).await != expected {
        assert!(began.elapsed() < Duration::from_secs(20), "the key never was answered with {expected}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_key_is_made_and_revoked_while_the_server_runs() {
    let mut world = World::start().await;
    let key = make(&world, &["billing", "--scope", "publish", "--scope", "admin"]).await;
    becomes(&world, &key, StatusCode::CREATED).await;
    let other = make(&world, &["reports", "--scope", "publish"]).await;
    becomes(&world, &other, StatusCode::CREATED).await;
    assert_eq!(publishes(&world, &key, json!({ "channels": ["everyone"] })).await, StatusCode::CREATED);
    assert_eq!(world.send(Method::GET, "/v1/inbox", &key, &Value::Null).await.0, StatusCode::FORBIDDEN);
    assert_eq!(world.send(Method::GET, "/v1/log", &other, &Value::Null).await.0, StatusCode::FORBIDDEN);
    let mut device = world.try_connect("/v1/ws").await.unwrap();
    device.send(&json!({ "type": "token", "token": key })).await;
    assert_eq!(device.closed().await, 4403, "it names no user, so it has no connection");

    // It lasts across a restart, and what is connected by it ends when it is revoked.
    assert!(world.stop().await.success());
    world.resume().await;
    let followed = world.request(Method::GET, "/v1/log?follow=true", &key).send().await.unwrap();
    assert_eq!(followed.status(), StatusCode::OK);
    let said = run(&world, &["key", "revoke", id_of(&key)]).await;
    assert!(said.contains("billing"), "{said}");
    in_time("the end of what it follows", followed.text()).await.unwrap();
    becomes(&world, &key, StatusCode::UNAUTHORIZED).await;
    assert_eq!(publishes(&world, &other, json!({ "users": ["ada"] })).await, StatusCode::CREATED);

    let listed: Value = serde_json::from_str(&run(&world, &["key", "list", "--json"]).await).unwrap();
    let names: Vec<(&Value, bool, bool)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|key| (&key["name"], key["revokedAt"].is_string(), key["lastUsedAt"].is_string()))
        .collect();
    assert_eq!(names, [(&json!("billing"), true, true), (&json!("reports"), false, true)]);
    let lines = run(&world, &["key", "list"]).await;
    assert!(
        lines.lines().count() == 2 && lines.contains("REVOKED") && lines.contains(id_of(&other)),
        "{lines}"
    );
    let output = world.command(&["key", "revoke", "nobody"]).output().await.unwrap();
    assert!(
        !output.status.success()
            && String::from_utf8_lossy(&output.stderr).contains("there is no key nobody")
    );
}

#[tokio::test]
async fn each_key_has_limits_of_its_own_and_an_operators_runs_the_server() {
    let limits = "[limits]\nservice-requests = { count = 3, seconds = 3600 }\npublishes = { count = 2, seconds = 3600 }";
    let mut world = World::with_configuration(limits).await;
    let busy = make(&world, &["busy", "--scope", "publish", "--scope", "admin"]).await;
    let quiet = make(&world, &["quiet", "--scope", "publish", "--scope", "admin"]).await;
    let operator = make(&world, &["operator", "--scope", "operator"]).await;
    assert!(world.stop().await.success());
    world.resume().await; // it knows them at once
    let audience = json!({ "users": ["ada"] });
    for expected in [StatusCode::CREATED, StatusCode::CREATED, StatusCode::TOO_MANY_REQUESTS] {
        assert_eq!(publishes(&world, &busy, audience.clone()).await, expected);
    }
    let presence = async |key: &str| world.send(Method::GET, "/v1/presence", key, &Value::Null).await.0;
    assert_eq!(presence(&busy).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(publishes(&world, &quiet, audience).await, StatusCode::CREATED);
    assert_eq!(presence(&quiet).await, StatusCode::OK);
    assert_eq!(presence(&service()).await, StatusCode::OK, "nor do those with tokens share it");
    let snapshot =
        async |key: &str| world.send(Method::POST, "/v1/admin/snapshot", key, &Value::Null).await.0;
    assert_eq!(snapshot(&quiet).await, StatusCode::FORBIDDEN);
    assert_eq!(snapshot(&operator).await, StatusCode::OK);
    assert_eq!(presence(&operator).await, StatusCode::FORBIDDEN, "it manages no application");
}

#[tokio::test]
async fn nobody_learns_a_key_from_the_disk() {
    let world = World::start().await;
    let key = make(&world, &["billing", "--scope", "publish"]).await;
    becomes(&world, &key, StatusCode::CREATED).await;
    let secret = key.rsplit('_').next().unwrap();
    assert!(secret.len() == 64 && key.starts_with("tdk_"), "{key}");
    for entry in std::fs::read_dir(world.data()).unwrap() {
        let path = entry.unwrap().path();
        let content = std::fs::read(&path).unwrap();
        let found = content.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{}", path.display());
    }
    let mode = std::fs::metadata(world.data().join("keys.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn what_is_no_key_is_refused_like_every_token() {
    let world = World::start().await;
    let key = make(&world, &["billing", "--scope", "publish"]).await;
    let other = make(&world, &["reports", "--scope", "publish"]).await;
    let ended = make(&world, &["ended", "--scope", "publish", "--expires-in", "1s"]).await;
    becomes(&world, &other, StatusCode::CREATED).await;
    becomes(&world, &ended, StatusCode::UNAUTHORIZED).await;
    let refusal =
        world.request(Method::GET, "/v1/counts", "no token").send().await.unwrap().text().await.unwrap();
    let (id, secret) = (id_of(&key), key.rsplit('_').next().unwrap());
    let kept: Value =
        serde_json::from_slice(&std::fs::read(world.data().join("keys.json")).unwrap()).unwrap();
    let hash = kept["keys"][0]["hash"].as_str().unwrap();
    for (name, wrong) in [
        ("one that has ended", ended.clone()),
        ("another's secret", format!("tdk_{id}_{}", other.rsplit('_').next().unwrap())),
        ("another's id", format!("tdk_{}_{secret}", id_of(&other))),
        ("an id that is nobody's", format!("tdk_0000000000000000_{secret}")),
        ("no id", format!("tdk__{secret}")),
        ("no secret", format!("tdk_{id}_")),
        ("nothing but the beginning", "tdk_".to_owned()),
        ("the hash for the secret", format!("tdk_{id}_{hash}")),
        ("a secret that is cut", key[..key.len() - 1].to_owned()),
        ("a secret that goes on", format!("{key}0")),
        ("other letters", format!("tdk_{id}_{}", secret.to_uppercase())),
        ("another beginning", key.replacen("tdk_", "TDK_", 1)),
        ("too long", format!("{key}{}", "0".repeat(9_000))),
    ] {
        let answer = world.request(Method::GET, "/v1/counts", &wrong).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{name}");
        assert_eq!(answer.text().await.unwrap(), refusal, "{name}");
    }
    // In an address it would be written down wherever that passes: it is refused there, sound as it is.
    let answer = world.http.get(world.url(&format!("/v1/events?token={key}"))).send().await.unwrap();
    assert_eq!((answer.status(), answer.text().await.unwrap()), (StatusCode::UNAUTHORIZED, refusal));
    match world.try_connect(&format!("/v1/ws?token={key}")).await.map(drop) {
        Err(tungstenite::Error::Http(answer)) => assert_eq!(answer.status().as_u16(), 401),
        other => panic!("expected the handshake to be refused, got {other:?}"),
    }
}

#[tokio::test]
async fn a_key_does_what_it_was_made_for_and_nothing_else() {
    let world = World::start().await;
    let narrow = [
        "orders",
        "--scope",
        "publish",
        "--channel",
        "topic:order-*",
        "--channel",
        "user:ada",
        "--tenant",
        "shop",
    ];
    let narrow = make(&world, &narrow).await;
    let bare = make(&world, &["nothing"]).await;
    becomes(&world, &narrow, StatusCode::CREATED).await;
    for (audience, expected) in [
        (json!({ "channels": ["topic:order-1"] }), StatusCode::CREATED),
        (json!({ "channels": ["topic:order-1"], "users": ["ada"] }), StatusCode::CREATED),
        (json!({ "channels": ["topic:order-1", "topic:other"] }), StatusCode::FORBIDDEN),
        (json!({ "channels": ["everyone"] }), StatusCode::FORBIDDEN),
        (json!({ "users": ["ada", "bob"] }), StatusCode::FORBIDDEN),
    ] {
        assert_eq!(publishes(&world, &narrow, audience.clone()).await, expected, "{audience}");
    }
    assert_eq!(publishes(&world, &bare, json!({ "users": ["ada"] })).await, StatusCode::FORBIDDEN);
    for path in ["/v1/log", "/v1/presence", "/v1/channels/topic:order-1/members"] {
        assert_eq!(
            world.send(Method::GET, path, &narrow, &Value::Null).await.0,
            StatusCode::FORBIDDEN,
            "{path}"
        );
    }
    // Its tenant is another: Ada of `default` has got nothing.
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 0);
    for (wrong, expected) in [
        (vec!["x", "--channel", "topic:*"], "expected --scope publish beside --channel"),
        (vec!["x", "--scope", "publish", "--channel", "*"], "--channel *"),
        (vec!["x", "--scope", "all"], "publish, admin"),
        (vec!["x", "--tenant", "a b"], "a tenant"),
        (vec![""], "expected a name"),
    ] {
        let output = world.command(&[&["key", "make"][..], &wrong].concat()).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(expected), "{wrong:?}: {said}");
    }
}

#[tokio::test]
async fn a_file_of_keys_that_cannot_be_read_lets_nobody_in() {
    let mut world = World::start().await;
    let key = make(&world, &["billing", "--scope", "publish"]).await;
    becomes(&world, &key, StatusCode::CREATED).await;
    let path = world.data().join("keys.json");
    let sound = std::fs::read(&path).unwrap();
    std::fs::write(&path, "{").unwrap();
    becomes(&world, &key, StatusCode::UNAUTHORIZED).await;
    let output = world.command(&["key", "make", "x"]).output().await.unwrap();
    assert!(!output.status.success(), "nor is it written over");
    assert_eq!(std::fs::read(&path).unwrap(), b"{");
    std::fs::write(&path, sound).unwrap();
    becomes(&world, &key, StatusCode::CREATED).await;
    std::fs::remove_file(&path).unwrap();
    becomes(&world, &key, StatusCode::UNAUTHORIZED).await;

    assert!(world.stop().await.success());
    std::fs::write(&path, "{").unwrap();
    let output = world.serve().output().await.unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && said.contains("keys.json"), "{said}");
}
