//! `tidings scheduled`: the notifications that have not gone out yet.

use serde_json::Value;
use tidings_config::Settings;
use tidings_http::token::Grant;

use crate::cli::ScheduledArgs;
use crate::client::Client;
use crate::output::say;

pub(crate) async fn run(settings: &Settings, args: ScheduledArgs) -> anyhow::Result<()> {
    let scopes = vec!["publish".to_owned(), "admin".to_owned()];
    let client = Client::new(settings, &args.server, Grant { scopes, ..Grant::default() })?;
    let path = format!("/v1/scheduled?limit={}", args.limit);
    let page: Value = client.send(client.get(&path)).await?.json().await?;
    if args.json {
        say(&page);
        return Ok(());
    }
    let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
    for item in items {
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        let time = text("deliverAt").get(..16).unwrap_or_default().replace('T', " ");
        say(format_args!("{time}  {}  {:<20}  {}", text("id"), text("type"), text("title")));
    }
    match (items.is_empty(), page["next"].is_string()) {
        (true, _) => say("nothing is waiting to go out"),
        (false, true) => say("… and more"),
        (false, false) => {}
    }
    Ok(())
}
