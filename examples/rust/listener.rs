//! A device in Rust: takes what comes, and marks it as read. The first argument says after how many to stop.

use anyhow::Context;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("TIDINGS_URL").unwrap_or_else(|_| "http://127.0.0.1:7400".to_owned());
    let token = std::env::var("TIDINGS_TOKEN").context("TIDINGS_TOKEN is a user's token")?;
    let most: usize = std::env::args().nth(1).map_or(Ok(usize::MAX), |number| number.parse())?;
    let url = format!("{}/v1/ws", url.replacen("http", "ws", 1));
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    socket.send(Message::text(json!({ "type": "token", "token": token }).to_string())).await?;
    let mut received = 0;
    while received < most {
        let Some(frame) = socket.next().await else { break };
        let Message::Text(text) = frame? else { continue };
        let message: Value = serde_json::from_str(&text)?;
        match message["type"].as_str().unwrap_or_default() {
            "hello" => println!("{} unread", message["counts"]["unread"]),
            "counts" => println!("{} unread", message["unread"]),
            "notification" => {
                let notification = &message["notification"];
                println!("{}: {}", notification["type"], notification["title"]);
                let read = json!({ "type": "read", "id": received, "notifications": [notification["id"]] });
                socket.send(Message::text(read.to_string())).await?;
            }
            "answer" => received += 1,
            "closing" => println!("closed: {}", message["reason"]),
            _ => {}
        }
    }
    socket.close(None).await?;
    Ok(())
}
