//! `tidings tail`: a server's log as it grows, for people or as JSON.

use std::io::Write;

use anyhow::bail;
use futures_util::StreamExt;
use serde_json::Value;
use tidings_config::Settings;
use tidings_http::token::Grant;

use crate::cli::TailArgs;
use crate::client::Client;

pub(crate) async fn run(settings: &Settings, args: TailArgs) -> anyhow::Result<()> {
    if args.nats {
        return follow_nats(settings, args.json).await;
    }
    let grant = Grant { scopes: vec!["admin".to_owned()], ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let after = args.after.map(|after| format!("&after={after}")).unwrap_or_default();
    let response = client.send(client.get(&format!("/v1/log?follow=true{after}"))).await?;
    let mut chunks = response.bytes_stream();
    let mut unfinished = Vec::new();
    while let Some(chunk) = chunks.next().await {
        unfinished.extend_from_slice(&chunk?);
        while let Some(end) = unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = unfinished.drain(..=end).collect();
            if print(&line, args.json).is_err() {
                return Ok(()); // whoever read it has gone
            }
        }
    }
    eprintln!("the server has ended the log");
    Ok(())
}

/// What goes out on NATS, until somebody ends it.
async fn follow_nats(settings: &Settings, json: bool) -> anyhow::Result<()> {
    let Some(url) = &settings.nats.url else {
        bail!("there is no broker: the setting nats.url names it");
    };
    let mut events = tidings_nats::tail(&settings.nats).await?;
    eprintln!("following {url}; the server sends its log there with nats.out = [\"log\"]");
    while let Some(event) = events.next().await {
        let line = [&event[..], b"\n"].concat();
        if print(&line, json).is_err() {
            return Ok(()); // whoever read it has gone
        }
    }
    Ok(())
}

fn print(line: &[u8], json: bool) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if json {
        out.write_all(line)?;
    } else if let Ok(event) = serde_json::from_slice(line) {
        writeln!(out, "{}", describe(&event))?;
    }
    out.flush()
}

/// An event in a line: where, when, what, and of whom.
fn describe(event: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (position, kind) = (event["position"].to_string(), text(&event["type"]));
    let time = text(&event["recordedAt"]);
    let time = time.get(11..19).unwrap_or(&time).to_owned();
    let tenant = match event["tenant"].as_str() {
        Some("default") | None => String::new(),
        Some(tenant) => format!("  [{tenant}]"),
    };
    format!(
        "{position:>8}  {time}  {kind:<22} {}{tenant}",
        details(&kind, &event["event"], &event["content"])
    )
}

fn details(kind: &str, event: &Value, content: &Value) -> String {
    let list = |value: &Value| {
        let values = value.as_array().map_or(&[][..], Vec::as_slice);
        let texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        texts.join(", ")
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match kind {
        "NotificationPublished" => {
            let audience = &event["audience"];
            let to = [list(&audience["users"]), list(&audience["channels"])];
            let to: Vec<&str> = to.iter().map(String::as_str).filter(|names| !names.is_empty()).collect();
            format!("{} to {}: {}", text(&event["type"]), to.join(", "), text(&content["title"]))
        }
        "Joined" | "Left" => {
            let (users, channels) = (list(&event["users"]), list(&event["channels"]));
            format!("{users}: {channels} (by {})", text(&event["by"]))
        }
        "Progress" => {
            let lengths = ["connections", "reached"].map(|name| event[name].as_array().map_or(0, Vec::len));
            format!("{} new connections, {} places reached", lengths[0], lengths[1])
        }
        "Started" => format!("version {}", text(&event["version"])),
        _ => {
            let user = text(&event["user"]);
            let entries = event["entries"].as_array().map_or(&[][..], Vec::as_slice);
            let ids: Vec<&str> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
            match event["upTo"].as_u64() {
                Some(position) => format!("{user}: all up to {position}"),
                None => format!("{user}: {}", ids.join(", ")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_event_is_a_line_that_a_person_can_read() {
        let event = json!({
            "position": 7, "type": "NotificationPublished", "tenant": "default", "recordedAt": "2026-11-21T07:00:01.5Z",
            "event": {"type": "booking.accepted", "audience": {"users": ["ada"], "channels": ["role:X"]}},
            "content": {"title": "Accepted"},
        });
        assert_eq!(
            describe(&event),
            "       7  07:00:01  NotificationPublished  booking.accepted to ada, role:X: Accepted"
        );
        let event = json!({"position": 8, "type": "Read", "tenant": "shop", "recordedAt": "2026-11-21T07:00:02Z",
            "event": {"user": "ada", "upTo": 7}});
        assert_eq!(describe(&event), "       8  07:00:02  Read                   ada: all up to 7  [shop]");
    }
}
