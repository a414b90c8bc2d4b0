//! Everything that may be asked of a server: each request of HTTP and each command, with content as chance has it.

use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};

use super::party::{Known, Party};
use crate::disk::Chance;

/// Who asks.
#[derive(Clone, Copy)]
pub enum Who {
    /// A user whose name both have, with all scopes.
    Ada,
    /// Another one, without.
    Bob,
    /// A user of the tenant's own.
    Own,
    /// A service by its token, with every scope.
    Service,
    /// A service by its key.
    Key,
    /// Without a token.
    Nobody,
}

/// A request.
pub struct Ask {
    pub method: Method,
    pub path: String,
    pub who: Who,
    pub content: &'static str,
    pub body: Value,
}

fn ask(method: Method, path: impl Into<String>, who: Who, body: Value) -> Ask {
    Ask { method, path: path.into(), who, content: "application/json", body }
}

fn get(path: impl Into<String>, who: Who) -> Ask {
    ask(Method::GET, path, who, Value::Null)
}

fn post(path: impl Into<String>, who: Who, body: Value) -> Ask {
    ask(Method::POST, path, who, body)
}

fn one<T: Clone>(of: &[T], chance: &mut Chance) -> T {
    of[chance.below(of.len())].clone()
}

fn within(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

/// An id of one's own, now and then one of theirs, or of nobody's.
fn id(own: &[String], theirs: &[String], chance: &mut Chance) -> String {
    let from = if chance.below(4) == 0 { theirs } else { own };
    from.get(chance.below(from.len()))
        .cloned()
        .unwrap_or_else(|| "0190f0a2-7c1e-7b3a-9f57-2f1c54d3a001".to_owned())
}

fn content(party: &Party) -> Value {
    let (name, text, count) = (party.name, party.text, party.count);
    json!({
        "title": format!("{text} title {count}"), "body": format!("a body of {text}"), "priority": text,
        "data": { format!("{text}Key"): [{ "deep": text }] }, "tags": ["shared", format!("{name}-tag")],
        "action": { "url": format!("/{text}/{count}"), "text": format!("open {text}") },
    })
}

/// A notification as chance has it, to names that both have and to own ones.
fn note(party: &Party, chance: &mut Chance) -> Value {
    let (name, mut note) = (party.name, content(party));
    note["type"] = json!(one(&["note".to_owned(), format!("{name}.type")], chance));
    note["audience"] = one(
        &[
            json!({ "users": ["ada"] }),
            json!({ "users": ["ada", "bob", format!("{name}-user")] }),
            json!({ "channels": ["topic:shared"], "except": ["bob"] }),
            json!({ "channels": [format!("topic:{name}"), "topic:shared"] }),
            json!({ "channels": ["everyone"] }),
            json!({ "channels": ["role:PRO", format!("role:{name}-role")], "users": ["ada"] }),
            json!({ "channels": ["session:s1", "user:ada"] }),
        ],
        chance,
    );
    match chance.below(6) {
        0 => note["idempotencyKey"] = json!(format!("key-{}", chance.below(8))),
        1 => note["idempotencyKey"] = json!(format!("{name}-key-{}", chance.below(1_000))),
        2 => note["collapseKey"] = json!("shared"),
        3 => note["expiresAt"] = json!(within(2)),
        4 => note["deliverAt"] = json!(within(1)),
        _ => {}
    }
    note
}

/// Each request that there is.
pub fn requests(party: &Party, theirs: &Known, chance: &mut Chance) -> Vec<Ask> {
    let (name, text, known) = (party.name, party.text, &party.known);
    let service = if chance.coin() { Who::Service } else { Who::Key };
    let published = id(&known.ids, &theirs.ids, chance);
    let in_inbox = id(&known.inbox, &theirs.ids, chance);
    let these = json!({ "notifications": [in_inbox] });
    let channel = one(&["topic:shared".to_owned(), format!("topic:{name}"), "everyone".to_owned()], chance);
    let joined = one(&["topic:shared".to_owned(), format!("topic:{name}")], chance);
    let someone = one(&["ada".to_owned(), "bob".to_owned(), format!("{name}-user")], chance);
    let who = one(&[Who::Ada, Who::Ada, Who::Bob, Who::Own], chance);
    let mut later = note(party, chance);
    later["idempotencyKey"] = json!(format!("{name}-later-{}", party.count));
    later["deliverAt"] = json!(within(3_600));
    let filter = one(
        &[
            String::new(),
            format!("?limit=100&unread=true&type={name}.type"),
            "?archived=true".to_owned(),
            "?snoozed=true".to_owned(),
            "?pinned=true&tag=shared".to_owned(),
            "?channel=topic:shared&cursor=500".to_owned(),
        ],
        chance,
    );
    let mut revision = content(party);
    revision.as_object_mut().unwrap().remove("priority").filter(|_| chance.coin());
    let event = json!({ "specversion": "1.0", "id": format!("e-{}", chance.below(9)), "source": "/shared", "type": "note",
        "data": { "title": format!("{text} event"), "audience": { "users": ["ada"] } } });
    let mut asks = vec![
        post("/v1/notifications", service, note(party, chance)),
        post("/v1/notifications", who, note(party, chance)),
        post("/v1/notifications", service, later),
        post(
            "/v1/notifications/batch",
            service,
            json!([note(party, chance), note(party, chance), { "type": text }]),
        ),
        Ask { content: "application/cloudevents+json", ..post("/v1/notifications", service, event) },
        ask(Method::PUT, format!("/v1/notifications/{published}"), service, revision),
        ask(Method::DELETE, format!("/v1/notifications/{published}"), service, Value::Null),
        get(format!("/v1/notifications/{published}/deliveries"), service),
        get(format!("/v1/notifications/{published}/deliveries?user={someone}"), service),
        get(format!("/v1/notifications/{published}/explain?user={someone}"), service),
        get(format!("/v1/notifications/{in_inbox}/link?user=ada"), service),
        get("/v1/scheduled?limit=100", service),
        ask(
            Method::DELETE,
            format!("/v1/scheduled?key={}", known.key.as_deref().unwrap_or("key-1")),
            Who::Key,
            Value::Null,
        ),
        ask(
            Method::DELETE,
            format!("/v1/scheduled?key={}", known.key.as_deref().unwrap_or("key-1")),
            Who::Service,
            Value::Null,
        ),
        get("/v1/inbox?limit=100", Who::Ada),
        get(format!("/v1/inbox{filter}"), who),
        get(format!("/v1/inbox/{in_inbox}"), Who::Ada),
        get(format!("/v1/inbox/{in_inbox}/link"), Who::Ada),
        ask(Method::DELETE, format!("/v1/inbox/{in_inbox}"), Who::Ada, Value::Null),
        post("/v1/inbox/read-all", who, json!({ "upTo": chance.below(400) })),
        post("/v1/inbox/seen", who, json!({ "upTo": chance.below(400) })),
        post("/v1/inbox/snooze", Who::Ada, json!({ "notifications": [in_inbox], "until": within(2) })),
        post("/v1/inbox/wake", Who::Ada, these.clone()),
        get(format!("/v1/counts{}", one(&["", "?by=type", "?by=channel"], chance)), who),
        get(known.link.clone().unwrap_or_else(|| "/v1/click/none".to_owned()), Who::Nobody),
        get(format!("/v1/channels/{channel}/members?limit=1000"), service),
        post(
            format!("/v1/channels/{joined}/members"),
            service,
            json!({ "add": [someone], "remove": ["nobody"] }),
        ),
        ask(Method::PUT, format!("/v1/channels/{joined}/members/{someone}"), service, Value::Null),
        ask(Method::DELETE, format!("/v1/channels/{joined}/members/{someone}"), service, Value::Null),
        post(format!("/v1/channels/{joined}/join"), who, Value::Null),
        post(format!("/v1/channels/{joined}/leave"), who, Value::Null),
        get(format!("/v1/channels/{joined}/presence"), who),
        get("/v1/presence", service),
        get(
            format!("/v1/stats?by={}", one(&["type", "channel", "transport", "type,channel"], chance)),
            service,
        ),
        get(format!("/v1/log?after={}&limit=1000", chance.below(200)), service),
        post("/v1/tickets", who, Value::Null),
        get("/metrics", Who::Service),
        post(
            one(&["/v1/admin/rebuild", "/v1/admin/rebuild?from=snapshot"], chance),
            Who::Service,
            Value::Null,
        ),
        post("/v1/admin/snapshot", Who::Service, Value::Null),
        get("/health/live", Who::Nobody),
        get("/health/ready", Who::Nobody),
        // What is wrong is answered, too.
        post(
            "/v1/notifications",
            service,
            json!({ "type": format!("{text} is none"), text: text, "title": [text] }),
        ),
        post("/v1/inbox/read", who, json!({ "notifications": [text] })),
        get(format!("/v1/{text}"), who),
        get("/v1/inbox", Who::Service),
        get("/v1/log", Who::Bob),
        get("/v1/presence", Who::Nobody),
        ask(Method::DELETE, "/v1/counts", who, Value::Null),
    ];
    for change in ["read", "clicked", "unread", "archive", "unarchive", "pin", "unpin", "delete"] {
        asks.push(post(format!("/v1/inbox/{change}"), Who::Ada, these.clone()));
    }
    asks
}

/// Each command that there is.
pub fn commands(party: &Party, theirs: &Known, chance: &mut Chance) -> Vec<Value> {
    let (name, known) = (party.name, &party.known);
    let in_inbox = id(&known.inbox, &theirs.ids, chance);
    let joined = one(&["topic:shared".to_owned(), format!("topic:{name}")], chance);
    let mut commands = vec![
        json!({ "type": "ack" }),
        json!({ "type": "ping" }),
        json!({ "type": "token", "token": party.token(one(&[Who::Ada, Who::Bob, Who::Own], chance)) }),
        json!({ "type": "read-all" }),
        json!({ "type": "seen" }),
        json!({ "type": "snooze", "notifications": [in_inbox], "until": within(2) }),
        json!({ "type": "wake", "notifications": [in_inbox] }),
        json!({ "type": "inbox", "limit": 100 }),
        json!({ "type": "counts", "by": "channel" }),
        json!({ "type": "join", "channel": joined }),
        json!({ "type": "leave", "channel": joined }),
        json!({ "type": "watch", "channel": joined }),
        json!({ "type": "unwatch", "channel": joined }),
        json!({ "type": "presence", "channel": joined }),
        json!({ "type": "presence" }),
        json!({ "type": "publish", "notification": note(party, chance) }),
        json!({ "type": party.text }),
    ];
    for change in ["read", "clicked", "unread", "archive", "unarchive", "pin", "unpin", "delete"] {
        commands.push(json!({ "type": change, "notifications": [in_inbox] }));
    }
    commands
}

/// What can be asked for by the name of another tenant's things without leaving a trace.
pub fn intrusions(other: &str, known: &Known) -> Vec<Ask> {
    let own = known.ids.last().cloned().unwrap_or_default();
    vec![
        get(format!("/v1/channels/topic:{other}/members"), Who::Key),
        get(format!("/v1/channels/topic:{other}/presence"), Who::Ada),
        get(format!("/v1/channels/role:{other}-role/members"), Who::Service),
        get(format!("/v1/inbox?type={other}.type"), Who::Ada),
        get(format!("/v1/inbox?tag={other}-tag"), Who::Ada),
        get(format!("/v1/inbox?channel=topic:{other}"), Who::Ada),
        get(format!("/v1/notifications/{own}/explain?user={other}-user"), Who::Key),
        get(format!("/v1/notifications/{own}/deliveries?user={other}-user"), Who::Key),
        ask(Method::DELETE, format!("/v1/scheduled?key={other}-key-1"), Who::Key, Value::Null),
    ]
}
