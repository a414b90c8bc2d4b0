//! How far devices have come is recorded in the log: what was sent to each, what it acknowledged, many together, and
//! nothing when nothing changed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_engine::command::UpTo;
use tidings_engine::event::Fact;
use tidings_engine::{Draft, Engine, Identity, Opening, Options, Position, Subscriber, Tenant};

use crate::world::{World, in_time, person};

/// How far a device has come: where it began, what was sent, what it acknowledged.
type Place = (u64, u64, u64);

/// What the log says of each device, by the user's name and the device's.
fn places(log: &[Value]) -> BTreeMap<String, Place> {
    let mut names: BTreeMap<(u64, u64), (String, u64)> = BTreeMap::new();
    let mut places = BTreeMap::new();
    for event in log.iter().filter(|event| event["type"] == "Progress").map(|event| &event["event"]) {
        let run = event["run"].as_u64().unwrap();
        for connected in event["connections"].as_array().into_iter().flatten() {
            let text = |name: &str| connected[name].as_str().unwrap();
            let key = (run, connected["number"].as_u64().unwrap());
            let name = format!("{} {} {}", text("user"), text("device"), text("transport"));
            names.insert(key, (name, connected["from"].as_u64().unwrap()));
        }
        for reached in event["reached"].as_array().into_iter().flatten() {
            for range in reached["connections"].as_str().unwrap().split(',') {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                for number in first.parse::<u64>().unwrap()..=last.parse().unwrap() {
                    let (name, from) = names[&(run, number)].clone();
                    let number = |name: &str| reached[name].as_u64().unwrap();
                    places.insert(name, (from, number("sent"), number("acknowledged").max(from)));
                }
            }
        }
    }
    places
}

