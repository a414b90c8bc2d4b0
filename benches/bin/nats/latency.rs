//! How long a publish on NATS takes until its notification is on a WebSocket, beside a round trip of NATS and an fsync.

use std::io::Write;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use async_nats::Client;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tidings_http::token::Grant;

use crate::broker::Broker;
use crate::server::{Server, token};
use crate::{SERVERS_CORE, said};

/// Publishes of a round, one after the other.
const PUBLISHES: usize = 500;
/// A WebSocket's notification comes within this time, or not at all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The median of publishing to the stream until the device has it, and by a request until the device has it; and of what they are beside.
pub async fn measure(rounds: usize) -> Result<()> {
    let (broker, directory) = (Broker::start().await?, tempfile::tempdir()?);
    let server = Server::with_settings_on_core(directory.path(), &broker.settings(), SERVERS_CORE).await?;
    let jetstream = broker.jetstream().await?;
    let client = jetstream.client();
    let url = format!(
        "ws://{}/v1/ws?token={}",
        server.address,
        token(Grant { user: Some("ada".to_owned()), ..Grant::default() })?
    );
    let (mut device, _) = tokio_tungstenite::connect_async(url).await?;
    device.next().await.context("a hello")??;
    for _ in 0..100 {
        if jetstream.get_stream("TIDINGS").await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("µs from a publish on NATS to a WebSocket, p50 of {PUBLISHES}; in turn");
    println!("{:>12} {:>8} {:>10} {:>10} {:>8}", "round trip", "fsync", "stream", "request", "ratio");
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let round_trip = round_trip(&broker, &client).await?;
        let fsync = fsync(directory.path())?;
        let by_stream = to_device(&client, &mut device, "tidings.publish.bench").await?;
        let by_request = to_device(&client, &mut device, "tidings.request.publish").await?;
        ratios.push(by_stream / (round_trip + fsync));
        println!(
            "{round_trip:>12.0} {fsync:>8.0} {by_stream:>10.0} {by_request:>10.0} {:>8.2}",
            ratios[ratios.len() - 1]
        );
    }
    let (ratio, range) = said(ratios);
    println!("by the stream it takes {ratio:.2} times a round trip and an fsync ({range}); the bar is 3\n");
    server.kill().await
}

/// A request to somebody who answers at once, over the broker.
async fn round_trip(broker: &Broker, client: &Client) -> Result<f64> {
    let other = broker.jetstream().await?.client();
    let mut asked = other.subscribe("bench.echo").await?;
    other.flush().await?;
    let echo = tokio::spawn(async move {
        while let Some(message) = asked.next().await {
            if let Some(reply) = message.reply {
                let _ = other.publish(reply, message.payload).await;
            }
        }
    });
    let mut took = Vec::with_capacity(PUBLISHES);
    for number in 0..PUBLISHES {
        let begun = Instant::now();
        client.request("bench.echo", note(number)).await?;
        took.push(begun.elapsed());
    }
    echo.abort();
    Ok(p50(took))
}

/// A write and an fsync, where the log is.
fn fsync(directory: &std::path::Path) -> Result<f64> {
    let mut file = std::fs::File::create(directory.join("fsync"))?;
    let mut took = Vec::with_capacity(PUBLISHES);
    for _ in 0..PUBLISHES {
        let begun = Instant::now();
        file.write_all(&[7; 4_096])?;
        file.sync_data()?;
        took.push(begun.elapsed());
    }
    Ok(p50(took))
}

async fn to_device<S>(client: &Client, device: &mut S, subject: &'static str) -> Result<f64>
where
    S: futures_util::Stream<
            Item = Result<tokio_tungstenite::tungstenite::Message, tokio_tungstenite::tungstenite::Error>,
        > + Unpin,
{
    let mut took = Vec::with_capacity(PUBLISHES);
    for number in 0..PUBLISHES {
        let begun = Instant::now();
        client.publish(subject, note(number)).await?;
        client.flush().await?;
        loop {
            let message =
                tokio::time::timeout(PATIENCE, device.next()).await?.context("the device was let go")??;
            let is_it = message.to_text().is_ok_and(|text| text.contains("\"type\":\"notification\""));
            if is_it {
                break;
            }
        }
        took.push(begun.elapsed());
    }
    ensure!(took.len() == PUBLISHES, "each came");
    Ok(p50(took))
}

fn note(number: usize) -> bytes::Bytes {
    let note: Value =
        json!({ "type": "note", "title": format!("n {number}"), "audience": { "users": ["ada"] } });
    note.to_string().into()
}

fn p50(mut took: Vec<Duration>) -> f64 {
    took.sort_unstable();
    took[took.len() / 2].as_secs_f64() * 1e6
}
