//! Slow never hurts fast (promise 4): who does not keep up reads what it missed at its own pace, and loses nothing.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidings_engine::delivery::{Message, Parcel};
use tidings_engine::hub::ReadyQueue;
use tidings_engine::{Draft, Engine, Identity, Opening, Options, Subscriber, Tenant};

use crate::world::{Device, World, id, in_time, person, service};

fn identity(user: &str) -> Arc<Identity> {
    Arc::new(Identity::person(Tenant::default(), user.parse().unwrap()))
}

fn draft(body: &str) -> Draft {
    let draft = json!({ "type": "note", "body": body, "audience": { "channels": ["everyone"] } });
    serde_json::from_value(draft).unwrap()
}

fn notifications(parcel: &Parcel) -> Vec<u64> {
    let position = |message: &Message| match message {
        Message::Notification { event, .. } => Some(event.position.0),
        _ => None,
    };
    parcel.deliveries().iter().filter_map(|delivery| position(delivery.message())).collect()
}

async fn receive(subscriber: &mut Subscriber, count: usize) -> Vec<u64> {
    let mut received = Vec::new();
    while received.len() < count {
        let parcel: Arc<Parcel> = in_time("a parcel", subscriber.next()).await.expect("nobody is let go");
        received.extend(notifications(&parcel));
    }
    received
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_does_not_read_loses_nothing_and_delays_nobody() {
    for recent_kept in [100, 10_000] {
        let directory = tempfile::tempdir().unwrap();
        let mut options = Options::new(directory.path());
        options.recent_kept = Some(recent_kept);
        let engine = Engine::start(options).await.unwrap();
        let (mut slow, _) = engine.subscribe(&identity("slow"), Opening::new("test")).await.unwrap();
        let (mut quick, _) = engine.subscribe(&identity("quick"), Opening::new("test")).await.unwrap();
        let published = 1_500;
        let reader = tokio::spawn(async move { receive(&mut quick, published).await });
        let service = Identity::service(Tenant::default());
        let mut expected = Vec::new();
        for _ in 0..published {
            let receipt = engine.publish(&service, draft(&"x".repeat(200)).into()).await.unwrap();
            expected.push(receipt.position.0);
        }
        assert_eq!(in_time("the quick reader", reader).await.unwrap(), expected);
        // Half of it, then more is published, then the rest: it falls behind and catches up, and falls behind again.
        let mut received = receive(&mut slow, published / 2).await;
        for _ in 0..published {
            let receipt = engine.publish(&service, draft("").into()).await.unwrap();
            expected.push(receipt.position.0);
        }
        received.extend(receive(&mut slow, 2 * published - received.len()).await);
        assert_eq!(received, expected, "each once, in order, with {recent_kept} events in memory");
        assert_eq!(slow.settle(), engine.settle().await.unwrap(), "and it is live again");
        engine.shutdown().await;
    }
}

#[tokio::test]
async fn a_connection_that_does_not_read_for_a_while_gets_everything_afterwards() {
    let world = World::start().await;
    let mut device = world.connect(&person("ada")).await;
    let mut expected = Vec::new();
    for number in 0..60 {
        // More than the sockets' buffers hold.
        let body = format!("{number}").repeat(8_000);
        let items: Vec<_> = (0..20)
            .map(|_| json!({ "type": "note", "body": body, "audience": { "users": ["ada"] } }))
            .collect();
        let answer = world.post("/v1/notifications/batch", &crate::world::service(), json!(items)).await;
        expected.extend(answer["results"].as_array().unwrap().iter().map(id));
    }
    let mut received = Vec::new();
    while received.len() < expected.len() {
        let message = device.expect("notification").await;
        received.push(message["notification"]["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(received, expected);
}

/// Notifications to everyone, more than the buffers between server and client hold; their ids.
async fn publish_much(world: &World) -> Vec<String> {
    let mut published = Vec::new();
    for _ in 0..6 {
        let note =
            json!({ "type": "note", "body": "x".repeat(10_000), "audience": { "channels": ["everyone"] } });
        let batch = json!(vec![note; 20]);
        let answer = world.post("/v1/notifications/batch", &service(), batch).await;
        published.extend(answer["results"].as_array().expect("results").iter().map(id));
    }
    published
}

async fn is_online(world: &World, user: &str) -> bool {
    let presence: Value = world.get("/v1/presence", &service()).await;
    presence.to_string().contains(user)
}

/// Reads so many notifications, each after a pause.
async fn read(device: &mut Device, count: usize, pause: Duration) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    while ids.len() < count {
        tokio::time::sleep(pause).await;
        ids.push(device.expect("notification").await["notification"]["id"].as_str().unwrap().to_owned());
    }
    ids
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_connection_that_takes_no_byte_is_closed_and_it_comes_back_without_loss() {
    // Who is behind is asked for a sign of life behind all that waits: to take something is one.
    let world = World::with_configuration("stall-seconds = 3\n[limits]\nheartbeat-seconds = 1").await;
    let token = |user: &str| format!("token={}", person(user));
    let mut slow = world.connect_narrow(&token("slow")).await;
    let stalled = world.connect_narrow(&token("stalled")).await;
    let published = publish_much(&world).await;
    assert!(is_online(&world, "stalled").await, "it has its time");

    // Twice as long as the other one has, it takes a little at a time.
    let mut received = read(&mut slow, 60, Duration::from_millis(100)).await;
    let gone = async {
        while is_online(&world, "stalled").await {
            received.extend(read(&mut slow, 1, Duration::from_millis(100)).await);
        }
    };
    in_time("the end of a connection that is not read", gone).await;
    assert!(is_online(&world, "slow").await, "whoever takes something is not closed");
    received.extend(read(&mut slow, published.len() - received.len(), Duration::ZERO).await);
    assert_eq!(received, published, "and loses nothing");

    let cursor = stalled.hello["cursor"].as_str().expect("a cursor");
    let query = format!("{}&limit=10000&cursor={cursor}", token("stalled"));
    let mut returned = world.try_connect(&format!("/v1/ws?{query}")).await.expect("it comes back");
    assert_eq!(read(&mut returned, published.len(), Duration::ZERO).await, published);
}

/// One of many that a task serves, and what came for it.
struct Served {
    subscriber: Subscriber,
    received: Vec<u64>,
    /// Not looked at the next time that it is ready, so that its mailbox fills up.
    is_passed_over: bool,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_task_serves_many_subscribers_and_misses_nothing_of_any() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Engine::start(Options::new(directory.path())).await.unwrap();
    let queue = ReadyQueue::new();
    let mut served = Vec::new();
    for number in 0..200_u32 {
        let opening = Opening { ready: Some(queue.place(number)), ..Opening::new("test") };
        let (subscriber, _) = engine.subscribe(&identity(&format!("user-{number}")), opening).await.unwrap();
        served.push(Served { subscriber, received: Vec::new(), is_passed_over: number % 50 == 7 });
    }
    let (broadcasts, own) = (900, 5);
    let serve = tokio::spawn(async move {
        let mut numbers = Vec::new();
        let mut behind = 0;
        while served.iter().any(|served| served.received.len() < broadcasts + own) {
            in_time("somebody to be ready", queue.wait(&mut numbers)).await;
            for number in numbers.drain(..) {
                let Served { subscriber, received, is_passed_over } = &mut served[number as usize];
                if std::mem::take(is_passed_over) {
                    continue;
                }
                loop {
                    while let Some(parcel) = subscriber.try_next() {
                        received.extend(notifications(&parcel));
                    }
                    if subscriber.is_live() {
                        break;
                    }
                    behind += 1;
                    in_time("what was missed", poll_fn(|context| subscriber.poll_live(context)))
                        .await
                        .unwrap();
                }
            }
        }
        (served, behind)
    });
    let service = Identity::service(Tenant::default());
    let mut expected = vec![Vec::new(); 200];
    for number in 0..broadcasts {
        let receipt = engine.publish(&service, draft(&"x".repeat(300)).into()).await.unwrap();
        expected.iter_mut().for_each(|expected| expected.push(receipt.position.0));
        if number % (broadcasts / own) == 0 {
            for (user, expected) in expected.iter_mut().enumerate() {
                let draft = json!({ "type": "note", "audience": { "users": [format!("user-{user}")] } });
                let draft: Draft = serde_json::from_value(draft).unwrap();
                let receipt = engine.publish(&service, draft.into()).await.unwrap();
                expected.push(receipt.position.0);
            }
        }
    }
    let (served, behind) = serve.await.unwrap();
    assert!(behind > 0, "mailboxes were full, and their subscribers told so");
    for (served, expected) in served.iter().zip(&expected) {
        assert_eq!(&served.received, expected, "each once, in order");
    }
    engine.shutdown().await;
}
