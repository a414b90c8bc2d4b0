//! Live delivery: every device, at once, in one order, each notification once (promises 2, 5 and 6).

use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{World, id, person, service};

#[tokio::test]
async fn every_device_of_a_person_gets_it_and_their_state_stays_the_same() {
    let world = World::start().await;
    let (mut phone, mut laptop) = (world.connect(&person("ada")).await, world.connect(&person("ada")).await);
    let receipt =
        world.publish(json!({ "type": "note", "title": "Hi", "audience": { "users": ["ada"] } })).await;
    for device in [&mut phone, &mut laptop] {
        let message = device.expect("notification").await;
        assert_eq!(message["notification"]["id"], receipt["id"]);
        assert_eq!((&message["position"], &message["counts"]), (&receipt["position"], &json!(true)));
        let counts = device.expect("counts").await;
        assert_eq!((&counts["unread"], &counts["position"]), (&json!(1), &receipt["position"]));
    }
    for (command, event) in [
        ("read", "read"),
        ("unread", "unread"),
        ("pin", "pinned"),
        ("unpin", "unpinned"),
        ("archive", "archived"),
        ("unarchive", "unarchived"),
        ("delete", "deleted"),
    ] {
        let answer = phone.ask(json!({ "type": command, "notifications": [receipt["id"]] })).await;
        assert_ne!(answer["type"], "error", "{answer}");
        let message = laptop.expect(event).await;
        assert_eq!(message["notifications"], json!([receipt["id"]]), "{event}");
        assert_eq!(message["position"], answer["position"]);
        laptop.expect("counts").await;
    }
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 0);
}

