//! `tidings retract`: takes a notification back, or cancels one that has not gone out yet.

use reqwest::Url;
use serde_json::Value;
use tidings_config::Settings;
use tidings_http::token::Grant;

use crate::cli::RetractArgs;
use crate::client::Client;
use crate::output::say;

pub(crate) async fn run(settings: &Settings, args: RetractArgs) -> anyhow::Result<()> {
    let grant = Grant { scopes: vec!["publish".to_owned()], ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let request = match (&args.id, &args.key) {
        (Some(id), _) => client.delete(&format!("/v1/notifications/{id}")),
        (None, key) => {
            let url =
                Url::parse_with_params("http://server/v1/scheduled", key.iter().map(|key| ("key", key)))?;
            client.delete(&format!("/v1/scheduled?{}", url.query().unwrap_or_default()))
        }
    };
    let done: Value = client.send(request).await?.json().await?;
    say(format_args!("done at position {}", done["position"]));
    Ok(())
}
