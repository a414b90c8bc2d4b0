//! The REST API: publish, inbox, counts, channels, health, as a client uses it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{World, id, ids, person, service};

fn to_ada(title: &str) -> Value {
    json!({ "type": "note", "title": title, "audience": { "users": ["ada"] } })
}

#[tokio::test]
async fn what_is_published_stands_in_the_inbox_and_in_the_count() {
    let world = World::start().await;
    let receipt = world
        .publish(json!({
            "type": "booking.accepted", "title": "Accepted", "body": "See you", "data": { "booking": 17 },
            "priority": "high", "action": { "url": "/bookings/17", "text": "Open" }, "tags": ["booking"],
            "audience": { "users": ["ada"] },
        }))
        .await;
    let page = world.get("/v1/inbox", &person("ada")).await;
    assert_eq!((&page["unread"], &page["unseen"], &page["next"]), (&json!(1), &json!(1), &Value::Null));
    let item = &page["items"][0];
    assert_eq!(item["position"], receipt["position"]);
    let state = json!([item["read"], item["seen"], item["archived"], item["pinned"]]);
    assert_eq!(state, json!([false, false, false, false]));
    let expected = json!({
        "id": receipt["id"], "type": "booking.accepted", "title": "Accepted", "body": "See you",
        "data": { "booking": 17 }, "priority": "high", "action": { "url": "/bookings/17", "text": "Open" },
        "tags": ["booking"], "createdAt": receipt["createdAt"], "inbox": true,
    });
    assert_eq!(item["notification"], expected);
    let one = world.get(&format!("/v1/inbox/{}", id(&receipt)), &person("ada")).await;
    assert_eq!(one, *item);
}

#[tokio::test]
async fn a_request_sees_what_was_answered_before_it_and_may_ask_for_a_position() {
    let world = World::start().await;
    for round in 1..=50 {
        let receipt = world.publish(to_ada("n")).await;
        let request = world.request(Method::GET, "/v1/counts", &person("ada"));
        let response =
            request.header("tidings-min-position", receipt["position"].to_string()).send().await.unwrap();
        let position: u64 = response.headers()["tidings-position"].to_str().unwrap().parse().unwrap();
        assert!(position >= receipt["position"].as_u64().unwrap());
        assert_eq!(response.json::<Value>().await.unwrap()["unread"], round);

        let first = ids(&world.get("/v1/inbox?limit=1", &person("ada")).await);
        assert_eq!(first, [id(&receipt)], "read your own writes");
    }
    let request =
        world.request(Method::GET, "/v1/counts", &person("ada")).header("tidings-min-position", "999999");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(response.headers().contains_key("retry-after"));
    let problem: Value = response.json().await.unwrap();
    assert_eq!(problem["type"], "urn:tidings:problem:position-not-reached");
}

