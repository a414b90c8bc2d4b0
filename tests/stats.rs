//! Stats over HTTP and on the command line: what happened, told apart as one likes, within limits.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, id, in_time, person, service};

#[tokio::test]
async fn what_happened_is_counted_by_type_channel_and_transport() {
    let world = World::start().await;
    let ada = person("ada");
    let mut device = world.connect(&ada).await;
    world.get("/v1/counts", &person("bob")).await;
    let everyone = json!({ "channels": ["everyone"], "except": ["bob"] });
    let first = world.publish(json!({ "type": "note", "audience": everyone })).await;
    world.publish(json!({ "type": "booking.accepted", "audience": { "users": ["ada"] } })).await;
    device.expect("notification").await;
    let last = device.expect("notification").await;
    device.send(&json!({ "type": "ack", "upTo": last["cursor"] })).await;
    device.ask(json!({ "type": "clicked", "notifications": [id(&first)] })).await;

    let stats = world.get("/v1/stats?by=type,channel,transport&every=all", &service()).await;
    let rows = stats["rows"].as_array().unwrap();
    let row = |kind: &str, transport: Value| {
        let found = rows.iter().find(|row| row["type"] == kind && row["transport"] == transport);
        found.unwrap_or_else(|| panic!("no row of {kind} over {transport} in {stats}")).clone()
    };
    let counts = |row: &Value| {
        ["published", "sent", "delivered", "read", "clicked", "dropped"]
            .map(|name| row[name].as_u64().unwrap())
    };
    let note = row("note", Value::Null);
    assert_eq!((counts(&note), &note["channel"]), ([1, 0, 0, 1, 1, 1], &json!("everyone")));
    assert_eq!(counts(&row("note", json!("ws"))), [0, 1, 1, 0, 0, 0]);
    let booking = row("booking.accepted", json!("ws"));
    assert_eq!((counts(&booking), &booking["channel"]), ([0, 1, 1, 0, 0, 0], &json!("users")));
    let within = booking["latencies"].as_array().unwrap();
    assert_eq!(within.len(), stats["latenciesMs"].as_array().unwrap().len() + 1);

    let stats = world.get("/v1/stats", &service()).await;
    assert_eq!(counts(&stats["rows"][0]), [2, 2, 2, 1, 1, 1], "all together");
    let stats = world.get("/v1/stats?every=minute", &service()).await;
    assert!(stats["rows"][0]["at"].as_str().unwrap().ends_with(":00Z"));
    let before = world.get("/v1/stats?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", &service()).await;
    assert_eq!(before["rows"], json!([]));

    let run = async |arguments: &[&str]| {
        let output = in_time("the command", world.command(arguments).output()).await.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (succeeded, said) = run(&["stats", "--by", "type,transport"]).await;
    assert!(succeeded && said.starts_with("type ") && said.contains("\nbooking.accepted  ws "), "{said}");
    let (_, said) = run(&["stats", "--json"]).await;
    assert!(serde_json::from_str::<Value>(&said).unwrap()["rows"].is_array());
}

#[tokio::test]
async fn stats_are_for_operators_of_the_tenant_and_within_limits() {
    let world = World::start().await;
    world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let get = async |query: &str, token: &str| {
        let (status, answer) =
            world.send(Method::GET, &format!("/v1/stats{query}"), token, &Value::Null).await;
        (status, answer)
    };
    assert_eq!(get("", &person("ada")).await.0, StatusCode::FORBIDDEN);
    let grant = tidings_http::token::Grant {
        tenant: Some("other".to_owned()),
        scopes: vec!["admin".to_owned()],
        ..Default::default()
    };
    assert_eq!(get("", &crate::world::token(&grant)).await.1["rows"], json!([]), "nothing of another tenant");
    for (query, field) in [
        ("?from=yesterday", "from"),
        ("?to=2026-13-01T00:00:00Z", "to"),
        ("?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "to"),
        ("?from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", "from"),
        ("?every=second", "every"),
        ("?by=type,user", "by"),
        ("?group=type", "group"),
    ] {
        let (status, problem) = get(query, &service()).await;
        assert_eq!(
            (status, &problem["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field))
        );
    }
}

#[tokio::test]
async fn what_is_told_apart_in_a_minute_is_bounded() {
    let world = World::start().await;
    let types = 1_200;
    for some in (0..types).collect::<Vec<u32>>().chunks(400) {
        let batch: Vec<Value> = some
            .iter()
            .map(|number| json!({ "type": format!("type-{number}"), "audience": { "users": ["ada"] } }))
            .collect();
        world.post("/v1/notifications/batch", &service(), json!(batch)).await;
    }
    let stats = world.get("/v1/stats?by=type&every=minute", &service()).await;
    let rows = stats["rows"].as_array().unwrap();
    let published: u64 = rows.iter().map(|row| row["published"].as_u64().unwrap()).sum();
    assert_eq!(published, u64::from(types), "everything is counted");
    let minutes: std::collections::BTreeSet<&str> =
        rows.iter().map(|row| row["at"].as_str().unwrap()).collect();
    if minutes.len() == 1 {
        assert_eq!(rows.len(), 1_001, "the others together");
        assert_eq!(rows.iter().find(|row| row["type"] == "other").unwrap()["published"], 200);
    }
}
