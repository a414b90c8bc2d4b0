//! Nobody sees what is not theirs (promise 8): random users and channels, on every way there is.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tidings_http::token::Grant;

use crate::world::{Device, World, id, ids, person, service, token};

const USERS: [&str; 5] = ["u0", "u1", "u2", "u3", "u4"];
const CHANNELS: [&str; 4] = ["topic:a", "topic:b", "topic:c", "everyone"];

#[derive(Clone, Debug)]
struct Plan {
    members: Vec<BTreeSet<usize>>,
    watchers: Vec<BTreeSet<usize>>,
    publishes: Vec<(BTreeSet<usize>, BTreeSet<usize>)>,
}

fn plan() -> impl Strategy<Value = Plan> {
    let users = || prop::collection::btree_set(0..USERS.len(), 0..4);
    let channels = prop::collection::btree_set(0..CHANNELS.len(), 0..3);
    (
        prop::collection::vec(users(), 3),
        prop::collection::vec(users(), 3),
        prop::collection::vec((users(), channels), 8..16),
    )
        .prop_map(|(members, watchers, publishes)| Plan { members, watchers, publishes })
}

/// Whom a publish concerns: as members, and as those who only watch.
fn concerned(
    plan: &Plan,
    users: &BTreeSet<usize>,
    channels: &BTreeSet<usize>,
) -> (BTreeSet<usize>, BTreeSet<usize>) {
    let everyone: BTreeSet<usize> = (0..USERS.len()).collect();
    let (mut theirs, mut watched) = (users.clone(), BTreeSet::new());
    for channel in channels {
        theirs.extend(plan.members.get(*channel).unwrap_or(&everyone));
        watched.extend(plan.watchers.get(*channel).into_iter().flatten());
    }
    (theirs, watched)
}

async fn nobody_gets_what_is_not_theirs(plan: Plan) {
    let world = World::start().await;
    let mut devices: Vec<Device> = Vec::new();
    for user in USERS {
        devices.push(world.connect(&person(user)).await);
    }
    for (channel, (members, watchers)) in plan.members.iter().zip(&plan.watchers).enumerate() {
        for user in members {
            let join = json!({ "type": "join", "channel": CHANNELS[channel] });
            assert_ne!(devices[*user].ask(join).await["type"], "error");
        }
        for user in watchers {
            let watch = json!({ "type": "watch", "channel": CHANNELS[channel] });
            assert_ne!(devices[*user].ask(watch).await["type"], "error");
        }
    }
    let mut live: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut kept: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    let mut everything = Vec::new();
    for (users, channels) in
        plan.publishes.iter().filter(|(users, channels)| users.len() + channels.len() > 0)
    {
        let names = |numbers: &BTreeSet<usize>, of: &[&str]| {
            numbers.iter().map(|n| of[*n].to_owned()).collect::<Vec<_>>()
        };
        let audience = json!({ "users": names(users, &USERS), "channels": names(channels, &CHANNELS) });
        let id = id(&world.publish(json!({ "type": "note", "title": "canary", "audience": audience })).await);
        let (theirs, watched) = concerned(&plan, users, channels);
        theirs.iter().for_each(|user| kept.entry(*user).or_default().push(id.clone()));
        theirs.union(&watched).for_each(|user| live.entry(*user).or_default().push(id.clone()));
        everything.push(id);
    }
    for (number, device) in devices.iter_mut().enumerate() {
        let token = person(USERS[number]);
        assert_eq!(
            device.notifications().await,
            live.remove(&number).unwrap_or_default(),
            "live for {number}"
        );
        let mut kept = kept.remove(&number).unwrap_or_default();
        for id in &everything {
            let is_theirs = kept.contains(id);
            let expected = if is_theirs { StatusCode::OK } else { StatusCode::NOT_FOUND };
            let (status, body) =
                world.send(Method::GET, &format!("/v1/inbox/{id}"), &token, &Value::Null).await;
            assert_eq!(status, expected, "one of {number}");
            assert!(is_theirs || !body.to_string().contains("canary"));
            if !is_theirs {
                let read = json!({ "notifications": [id] });
                let (status, _) = world.send(Method::POST, "/v1/inbox/read", &token, &read).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "to read what is not theirs");
            }
        }
        kept.reverse();
        let page = world.get("/v1/inbox?limit=100", &token).await;
        assert_eq!(page["unread"], kept.len(), "counts of {number}");
        assert_eq!(ids(&page), kept, "list of {number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, max_shrink_iters: 30, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nobody_receives_lists_or_counts_what_is_not_theirs(plan in plan()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(nobody_gets_what_is_not_theirs(plan));
    }
}

