//! Resume is exact (promise 3): whenever a device comes back, however long it was away and however it comes, it ends up
//! with what the model has.

pub mod client;

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_config::TokenSettings;
use tidings_engine::inbox::InboxQuery;
use tidings_engine::transport::Transport;
use tidings_engine::{Engine, Identity, Options, Position, Tenant};
use tidings_http::Http;
use tidings_http::token::Tokens;
use tidings_sse::EventStreams;
use tidings_ws::WebSockets;
use tokio_util::sync::CancellationToken;

use crate::histories::model::{Filter, Model};
use crate::histories::steps::{Step, history, user};
use crate::world::{SECRET, World, id, person};
use client::{Client, Connection, Way};

/// Histories in all: three tests share them.
const HISTORIES: u32 = 300;

/// An engine behind real sockets, in this process.
struct Served {
    engine: Engine,
    address: String,
    shutdown: CancellationToken,
}

impl Served {
    async fn start(options: Options) -> Self {
        let engine = Engine::start(options).await.unwrap();
        let tokens = Tokens::new(&TokenSettings::default(), SECRET.as_bytes()).unwrap();
        let http = Http::bind("127.0.0.1:0".parse().unwrap(), tokens).await.unwrap();
        let (address, shutdown) = (http.address().to_string(), CancellationToken::new());
        let http = Box::new(http.with(WebSockets).with(EventStreams));
        tokio::spawn(http.run(engine.clone(), shutdown.clone()));
        Self { engine, address, shutdown }
    }

    /// The device comes back for `patience` messages, or until it has everything.
    async fn visit(&self, client: &mut Client, way: Way, patience: usize) -> bool {
        let cursor = client.cursor.clone();
        let mut connection = Connection::open(&self.address, way, &client.user, cursor.as_deref()).await;
        for _ in 0..patience {
            let message = connection.next().await.expect("it goes on");
            let has_everything = client.take(&message);
            if client.must_reload {
                self.reload(client).await;
            }
            if has_everything {
                return true;
            }
        }
        false
    }

    async fn reload(&self, client: &mut Client) {
        let identity = Identity::person(Tenant::default(), client.user.parse().unwrap());
        let mut pages = Vec::new();
        for (archived, snoozed) in [(false, false), (true, false), (false, true)] {
            let query = InboxQuery { limit: 100, archived, snoozed, ..InboxQuery::default() };
            let page = self.engine.inbox(&identity, query, Position(0)).await.unwrap();
            pages.push(serde_json::to_value(page).unwrap());
        }
        client.reload(pages.iter());
    }
}

fn equals_the_model(client: &Client, model: &Model) {
    let Some(person) = model.person(&client.user.parse().unwrap()) else { return };
    assert_eq!(client.lines(false), person.list(&Filter::default()), "the list");
    assert_eq!(
        client.lines(true),
        person.list(&Filter { archived: true, ..Filter::default() }),
        "the archive"
    );
    let counts = (client.counts["unread"].as_u64().unwrap(), client.counts["unseen"].as_u64().unwrap());
    assert_eq!(counts, person.counts(), "the counts it was told last");
}

/// After every step, two devices of different people come back, each for as many messages as chance says, now this way,
/// now that.
fn run(steps: &[(Step, u8)], people_kept: usize, recent_kept: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        (options.people_kept, options.recent_kept) = (Some(people_kept), Some(recent_kept));
        let served = Served::start(options).await;
        let mut model = Model::default();
        let start = served.engine.log().cursor(Position(0)).to_string();
        let mut clients = [0, 1].map(|number| Client::new(user(number).as_str(), start.clone()));
        for (number, (step, chance)) in steps.iter().enumerate() {
            step.take(&served.engine, &mut model).await;
            for (index, client) in clients.iter_mut().enumerate() {
                let chance = chance >> (4 * index) & 15;
                let way = if chance % 2 == 0 { Way::WebSocket } else { Way::Sse };
                let patience = if number + 1 == steps.len() { usize::MAX } else { usize::from(chance / 2) };
                if patience > 0 {
                    // A stranger is heard of when it comes.
                    model.hear(&client.user.parse().unwrap());
                    if served.visit(client, way, patience).await {
                        equals_the_model(client, &model);
                    }
                }
            }
        }
        served.shutdown.cancel();
        served.engine.shutdown().await;
    });
}

