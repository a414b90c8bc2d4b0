//! A service in Rust that hears over NATS what Ada is told, and marks it as read for her. The server needs `nats.out = ["users"]`, and her inbox in
//! `[[nats.inboxes]]` with `allow = ["read", "write"]`. An argument says after how many notifications to stop.

use futures_util::StreamExt;
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("NATS_URL").unwrap_or_else(|_| "nats://127.0.0.1:4222".to_owned());
    let most = std::env::args().nth(1).map_or(Ok(usize::MAX), |text| text.parse())?;
    let client = async_nats::connect(url).await?;
    let mut messages = client.subscribe("tidings.user.ada").await?.take(most);
    let counts = client.request("tidings.inbox.ada.counts", "".into()).await?;
    let counts: Value = serde_json::from_slice(&counts.payload)?;
    println!("{} unread", counts["unread"]);
    while let Some(message) = messages.next().await {
        let message: Value = serde_json::from_slice(&message.payload)?;
        if message["type"] != "notification" {
            continue;
        }
        let notification = &message["notification"];
        println!("{}", notification["title"].as_str().unwrap_or_default());
        let these = json!({ "notifications": [notification["id"]] }).to_string();
        let done = client.request("tidings.inbox.ada.read", these.into()).await?;
        println!("read: {}", String::from_utf8_lossy(&done.payload));
    }
    Ok(())
}
