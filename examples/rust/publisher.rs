//! Publishing from Rust over HTTP, safe to retry: the idempotency key publishes once, whatever happens in between.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("TIDINGS_URL").unwrap_or_else(|_| "http://127.0.0.1:7400".to_owned());
    let token = std::env::var("TIDINGS_TOKEN").context("TIDINGS_TOKEN is a token with the scope publish")?;
    let notification = json!({
        "type": "booking.accepted",
        "title": "Booking 18 was accepted",
        "action": { "url": "/bookings/18", "text": "Open" },
        "audience": { "users": ["ada"] },
    });
    let receipt = publish(&url, &token, "booking-18-accepted", &notification).await?;
    println!("published {} at position {}", receipt["id"], receipt["position"]);
    let again = publish(&url, &token, "booking-18-accepted", &notification).await?;
    println!(
        "published again: duplicate = {}, the same id = {}",
        again["duplicate"],
        again["id"] == receipt["id"]
    );
    Ok(())
}

async fn publish(url: &str, token: &str, key: &str, notification: &Value) -> anyhow::Result<Value> {
    let client = reqwest::Client::new();
    for pause in [0, 100, 1_000, 5_000] {
        tokio::time::sleep(Duration::from_millis(pause)).await;
        let request = client.post(format!("{url}/v1/notifications")).bearer_auth(token);
        let sent = request.header("Idempotency-Key", key).json(notification).send().await;
        match sent {
            Ok(response) if response.status().is_success() => return Ok(response.json().await?),
            Ok(response) if response.status().is_client_error() => {
                bail!("refused: {}", response.text().await?)
            }
            Ok(_) | Err(_) => {} // not known whether it was done: the same key finds out
        }
    }
    bail!("no server took it")
}
