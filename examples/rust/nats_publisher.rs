//! Publishing from Rust over NATS, with nothing of ours: to the stream, which keeps it until Tidings has it, and by a request that is
//! answered with the position.

use async_nats::{HeaderMap, Request, jetstream};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    let client = async_nats::connect(url).await?;
    let notification = |title: &str| {
        let audience = json!({ "users": ["ada"] });
        json!({ "type": "booking.accepted", "title": title, "audience": audience }).to_string()
    };

    // The broker says that it has it; Tidings takes it from there, also if it is down at the moment.
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "booking-19-accepted"); // published once, however often it is sent
    let stream = jetstream::new(client.clone());
    let payload = notification("Booking 19 was accepted").into();
    let stored =
        stream.publish_with_headers("tidings.publish.bookings", headers.clone(), payload).await?.await?;
    println!("the broker has it as number {}", stored.sequence);

    // Tidings says that it is on its disk, or what is wrong with it.
    headers.insert("Nats-Msg-Id", "booking-20-accepted");
    for _ in 0..2 {
        let payload = notification("Booking 20 was accepted").into();
        let request = Request::new().headers(headers.clone()).payload(payload);
        let answer = client.send_request("tidings.request.publish", request).await?;
        let failed = answer.headers.as_ref().and_then(|headers| headers.get("Nats-Service-Error"));
        anyhow::ensure!(failed.is_none(), "refused: {}", String::from_utf8_lossy(&answer.payload));
        let receipt: Value = serde_json::from_slice(&answer.payload)?;
        println!("published, duplicate = {}", receipt["duplicate"]);
    }
    Ok(())
}