#[tokio::test]
async fn pages_hold_everything_once_whatever_comes_meanwhile() {
    let world = World::start().await;
    let mut published = Vec::new();
    for number in 0..45 {
        let audience =
            if number % 3 == 0 { json!({ "channels": ["everyone"] }) } else { json!({ "users": ["ada"] }) };
        if number == 0 {
            world.get("/v1/counts", &person("ada")).await; // heard of, so that `everyone` reaches her
        }
        let body = json!({ "type": "note", "title": number.to_string(), "audience": audience });
        published.push(id(&world.publish(body).await));
    }
    published.reverse();
    let (mut listed, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/inbox?limit=10{cursor}"), &person("ada")).await;
        listed.extend(ids(&page));
        world.publish(to_ada("later")).await;
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(listed, published);
}

#[tokio::test]
async fn filters_select_and_counts_divide() {
    let world = World::start().await;
    let ada = person("ada");
    world.ok(Method::PUT, "/v1/channels/topic:orders/members/ada", &service(), &Value::Null).await;
    let note = id(&world.publish(to_ada("a")).await);
    let order =
        json!({ "type": "order.paid", "tags": ["money"], "audience": { "channels": ["topic:orders"] } });
    let order = id(&world.publish(order).await);
    let everyone = json!({ "type": "note", "audience": { "channels": ["everyone", "topic:orders"] } });
    let everyone = id(&world.publish(everyone).await);
    for (filter, expected) in [
        ("type=note", vec![&everyone, &note]),
        ("tag=money", vec![&order]),
        ("channel=topic:orders", vec![&everyone, &order]),
        ("channel=everyone", vec![&everyone]),
        ("channel=user:ada", vec![&note]),
        ("channel=topic:other", vec![]),
        ("unread=false", vec![]),
        ("unread=true&type=order.paid", vec![&order]),
        ("type=note&tag=money", vec![]),
    ] {
        let page = world.get(&format!("/v1/inbox?{filter}"), &ada).await;
        assert_eq!(ids(&page).iter().collect::<Vec<_>>(), expected, "{filter}");
    }
    let by_type = world.get("/v1/counts?by=type", &ada).await;
    let expected =
        json!({ "note": { "unread": 2, "unseen": 2 }, "order.paid": { "unread": 1, "unseen": 1 } });
    assert_eq!((&by_type["unread"], &by_type["parts"]), (&json!(3), &expected));
    let by_channel = world.get("/v1/counts?by=channel", &ada).await;
    let unread = |channel: &str| by_channel["parts"][channel]["unread"].clone();
    assert_eq!(
        [unread("user:ada"), unread("topic:orders"), unread("everyone")],
        [1, 2, 1],
        "parts may overlap"
    );
}

#[tokio::test]
async fn every_change_of_state_can_be_made_and_undone() {
    let world = World::start().await;
    let ada = person("ada");
    let first = id(&world.publish(to_ada("1")).await);
    let second = id(&world.publish(to_ada("2")).await);
    let change = async |what: &str, ids: &[&String]| {
        world.post(&format!("/v1/inbox/{what}"), &ada, json!({ "notifications": ids })).await
    };
    let unread = async || world.get("/v1/counts", &ada).await["unread"].as_u64().unwrap();
    let listed = async |filter: &str| ids(&world.get(&format!("/v1/inbox?{filter}"), &ada).await);

    change("read", &[&first, &second]).await;
    assert_eq!(unread().await, 0);
    change("unread", &[&first]).await;
    assert_eq!((unread().await, listed("unread=true").await), (1, vec![first.clone()]));

    change("archive", &[&first]).await;
    assert_eq!((unread().await, listed("").await), (0, vec![second.clone()]));
    assert_eq!(listed("archived=true").await, std::slice::from_ref(&first));
    change("unarchive", &[&first]).await;
    assert_eq!((unread().await, listed("").await), (1, vec![second.clone(), first.clone()]));

    change("pin", &[&first]).await;
    assert_eq!(listed("pinned=true").await, std::slice::from_ref(&first));
    change("unpin", &[&first]).await;
    assert_eq!(listed("pinned=true").await, Vec::<String>::new());

    world.ok(Method::DELETE, &format!("/v1/inbox/{first}"), &ada, &Value::Null).await;
    change("delete", &[&second]).await;
    assert_eq!((unread().await, listed("").await, listed("archived=true").await), (0, vec![], vec![]));
    let (status, _) = world.send(Method::GET, &format!("/v1/inbox/{first}"), &ada, &Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn read_all_and_seen_mean_what_the_client_had_seen() {
    let world = World::start().await;
    let ada = person("ada");
    let first = world.publish(to_ada("1")).await;
    let second = world.publish(to_ada("2")).await;
    let up_to = |receipt: &Value| json!({ "upTo": receipt["position"] });
    world.post("/v1/inbox/read-all", &ada, up_to(&first)).await;
    world.post("/v1/inbox/seen", &ada, up_to(&first)).await;
    let page = world.get("/v1/inbox", &ada).await;
    assert_eq!((&page["unread"], &page["unseen"]), (&json!(1), &json!(1)), "the second came later");
    assert_eq!((&page["items"][0]["read"], &page["items"][1]["read"]), (&json!(false), &json!(true)));
    world.post("/v1/inbox/read-all", &ada, up_to(&second)).await;
    assert_eq!(world.get("/v1/counts", &ada).await["unread"], 0);
}

#[tokio::test]
async fn what_is_so_already_is_not_recorded_again() {
    let world = World::start().await;
    let receipt = world.publish(to_ada("1")).await;
    let read = json!({ "notifications": [receipt["id"]] });
    world.post("/v1/inbox/read", &person("ada"), read.clone()).await;
    let before = world.log().await.len();
    world.post("/v1/inbox/read", &person("ada"), read).await;
    world.ok(Method::DELETE, "/v1/channels/topic:x/members/ada", &service(), &Value::Null).await;
    assert_eq!(world.log().await.len(), before);
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_and_refuses_only_what_is_wrong() {
    let world = World::start().await;
    let batch = json!([
        to_ada("1"),
        { "type": "note", "audience": { "users": [7] } },
        { "type": "note", "titel": "x", "audience": { "users": ["ada"] } },
        { "type": "note" },
        to_ada("2"),
    ]);
    let answer = world.post("/v1/notifications/batch", &service(), batch).await;
    let results = answer["results"].as_array().unwrap();
    let statuses: Vec<u64> = results.iter().map(|result| result["status"].as_u64().unwrap()).collect();
    assert_eq!(statuses, [201, 422, 422, 422, 201]);
    assert_eq!(results[1]["problem"]["errors"][0]["field"], "audience.users[0]");
    assert!(results[2]["problem"]["detail"].as_str().unwrap().contains("titel"));
    assert_eq!(results[3]["problem"]["type"], "urn:tidings:problem:nobody-addressed");
    let listed = ids(&world.get("/v1/inbox", &person("ada")).await);
    assert_eq!(listed, [id(&results[4]), id(&results[0])], "in the order of the batch");
}

#[tokio::test]
async fn a_key_publishes_once_with_the_first_answer_again() {
    let world = World::start().await;
    let publish = async |key: &str, body: &Value| {
        let request = world.request(Method::POST, "/v1/notifications", &service());
        let response = request.header("idempotency-key", key).json(body).send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let (status, first) = publish("k1", &to_ada("1")).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, again) = publish("\"k1\"", &to_ada("1")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(again["duplicate"], true);
    for same in ["id", "position", "createdAt"] {
        assert_eq!(first[same], again[same], "{same}");
    }
    let (status, other) = publish("k1", &to_ada("another")).await;
    assert_eq!((status, &other["type"]), (StatusCode::CONFLICT, &json!("urn:tidings:problem:key-reused")));

    let keyed = |title: &str| {
        let mut notification = to_ada(title);
        notification["idempotencyKey"] = json!("k2");
        notification
    };
    let batch = json!([keyed("a"), keyed("a"), keyed("b")]);
    let answer = world.post("/v1/notifications/batch", &service(), batch).await;
    let statuses: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|r| &r["status"]).collect();
    assert_eq!(statuses, [&json!(201), &json!(200), &json!(409)], "within a batch too");

    let send_batch = async || {
        let request = world.request(Method::POST, "/v1/notifications/batch", &service());
        let request = request.header("idempotency-key", "b1").json(&json!([to_ada("x"), to_ada("x")]));
        request.send().await.unwrap().json::<Value>().await.unwrap()
    };
    let (first, again) = (send_batch().await, send_batch().await);
    assert_ne!(first["results"][0]["id"], first["results"][1]["id"], "two items, two keys");
    assert_eq!(first["results"][0]["id"], again["results"][0]["id"], "a repeated batch publishes nothing");
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 4);
}

#[tokio::test]
async fn keys_belong_to_their_publisher() {
    let world = World::start().await;
    let publisher = |user: &str| {
        let user = Some(user.to_owned());
        let scopes = vec!["publish".to_owned()];
        crate::world::token(&tidings_http::token::Grant { user, scopes, ..Default::default() })
    };
    let mut body = to_ada("1");
    body["idempotencyKey"] = json!("k");
    let one = world.post("/v1/notifications", &publisher("shop"), body.clone()).await;
    let other = world.post("/v1/notifications", &publisher("billing"), body).await;
    assert_ne!(one["id"], other["id"]);
}

#[tokio::test]
async fn cloudevents_are_taken_structured_binary_and_batched() {
    let world = World::start().await;
    let event = |id: &str| {
        json!({ "specversion": "1.0", "id": id, "source": "/shop", "type": "order.paid",
                "data": { "title": id, "audience": { "users": ["ada"] } } })
    };
    let send = async |media_type: &str, body: Value| {
        let request = world.request(Method::POST, "/v1/notifications", &service());
        let request = request.header("content-type", media_type).body(body.to_string());
        let response = request.send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let (status, first) = send("application/cloudevents+json; charset=utf-8", event("e1")).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, again) = send("application/cloudevents+json", event("e1")).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &first["id"]), "source and id are the key");

    let batch = json!([event("e1"), event("e2"), { "specversion": "0.3" }]);
    let (status, answer) = send("application/cloudevents-batch+json", batch).await;
    let statuses: Vec<&Value> = answer["results"].as_array().unwrap().iter().map(|r| &r["status"]).collect();
    assert_eq!((status, statuses), (StatusCode::OK, vec![&json!(200), &json!(201), &json!(422)]));

    let binary = async |id: &str| {
        let request = world.request(Method::POST, "/v1/notifications", &service());
        let request =
            request.header("ce-specversion", "1.0").header("ce-id", id).header("ce-type", "order.paid");
        let request = request.header("ce-source", "/shop").header("content-type", "application/json");
        let response =
            request.body(json!({ "title": "e%203", "audience": { "users": ["ada"] } }).to_string());
        response.send().await.unwrap().status()
    };
    assert_eq!(binary("e%203").await, StatusCode::CREATED);
    assert_eq!(binary("e%203").await, StatusCode::OK);
    assert_eq!(world.get("/v1/counts", &person("ada")).await["unread"], 3);
}

#[tokio::test]
async fn the_service_decides_who_is_a_member() {
    let world = World::start().await;
    let path = "/v1/channels/team:7/members";
    let (admin, ada) = (service(), person("ada"));
    world.post(path, &admin, json!({ "add": ["ada", "bob", "eve", "dan"] })).await;
    world.post(path, &admin, json!({ "add": ["flo"], "remove": ["eve"] })).await;
    let first = world.get(&format!("{path}?limit=2"), &admin).await;
    assert_eq!((&first["members"], &first["next"]), (&json!(["ada", "bob"]), &json!("bob")));
    let second = world.get(&format!("{path}?limit=2&cursor=bob"), &admin).await;
    assert_eq!((&second["members"], &second["next"]), (&json!(["dan", "flo"]), &Value::Null));

    let to_team = json!({ "type": "note", "audience": { "channels": ["team:7"] } });
    world.publish(to_team.clone()).await;
    assert_eq!(world.get("/v1/counts", &ada).await["unread"], 1);
    assert_eq!(world.get("/v1/counts", &person("eve")).await["unread"], 0);

    world.ok(Method::DELETE, &format!("{path}/ada"), &admin, &Value::Null).await;
    assert_eq!(
        world.get("/v1/counts", &ada).await["unread"],
        0,
        "what came through the channel is gone with it"
    );
    world.ok(Method::PUT, &format!("{path}/ada"), &admin, &Value::Null).await;
    assert_eq!(world.get("/v1/counts", &ada).await["unread"], 0, "joining again starts afresh");
    world.publish(to_team).await;
    assert_eq!(world.get("/v1/counts", &ada).await["unread"], 1);
    let everyone = world.get("/v1/channels/everyone/members", &admin).await;
    assert_eq!(everyone["members"], json!(["ada", "bob", "dan", "eve", "flo"]));
}

#[tokio::test]
async fn a_routing_rule_decides_when_the_publisher_does_not() {
    let world = World::with_configuration("[plugins.type-routes]\n\"booking.*\" = [\"role:PRO\"]\n").await;
    let pro = |user: &str| {
        let (user, roles) = (Some(user.to_owned()), vec!["PRO".to_owned()]);
        crate::world::token(&tidings_http::token::Grant { user, roles, ..Default::default() })
    };
    world.get("/v1/counts", &pro("ada")).await; // her token makes her a member of role:PRO
    world.publish(json!({ "type": "booking.created" })).await;
    assert_eq!(world.get("/v1/counts", &pro("ada")).await["unread"], 1);
    let (status, problem) =
        world.send(Method::POST, "/v1/notifications", &service(), &json!({ "type": "other" })).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(problem["type"], "urn:tidings:problem:nobody-addressed");
}

#[tokio::test]
async fn roles_make_members_until_a_newer_token_says_otherwise() {
    let world = World::start().await;
    let signed = |roles: &[&str], issued_at: u64| {
        let claims = json!({ "sub": "ada", "roles": roles, "iat": issued_at, "exp": issued_at + 360_000 });
        let key = jsonwebtoken::EncodingKey::from_secret(crate::world::SECRET.as_bytes());
        jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
    };
    let now = jsonwebtoken::get_current_timestamp();
    let (older, newer) = (signed(&["A", "B"], now - 20), signed(&["B", "C"], now - 10));
    let channels = async || {
        let mut channels = Vec::new();
        for channel in ["role:A", "role:B", "role:C"] {
            let page = world.get(&format!("/v1/channels/{channel}/members"), &service()).await;
            channels.extend((page["members"] == json!(["ada"])).then_some(channel));
        }
        channels
    };
    world.get("/v1/counts", &older).await;
    assert_eq!(channels().await, ["role:A", "role:B"]);
    world.get("/v1/counts", &newer).await;
    assert_eq!(channels().await, ["role:B", "role:C"]);
    world.get("/v1/counts", &older).await;
    assert_eq!(channels().await, ["role:B", "role:C"], "two devices with different tokens do not fight");
}

#[tokio::test]
async fn one_that_is_only_shown_live_is_in_no_inbox_and_no_count() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    let receipt =
        world.publish(json!({ "type": "typing", "inbox": false, "audience": { "users": ["ada"] } })).await;
    let message = device.expect("notification").await;
    assert_eq!((&message["notification"]["id"], &message["counts"]), (&receipt["id"], &json!(false)));
    let page = world.get("/v1/inbox", &person("ada")).await;
    assert_eq!((&page["items"], &page["unread"]), (&json!([]), &json!(0)));
}

#[tokio::test]
async fn health_says_whether_it_lives_and_serves() {
    let mut world = World::start().await;
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(world.http.get(world.url(path)).send().await.unwrap().status(), StatusCode::OK, "{path}");
    }
    assert!(world.stop().await.success(), "SIGTERM ends it without an error");
}

#[tokio::test]
async fn the_log_is_shown_to_operators_in_pages_and_as_it_grows() {
    let world = World::start().await;
    world.publish(to_ada("1")).await;
    let log = world.log().await;
    let types: Vec<&str> = log.iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["Started", "NotificationPublished"]);
    let page = world.get("/v1/log?after=1&limit=1", &service()).await;
    assert_eq!((&page["events"][0]["position"], &page["next"]), (&json!(2), &json!(2)));

    let mut follow = world.request(Method::GET, "/v1/log?follow=true", &service()).send().await.unwrap();
    let receipt = world.publish(to_ada("2")).await;
    let line = follow.chunk().await.unwrap().unwrap();
    let event: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!((&event["position"], &event["event"]["id"]), (&receipt["position"], &receipt["id"]));
}
