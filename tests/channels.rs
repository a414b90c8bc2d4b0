//! Which channels somebody may join, watch, read and publish to: every action by every kind of identity, on every way there
//! is, as the token and the operator's rules say, and not otherwise.

use std::collections::BTreeSet;
use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidings_engine::access::{Action, Rule, Rules, Scope, Who};
use tidings_engine::{Engine, Identity, Opening, Options, Resume, Tenant, UserId};

use crate::tokens::{by_own_secret, now};
use crate::world::{World, id};

const RULES: &str = r#"
[[channels]]
pattern = "team:{claim.org.teams}"
allow = ["join", "watch"]
for = ["users"]

[[channels]]
pattern = "desk:{user}-*"
allow = ["publish", "watch"]
for = ["users"]

[[channels]]
pattern = "user:{user}"
allow = ["publish"]
for = ["users"]

[[channels]]
pattern = "topic:open-*"
allow = ["watch", "read"]
for = ["role:SUPPORT", "role:LEAD"]

[[channels]]
pattern = "topic:{tenant}/*"
allow = ["publish"]
for = ["services"]

[[channels]]
pattern = "*"
allow = ["join", "watch", "read", "publish"]
for = ["scope:admin"]

[plugins.type-routes]
"routed" = ["topic:secret"]
"#;

/// A token of the server's own that says this, and what every token says.
fn says(mut claims: Value) -> String {
    claims["iat"] = json!(now());
    claims["exp"] = json!(now() + 3600);
    by_own_secret(&claims)
}

