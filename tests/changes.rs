//! What was published may be otherwise afterwards: updated, retracted, taken the place of, put off, or cancelled before it
//! goes out. All devices hear of it, and the counts stay exact.

use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidings_http::token::Grant;

use crate::world::{Device, World, id, ids, person, service, token};

fn from_now(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

/// To ada by name and to a topic of which bob is a member.
fn note(title: &str) -> Value {
    json!({ "type": "note", "title": title, "audience": { "users": ["ada"], "channels": ["topic:a"] } })
}

async fn with_bob_in_the_topic() -> World {
    let world = World::start().await;
    world.post("/v1/channels/topic:a/members", &service(), json!({ "add": ["bob"] })).await;
    world
}

/// What a device hears up to and including a message of a kind, without the counts.
async fn until(device: &mut Device, kind: &str) -> Value {
    loop {
        let message = device.next().await.expect("a message");
        if message["type"] == kind {
            return message;
        }
        assert_eq!(message["type"], "counts", "{message}");
    }
}

async fn unread(world: &World, user: &str) -> u64 {
    world.get("/v1/counts", &person(user)).await["unread"].as_u64().unwrap()
}

#[tokio::test]
async fn an_update_reaches_all_who_have_it_and_changes_no_count() {
    let world = with_bob_in_the_topic().await;
    let receipt = world.publish(note("Friday")).await;
    world.post("/v1/inbox/read", &person("bob"), json!({ "notifications": [id(&receipt)] })).await;
    // Who came later does not have it.
    world.post("/v1/channels/topic:a/members", &service(), json!({ "add": ["eve"] })).await;
    let mut devices = Vec::new();
    for user in ["ada", "bob", "eve"] {
        devices.push(world.connect(&person(user)).await);
    }
    let path = format!("/v1/notifications/{}", id(&receipt));
    let revision = json!({ "title": "Saturday", "tags": ["moved"], "data": { "day": 6 } });
    let done = world.ok(Method::PUT, &path, &service(), &revision).await;
    for device in &mut devices[..2] {
        let updated = until(device, "updated").await;
        assert_eq!(updated["position"], done["position"]);
        let notification = &updated["notification"];
        assert_eq!((&notification["id"], &notification["title"]), (&receipt["id"], &json!("Saturday")));
        assert_eq!(notification["createdAt"], receipt["createdAt"]);
        assert!(notification["updatedAt"].is_string());
    }
    assert_eq!(devices[2].heard().await, [Value::Null; 0], "not hers");
    assert_eq!((unread(&world, "ada").await, unread(&world, "bob").await), (1, 0));
    let found = world.get("/v1/inbox?tag=moved", &person("bob")).await;
    assert_eq!(found["items"][0]["notification"]["title"], "Saturday");
    assert_eq!(
        (&found["items"][0]["read"], &found["items"][0]["position"]),
        (&json!(true), &receipt["position"])
    );
}

#[tokio::test]
async fn what_is_retracted_is_gone_for_all_and_from_all_counts() {
    let world = with_bob_in_the_topic().await;
    let (stays, goes) = (world.publish(note("stays")).await, world.publish(note("goes")).await);
    let mut ada = world.connect(&person("ada")).await;
    let mut bob = world.connect(&person("bob")).await;
    let path = format!("/v1/notifications/{}", id(&goes));
    world.ok(Method::DELETE, &path, &service(), &Value::Null).await;
    for (user, device) in [("ada", &mut ada), ("bob", &mut bob)] {
        let retracted = until(device, "retracted").await;
        assert_eq!(retracted["notifications"], json!([goes["id"]]));
        assert_eq!(retracted["reason"], "byHand");
        assert_eq!(until(device, "counts").await["unread"], 1);
        assert_eq!(ids(&world.get("/v1/inbox", &person(user)).await), [id(&stays)]);
        assert_eq!(unread(&world, user).await, 1);
        let one = format!("/v1/inbox/{}", id(&goes));
        assert_eq!(world.send(Method::GET, &one, &person(user), &Value::Null).await.0, StatusCode::NOT_FOUND);
        let read = json!({ "notifications": [goes["id"]] });
        let (status, _) = world.send(Method::POST, "/v1/inbox/read", &person(user), &read).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    let (status, problem) = world.send(Method::DELETE, &path, &service(), &Value::Null).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::NOT_FOUND, &json!("urn:tidings:problem:no-such-notification"))
    );
    let (status, _) = world.send(Method::PUT, &path, &service(), &json!({ "title": "again" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn what_was_retracted_while_a_device_was_away_is_not_shown_to_it() {
    let world = with_bob_in_the_topic().await;
    let bob = world.connect(&person("bob")).await;
    let cursor = bob.hello["cursor"].as_str().unwrap().to_owned();
    bob.close().await;
    let secret = world.publish(note("sent by mistake")).await;
    let live = json!({ "type": "n", "title": "sent by mistake", "inbox": false, "audience": { "channels": ["topic:a"] } });
    let live = world.publish(live).await;
    let kept = world.publish(note("kept")).await;
    for gone in [&secret, &live] {
        world
            .ok(
                Method::PUT,
                &format!("/v1/notifications/{}", id(gone)),
                &service(),
                &json!({ "title": "by mistake, too" }),
            )
            .await;
        world.ok(Method::DELETE, &format!("/v1/notifications/{}", id(gone)), &service(), &Value::Null).await;
    }
    let path = format!("/v1/ws?token={}&cursor={cursor}", person("bob"));
    let mut bob = world.try_connect(&path).await.unwrap();
    let heard = bob.heard().await;
    assert!(!heard.iter().any(|message| message.to_string().contains("by mistake")), "{heard:?}");
    let kinds: Vec<&str> = heard.iter().map(|message| message["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["notification", "retracted", "retracted", "counts", "caughtUp"]);
    assert_eq!(heard[0]["notification"]["id"], kept["id"]);
}

#[tokio::test]
async fn a_newer_one_with_the_same_key_takes_the_place_of_the_older() {
    let world = with_bob_in_the_topic().await;
    let mut bob = world.connect(&person("bob")).await;
    let build = |channel: &str, title: &str| json!({ "type": "build", "title": title, "collapseKey": "build 17", "audience": { "channels": [channel] } });
    let first = world.publish(build("topic:a", "started")).await;
    assert!(until(&mut bob, "notification").await["supersedes"].is_null());
    world.publish(build("topic:b", "in another stream")).await;
    let second = world.publish(build("topic:a", "failed")).await;
    let newer = until(&mut bob, "notification").await;
    assert_eq!((&newer["notification"]["id"], &newer["supersedes"]), (&second["id"], &json!([first["id"]])));
    assert_eq!(newer["notification"]["collapseKey"], "build 17");
    assert_eq!(ids(&world.get("/v1/inbox", &person("bob")).await), [id(&second)]);
    assert_eq!(unread(&world, "bob").await, 1);
}

#[tokio::test]
async fn what_is_put_off_comes_back_unread_where_it_wakes() {
    let world = World::start().await;
    let first = world.publish(note("first")).await;
    world.publish(note("second")).await;
    let ada = person("ada");
    world.post("/v1/inbox/read", &ada, json!({ "notifications": [first["id"]] })).await;
    let mut device = world.connect(&ada).await;
    let soon = from_now(1);
    let these = json!({ "notifications": [first["id"]], "until": soon });
    world.post("/v1/inbox/snooze", &ada, these).await;
    let snoozed = until(&mut device, "snoozed").await;
    assert_eq!((&snoozed["notifications"], &snoozed["until"]), (&json!([first["id"]]), &json!(soon)));
    assert_eq!(world.get("/v1/inbox", &ada).await["items"].as_array().unwrap().len(), 1);
    let put_off = world.get("/v1/inbox?snoozed=true", &ada).await;
    assert_eq!(ids(&put_off), [id(&first)]);
    assert!(put_off["items"][0]["snoozedUntil"].is_string());
    assert_eq!(unread(&world, "ada").await, 1);
    let woken = until(&mut device, "woken").await;
    assert!(Timestamp::now() >= soon.parse().unwrap(), "not before its time");
    assert_eq!(woken["notifications"], json!([first["id"]]));
    assert_eq!(until(&mut device, "counts").await["unread"], 2);
    let page = world.get("/v1/inbox", &ada).await;
    assert_eq!(ids(&page)[0], id(&first), "on top");
    assert_eq!(
        (&page["items"][0]["position"], &page["items"][0]["read"]),
        (&woken["position"], &json!(false))
    );

    let later = json!({ "notifications": [first["id"]], "until": from_now(3_600) });
    world.post("/v1/inbox/snooze", &ada, later).await;
    device.ask(json!({ "type": "wake", "notifications": [first["id"]] })).await;
    assert_eq!(ids(&world.get("/v1/inbox", &ada).await)[0], id(&first), "back by her own wish");
    for bad in [from_now(-1), from_now(400 * 86_400)] {
        let these = json!({ "notifications": [first["id"]], "until": bad });
        let (status, problem) = world.send(Method::POST, "/v1/inbox/snooze", &ada, &these).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (422, &json!("until")));
    }
}

#[tokio::test]
async fn what_is_scheduled_goes_out_at_its_time_and_can_be_cancelled_before() {
    let world = World::start().await;
    let mut ada = world.connect(&person("ada")).await;
    let later = |title: &str, seconds: i64, key: Option<&str>| {
        let mut note = note(title);
        note["deliverAt"] = json!(from_now(seconds));
        note["idempotencyKey"] = json!(key.unwrap_or(title));
        note
    };
    let soon = later("soon", 1, None);
    let receipt = world.publish(soon.clone()).await;
    assert!(receipt["deliverAt"].is_string());
    let by_id = world.publish(later("cancelled by id", 60, None)).await;
    world.publish(later("cancelled by key", 60, Some("reminder 17"))).await;
    let waiting = world.get("/v1/scheduled?limit=2", &service()).await;
    let titles = |page: &Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|i| i["title"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(titles(&waiting), ["soon", "cancelled by id"]);
    let next = format!("/v1/scheduled?cursor={}", waiting["next"].as_str().unwrap());
    assert_eq!(titles(&world.get(&next, &service()).await), ["cancelled by key"]);
    assert_eq!(unread(&world, "ada").await, 0, "nothing went out");

    let path = format!("/v1/notifications/{}", id(&by_id));
    world.ok(Method::DELETE, &path, &service(), &Value::Null).await;
    world.ok(Method::DELETE, "/v1/scheduled?key=reminder%2017", &service(), &Value::Null).await;
    for (again, field) in [(path.as_str(), "id"), ("/v1/scheduled?key=reminder%2017", "key")] {
        let (status, problem) = world.send(Method::DELETE, again, &service(), &Value::Null).await;
        assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (404, &json!(field)), "{problem}");
    }
    let out = until(&mut ada, "notification").await;
    assert!(
        Timestamp::now().as_millisecond()
            >= soon["deliverAt"].as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond()
    );
    assert_eq!(out["notification"]["id"], receipt["id"]);
    assert_eq!(world.get("/v1/scheduled", &service()).await["items"], json!([]));
    // Sent again after it went out, it is what it was.
    let again = world.publish(soon).await;
    assert_eq!((&again["id"], &again["duplicate"]), (&receipt["id"], &json!(true)));
    // What went out is taken back by the same request.
    let path = format!("/v1/notifications/{}", id(&receipt));
    world.ok(Method::DELETE, &path, &service(), &Value::Null).await;
    assert_eq!(unread(&world, "ada").await, 0);
    let past = world.publish(later("at once", -5, None)).await;
    assert!(past["deliverAt"].is_null());
    assert_eq!(unread(&world, "ada").await, 1);
}

#[tokio::test]
async fn what_expires_is_taken_back_and_a_retry_still_gets_its_first_answer() {
    let world = with_bob_in_the_topic().await;
    let mut bob = world.connect(&person("bob")).await;
    let mut short = note("short");
    short["expiresAt"] = json!(from_now(1));
    short["idempotencyKey"] = json!("k");
    let receipt = world.publish(short.clone()).await;
    until(&mut bob, "notification").await;
    let expired = until(&mut bob, "retracted").await;
    assert_eq!((&expired["notifications"], &expired["reason"]), (&json!([receipt["id"]]), &json!("expired")));
    for user in ["ada", "bob"] {
        assert_eq!(unread(&world, user).await, 0);
        assert_eq!(world.get("/v1/inbox", &person(user)).await["items"], json!([]));
    }
    let again = world.publish(short.clone()).await;
    assert_eq!((&again["id"], &again["duplicate"]), (&receipt["id"], &json!(true)));
    short["idempotencyKey"] = json!("another");
    let (status, problem) = world.send(Method::POST, "/v1/notifications", &service(), &short).await;
    assert_eq!((status.as_u16(), &problem["errors"][0]["field"]), (422, &json!("expiresAt")));
}

#[tokio::test]
async fn only_its_publisher_a_service_or_a_manager_may_change_a_notification() {
    let world = World::start().await;
    let grant = |user: &str, scopes: &[&str]| {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        token(&Grant { user: Some(user.to_owned()), scopes, ..Grant::default() })
    };
    let (shop, other, manager) =
        (grant("shop", &["publish"]), grant("other", &["publish"]), grant("boss", &["publish", "admin"]));
    let mut later = note("later");
    later["deliverAt"] = json!(from_now(60));
    let (now, later) = (
        world.post("/v1/notifications", &shop, note("now")).await,
        world.post("/v1/notifications", &shop, later).await,
    );
    let revision = json!({ "title": "changed" });
    let (now, later) =
        (format!("/v1/notifications/{}", id(&now)), format!("/v1/notifications/{}", id(&later)));
    for (who, may) in
        [(&other, false), (&person("ada"), false), (&shop, true), (&manager, true), (&service(), true)]
    {
        let status = world.send(Method::PUT, &now, who, &revision).await.0;
        assert_eq!(status, if may { StatusCode::OK } else { StatusCode::FORBIDDEN });
        let listed = world.send(Method::GET, "/v1/scheduled", who, &Value::Null).await.1;
        assert_eq!(listed["items"].as_array().is_some_and(|items| items.len() == 1), may, "{listed}");
        if !may {
            for path in [&now, &later] {
                let status = world.send(Method::DELETE, path, who, &Value::Null).await.0;
                assert_eq!(status, StatusCode::FORBIDDEN);
            }
        }
    }
    let in_another_tenant = token(&Grant {
        tenant: Some("elsewhere".to_owned()),
        scopes: vec!["publish".to_owned(), "admin".to_owned()],
        ..Grant::default()
    });
    for path in [&now, &later] {
        let status = world.send(Method::DELETE, path, &in_another_tenant, &Value::Null).await.0;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}
