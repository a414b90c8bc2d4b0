//! `tidings snapshot`: what the inbox knows, kept with the log; by the server that uses the directory, if one does.

use anyhow::Context;
use serde_json::{Value, json};
use tidings_config::Settings;
use tidings_engine::StartError;
use tidings_engine::snapshot::{SnapshotError, snapshot};
use tidings_http::token::Grant;

use crate::cli::SnapshotArgs;
use crate::client::Client;
use crate::output::say;

pub(crate) async fn run(settings: &Settings, args: SnapshotArgs) -> anyhow::Result<()> {
    let (position, bytes) = match snapshot(&settings.data_dir).await {
        Err(SnapshotError::Start(StartError::InUse { .. })) => ask_server(settings, &args).await?,
        taken => taken.map(|snapshot| (snapshot.at.position.0, snapshot.bytes))?,
    };
    say(format_args!("took a snapshot of everything up to position {position}: {bytes} bytes"));
    Ok(())
}

async fn ask_server(settings: &Settings, args: &SnapshotArgs) -> anyhow::Result<(u64, u64)> {
    let grant = Grant { scopes: vec!["operator".to_owned()], ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let taken: Value = client.send(client.post("/v1/admin/snapshot", &json!({}))).await?.json().await?;
    let number =
        |name: &str| taken[name].as_u64().with_context(|| format!("the server's answer has no {name}"));
    Ok((number("position")?, number("bytes")?))
}
