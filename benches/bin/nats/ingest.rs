//! How fast a stream is taken from: by the server, by a consumer that only acknowledges, and by the server among poison.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_nats::jetstream::Context;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, RetentionPolicy};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::process::Command;

use crate::broker::{Broker, fill, notification, until_empty};
use crate::server::Server;
use crate::{SERVERS_CORE, said};

/// Messages of a round.
const MESSAGES: usize = 20_000;
/// One message in so many is good, among poison.
const GOOD_ONE_IN: usize = 5;

/// The server, beside a consumer that only acknowledges: as many messages, on the same core.
pub async fn against_a_consumer(rounds: usize) -> Result<()> {
    let mut ratios = Vec::new();
    println!("{MESSAGES} messages of a stream, a second; in turn");
    println!("{:>16} {:>12} {:>8}", "acknowledging", "Tidings", "ratio");
    for _ in 0..rounds {
        let plain = acknowledged().await?;
        let taken = taken((0..MESSAGES).map(notification)).await?;
        ratios.push(plain.as_secs_f64() / taken.as_secs_f64());
        let a_second = |took: Duration| MESSAGES as f64 / took.as_secs_f64();
        println!("{:>16.0} {:>12.0} {:>8.2}", a_second(plain), a_second(taken), ratios[ratios.len() - 1]);
    }
    let (ratio, range) = said(ratios);
    println!("Tidings reaches {ratio:.2} of a consumer that only acknowledges ({range}); the bar is 0.5\n");
    Ok(())
}

/// What poison costs the good ones: as many of them, alone and among four times as many that cannot be accepted.
pub async fn with_poison(rounds: usize) -> Result<()> {
    let mut ratios = Vec::new();
    let good = MESSAGES / GOOD_ONE_IN;
    println!(
        "a good message, µs: alone, and where of {MESSAGES} messages one in {GOOD_ONE_IN} is good, for each of all; in turn"
    );
    for _ in 0..rounds {
        let alone = taken((0..good).map(notification)).await?.div_f64(good as f64);
        let poisoned = (0..MESSAGES).map(|number| match number % GOOD_ONE_IN {
            0 => notification(number),
            _ => Bytes::from_static(b"{\"type\":\"poison\",\"titel\":\"x\"}"),
        });
        let among = taken(poisoned).await?.div_f64(MESSAGES as f64);
        ratios.push(among.as_secs_f64() / alone.as_secs_f64());
        let micros = |took: Duration| took.as_secs_f64() * 1e6;
        println!("{:>10.1} {:>10.1} {:>8.2}", micros(alone), micros(among), ratios[ratios.len() - 1]);
    }
    let (ratio, range) = said(ratios);
    println!("a message among poison takes {ratio:.2} of a good one alone ({range}); the bar is 1.2\n");
    Ok(())
}

/// How long the server takes for messages that are there when it starts to take.
async fn taken(messages: impl Iterator<Item = Bytes>) -> Result<Duration> {
    let (broker, directory) = (Broker::start().await?, tempfile::tempdir()?);
    let jetstream = broker.jetstream().await?;
    make_stream(&jetstream).await?;
    fill(&jetstream, "tidings.publish.bench", messages).await?;
    let settings = broker.settings();
    let begun = Instant::now();
    let server = Server::with_settings_on_core(directory.path(), &settings, SERVERS_CORE).await?;
    // From the first that it takes on, so that its start does not count.
    let first = wait_for_first(&jetstream, begun).await?;
    until_empty(&jetstream, "TIDINGS").await?;
    let took = first.elapsed();
    server.kill().await?;
    Ok(took)
}

async fn wait_for_first(jetstream: &Context, begun: Instant) -> Result<Instant> {
    let stream = jetstream.get_stream("TIDINGS").await?;
    loop {
        if let Ok(info) = stream.consumer_info("tidings").await
            && info.delivered.consumer_sequence > 0
        {
            return Ok(Instant::now());
        }
        anyhow::ensure!(begun.elapsed() < Duration::from_secs(30), "the server takes nothing");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// The same for a consumer that only acknowledges, on the server's core: this program once more.
async fn acknowledged() -> Result<Duration> {
    let broker = Broker::start().await?;
    let jetstream = broker.jetstream().await?;
    make_stream(&jetstream).await?;
    fill(&jetstream, "tidings.publish.bench", (0..MESSAGES).map(notification)).await?;
    let program = std::env::current_exe()?;
    let mut command = Command::new("taskset");
    command.args(["-c", SERVERS_CORE]).arg(program).args(["acknowledge", &broker.port.to_string()]);
    let begun = Instant::now();
    let mut consumer = command.kill_on_drop(true).spawn()?;
    let first = wait_for_first(&jetstream, begun).await?;
    until_empty(&jetstream, "TIDINGS").await?;
    let took = first.elapsed();
    consumer.kill().await?;
    Ok(took)
}

async fn make_stream(jetstream: &Context) -> Result<()> {
    let config = Config {
        name: "TIDINGS".to_owned(),
        subjects: vec!["tidings.publish.>".to_owned()],
        retention: RetentionPolicy::WorkQueue,
        ..Config::default()
    };
    jetstream.create_stream(config).await?;
    Ok(())
}

/// Takes messages and acknowledges each, for ever: what the server is measured beside.
pub async fn acknowledge(port: u16) -> Result<()> {
    let jetstream =
        async_nats::jetstream::new(async_nats::connect(format!("nats://127.0.0.1:{port}")).await?);
    let config = pull::Config {
        durable_name: Some("tidings".to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 2_000,
        ..pull::Config::default()
    };
    let consumer = jetstream.get_stream("TIDINGS").await?.create_consumer(config).await?;
    let mut messages = consumer.stream().max_messages_per_batch(1_000).messages().await?;
    while let Some(message) = messages.next().await {
        message?.ack().await.map_err(|error| anyhow::anyhow!(error))?;
    }
    None.context("the stream ended")
}
