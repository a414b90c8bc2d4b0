//! `tidings publish`: one notification to a server.

use anyhow::Context;
use serde_json::{Value, json};
use tidings_config::Settings;
use tidings_http::token::Grant;

use crate::cli::PublishArgs;
use crate::client::Client;
use crate::output::say;

pub(crate) async fn run(settings: &Settings, args: PublishArgs) -> anyhow::Result<()> {
    let grant = Grant { scopes: vec!["publish".to_owned()], ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let response = client.send(client.post("/v1/notifications", &notification(&args)?)).await?;
    let receipt: Value = response.json().await?;
    let duplicate = if receipt["duplicate"] == true { " (published before, under this key)" } else { "" };
    let later = receipt["deliverAt"].as_str().map(|at| format!(", to go out at {at}")).unwrap_or_default();
    say(format_args!(
        "{} at position {}{later}{duplicate}",
        receipt["id"].as_str().unwrap_or_default(),
        receipt["position"]
    ));
    Ok(())
}

fn notification(args: &PublishArgs) -> anyhow::Result<Value> {
    let mut notification = json!({
        "type": args.kind,
        "title": args.title,
        "body": args.body,
        "tags": args.tags,
        "inbox": !args.live,
        "audience": { "users": args.users, "channels": args.channels, "except": args.except },
    });
    if let Some(data) = &args.data {
        notification["data"] = serde_json::from_str(data).context("--data is not JSON")?;
    }
    if let Some(priority) = &args.priority {
        notification["priority"] = json!(priority);
    }
    if let Some(url) = &args.action {
        notification["action"] = json!({ "url": url });
    }
    if let Some(deliver_at) = args.deliver_at {
        notification["deliverAt"] = json!(deliver_at);
    }
    if let Some(expires_at) = args.expires_at {
        notification["expiresAt"] = json!(expires_at);
    }
    if let Some(key) = &args.collapse_key {
        notification["collapseKey"] = json!(key);
    }
    if let Some(key) = &args.key {
        notification["idempotencyKey"] = json!(key);
    }
    Ok(notification)
}
