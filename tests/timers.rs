//! What is to happen at a time happens once: never before the clock has shown it, never twice, never not at all; whatever
//! the clock does, and whatever crashes.

mod model;

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};
use tidings_engine::clock::{Clock, ManualClock};
use tidings_engine::{Draft, Engine, Identity, Options, Tenant, event::Fact};

use crate::world::{World, id, in_time, person, service};
use model::{Model, Step, steps};

fn config() -> ProptestConfig {
    ProptestConfig { cases: 100, failure_persistence: None, max_shrink_iters: 200, ..Default::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_the_clock_does_each_timer_fires_once_and_in_order(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(run(&steps));
    }
}

async fn run(steps: &[Step]) {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at("2026-11-21T10:00:00Z".parse().unwrap()));
    let mut engine = start(directory.path(), &clock).await;
    let mut model = Model::default();
    for step in steps {
        if let Step::Restart = step {
            engine.shutdown().await;
            drop(engine);
            engine = start(directory.path(), &clock).await;
        }
        step.take(&engine, &clock, &mut model).await;
        fires(&engine, &model).await;
    }
    // When all is over, nothing is left and nothing comes again.
    clock.set(clock.now() + SignedDuration::from_hours(24));
    model.pass(clock.now());
    fires(&engine, &model).await;
    engine.shutdown().await;
    drop(engine);
    let engine = start(directory.path(), &clock).await;
    engine.publish(&Identity::service(Tenant::default()), draft(&json!({})).into()).await.unwrap();
    fires(&engine, &model).await;
    engine.shutdown().await;
}

async fn start(data: &std::path::Path, clock: &Arc<ManualClock>) -> Engine {
    let mut options = Options::new(data);
    options.clock = Some(clock.clone());
    Engine::start(options).await.unwrap()
}

/// What was fired so far is what the model says, in its order.
async fn fires(engine: &Engine, model: &Model) {
    let wait = async {
        while fired(engine).await.len() < model.fired.len() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    in_time("what is due", wait).await;
    assert_eq!(fired(engine).await, model.fired);
}

/// What timers have appended: what it was, and of which notification.
async fn fired(engine: &Engine) -> Vec<String> {
    let mut tail = engine.log().tail(tidings_engine::Position(0));
    let mut fired = Vec::new();
    while tail.position() < engine.log().head() {
        for event in tail.next().await.unwrap() {
            use tidings_engine::event::RetractReason::Expired;
            fired.extend(match &event.fact {
                Fact::NotificationPublished(published) if published.notification.deliver_at.is_some() => {
                    Some(format!("published {}", published.notification.id))
                }
                Fact::ScheduleCancelled(cancelled) if cancelled.reason == Expired => {
                    Some(format!("cancelled {}", cancelled.id))
                }
                Fact::Retracted(retracted) if retracted.reason == Expired => {
                    Some(format!("expired {}", retracted.id))
                }
                Fact::Woken(woken) if woken.snoozed_at.is_some() => {
                    Some(format!("woken {} of {}", woken.entry.id, woken.user))
                }
                _ => None,
            });
        }
    }
    fired
}

/// A draft to ada and everybody, but for what `with` says otherwise.
fn draft(with: &Value) -> Draft {
    let mut draft = json!({ "type": "note", "audience": { "users": ["ada"], "channels": ["everyone"] } });
    for (name, value) in with.as_object().unwrap() {
        draft[name] = value.clone();
    }
    serde_json::from_value(draft).unwrap()
}

#[tokio::test]
async fn timers_of_the_same_moment_fire_in_the_order_in_which_they_were_set() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at("2026-11-21T10:00:00Z".parse().unwrap()));
    let engine = start(directory.path(), &clock).await;
    let mut model = Model::default();
    let service = Identity::service(Tenant::default());
    let due: Timestamp = "2026-11-21T11:00:00Z".parse().unwrap();
    // More than are fired at once.
    for _ in 0..600 {
        let later = draft(&json!({ "deliverAt": due.to_string() }));
        let receipt = engine.publish(&service, later.into()).await.unwrap();
        model.fired.push(format!("published {}", receipt.id));
    }
    clock.set(due - SignedDuration::from_millis(1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(fired(&engine).await, [""; 0], "a moment too early");
    clock.set(due);
    fires(&engine, &model).await;
    engine.shutdown().await;
}

/// Killed again and again while timers fire.
#[tokio::test]
async fn a_crash_neither_loses_nor_repeats_what_is_due() {
    let mut world = World::start().await;
    let mut expected = Vec::new();
    for number in 0..300 {
        let due = Timestamp::now() + SignedDuration::from_millis(400 + 5 * number);
        let note = json!({ "type": "note", "deliverAt": due.to_string(), "audience": { "users": ["ada"] } });
        expected.push(id(&world.publish(note).await));
    }
    for round in 0..5 {
        tokio::time::sleep(Duration::from_millis(150 + 37 * round)).await;
        world.kill().await;
        world.resume().await;
    }
    let all_out = async {
        while world.get("/v1/counts", &person("ada")).await["unread"] != 300 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    in_time("the last of them", all_out).await;
    let log = world.log().await;
    let published = log.iter().filter(|event| event["type"] == "NotificationPublished");
    let mut published: Vec<&str> = published.map(|event| event["event"]["id"].as_str().unwrap()).collect();
    published.sort_unstable();
    expected.sort_unstable();
    assert_eq!(published, expected, "each once");
    assert_eq!(world.get("/v1/scheduled", &service()).await["items"], json!([]));
}

/// Cancelled in the very moment in which it is due.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notification_goes_out_or_is_cancelled_and_never_both() {
    let directory = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at("2026-11-21T10:00:00Z".parse().unwrap()));
    let engine = start(directory.path(), &clock).await;
    let service = Identity::service(Tenant::default());
    let mut ids = Vec::new();
    for _ in 0..200 {
        let due = clock.now() + SignedDuration::from_secs(1);
        let later = draft(&json!({ "deliverAt": due.to_string() }));
        let id = engine.publish(&service, later.into()).await.unwrap().id;
        engine.settle().await.unwrap();
        let (canceller, identity) = (engine.clone(), service.clone());
        let cancelling = tokio::spawn(async move { canceller.retract(&identity, id).await });
        clock.set(due);
        cancelling.await.unwrap().unwrap();
        ids.push(id);
    }
    let mut ends: std::collections::BTreeMap<_, Vec<&str>> = ids.iter().map(|id| (*id, Vec::new())).collect();
    let mut tail = engine.log().tail(tidings_engine::Position(0));
    while tail.position() < engine.log().head() {
        for event in tail.next().await.unwrap() {
            let (id, what) = match &event.fact {
                Fact::NotificationPublished(published) => (published.notification.id, "published"),
                Fact::ScheduleCancelled(cancelled) => (cancelled.id, "cancelled"),
                Fact::Retracted(retracted) => (retracted.id, "retracted"),
                _ => continue,
            };
            ends.get_mut(&id).unwrap().push(what);
        }
    }
    for (id, end) in ends {
        assert!(end == ["cancelled"] || end == ["published", "retracted"], "{id}: {end:?}");
    }
    engine.shutdown().await;
}
