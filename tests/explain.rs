//! Why somebody did or did not get something is said in plain words, over HTTP and on the command line.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Device, World, id, in_time, person, service};

/// What is said of a notification and a user.
async fn said(world: &World, receipt: &Value, user: &str) -> String {
    let path = format!("/v1/notifications/{}/explain?user={user}", id(receipt));
    let explanation = world.get(&path, &service()).await;
    let sentences = explanation["sentences"].as_array().unwrap().iter();
    sentences.map(|sentence| sentence.as_str().unwrap()).collect::<Vec<_>>().join("\n")
}

fn assert_says(said: &str, words: &[&str]) {
    for words in words {
        assert!(said.contains(words), "expected {words:?} in:\n{said}");
    }
}

async fn phone(world: &World, user: &str) -> Device {
    world.try_connect(&format!("/v1/ws?device=phone&token={}", person(user))).await.unwrap()
}

async fn member(world: &World, method: Method, user: &str) {
    world.ok(method, &format!("/v1/channels/topic:a/members/{user}"), &service(), &Value::Null).await;
}

#[tokio::test]
async fn each_reason_to_get_something_or_not_is_said() {
    let world = World::start().await;
    for user in ["ada", "bob", "eve", "gone", "back"] {
        member(&world, Method::PUT, user).await;
    }
    for user in ["gone", "back"] {
        member(&world, Method::DELETE, user).await;
    }
    world.get("/v1/counts", &person("stranger")).await;
    let mut ada = phone(&world, "ada").await;
    let _bob = phone(&world, "bob").await;
    let audience = json!({ "users": ["named"], "channels": ["topic:a"], "except": ["eve"] });
    let receipt = world.publish(json!({ "type": "note", "audience": audience })).await;
    for user in ["late", "back"] {
        member(&world, Method::PUT, user).await;
    }
    let notification = ada.expect("notification").await;
    ada.ask(json!({ "type": "ack", "upTo": notification["cursor"] })).await;
    for command in ["clicked", "unread", "archive"] {
        ada.ask(json!({ "type": command, "notifications": [id(&receipt)] })).await;
    }

    let of_ada = said(&world, &receipt, "ada").await;
    assert_says(
        &of_ada,
        &[
            "It is a note, published by service at",
            "to topic:a, named.",
            "ada was addressed as a member of topic:a, which they had been since",
            "The device phone was sent it over ws by",
            "and acknowledged it by",
            "It is unread again since, marked so or back after it was put off.",
            "They followed its action at",
            "It is in their archive.",
        ],
    );
    let of_bob = said(&world, &receipt, "bob").await;
    assert_says(&of_bob, &["has not acknowledged it.", "They have not read it.", "It is in their inbox."]);
    let of_named = said(&world, &receipt, "named").await;
    assert_says(&of_named, &["named was addressed by name.", "It is not recorded that any of their devices"]);
    let of_eve = said(&world, &receipt, "eve").await;
    assert_says(&of_eve, &["eve would have got it as a member, but the publisher left them out."]);
    assert!(!of_eve.contains("device"), "{of_eve}");
    assert_says(&said(&world, &receipt, "gone").await, &["gone had left topic:a before: at"]);
    assert_says(&said(&world, &receipt, "late").await, &["late joined topic:a only afterwards: at"]);
    assert_says(
        &said(&world, &receipt, "back").await,
        &["had left topic:a before, at", "joined again afterwards"],
    );
    assert_says(&said(&world, &receipt, "stranger").await, &["stranger was never a member of topic:a."]);
    assert_says(&said(&world, &receipt, "nobody").await, &["The server has never heard of nobody."]);

    member(&world, Method::DELETE, "ada").await;
    let of_ada = said(&world, &receipt, "ada").await;
    assert_says(&of_ada, &["They left topic:a at", "no longer in their inbox"]);
    let path = format!("/v1/inbox/{}", id(&receipt));
    world.ok(Method::DELETE, &path, &person("bob"), &Value::Null).await;
    assert_says(&said(&world, &receipt, "bob").await, &["They deleted it."]);
    let live =
        world.publish(json!({ "type": "note", "inbox": false, "audience": { "users": ["ada"] } })).await;
    assert_says(&said(&world, &live, "ada").await, &["only shown live"]);
    assert_says(&said(&world, &live, "bob").await, &["addressed by name, and bob was not named."]);
}