#[tokio::test]
async fn counts_follow_a_broadcast_within_a_second_and_carry_their_position() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    for _ in 0..5 {
        world.publish(json!({ "type": "note", "audience": { "channels": ["everyone"] } })).await;
    }
    loop {
        let counts = device.expect("counts").await;
        let told = counts["unread"].as_u64().unwrap();
        let notifications = told; // each broadcast is one event here, after the first two
        assert!(
            counts["position"].as_u64().unwrap() >= 2 + notifications,
            "never ahead of its position: {counts}"
        );
        if told == 5 {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_subscribers_see_the_same_order_without_gaps() {
    const PUBLISHERS: usize = 6;
    const EACH: usize = 40;
    let world = World::start().await;
    let mut devices = Vec::new();
    for user in ["ada", "bob", "eve", "ada"] {
        devices.push(world.connect(&person(user)).await);
    }
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let (http, url) = (world.http.clone(), world.url("/v1/notifications/batch"));
            tokio::spawn(async move {
                for number in 0..EACH / 2 {
                    let title = format!("{publisher}-{number}");
                    let one =
                        json!({ "type": "n", "title": title, "audience": { "channels": ["everyone"] } });
                    let response =
                        http.post(&url).bearer_auth(service()).json(&json!([one, one])).send().await.unwrap();
                    assert!(response.status().is_success());
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut orders: Vec<Vec<(u64, String)>> = Vec::new();
    for device in &mut devices {
        let mut order = Vec::new();
        while order.len() < PUBLISHERS * EACH {
            let message = device.expect("notification").await;
            order.push((message["position"].as_u64().unwrap(), id(&message["notification"])));
        }
        orders.push(order);
    }
    assert!(orders[0].is_sorted_by(|one, next| one.0 < next.0), "positions only grow");
    for order in &orders[1..] {
        assert_eq!(*order, orders[0], "the same notifications in the same order");
    }
    let log = world.log().await;
    let published = log.iter().filter(|event| event["type"] == "NotificationPublished");
    let published: Vec<(u64, String)> =
        published.map(|event| (event["position"].as_u64().unwrap(), id(&event["event"]))).collect();
    assert_eq!(orders[0], published, "all there is in the log, and nothing else");
}

#[tokio::test]
async fn who_is_in_several_of_the_channels_addressed_meets_it_once() {
    let world = World::start().await;
    world.post("/v1/channels/topic:a/members", &service(), json!({ "add": ["ada"] })).await;
    world.post("/v1/channels/topic:b/members", &service(), json!({ "add": ["ada", "bob"] })).await;
    let mut device = world.connect(&person("ada")).await;
    device.ask(json!({ "type": "watch", "channel": "topic:a" })).await;
    let audience = json!({ "users": ["ada"], "channels": ["topic:a", "topic:b", "everyone"] });
    let receipt = world.publish(json!({ "type": "note", "audience": audience })).await;
    assert_eq!(device.notifications().await, [id(&receipt)], "live");
    for user in ["ada", "bob"] {
        let page = world.get("/v1/inbox", &person(user)).await;
        assert_eq!((crate::world::ids(&page), &page["unread"]), (vec![id(&receipt)], &json!(1)), "{user}");
    }
}

#[tokio::test]
async fn who_watches_sees_it_live_and_keeps_nothing() {
    let world = World::start().await;
    let mut watcher = world.connect(&person("ada")).await;
    let to_topic = json!({ "type": "note", "audience": { "channels": ["topic:a"] } });
    world.publish(to_topic.clone()).await;
    assert_eq!(watcher.notifications().await, Vec::<String>::new(), "not before it watches");
    watcher.ask(json!({ "type": "watch", "channel": "topic:a" })).await;
    world.publish(to_topic.clone()).await;
    let message = watcher.expect("notification").await;
    assert_eq!((&message["counts"], &message["notification"]["channel"]), (&json!(false), &json!("topic:a")));
    watcher.ask(json!({ "type": "unwatch", "channel": "topic:a" })).await;
    world.publish(to_topic).await;
    assert_eq!(watcher.notifications().await, Vec::<String>::new(), "not after it has stopped");
    assert_eq!(world.get("/v1/inbox", &person("ada")).await["items"], json!([]));
}

#[tokio::test]
async fn joining_and_leaving_take_effect_at_their_position() {
    let world = World::start().await;
    let (mut device, mut other) = (world.connect(&person("ada")).await, world.connect(&person("ada")).await);
    let to_topic = json!({ "type": "note", "audience": { "channels": ["topic:a"] } });
    device.ask(json!({ "type": "join", "channel": "topic:a" })).await;
    assert_eq!(other.expect("joined").await["channels"], json!(["topic:a"]));
    let receipt = world.publish(to_topic.clone()).await;
    assert_eq!(other.expect("notification").await["notification"]["id"], receipt["id"]);
    assert_eq!(device.notifications().await, [id(&receipt)]);
    device.ask(json!({ "type": "leave", "channel": "topic:a" })).await;
    assert_eq!(other.expect("left").await["channels"], json!(["topic:a"]));
    assert_eq!(other.expect("counts").await["unread"], 0, "its notifications are out of sight");
    world.publish(to_topic).await;
    assert_eq!(device.notifications().await, Vec::<String>::new());
    assert_eq!(other.notifications().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_broadcast_is_one_event_and_no_row_of_anybody() {
    const MEMBERS: usize = 2_000;
    let mut world = World::start().await;
    let members: Vec<String> = (0..MEMBERS).map(|number| format!("m{number}")).collect();
    world.post("/v1/channels/topic:big/members", &service(), json!({ "add": members })).await;
    let before = world.log().await.len();
    world.publish(json!({ "type": "note", "audience": { "channels": ["topic:big"] } })).await;
    assert_eq!(world.log().await.len(), before + 1, "one append, whatever the audience");
    for user in ["m0", "m1999"] {
        assert_eq!(world.get("/v1/counts", &person(user)).await["unread"], 1, "{user}");
    }
    assert!(world.stop().await.success());
    let rows = |file: &str, table: &str| -> i64 {
        let connection = rusqlite::Connection::open(world.data().join(file)).unwrap();
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((rows("log.db", "entries"), rows("inbox.db", "entries")), (1, 1));
    assert_eq!((rows("inbox.db", "notifications"), rows("inbox.db", "readings")), (1, 0));
}

#[tokio::test]
async fn presence_counts_who_is_online() {
    let world = World::start().await;
    let signed = |user: &str, role: &str, session: &str| {
        crate::world::token(&tidings_http::token::Grant {
            user: Some(user.to_owned()),
            roles: vec![role.to_owned()],
            session: Some(session.to_owned()),
            channels: vec!["topic:*".to_owned()],
            ..Default::default()
        })
    };
    let mut phone = world.connect(&signed("ada", "PRO", "s1")).await;
    let laptop = world.connect(&signed("ada", "PRO", "s2")).await;
    let _bob = world.connect(&signed("bob", "ADMIN", "s3")).await;
    let presence = world.get("/v1/presence", &service()).await;
    let expected = json!({
        "users": 2, "connections": 3, "sessions": 3, "byRole": { "ADMIN": 1, "PRO": 1 },
        "byTransport": { "ws": 3 }, "connectionsPerUser": { "ada": 2, "bob": 1 },
    });
    assert_eq!(presence, expected);
    laptop.close().await;
    loop {
        let presence = world.get("/v1/presence", &service()).await;
        if presence["connections"] == 2 {
            assert_eq!(presence["users"], 2);
            break;
        }
        tokio::task::yield_now().await;
    }
    phone.ask(json!({ "type": "watch", "channel": "topic:a" })).await;
    let channel = phone.ask(json!({ "type": "presence", "channel": "topic:a" })).await;
    assert_eq!(
        (&channel["members"], &channel["watchers"], &channel["users"]),
        (&json!(0), &json!(1), &json!(["ada"]))
    );
    assert_eq!(phone.ask(json!({ "type": "presence" })).await["type"], "error", "totals are for operators");
}

#[tokio::test]
async fn a_session_hears_what_is_addressed_to_it() {
    let world = World::start().await;
    let session = |session: &str| {
        let (user, session) = (Some("ada".to_owned()), Some(session.to_owned()));
        crate::world::token(&tidings_http::token::Grant { user, session, ..Default::default() })
    };
    let (mut one, mut two) = (world.connect(&session("s1")).await, world.connect(&session("s2")).await);
    let receipt = world.publish(json!({ "type": "note", "audience": { "channels": ["session:s1"] } })).await;
    assert_eq!(one.notifications().await, [id(&receipt)]);
    assert_eq!(two.notifications().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_member_by_another_word_stays_when_one_word_is_taken_back() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    world.ok(Method::PUT, "/v1/channels/topic:a/members/ada", &service(), &Value::Null).await;
    device.ask(json!({ "type": "join", "channel": "topic:a" })).await;
    device.ask(json!({ "type": "leave", "channel": "topic:a" })).await;
    let receipt = world.publish(json!({ "type": "note", "audience": { "channels": ["topic:a"] } })).await;
    assert_eq!(device.notifications().await, [id(&receipt)]);
}