/// Who it is, what they show, and what they may do with channels.
type Somebody = (&'static str, String, Vec<(&'static str, &'static str)>);

/// What everybody may do: `j`oin, `w`atch, `r`ead and `p`ublish.
fn expected() -> Vec<Somebody> {
    vec![
        (
            "a user with teams",
            says(json!({ "sub": "ada", "org": { "teams": ["a", 7] }, "roles": ["PRO"], "sid": "s1" })),
            vec![
                ("team:a", "jw"),
                ("team:7", "jw"),
                ("team:b", ""),
                ("team:a2", ""),
                ("desk:ada-1", "wp"),
                ("desk:ad-1", ""),
                ("desk:bob-1", ""),
                ("user:ada", "p"),
                ("user:bob", ""),
                ("role:PRO", "w"),
                ("role:SUPPORT", ""),
                ("session:s1", "w"),
                ("session:s2", ""),
                ("everyone", ""),
                ("topic:open-1", ""),
                ("topic:default/x", ""),
            ],
        ),
        (
            "a user without any",
            says(json!({ "sub": "bob", "org": { "teams": [true, {}, ""] } })),
            vec![("team:a", ""), ("team:true", ""), ("desk:bob-", "wp"), ("user:bob", "p"), ("everyone", "")],
        ),
        (
            "a user with a role",
            says(json!({ "sub": "sam", "roles": ["SUPPORT"] })),
            vec![("topic:open-1", "wr"), ("topic:closed", ""), ("team:a", ""), ("role:SUPPORT", "w")],
        ),
        (
            "a user with patterns of the token's own",
            says(json!({ "sub": "pat", "channels": ["topic:*", "user:*", "role:*", "everyone"] })),
            vec![
                ("topic:open-1", "jw"),
                ("user:bob", ""),
                ("role:SUPPORT", "w"),
                ("everyone", "w"),
                ("team:a", ""),
                ("user:pat", "p"),
            ],
        ),
        (
            "a user with the scope publish",
            says(json!({ "sub": "pia", "scope": "publish" })),
            vec![
                ("topic:open-1", "p"),
                ("user:bob", "p"),
                ("everyone", "p"),
                ("team:a", "p"),
                ("desk:pia-1", "wp"),
            ],
        ),
        (
            "a user with the scope admin",
            says(json!({ "sub": "amy", "scope": "admin" })),
            vec![("topic:open-1", "jwrp"), ("user:bob", "rp"), ("everyone", "wrp"), ("role:SUPPORT", "wrp")],
        ),
        (
            "a service without scopes",
            says(json!({})),
            vec![
                ("topic:default/x", "p"),
                ("topic:other/x", ""),
                ("topic:open-1", ""),
                ("user:bob", ""),
                ("desk:-1", ""),
            ],
        ),
        (
            "a service with the scope publish",
            says(json!({ "scope": "publish" })),
            vec![("topic:open-1", "p"), ("user:bob", "p"), ("everyone", "p")],
        ),
        (
            "a service of another tenant",
            says(json!({ "tenant": "other" })),
            vec![("topic:default/x", ""), ("topic:other/x", "p")],
        ),
    ]
}

/// Whether something was permitted: it was done, or refused with 403 and nothing else.
fn is_permitted(what: &str, status: StatusCode, body: &Value) -> bool {
    assert!(status.is_success() || status == StatusCode::FORBIDDEN, "{what}: {status} {body}");
    status.is_success()
}

#[tokio::test]
async fn every_action_is_permitted_to_whom_it_should_be_and_to_nobody_else() {
    let world = World::with_configuration(RULES).await;
    for (who, token, channels) in expected() {
        let is_user = !["a service", "a service of"].iter().any(|start| who.starts_with(start));
        let mut device = if is_user { Some(world.connect(&token).await) } else { None };
        for (channel, allowed) in channels {
            let may = |action: char| allowed.contains(action);
            let at = |what: &str| format!("{who}: {what} {channel}");
            let of_channel = |rest: &str| format!("/v1/channels/{}/{rest}", channel.replace('/', "%2F"));
            // Publishing: alone, in a batch, and together with what is permitted.
            let note = |audience: Value| json!({ "type": "note", "audience": audience });
            let to = note(json!({ "channels": [channel] }));
            let (status, body) = world.send(Method::POST, "/v1/notifications", &token, &to).await;
            assert_eq!(is_permitted(&at("publish"), status, &body), may('p'), "{}: {body}", at("publish"));
            let (status, body) =
                world.send(Method::POST, "/v1/notifications/batch", &token, &json!([to, to])).await;
            let of = |index: usize| match status {
                StatusCode::FORBIDDEN => json!(403),
                _ => body["results"][index]["status"].clone(),
            };
            let results = [of(0), of(1)];
            let expected = if may('p') { json!(201) } else { json!(403) };
            assert_eq!(results, [expected.clone(), expected], "{}: {body}", at("publish twice"));
            if !may('p') && is_user {
                let user = channels_user(&token);
                let both = note(json!({ "channels": [channel], "users": [user] }));
                let (status, body) = world.send(Method::POST, "/v1/notifications", &token, &both).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{}: {body}", at("publish to oneself and"));
            }
            // Reading: who its members are.
            let (status, body) = world.send(Method::GET, &of_channel("members"), &token, &Value::Null).await;
            assert_eq!(is_permitted(&at("read"), status, &body), may('r'), "{}", at("read"));
            let Some(device) = &mut device else { continue };
            // Who may watch or read it may see who is online; so may a member, which nobody is here before they join.
            let command = |kind: &str| json!({ "type": kind, "channel": channel });
            let answer = device.ask(json!({ "type": "publish", "notification": to })).await;
            assert_eq!(answer["type"] != "error", may('p'), "{}: {answer}", at("publish by command"));
            let is_own_role =
                channel == "role:PRO" || (channel == "role:SUPPORT" && who == "a user with a role");
            if !is_own_role {
                let answer = device.ask(json!({ "type": "presence", "channel": channel })).await;
                assert_eq!(answer["type"] != "error", may('w') || may('r'), "{}: {answer}", at("presence"));
            }
            let answer = device.ask(command("watch")).await;
            assert_eq!(answer["type"] != "error", may('w'), "{}: {answer}", at("watch"));
            let cursor = device.hello["cursor"].as_str().unwrap();
            for path in
                [format!("/v1/events?watch={channel}"), format!("/v1/events?watch={channel}&cursor={cursor}")]
            {
                let answer = world.request(Method::GET, &path, &token).send().await.unwrap();
                let expected = if may('w') { StatusCode::OK } else { StatusCode::FORBIDDEN };
                assert_eq!(answer.status(), expected, "{}", at("watch from the start"));
            }
            let mut resuming = world.try_connect("/v1/ws").await.unwrap();
            let first = json!({ "type": "token", "token": token, "watch": [channel], "cursor": cursor });
            resuming.send(&first).await;
            let answer = resuming.next().await.unwrap();
            let expected = if may('w') { "hello" } else { "closing" };
            assert_eq!(answer["type"], expected, "{}: {answer}", at("resume and watch"));
            for kind in ["join", "leave"] {
                let answer = device.ask(command(kind)).await;
                assert_eq!(answer["type"] != "error", may('j'), "{}: {answer}", at(kind));
                let (status, body) = world.send(Method::POST, &of_channel(kind), &token, &Value::Null).await;
                assert_eq!(is_permitted(&at(kind), status, &body), may('j'), "{}: {body}", at(kind));
            }
        }
    }
}

fn channels_user(token: &str) -> Value {
    jsonwebtoken::dangerous::insecure_decode_claims::<Value>(token).unwrap()["sub"].clone()
}

#[tokio::test]
async fn a_rule_that_adds_somebody_opens_no_channel_and_a_narrow_publisher_changes_only_its_own() {
    let world = World::with_configuration(RULES).await;
    let (ada, service) = (says(json!({ "sub": "ada" })), says(json!({ "scope": "publish" })));
    let narrow = says(json!({}));
    // The routing rule would add a channel to which Ada may not publish.
    let routed = json!({ "type": "routed", "audience": {} });
    let (status, body) = world.send(Method::POST, "/v1/notifications", &ada, &routed).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    world.post("/v1/notifications", &service, routed).await;
    let note =
        |channel: &str| json!({ "type": "n", "title": "canary", "audience": { "channels": [channel] } });
    let own = id(&world.post("/v1/notifications", &narrow, note("topic:default/x")).await);
    let other = id(&world.post("/v1/notifications", &service, note("topic:a")).await);
    let revision = json!({ "title": "changed" });
    for (method, body) in [(Method::PUT, &revision), (Method::DELETE, &Value::Null)] {
        for (id, expected) in [(&other, StatusCode::FORBIDDEN), (&own, StatusCode::OK)] {
            let (status, answer) =
                world.send(method.clone(), &format!("/v1/notifications/{id}"), &narrow, body).await;
            assert_eq!(status, expected, "{method}: {answer}");
        }
    }
    // Nor does it see, or cancel, what others have scheduled, nor the answer to what others have published.
    let later = |channel: &str, key: &str| {
        json!({ "type": "n", "title": "canary", "deliverAt": "2099-01-01T00:00:00Z", "expiresAt": null,
                "idempotencyKey": key, "audience": { "channels": [channel] } })
    };
    let at = jiff::Timestamp::from_second(now() as i64 + 86_400).unwrap().to_string();
    for (token, channel, key) in [(&service, "topic:a", "theirs"), (&narrow, "topic:default/x", "own")] {
        let mut scheduled = later(channel, key);
        scheduled["deliverAt"] = json!(at);
        scheduled.as_object_mut().unwrap().remove("expiresAt");
        world.post("/v1/notifications", token, scheduled.clone()).await;
        let (status, _) = world.send(Method::POST, "/v1/notifications", &ada, &scheduled).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        if key == "theirs" {
            let (status, _) = world.send(Method::POST, "/v1/notifications", &narrow, &scheduled).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "not even that it was published");
        }
    }
    let listed = world.get("/v1/scheduled", &narrow).await["items"].as_array().unwrap().len();
    assert_eq!(
        (listed, world.get("/v1/scheduled", &service).await["items"].as_array().unwrap().len()),
        (1, 2)
    );
    for (key, expected) in [("theirs", StatusCode::FORBIDDEN), ("own", StatusCode::OK)] {
        let (status, answer) =
            world.send(Method::DELETE, &format!("/v1/scheduled?key={key}"), &narrow, &Value::Null).await;
        assert_eq!(status, expected, "{answer}");
    }
    // A source that is not theirs takes no key of those whose it is.
    let event = |token: &str| {
        let event = json!({ "specversion": "1.0", "id": "1", "source": "/bookings", "type": "n",
                            "data": { "audience": { "users": ["ada"] } } });
        let request = world.request(Method::POST, "/v1/notifications", token);
        request.header("content-type", "application/cloudevents+json").body(event.to_string()).send()
    };
    assert_eq!(event(&ada).await.unwrap().status(), StatusCode::CREATED);
    assert_eq!(event(&service).await.unwrap().status(), StatusCode::CREATED, "not a duplicate of hers");
}