#[tokio::test]
async fn it_is_for_operators_and_says_so_on_the_command_line() {
    let world = World::start().await;
    let receipt = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let path = format!("/v1/notifications/{}/explain", id(&receipt));
    let get = async |query: &str, token: &str| {
        world.send(Method::GET, &format!("{path}{query}"), token, &Value::Null).await.0
    };
    assert_eq!(get("?user=ada", &person("ada")).await, StatusCode::FORBIDDEN);
    assert_eq!(get("", &service()).await, StatusCode::UNPROCESSABLE_ENTITY);
    let run = async |arguments: &[&str]| {
        let output = in_time("the command", world.command(arguments).output()).await.unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (succeeded, said) = run(&["explain", &id(&receipt), "ada"]).await;
    assert!(succeeded && said.contains("\nada was addressed by name.\n"), "{said}");
    let (_, said) = run(&["explain", &id(&receipt), "Ada Lovelace", "--json"]).await;
    let explanation: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(explanation["delivery"]["user"], "Ada Lovelace");
    assert!(!run(&["explain", "nothing", "ada"]).await.0);
}

#[tokio::test]
async fn what_was_taken_back_before_it_was_sent_is_said_to_be() {
    let world = World::start().await;
    let mut ada = phone(&world, "ada").await;
    world.get("/v1/counts", &person("bob")).await;
    let receipt = world.publish(json!({ "type": "note", "audience": { "users": ["ada", "bob"] } })).await;
    let notification = ada.expect("notification").await;
    ada.ask(json!({ "type": "ack", "upTo": notification["cursor"] })).await;
    let path = format!("/v1/notifications/{}", id(&receipt));
    world.ok(Method::DELETE, &path, &service(), &Value::Null).await;
    // A device that comes afterwards is not sent it.
    let cursor = ada.hello["cursor"].as_str().unwrap().to_owned();
    let query = format!("/v1/ws?device=phone&cursor={cursor}&token={}", person("bob"));
    let mut bob = world.try_connect(&query).await.unwrap();
    bob.expect("caughtUp").await;
    let deliveries = world.get(&format!("{path}/deliveries"), &service()).await;
    let people = deliveries["people"].as_array().unwrap();
    let status = |number: usize| (&people[number]["status"], &people[number]["reason"]);
    assert_eq!(status(0), (&json!("delivered"), &Value::Null), "{deliveries}");
    assert_eq!(status(1), (&json!("dropped"), &json!("retracted")), "{deliveries}");
    assert_eq!(deliveries["totals"]["dropped"], 1);
    assert_says(&said(&world, &receipt, "bob").await, &["It was taken back from everybody at"]);
}

#[tokio::test]
async fn what_was_put_off_is_said_to_be_and_a_read_all_of_before_does_not_read_what_came_back() {
    let world = World::start().await;
    let mut ada = phone(&world, "ada").await;
    let receipt = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let notification = ada.expect("notification").await;
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
    ada.ask(json!({ "type": "snooze", "notifications": [id(&receipt)], "until": until.to_string() })).await;
    assert_says(&said(&world, &receipt, "ada").await, &["They have not read it.", "They put it off until"]);
    ada.ask(json!({ "type": "wake", "notifications": [id(&receipt)] })).await;
    ada.ask(json!({ "type": "read-all", "upTo": notification["cursor"] })).await;
    assert_says(&said(&world, &receipt, "ada").await, &["They have not read it.", "It is in their inbox."]);
}

#[tokio::test]
async fn what_is_held_until_its_time_is_said_to_be() {
    let world = World::start().await;
    for user in ["bob", "eve"] {
        member(&world, Method::PUT, user).await;
    }
    let audience = json!({ "users": ["ada"], "channels": ["topic:a"], "except": ["eve"] });
    let until = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let until = jiff::Timestamp::from_second(until.as_second()).unwrap().to_string();
    let later = json!({ "type": "note", "audience": audience, "deliverAt": until });
    let receipt = world.publish(later).await;
    let path = format!("/v1/notifications/{}/deliveries", id(&receipt));
    let deliveries = world.get(&path, &service()).await;
    assert_eq!(deliveries["heldUntil"], until);
    assert_eq!(
        (&deliveries["totals"]["routed"], &deliveries["people"].as_array().unwrap().len()),
        (&json!(0), &1)
    );
    for (user, status, words) in [
        ("ada", "held", "addressed by name, and gets it then"),
        ("bob", "held", "gets it if they still are then"),
        ("eve", "notRouted", "left out by the publisher"),
        ("carl", "notRouted", "not among those it is addressed to now"),
    ] {
        let one = world.get(&format!("{path}?user={user}"), &service()).await;
        assert_eq!(one["people"][0]["status"], status, "{user}: {one}");
        assert_says(
            &said(&world, &receipt, user).await,
            &[&format!("It is held until {until}: nobody has it yet."), words],
        );
    }
    let cancel = format!("/v1/notifications/{}", id(&receipt));
    world.ok(Method::DELETE, &cancel, &service(), &Value::Null).await;
    let (status, _) = world.send(Method::GET, &path, &service(), &Value::Null).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "what was cancelled is held no more");
}
