//! A full disk is refused, not failed: what needs room gets 507 before there is none, reading and delivery go on, and when
//! there is room again nothing has to be restarted (promises 1, 4 and 9).

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::disk::Faulty::{Inbox, InboxWal};
use crate::disk::{Chance, Disk};
use crate::load::number;
use crate::world::{World, ids, in_time, person, service};

const MIB: i64 = 1 << 20;

fn note(key: &str) -> Value {
    json!({
        "type": "note", "title": key, "body": "x".repeat(2_000), "idempotencyKey": key,
        "audience": { "users": ["ada"] },
    })
}

async fn publish(world: &World, key: &str) -> (StatusCode, Value) {
    world.send(Method::POST, "/v1/notifications", &service(), &note(key)).await
}

fn is_refused((status, answer): &(StatusCode, Value)) -> bool {
    assert!(status.is_success() || *status == 507, "{status}: {answer}");
    if *status == 507 {
        assert_eq!(answer["type"], "urn:tidings:problem:insufficient-storage", "{answer}");
    }
    *status == 507
}

/// Publishes until it is refused; the keys that were accepted.
async fn fill(world: &World, name: &str) -> Vec<String> {
    let mut accepted = Vec::new();
    for count in 0..5_000 {
        let key = format!("{name}-{count}");
        if is_refused(&publish(world, &key).await) {
            return accepted;
        }
        accepted.push(key);
    }
    panic!("the disk has no end");
}