fn history_with_visits() -> impl Strategy<Value = Vec<(Step, u8)>> {
    history().prop_flat_map(|steps| {
        let count = steps.len();
        (Just(steps), prop::collection::vec(any::<u8>(), count))
            .prop_map(|(steps, chances)| steps.into_iter().zip(chances).collect())
    })
}

fn config() -> ProptestConfig {
    let cases = HISTORIES / 3;
    ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 200, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn a_device_that_comes_back_equals_the_model_from_memory(steps in history_with_visits()) {
        run(&steps, 1_000, 1_000);
    }

    #[test]
    fn a_device_that_comes_back_equals_the_model_from_the_log(steps in history_with_visits()) {
        run(&steps, 0, 0);
    }

    #[test]
    fn a_device_that_comes_back_equals_the_model_from_both(steps in history_with_visits()) {
        run(&steps, 1, 4);
    }
}

/// The switch from what was missed to what is live, again and again while the log grows as fast as it can.
#[test]
fn nothing_is_lost_or_doubled_where_catching_up_ends() {
    const SWITCHES: usize = 10_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        options.recent_kept = Some(500);
        let engine = Engine::start(options).await.unwrap();
        let stop = CancellationToken::new();
        let publishing = tokio::spawn(publish_until(engine.clone(), stop.clone()));
        let ada = Arc::new(Identity::person(Tenant::default(), "ada".parse().unwrap()));
        let mut cursor = engine.log().cursor(Position(0));
        let mut heard: Vec<u64> = Vec::new();
        for number in 0..SWITCHES {
            let mut opening = tidings_engine::Opening::new("test");
            opening.resume = Some(tidings_engine::Resume { cursor: cursor.clone(), most: usize::MAX });
            let (mut subscriber, hello) = engine.subscribe(&ada, opening).await.unwrap();
            assert_eq!(hello.resume, Some(tidings_engine::Resumed::Continued), "{number}");
            let mut live = number % 3;
            loop {
                let parcel = crate::world::in_time("a parcel", subscriber.next()).await.unwrap();
                let mut caught_up = false;
                for delivery in parcel.deliveries() {
                    use tidings_engine::delivery::Message::{CaughtUp, Notification};
                    match delivery.message() {
                        Notification { event, .. } => heard.push(event.position.0),
                        CaughtUp(_) => caught_up = true,
                        _ => {}
                    }
                }
                if caught_up || live < number % 3 {
                    if live == 0 {
                        break;
                    }
                    live -= 1;
                }
            }
            cursor = engine.log().cursor(subscriber.position());
        }
        stop.cancel();
        let published = publishing.await.unwrap();
        let expected: Vec<u64> =
            published.into_iter().filter(|position| *position <= cursor.position.0).collect();
        assert_eq!(heard.len(), expected.len(), "as many as were published");
        assert_eq!(heard, expected, "each once, in order");
        engine.shutdown().await;
    });
}

/// Publishes to ada by name, by a channel, and to others.
async fn publish_until(engine: Engine, stop: CancellationToken) -> Vec<u64> {
    let service = Identity::service(Tenant::default());
    let mut published = Vec::new();
    for number in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        let audience = match number % 3 {
            0 => json!({ "users": ["ada"] }),
            1 => json!({ "channels": ["everyone"] }),
            _ => json!({ "users": ["bob"] }),
        };
        let draft: tidings_engine::Draft =
            serde_json::from_value(json!({ "type": "note", "audience": audience })).unwrap();
        let receipt = engine.publish(&service, draft.into()).await.unwrap();
        if number % 3 < 2 {
            published.push(receipt.position.0);
        }
    }
    published
}

