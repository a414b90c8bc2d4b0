//! `tidings explain`: why somebody did or did not get a notification, in plain words.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tidings_config::Settings;
use tidings_http::token::Grant;

use crate::cli::ExplainArgs;
use crate::client::Client;
use crate::output::say;

pub(crate) async fn run(settings: &Settings, args: ExplainArgs) -> anyhow::Result<()> {
    let grant = Grant { scopes: vec!["admin".to_owned()], ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let path = format!("/v1/notifications/{}/explain?user={}", encoded(&args.id), encoded(&args.user));
    let explanation: Value = client.send(client.get(&path)).await?.json().await?;
    if args.json {
        say(&explanation);
        return Ok(());
    }
    let sentences = explanation["sentences"].as_array().map_or(&[][..], Vec::as_slice);
    sentences.iter().filter_map(Value::as_str).for_each(say);
    Ok(())
}