#[tokio::test]
async fn tenants_know_nothing_of_each_other() {
    let world = World::start().await;
    let of = |tenant: &str, user: Option<&str>, scopes: &[&str]| {
        token(&Grant {
            tenant: Some(tenant.to_owned()),
            user: user.map(str::to_owned),
            channels: vec!["topic:*".to_owned()],
            scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
            ..Grant::default()
        })
    };
    let (ours, theirs) = (of("ours", Some("ada"), &[]), of("theirs", Some("ada"), &[]));
    let (our_admin, their_admin) =
        (of("ours", None, &["publish", "admin"]), of("theirs", None, &["publish", "admin"]));
    let (mut our_device, mut their_device) = (world.connect(&ours).await, world.connect(&theirs).await);
    for device in [&mut our_device, &mut their_device] {
        device.ask(json!({ "type": "join", "channel": "topic:a" })).await;
        device.ask(json!({ "type": "watch", "channel": "topic:b" })).await;
    }
    let mut published = Vec::new();
    for audience in [
        json!({ "users": ["ada"] }),
        json!({ "channels": ["topic:a"] }),
        json!({ "channels": ["topic:b"] }),
        json!({ "channels": ["everyone", "topic:a"] }),
    ] {
        let body = json!({ "type": "note", "title": "canary", "idempotencyKey": "k", "audience": audience });
        let (status, answer) = world.send(Method::POST, "/v1/notifications", &our_admin, &body).await;
        if status.is_success() {
            published.push(id(&answer));
        }
        let mut body = body;
        body["idempotencyKey"] = json!(audience.to_string());
        published.push(id(&world.post("/v1/notifications", &our_admin, body).await));
    }
    assert_eq!(our_device.notifications().await.len(), 5);

    let mut seen = json!({ "live": their_device.heard().await });
    for path in [
        "/v1/inbox",
        "/v1/counts?by=type",
        "/v1/counts?by=channel",
        &format!("/v1/inbox/{}", published[0]),
        "/v1/channels/topic:a/presence",
    ] {
        seen[path] = world.send(Method::GET, path, &theirs, &Value::Null).await.1;
    }
    for path in ["/v1/log", "/v1/presence", "/v1/channels/topic:a/members", "/v1/channels/everyone/members"] {
        seen[path] = world.get(path, &their_admin).await;
    }
    assert!(!seen.to_string().contains("canary"), "{seen}");
    assert_eq!(seen["/v1/presence"]["connections"], 1);
    assert_eq!(seen["/v1/inbox"]["unread"], 0);
    // The same key of another tenant is another key.
    let body = json!({ "type": "note", "idempotencyKey": "k", "audience": { "users": ["ada"] } });
    assert_eq!(world.post("/v1/notifications", &their_admin, body).await["duplicate"], false);
}

#[tokio::test]
async fn what_a_token_does_not_allow_is_refused() {
    let world = World::start().await;
    let ada = person("ada");
    let note = json!({ "type": "note", "audience": { "users": ["bob"] } });
    for (method, path, body) in [
        (Method::POST, "/v1/notifications", note.clone()),
        (Method::POST, "/v1/notifications/batch", json!([note])),
        (Method::GET, "/v1/log", Value::Null),
        (Method::GET, "/v1/presence", Value::Null),
        (Method::GET, "/v1/channels/topic:a/members", Value::Null),
        (Method::POST, "/v1/channels/topic:a/members", json!({ "add": ["ada"] })),
        (Method::PUT, "/v1/channels/topic:a/members/ada", Value::Null),
        (Method::DELETE, "/v1/channels/topic:a/members/ada", Value::Null),
        (Method::POST, "/v1/channels/role:ADMIN/join", Value::Null),
        (Method::POST, "/v1/channels/other:x/join", Value::Null),
        (Method::GET, "/v1/channels/role:ADMIN/presence", Value::Null),
    ] {
        let (status, problem) = world.send(method.clone(), path, &ada, &body).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path}: {problem}");
        assert_eq!(problem["type"], "urn:tidings:problem:forbidden", "{method} {path}");
    }
    let (status, _) = world.send(Method::GET, "/v1/inbox", &service(), &Value::Null).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "a service has no inbox");
    let mut device = world.connect(&ada).await;
    for command in [
        json!({ "type": "publish", "notification": note }),
        json!({ "type": "watch", "channel": "user:bob" }),
        json!({ "type": "watch", "channel": "role:ADMIN" }),
        json!({ "type": "watch", "channel": "session:s2" }),
        json!({ "type": "join", "channel": "everyone" }),
        json!({ "type": "join", "channel": "other:x" }),
        json!({ "type": "leave", "channel": "role:ADMIN" }),
        json!({ "type": "presence" }),
    ] {
        let answer = device.ask(command.clone()).await;
        assert_eq!(answer["problem"]["status"], 403, "{command}: {answer}");
    }
    assert_eq!(world.log().await.len(), 2, "nothing was done: the server started, and Ada came");
}
