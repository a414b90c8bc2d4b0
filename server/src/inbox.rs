//! `tidings inbox`: somebody's inbox, as they see it.

use serde_json::Value;
use tidings_config::Settings;
use tidings_http::token::Grant;

use crate::cli::InboxArgs;
use crate::client::Client;
use crate::output::say;

pub(crate) async fn run(settings: &Settings, args: InboxArgs) -> anyhow::Result<()> {
    let grant = Grant { user: Some(args.user.clone()), ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let unread = if args.unread { "&unread=true" } else { "" };
    let path = format!("/v1/inbox?limit={}&archived={}{unread}", args.limit, args.archived);
    let page: Value = client.send(client.get(&path)).await?.json().await?;
    if args.json {
        say(&page);
        return Ok(());
    }
    say(format_args!("{}: {} unread, {} unseen", args.user, page["unread"], page["unseen"]));
    let items = page["items"].as_array().map_or(&[][..], Vec::as_slice);
    for item in items {
        say(describe(item));
    }
    if page["next"].is_string() {
        say("  … and more");
    }
    Ok(())
}

/// A notification in a line: `•` is unread, `+` is pinned.
pub(crate) fn describe(item: &Value) -> String {
    let notification = &item["notification"];
    let text = |name: &str| notification[name].as_str().unwrap_or_default();
    let unread = if item["read"] == true { ' ' } else { '•' };
    let pinned = if item["pinned"] == true { '+' } else { ' ' };
    let time = text("createdAt").get(..16).unwrap_or_default().replace('T', " ");
    format!("{unread}{pinned} {time}  {:<20}  {}", text("type"), text("title"))
}