#[tokio::test]
async fn other_rules_count_at_once_also_for_those_who_are_connected() {
    let directory = tempfile::tempdir().unwrap();
    let rule = |pattern: &str| Rule {
        pattern: pattern.parse().unwrap(),
        allow: vec![Action::Watch, Action::Join],
        to: vec![Who::Users],
    };
    let rules: Rules = [rule("topic:a"), rule("topic:b")].into_iter().collect();
    let options = Options { rules, ..Options::new(directory.path()) };
    let engine = Engine::start(options).await.unwrap();
    let ada = Arc::new(Identity::person(Tenant::default(), UserId::new("ada").unwrap()));
    let channel = |text: &str| text.parse::<tidings_engine::Channel>().unwrap();
    let opening =
        || Opening { watches: vec![channel("topic:a"), channel("topic:b")], ..Opening::new("test") };
    let (mut device, hello) = engine.subscribe(&ada, opening()).await.unwrap();
    let publish = async |to: &str| {
        let draft = json!({ "type": "n", "inbox": false, "audience": { "channels": [to] } });
        let draft: tidings_engine::Draft = serde_json::from_value(draft).unwrap();
        engine.publish(&Identity::service(Tenant::default()), draft.into()).await.unwrap().position
    };
    let first = publish("topic:a").await;
    assert_eq!(device.next().await.unwrap().position(), first);

    engine.govern([rule("topic:b")].into_iter().collect()).await;
    publish("topic:a").await;
    let second = publish("topic:b").await;
    assert_eq!(
        device.next().await.unwrap().position(),
        second,
        "nothing came of what it may watch no longer"
    );
    assert!(engine.watch(&ada, device.id(), channel("topic:a")).await.is_err());
    assert!(engine.join(&ada, &channel("topic:a")).await.is_err());
    let resume = Some(Resume { cursor: hello.cursor, most: 100 });
    assert!(engine.subscribe(&ada, Opening { resume, ..opening() }).await.is_err(), "nor when it comes back");

    engine.govern(Rules::default()).await;
    publish("topic:b").await;
    engine.settle().await.unwrap();
    assert!(device.try_next().is_none(), "without rules nothing is permitted");
    engine.shutdown().await;
}

