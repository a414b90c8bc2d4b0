//! Clicks: by command and by link, each counted once, and a link leads nowhere but to the action.

use reqwest::{Method, StatusCode, header, redirect};
use serde_json::{Value, json};

use crate::world::{World, id, person, service, token};

async fn note(world: &World, action: &str) -> Value {
    let action = json!({ "url": action, "text": "Open" });
    world.publish(json!({ "type": "note", "audience": { "users": ["ada"] }, "action": action })).await
}

/// Follows a link as a browser that has never heard of tokens, up to where it leads.
async fn follow(world: &World, link: &str) -> (StatusCode, Option<String>) {
    let browser = reqwest::Client::builder().redirect(redirect::Policy::none()).build().unwrap();
    let answer = browser.get(world.url(link)).send().await.unwrap();
    let location = answer.headers().get(header::LOCATION).map(|url| url.to_str().unwrap().to_owned());
    (answer.status(), location)
}

async fn clicks(world: &World) -> Vec<Value> {
    world.log().await.into_iter().filter(|event| event["type"] == "Clicked").collect()
}

#[tokio::test]
async fn a_click_counts_once_and_who_clicked_has_read() {
    let world = World::start().await;
    let ada = person("ada");
    let mut device = world.connect(&ada).await;
    let receipt = note(&world, "/bookings/17").await;
    let click = json!({ "type": "clicked", "notifications": [id(&receipt)] });
    let done = device.ask(click.clone()).await;
    assert!(done["position"].as_u64() > receipt["position"].as_u64(), "{done}");
    device.ask(click).await;
    world.post("/v1/inbox/clicked", &ada, json!({ "notifications": [id(&receipt)] })).await;
    assert_eq!(clicks(&world).await.len(), 1, "the first one counts");
    assert_eq!(world.get("/v1/counts", &ada).await["unread"], 0);
    let said = world.get(&format!("/v1/notifications/{}/deliveries", id(&receipt)), &service()).await;
    assert_eq!((&said["totals"]["clicked"], &said["people"][0]["status"]), (&json!(1), &json!("clicked")));
    assert!(said["people"][0]["clickedAt"].is_string());
    let not_theirs = json!({ "notifications": [id(&receipt)] });
    let (status, _) = world.send(Method::POST, "/v1/inbox/clicked", &person("eve"), &not_theirs).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_link_records_the_click_and_leads_to_the_action_only() {
    let world = World::with_configuration("[delivery]\naction-base = \"https://app.example/\"").await;
    let ada = person("ada");
    let receipt = note(&world, "/bookings/17?a=b").await;
    let link = world.get(&format!("/v1/inbox/{}/link", id(&receipt)), &ada).await["link"].clone();
    let link = link.as_str().unwrap();
    let by_service =
        world.get(&format!("/v1/notifications/{}/link?user=ada", id(&receipt)), &service()).await;
    assert_eq!(by_service["link"], link, "the service that sends the mail gets the same");
    let there = (StatusCode::SEE_OTHER, Some("https://app.example/bookings/17?a=b".to_owned()));
    assert_eq!(follow(&world, link).await, there);
    assert_eq!(follow(&world, &format!("{link}?url=https://evil.example")).await, there, "and nowhere else");
    assert_eq!(clicks(&world).await.len(), 1);
    assert_eq!(world.get("/v1/counts", &ada).await["unread"], 0);

    let elsewhere = note(&world, "https://elsewhere.example/x").await;
    let other = world.get(&format!("/v1/inbox/{}/link", id(&elsewhere)), &ada).await["link"].clone();
    let other = other.as_str().unwrap();
    assert_eq!(follow(&world, other).await.1.unwrap(), "https://elsewhere.example/x");
    // Whoever deleted it may still have the mail.
    world.ok(Method::DELETE, &format!("/v1/inbox/{}", id(&elsewhere)), &ada, &Value::Null).await;
    assert_eq!(follow(&world, other).await.0, StatusCode::SEE_OTHER);
    assert_eq!(clicks(&world).await.len(), 2);
}

#[tokio::test]
async fn a_link_leads_where_the_action_leads_now_and_nowhere_once_it_is_taken_back() {
    let world = World::start().await;
    let receipt = note(&world, "https://app.example/old").await;
    let link = world.get(&format!("/v1/inbox/{}/link", id(&receipt)), &person("ada")).await["link"].clone();
    let (link, path) = (link.as_str().unwrap(), format!("/v1/notifications/{}", id(&receipt)));
    let revision = json!({ "title": "Moved", "action": { "url": "https://app.example/new" } });
    world.ok(Method::PUT, &path, &service(), &revision).await;
    let there = (StatusCode::SEE_OTHER, Some("https://app.example/new".to_owned()));
    assert_eq!(follow(&world, link).await, there);
    world.ok(Method::DELETE, &path, &service(), &Value::Null).await;
    assert_eq!(follow(&world, link).await, (StatusCode::NOT_FOUND, None));
}

#[tokio::test]
async fn nobody_makes_a_link_of_what_is_not_theirs_and_a_link_opens_nothing_else() {
    let world = World::start().await;
    let receipt = note(&world, "/bookings/17").await;
    let path = format!("/v1/inbox/{}/link", id(&receipt));
    assert_eq!(world.send(Method::GET, &path, &person("eve"), &Value::Null).await.0, StatusCode::NOT_FOUND);
    let path_for = format!("/v1/notifications/{}/link", id(&receipt));
    for (query, token, expected) in [
        ("?user=ada", person("ada"), StatusCode::FORBIDDEN),
        ("?user=eve", service(), StatusCode::NOT_FOUND),
        ("", service(), StatusCode::UNPROCESSABLE_ENTITY),
        (
            "?user=ada",
            token(&tidings_http::token::Grant {
                tenant: Some("other".to_owned()),
                scopes: vec!["publish".to_owned()],
                ..Default::default()
            }),
            StatusCode::NOT_FOUND,
        ),
    ] {
        let (status, _) = world.send(Method::GET, &format!("{path_for}{query}"), &token, &Value::Null).await;
        assert_eq!(status, expected, "{query}");
    }
    let link = world.get(&path, &person("ada")).await["link"].as_str().unwrap().to_owned();
    let signed = link.strip_prefix("/v1/click/").unwrap();
    assert_eq!(
        world.send(Method::GET, "/v1/inbox", signed, &Value::Null).await.0,
        StatusCode::UNAUTHORIZED,
        "a link is no token"
    );
    for bad in [person("ada"), service(), "x".to_owned(), format!("{signed}x")] {
        assert_eq!(follow(&world, &format!("/v1/click/{bad}")).await, (StatusCode::NOT_FOUND, None));
    }
    assert!(clicks(&world).await.is_empty());
    let without = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    let link = world.get(&format!("/v1/inbox/{}/link", id(&without)), &person("ada")).await["link"].clone();
    assert_eq!(follow(&world, link.as_str().unwrap()).await.0, StatusCode::NOT_FOUND, "there is no action");
}