/// Waits until the log says so of a device.
async fn comes_to(world: &World, device: &str, place: Place) {
    let come = async {
        while places(&world.log().await).get(device) != Some(&place) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time(device, come).await;
}

async fn broadcast(world: &World) -> u64 {
    let note = json!({ "type": "note", "audience": { "channels": ["everyone"] } });
    world.publish(note).await["position"].as_u64().unwrap()
}

#[tokio::test]
async fn what_was_sent_and_acknowledged_is_recorded_of_each_device_together_with_others_at_the_same_place() {
    let world = World::start().await;
    let mut devices = Vec::new();
    for user in ["ada", "bob", "eve"] {
        let path = format!("/v1/ws?device=phone&token={}", person(user));
        devices.push(world.try_connect(&path).await.unwrap());
        assert_eq!(devices.last().unwrap().hello["device"], "phone");
    }
    let began: Vec<u64> = devices.iter().map(|device| device.hello["position"].as_u64().unwrap()).collect();
    let (first, second) = (broadcast(&world).await, broadcast(&world).await);
    for (device, user) in devices.iter_mut().zip(["ada", "bob", "eve"]) {
        let notification = device.expect("notification").await;
        if user != "eve" {
            device.send(&json!({ "type": "ack", "upTo": notification["cursor"] })).await;
        }
        device.heard().await;
    }
    comes_to(&world, "ada phone ws", (began[0], second, first)).await;
    comes_to(&world, "bob phone ws", (began[1], second, first)).await;
    comes_to(&world, "eve phone ws", (began[2], second, began[2])).await;
    let answer = devices[2].ask(json!({ "type": "ack", "upTo": second })).await;
    assert_eq!(answer, json!({ "position": second }), "who asks for an answer gets one");
    devices[0].send(&json!({ "type": "ack", "upTo": second })).await;
    devices[1].send(&json!({ "type": "ack", "upTo": second })).await;
    comes_to(&world, "ada phone ws", (began[0], second, second)).await;
    comes_to(&world, "eve phone ws", (began[2], second, second)).await;

    let log = world.log().await;
    let recorded: Vec<&Value> = log.iter().filter(|event| event["type"] == "Progress").collect();
    let introduced: usize =
        recorded.iter().map(|event| event["event"]["connections"].as_array().map_or(0, Vec::len)).sum();
    assert_eq!(introduced, 3, "each connection is introduced once");
    let counts = recorded.iter().flat_map(|event| event["event"]["counts"].as_array().into_iter().flatten());
    let (mut sent, mut delivered) = (0, 0);
    for metered in counts {
        let named = (&metered["type"], &metered["channel"], &metered["transport"]);
        assert_eq!(named, (&json!("note"), &json!("everyone"), &json!("ws")));
        sent += metered["sent"].as_array().into_iter().flatten().filter_map(Value::as_u64).sum::<u64>();
        delivered += metered["delivered"].as_u64().unwrap_or_default();
    }
    assert_eq!((sent, delivered), (6, 6));
}

#[tokio::test]
async fn a_device_that_comes_back_acknowledges_what_it_had() {
    let world = World::start().await;
    let token = person("ada");
    let read_until = async |last: Option<String>, kind: &str| -> (String, reqwest::Response) {
        let mut request = world.http.get(world.url("/v1/events?device=tablet")).bearer_auth(&token);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let mut response = request.send().await.unwrap();
        let mut text = String::new();
        while !text.contains(&format!("event: {kind}\n")) {
            text +=
                std::str::from_utf8(&in_time("a chunk", response.chunk()).await.unwrap().unwrap()).unwrap();
        }
        let id = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
        (id.to_owned(), response)
    };
    let (hello, response) = read_until(None, "hello").await;
    drop(response);
    let began: u64 = hello.split_once('.').unwrap().1.parse().unwrap();
    let position = broadcast(&world).await;
    // It comes back twice: once to get what it missed, and once more, which says that it has it.
    let (last, response) = read_until(Some(hello), "caughtUp").await;
    comes_to(&world, "ada tablet sse", (began, position, began)).await;
    drop(response);
    let (_, _response) = read_until(Some(last.clone()), "hello").await;
    let had = last.split_once('.').unwrap().1.parse::<u64>().unwrap();
    assert!(had >= position);
    let recorded = async {
        loop {
            let log = world.log().await;
            let connections = log.iter().flat_map(|event| event["event"]["connections"].as_array()).flatten();
            if connections.filter(|connected| connected["had"] == json!(had)).count() == 1 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    in_time("its acknowledgement", recorded).await;
}

#[tokio::test]
async fn a_server_that_is_told_not_to_records_nothing_and_serves_the_same() {
    let world = World::with_configuration("[delivery]\nprogress = false").await;
    let mut device = world.connect(&person("ada")).await;
    assert!(device.hello["device"].as_str().unwrap().starts_with("connection-"));
    broadcast(&world).await;
    let notification = device.expect("notification").await;
    let answer = device.ask(json!({ "type": "ack", "upTo": notification["position"] })).await;
    assert_eq!(answer["position"], notification["position"]);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(world.log().await.iter().all(|event| event["type"] != "Progress"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_engine_that_stops_records_what_is_outstanding() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = Options::new(directory.path());
    options.progress_every = Some(Duration::from_secs(3_600));
    let engine = Engine::start(options).await.unwrap();
    let mut ada = subscribe(&engine, "ada").await;
    let published = publish(&engine).await;
    let parcel = in_time("a parcel", ada.next()).await.unwrap();
    ada.sent(&parcel);
    engine.shutdown().await;
    let events = engine.log().tail(published).next().await.unwrap();
    let Fact::Progress(progress) = &events[0].fact else { panic!("not recorded") };
    assert_eq!(progress.reached[0].sent, published);
}

async fn engine(directory: &tempfile::TempDir) -> Engine {
    let mut options = Options::new(directory.path());
    options.progress_every = Some(Duration::from_millis(5));
    Engine::start(options).await.unwrap()
}

async fn publish(engine: &Engine) -> Position {
    let draft: Draft =
        serde_json::from_value(json!({ "type": "note", "audience": { "channels": ["everyone"] } })).unwrap();
    engine.publish(&Identity::service(Tenant::default()), draft.into()).await.unwrap().position
}

async fn subscribe(engine: &Engine, user: &str) -> Subscriber {
    let identity = Arc::new(Identity::person(Tenant::default(), user.parse().unwrap()));
    engine.subscribe(&identity, Opening::new("test")).await.unwrap().0
}

/// Where the log stands once nothing has come for a while.
async fn rest(engine: &Engine) -> Position {
    let mut head = engine.log().head();
    let resting = async {
        loop {
            tokio::time::sleep(Duration::from_millis(150)).await;
            if engine.log().head() == head {
                return head;
            }
            head = engine.log().head();
        }
    };
    in_time("rest", resting).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_recorded_when_nothing_changes() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory).await;
    let (mut ada, mut eve) = (subscribe(&engine, "ada").await, subscribe(&engine, "eve").await);
    let published = publish(&engine).await;
    for device in [&mut ada, &mut eve] {
        let parcel = in_time("a parcel", device.next()).await.unwrap();
        device.sent(&parcel);
        device.acknowledge(&UpTo::Position(parcel.position())).unwrap();
    }
    let rested = rest(&engine).await;
    assert!(rested > published, "their progress was recorded");
    // The position of a Progress event is nothing to be sent or acknowledged: it makes no other.
    for device in [&mut ada, &mut eve] {
        assert!(device.settle() >= rested, "a quiet device moves on, too");
        device.acknowledge(&UpTo::Position(rested)).unwrap();
        // The counts that a broadcast changed are told later.
        while let Some(parcel) = device.try_next() {
            device.sent(&parcel);
        }
    }
    assert_eq!(rest(&engine).await, rested);
    let refused = ada.acknowledge(&UpTo::Position(rested.next())).unwrap_err();
    assert!(refused.to_string().contains(&format!("at most {rested}")), "{refused}");
    engine.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_written_is_not_sent_and_devices_in_lockstep_are_one_group() {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&directory).await;
    let mut devices = Vec::new();
    for number in 0..300 {
        devices.push(subscribe(&engine, &format!("user {number}")).await);
    }
    let (first, _) = (publish(&engine).await, publish(&engine).await);
    for device in &mut devices {
        let parcel = in_time("a parcel", device.next()).await.unwrap();
        if parcel.position() == first {
            device.sent(&parcel);
        }
        in_time("a parcel", device.next()).await.unwrap(); // taken, and never written
    }
    rest(&engine).await;
    let mut tail = engine.log().tail(Position(0));
    let mut most = 0;
    while tail.position() < engine.log().head() {
        for event in tail.next().await.unwrap() {
            let Fact::Progress(progress) = &event.fact else { continue };
            assert!(progress.reached.iter().all(|reached| reached.sent <= first));
            most = most
                .max(progress.reached.iter().map(|reached| reached.connections.0.len()).max().unwrap_or(0));
        }
    }
    assert!(most > 100, "they are recorded together: {most} at once");
    engine.shutdown().await;
}
