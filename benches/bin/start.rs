//! How long the server takes until it serves again, with a million events, after SIGKILL under load.
//!
//! `cargo build --release && cargo run --release -p tidings-benches --bin start [EVENTS [PEOPLE]]`

mod server;

use std::time::Instant;

use anyhow::Result;
use serde_json::json;
use server::Server;
use tidings_benches::comparison::median;
use tidings_benches::{broadcast, service, unicast};
use tidings_engine::{Draft, Engine, Options, Publication};
use tokio::runtime::Runtime;

const ROUNDS: usize = 5;
const BATCH: usize = 1_000;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (events, people) = (number(1_000_000)?, number(50_000)?);
    let directory = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let begun = Instant::now();
        fill(directory.path(), events, people).await?;
        let rate = events as f64 / begun.elapsed().as_secs_f64();
        println!("{events} events for {people} people, written and projected at {rate:.0} a second");
        let mut took = Vec::new();
        let mut server = Server::start(directory.path()).await?;
        for round in 1..=ROUNDS {
            load(&server).await?;
            server.kill().await?;
            let begun = Instant::now();
            server = Server::start(directory.path()).await?;
            took.push(begun.elapsed().as_secs_f64() * 1_000.0);
            println!("round {round}: serves {:.0} ms after it was started", took[round - 1]);
        }
        println!("median {:.0} ms (bar: 2,000)", median(took));
        Ok(())
    })
}

/// Nine of ten to one person, one of ten to everyone.
async fn fill(data: &std::path::Path, events: usize, people: usize) -> Result<()> {
    let engine = Engine::start(Options::new(data)).await?;
    let draft =
        |number: usize| -> Draft { if number % 10 == 9 { broadcast() } else { unicast(number % people) } };
    for first in (0..events).step_by(BATCH) {
        let drafts = (first..events.min(first + BATCH)).map(|number| Publication::from(draft(number)));
        let results = engine.publish_all(&service(), drafts.collect()).await?;
        anyhow::ensure!(results.iter().all(Result::is_ok), "a publish was refused");
    }
    engine.shutdown().await;
    Ok(())
}

/// Some more, so that the kill leaves WALs to recover and a view that is behind.
async fn load(server: &Server) -> Result<()> {
    let notification =
        json!({ "type": "load", "audience": { "users": ["user-1"], "channels": ["everyone"] } });
    for _ in 0..20 {
        server.publish(&vec![notification.clone(); 200]).await?;
    }
    Ok(())
}