fn cursor_of(message: &Value) -> String {
    message["cursor"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_resume_that_cannot_go_on_says_why() {
    let world = World::start().await;
    let device = world.connect(&person("ada")).await;
    let here = cursor_of(&device.hello);
    let (epoch, position) = here.split_once('.').unwrap();
    for _ in 0..3 {
        world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
    }
    let ahead = format!("{epoch}.{}", position.parse::<u64>().unwrap() + 100);
    let elsewhere = format!("ffffffffffff.{position}");
    for (query, resume) in [
        (format!("cursor={here}"), json!({ "result": "continued" })),
        (format!("cursor={here}&limit=3"), json!({ "result": "continued" })),
        (format!("cursor={here}&limit=2"), json!({ "result": "reset", "reason": "tooMany" })),
        (format!("cursor={ahead}"), json!({ "result": "reset", "reason": "cursorAhead" })),
        (format!("cursor={elsewhere}"), json!({ "result": "reset", "reason": "historyChanged" })),
        (String::new(), Value::Null),
    ] {
        let path = format!("/v1/ws?token={}&{query}", person("ada"));
        let mut device = world.try_connect(&path).await.unwrap();
        let hello = device.hello.clone();
        assert_eq!(hello["resume"], resume, "{query}");
        assert_eq!(hello["counts"]["unread"], 3, "{query}");
        let missed = device.notifications().await.len();
        assert_eq!(missed, if resume["result"] == "continued" { 3 } else { 0 }, "{query}");
        assert_eq!(hello["cursor"] == json!(here), resume["result"] == "continued", "{query}");

        let events = world.request(reqwest::Method::GET, &format!("/v1/events?{query}"), &person("ada"));
        let mut events = Box::pin(client::events(events.send().await.unwrap()));
        let hello = futures_util::StreamExt::next(&mut events).await.unwrap();
        assert_eq!(hello["resume"], resume, "{query} over SSE");
        if resume["result"] == "reset" {
            let reset = futures_util::StreamExt::next(&mut events).await.unwrap();
            assert_eq!((&reset["type"], &reset["reason"]), (&json!("reset"), &resume["reason"]));
        }
    }
}

/// A log remembers so many starts; who was away for longer has to load the inbox.
#[tokio::test]
async fn a_cursor_from_before_all_starts_that_are_remembered_is_too_old() {
    let mut world = World::start().await;
    let old = cursor_of(&world.connect(&person("ada")).await.hello);
    assert!(world.stop().await.success());
    world.resume().await;
    let newer = cursor_of(&world.connect(&person("ada")).await.hello);
    assert!(world.stop().await.success());
    let log = rusqlite::Connection::open(world.data().join("log.db")).unwrap();
    assert_eq!(log.execute("DELETE FROM epochs WHERE first = 1", []).unwrap(), 1);
    drop(log);
    world.resume().await;
    let elsewhere = format!("ffffffffffff.{}", newer.split_once('.').unwrap().1);
    for (cursor, resume) in [
        (&old, json!({ "result": "reset", "reason": "tooOld" })),
        (&newer, json!({ "result": "continued" })),
        (&elsewhere, json!({ "result": "reset", "reason": "historyChanged" })),
    ] {
        let path = format!("/v1/ws?token={}&cursor={cursor}", person("ada"));
        assert_eq!(world.try_connect(&path).await.unwrap().hello["resume"], resume, "{cursor}");
        let events =
            world.request(reqwest::Method::GET, &format!("/v1/events?cursor={cursor}"), &person("ada"));
        let mut events = Box::pin(client::events(events.send().await.unwrap()));
        let hello = futures_util::StreamExt::next(&mut events).await.unwrap();
        assert_eq!(hello["resume"], resume, "{cursor} over SSE");
    }
}

#[tokio::test]
async fn a_device_goes_on_after_a_restart_and_after_a_crash() {
    let mut world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    let mut expected = Vec::new();
    let mut cursor = cursor_of(&device.hello);
    for round in 0..4 {
        let receipt = world.publish(json!({ "type": "note", "audience": { "users": ["ada"] } })).await;
        world.post("/v1/inbox/read", &person("ada"), json!({ "notifications": [id(&receipt)] })).await;
        expected.push(id(&receipt));
        if round % 2 == 0 {
            world.kill().await
        } else {
            assert!(world.stop().await.success());
        }
        world.resume().await;
        let path = format!("/v1/ws?token={}&cursor={cursor}", person("ada"));
        device = world.try_connect(&path).await.unwrap();
        assert_eq!(device.hello["resume"]["result"], "continued");
        let message = device.expect("notification").await;
        assert_eq!(message["notification"]["id"], json!(expected[round]));
        assert_eq!(device.expect("read").await["notifications"], json!([expected[round]]));
        cursor = cursor_of(&device.expect("caughtUp").await);
    }
}

#[tokio::test]
async fn what_is_only_shown_live_and_what_is_watched_is_resumed_too() {
    let world = World::start().await;
    let path = |cursor: &str| format!("/v1/ws?token={}&watch=topic:w&cursor={cursor}", person("ada"));
    let device = world.try_connect(&format!("/v1/ws?token={}&watch=topic:w", person("ada"))).await.unwrap();
    let hello = device.hello.clone();
    assert_eq!(hello["watching"], json!(["topic:w"]));
    let cursor = cursor_of(&hello);
    drop(device);
    let mut expected = Vec::new();
    for (audience, inbox) in [
        (json!({ "users": ["ada"] }), false),
        (json!({ "channels": ["everyone"] }), false),
        (json!({ "channels": ["topic:w"] }), true),
        (json!({ "channels": ["topic:w"] }), false),
        (json!({ "channels": ["topic:w", "topic:x"], "except": ["ada"] }), true),
        (json!({ "channels": ["topic:x"] }), true),
    ] {
        let note = json!({ "type": "note", "inbox": inbox, "audience": audience });
        expected.push(id(&world.publish(note).await));
    }
    expected.truncate(4);
    let mut device = world.try_connect(&path(&cursor)).await.unwrap();
    assert_eq!(device.notifications().await, expected);
    let mut refused = world.try_connect("/v1/ws?watch=role:ADMIN").await.unwrap();
    refused.send(&json!({ "type": "token", "token": person("ada") })).await;
    assert_eq!(refused.closed().await, 4403, "who may not watch does not by resuming either");
    let wrong =
        world.request(reqwest::Method::GET, "/v1/events?cursor=17", &person("ada")).send().await.unwrap();
    assert_eq!(wrong.status(), 422);
}

/// Ten thousand devices that come back together do not ask the database, also right after a restart: here they come
/// back when there is none left to ask.
#[test]
fn devices_that_come_back_together_ask_the_database_nothing() {
    const DEVICES: usize = 2_000;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let engine = Engine::start(Options::new(directory.path())).await.unwrap();
        let (service, everyone) = (Identity::service(Tenant::default()), json!({ "channels": ["everyone"] }));
        let person =
            |number: usize| Identity::person(Tenant::default(), format!("u{number}").parse().unwrap());
        for number in 0..DEVICES {
            engine.admit(&person(number)).await.unwrap();
        }
        let cursor = engine.log().cursor(engine.log().head());
        let draft: tidings_engine::Draft =
            serde_json::from_value(json!({ "type": "note", "audience": everyone })).unwrap();
        engine.publish(&service, draft.into()).await.unwrap();
        engine.shutdown().await;
        drop(engine);

        let engine = Engine::start(Options::new(directory.path())).await.unwrap();
        let view = rusqlite::Connection::open(directory.path().join("inbox.db")).unwrap();
        for table in ["people", "memberships", "streams", "readings", "entries", "concerns", "notifications"]
        {
            view.execute_batch(&format!("DROP TABLE {table}")).unwrap();
        }
        for number in 0..DEVICES {
            let mut opening = tidings_engine::Opening::new("test");
            opening.resume = Some(tidings_engine::Resume { cursor: cursor.clone(), most: 1_000 });
            let (mut device, _) = engine.subscribe(&Arc::new(person(number)), opening).await.unwrap();
            let parcel = crate::world::in_time("what it missed", device.next()).await.unwrap();
            assert_eq!(parcel.deliveries().len(), 3, "a notification, the counts, and that it is live");
        }
        engine.shutdown().await;
    });
}
