//! Accepted is durable, and idempotent: SIGKILL under load (promises 1 and 9).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::world::{World, service};

const ROUNDS: u64 = 30;
const PUBLISHERS: u64 = 8;

/// What a publisher knows of one key.
#[derive(Clone, Copy, PartialEq)]
enum Knows {
    /// Sent, perhaps; nobody knows what became of it.
    Nothing,
    /// Answered with a position.
    Position(u64),
}

/// Publishes with one key after the other until the server is gone; begins with those of which nothing is known.
async fn publisher(
    number: u64,
    round: u64,
    http: reqwest::Client,
    url: String,
    mut keys: BTreeMap<String, Knows>,
    stop: Arc<AtomicBool>,
) -> BTreeMap<String, Knows> {
    let token = service();
    let unknown: Vec<String> =
        keys.iter().filter(|(_, knows)| **knows == Knows::Nothing).map(|(key, _)| key.clone()).collect();
    let fresh = (0..).map(|count| format!("p{number}-r{round}-{count}"));
    for key in unknown.into_iter().chain(fresh) {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        keys.insert(key.clone(), Knows::Nothing);
        let user = format!("user {}", number % 3);
        let body = json!({
            "type": "load", "title": key, "idempotencyKey": key,
            "audience": { "users": [user], "channels": ["everyone"] },
        });
        let sent = http.post(&url).bearer_auth(&token).json(&body).send().await;
        let Ok(response) = sent else { continue };
        let status = response.status();
        let Ok(receipt) = response.json::<Value>().await else { continue };
        assert!(
            [StatusCode::CREATED, StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status),
            "{status}: {receipt}"
        );
        if status.is_success() {
            keys.insert(key, Knows::Position(receipt["position"].as_u64().expect("a position")));
        }
    }
    keys
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_answered_is_lost_and_no_key_publishes_twice_when_the_server_is_killed() {
    let mut world = World::start().await;
    let mut keys: Vec<BTreeMap<String, Knows>> = vec![BTreeMap::new(); PUBLISHERS as usize];
    for round in 0..ROUNDS {
        let stop = Arc::new(AtomicBool::new(false));
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|number| {
                let (http, url) = (world.http.clone(), world.url("/v1/notifications"));
                let known = std::mem::take(&mut keys[number as usize]);
                tokio::spawn(publisher(number, round, http, url, known, stop.clone()))
            })
            .collect();
        // Another moment each time, so that the kill meets every phase of a commit.
        tokio::time::sleep(Duration::from_millis(120 + 7 * (round % 13))).await;
        world.kill().await;
        stop.store(true, Ordering::Relaxed);
        for (number, publisher) in publishers.into_iter().enumerate() {
            keys[number] = publisher.await.expect("a publisher ends");
        }
        world.resume().await;
    }
    check_log(&world, &keys).await;
}

async fn check_log(world: &World, keys: &[BTreeMap<String, Knows>]) {
    let log = world.log().await;
    let positions: Vec<u64> =
        log.iter().map(|event| event["position"].as_u64().expect("a position")).collect();
    assert_eq!(
        positions,
        (1..=positions.len() as u64).collect::<Vec<_>>(),
        "no position is missing or repeated"
    );

    let mut published: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for event in log.iter().filter(|event| event["type"] == "NotificationPublished") {
        let key = event["content"]["title"].as_str().expect("a title");
        published.entry(key).or_default().push(event["position"].as_u64().expect("a position"));
    }
    let twice: Vec<_> = published.iter().filter(|(_, positions)| positions.len() > 1).collect();
    assert!(twice.is_empty(), "published twice: {twice:?}");

    let mut answered = 0;
    for (key, knows) in keys.iter().flatten() {
        if let Knows::Position(position) = knows {
            assert_eq!(
                published.get(key.as_str()),
                Some(&vec![*position]),
                "{key} was answered, and is lost"
            );
            answered += 1;
        }
    }
    assert!(answered > ROUNDS, "there was load: {answered} answered");
    let sent: BTreeSet<&str> = keys.iter().flatten().map(|(key, _)| key.as_str()).collect();
    assert!(published.keys().all(|key| sent.contains(key)), "nothing is in the log that nobody sent");

    counts_survive(world, &log).await;
}

/// The inbox is what the log says, after all those kills: each notification once, in spite of two ways to each person.
async fn counts_survive(world: &World, log: &[Value]) {
    let user = "user 1";
    let known_at = log.iter().position(|event| event["event"]["audience"]["users"] == json!([user]));
    let since = &log[known_at.expect("they were addressed")..];
    let published = since.iter().filter(|event| event["type"] == "NotificationPublished").count();
    let counts = world.get("/v1/counts", &crate::world::person(user)).await;
    assert_eq!(counts["unread"], json!(published), "unread of {user}");
}