#[test]
fn what_is_no_pattern_action_or_somebody_is_refused() {
    for bad in [
        "",
        "topic",
        "top*",
        "topic:",
        "topic:a b",
        "{user}",
        "topic:{name}",
        "topic:{claim.}",
        "topic:{user",
        "a}:x",
    ] {
        assert!(bad.parse::<tidings_engine::access::Template>().is_err(), "{bad}");
    }
    for good in
        ["*", "everyone", "topic:*", "*:x", "user:{user}", "{claim.kind}:*", "a:{claim.a.b}-*-{tenant}"]
    {
        assert_eq!(good.parse::<tidings_engine::access::Template>().unwrap().to_string(), good);
    }
    for bad in ["", "user", "everybody", "role:", "scope:all", "role:A B"] {
        assert!(bad.parse::<Who>().is_err(), "{bad}");
    }
    assert_eq!("scope:admin".parse::<Who>().unwrap(), Who::Scope(Scope::Admin));
    let names: BTreeSet<&str> = Action::ALL.iter().map(|action| action.as_str()).collect();
    assert!(names.iter().all(|name| name.parse::<Action>().is_ok()) && "see".parse::<Action>().is_err());
}

#[tokio::test]
async fn a_server_with_a_rule_that_is_none_does_not_start_and_says_where() {
    for (rule, expected) in [
        ("pattern = 'topic'\nallow = ['join']\nfor = ['users']", ["channels[0]", "pattern: got topic"]),
        ("pattern = 'topic:*'\nallow = ['join']\nfor = ['all']", ["channels[0]", "for: got all"]),
    ] {
        let world = World::prepared(&format!("[[channels]]\n{rule}\n"));
        let output = world.serve().output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && expected.iter().all(|part| said.contains(part)), "{said}");
    }
}
