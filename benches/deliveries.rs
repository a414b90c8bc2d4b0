//! What became of a broadcast to many: totals and a page of people, and what it took to get there.
//!
//! `cargo run --release -p tidings-benches --bin deliveries [members] [devices]` makes a log in which so many people are
//! members of everyone, so many devices of theirs receive and acknowledge broadcasts, and everybody reads some, then
//! asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::json;
use tidings_benches::{broadcast, service, user};
use tidings_engine::command::{MembersChange, UpTo};
use tidings_engine::deliveries::DeliveriesQuery;
use tidings_engine::{Channel, Draft, Engine, Error, Identity, Opening, Options, Tenant};

const BROADCASTS: usize = 20;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default)).context("expected a whole number");
    let (members, devices) = (next(1_000_000)?, next(2_000)?);
    let directory = tempfile::tempdir()?;
    let mut options = Options::new(directory.path());
    options.progress_every = Some(Duration::from_millis(100));
    let engine = Engine::start(options).await?;
    let channel: Channel = "topic:all".parse()?;
    for some in (0..members).collect::<Vec<_>>().chunks(10_000) {
        let change =
            MembersChange { add: some.iter().map(|number| user(*number)).collect(), remove: Vec::new() };
        engine.change_members(&service(), &channel, change).await?;
        while let Err(Error::NotReached { .. }) = engine.settle().await {}
    }
    let mut connections = Vec::new();
    for number in 0..devices {
        let identity = Arc::new(Identity::person(Tenant::default(), user(number)));
        let (subscriber, _) = engine.subscribe(&identity, Opening::new("bench")).await?;
        connections.push((identity, subscriber));
    }
    let mut last = None;
    for _ in 0..BROADCASTS {
        let draft: Draft =
            serde_json::from_value(json!({ "type": "news", "audience": { "channels": ["topic:all"] } }))?;
        last = Some(engine.publish(&service(), draft.into()).await?);
        engine.publish(&service(), broadcast().into()).await?;
        for (identity, connection) in &mut connections {
            engine.settle().await?;
            while let Some(parcel) = connection.try_next() {
                connection.sent(&parcel);
                connection.acknowledge(&UpTo::Position(parcel.position()))?;
            }
            if connection.position().0 % 3 == 0 {
                engine.read_all(identity, &UpTo::Position(connection.position())).await?;
            }
        }
    }
    let last = last.context("something was published")?;
    let begun = Instant::now();
    loop {
        match engine.deliveries(&service(), last.id, DeliveriesQuery::default()).await {
            Err(Error::NotReached { reached, .. }) => println!("the view is at {reached}"),
            answer => break drop(answer?),
        }
    }
    println!(
        "{members} members, {devices} devices: caught up with after {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    for (what, limit, after) in
        [("totals and 1 person", 1, None), ("totals and 100 people", 100, Some(user(5)))]
    {
        let mut times = Vec::new();
        for _ in 0..50 {
            let query = DeliveriesQuery { limit, after: after.clone(), user: None };
            let begun = Instant::now();
            let answer = engine.deliveries(&service(), last.id, query).await?;
            times.push(begun.elapsed());
            if times.len() == 50 {
                times.sort();
                println!(
                    "{what}: {:.2} ms in the median, {:?}",
                    times[25].as_secs_f64() * 1e3,
                    answer.totals
                );
            }
        }
    }
    engine.shutdown().await;
    Ok(())
}