/// Publishes until it is accepted again.
async fn recover(world: &World, key: &str) -> Value {
    let accepted = async {
        loop {
            let outcome = publish(world, key).await;
            if !is_refused(&outcome) {
                return outcome.1;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    in_time("the recovery", accepted).await
}

async fn readiness(world: &World) -> (StatusCode, Value) {
    world.send(Method::GET, "/health/ready", "", &Value::Null).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_room_is_refused_before_there_is_none_and_all_else_goes_on() {
    let (world, disk) = Disk::world("reserve-bytes = 1048576", false).await;
    let ada = person("ada");
    let mut device = world.connect(&ada).await;
    disk.limit(4 * MIB);
    let accepted = fill(&world, "first").await;
    assert!(disk.failed_ago().is_none(), "no write was refused by the disk");
    assert!(disk.free() > MIB / 2, "the reserve is there: {}", disk.free());
    assert!(accepted.len() > 20, "it worked at first: {}", accepted.len());
    let (status, answer) = readiness(&world).await;
    assert_eq!((status, &answer["status"]), (StatusCode::OK, &json!("read-only")));

    // Delivery and reading go on, also for somebody who comes back.
    for key in &accepted {
        assert_eq!(device.expect("notification").await["notification"]["title"], json!(key));
    }
    let page = world.get("/v1/inbox?limit=100", &ada).await;
    let counts = world.get("/v1/counts", &ada).await;
    assert_eq!(counts["unread"], json!(accepted.len()));
    world.connect(&ada).await;

    // Everything that would be written is refused, whichever way it comes.
    let one = json!({ "notifications": [ids(&page)[0]] });
    for (path, token, body) in [
        ("/v1/notifications/batch", service(), json!([note("batch")])),
        ("/v1/inbox/read", ada.clone(), one.clone()),
        ("/v1/inbox/read-all", ada.clone(), json!({ "upTo": page["position"] })),
        ("/v1/channels/topic:orders/join", ada.clone(), Value::Null),
    ] {
        let (status, answer) = world.send(Method::POST, path, &token, &body).await;
        let (status, answer) = match answer["results"][0].as_object() {
            Some(result) => (result["status"].clone(), result["problem"].clone()),
            None => (json!(status.as_u16()), answer),
        };
        assert_eq!(status, 507, "{path}: {answer}");
        assert_eq!(answer["type"], "urn:tidings:problem:insufficient-storage", "{path}");
    }
    let refused = device.ask(json!({ "type": "read", "notifications": one["notifications"] })).await;
    assert_eq!(refused["problem"]["status"], 507, "{refused}");
    let (status, _) = world.send(Method::GET, "/v1/inbox", &person("somebody new"), &Value::Null).await;
    assert_eq!(status, 507);
    let (status, _) = world.send(Method::GET, "/v1/events", &person("somebody new"), &Value::Null).await;
    assert_eq!(status, 507);
    let mut turned_away = world.try_connect("/v1/ws").await.expect("the handshake is answered");
    turned_away.send(&json!({ "type": "token", "token": person("somebody new") })).await;
    assert_eq!(turned_away.closed().await, 1013);

    // There is room again, and nothing of what was refused was done.
    disk.limit(64 * MIB);
    let receipt = recover(&world, &format!("first-{}", accepted.len())).await;
    assert_eq!(receipt["duplicate"], false, "{receipt}");
    device.expect("notification").await;
    world.get("/v1/inbox", &person("somebody new")).await;
    let counts = world.get("/v1/counts", &ada).await;
    assert_eq!(counts["unread"], json!(accepted.len() + 1));
    assert_eq!(readiness(&world).await.1["status"], "ready");
}

/// The end itself: without a reserve, the disk refuses a write somewhere in the log or in the view, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_disk_itself_refuses_was_not_done_and_what_was_accepted_is_there() {
    let seed = number("TIDINGS_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("TIDINGS_SEED={seed}");
    let mut chance = Chance(seed);
    let (mut world, disk) = Disk::world("reserve-bytes = 0", true).await;
    let mut accepted = Vec::new();
    for round in 0..8 {
        disk.limit(chance.below(300_000) as i64);
        accepted.extend(fill(&world, &format!("round-{round}")).await);
        assert!(disk.failed_ago().is_some(), "the disk itself refused it");
        disk.limit(64 * MIB);
        recover(&world, &format!("room-{round}")).await;
        accepted.push(format!("room-{round}"));
        let counts = world.get("/v1/counts", &person("ada")).await;
        assert_eq!(counts["unread"], json!(accepted.len()), "after round {round}");
    }
    // At the end the power fails while it is full: what was refused must not come up.
    disk.limit(chance.below(100_000) as i64);
    accepted.extend(fill(&world, "last").await);
    world.kill().await;
    disk.heal();
    disk.lose_power(chance.coin().then_some(&mut chance));
    world.resume().await;
    let log = world.log().await;
    let published = log.iter().filter(|event| event["type"] == "NotificationPublished");
    let titles: Vec<&str> = published.filter_map(|event| event["content"]["title"].as_str()).collect();
    assert_eq!(titles, accepted, "each that was accepted, once, in order, and nothing else");
    let counts = world.get("/v1/counts", &person("ada")).await;
    assert_eq!(counts["unread"], json!(accepted.len()));
}

/// Something else on the disk takes the reserve, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_others_fill_leaves_the_ballast_for_what_was_accepted_and_for_a_start() {
    let (mut world, disk) = Disk::world("reserve-bytes = 4194304", false).await;
    let ada = person("ada");
    world.connect(&ada).await;
    let ballast = world.data().join("ballast");
    assert_eq!(std::fs::metadata(&ballast).expect("there is ballast").len(), MIB as u64);
    publish(&world, "before").await;
    assert_eq!(ids(&world.get("/v1/inbox", &ada).await).len(), 1, "it is in the view");
    disk.limit(0);
    assert!(is_refused(&publish(&world, "full").await));
    world.kill().await;
    disk.limit(-MIB / 2); // they take even what the start would find
    world.resume().await;
    assert!(!ballast.exists(), "it was given up for the start");
    let page = world.get("/v1/inbox?limit=100", &ada).await;
    assert_eq!(ids(&page).len(), 1, "what was accepted is there");
    world.connect(&ada).await;
    assert!(is_refused(&publish(&world, "still full").await));
    disk.limit(64 * MIB);
    recover(&world, "still full").await;
    assert!(ballast.exists(), "it is taken on again");
}

/// The log had room for it, the view has not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_has_no_room_waits_and_nothing_that_was_accepted_is_missing_in_it() {
    let (world, disk) = Disk::world("reserve-bytes = 0", false).await;
    let ada = person("ada");
    let mut device = world.connect(&ada).await;
    disk.limit_of(&[Inbox, InboxWal], 0);
    let mut accepted = fill(&world, "waiting").await;
    assert!(!accepted.is_empty(), "the log has room");
    assert_eq!(device.expect("notification").await["notification"]["title"], json!(accepted[0]));
    let mut refused = 0;
    for number in 0..20 {
        let key = format!("no more {number}");
        match is_refused(&publish(&world, &key).await) {
            true => refused += 1,
            false => accepted.push(key), // on a machine so busy that the view was not tried again meanwhile
        }
        sleep(Duration::from_millis(100)).await;
    }
    assert!(refused > 10, "nothing is accepted for as long as the view has no room: {refused} refused");
    disk.heal();
    recover(&world, "room").await;
    accepted.push("room".to_owned());
    for key in &accepted[1..] {
        assert_eq!(device.expect("notification").await["notification"]["title"], json!(key));
    }
    let page = world.get("/v1/inbox?limit=100", &ada).await;
    let items = page["items"].as_array().expect("items").iter().rev();
    let titles: Vec<&Value> = items.map(|item| &item["notification"]["title"]).collect();
    assert_eq!(titles, accepted.iter().map(|key| json!(key)).collect::<Vec<_>>().iter().collect::<Vec<_>>());
}
