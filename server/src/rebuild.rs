//! `tidings rebuild`: the views anew, with progress; by the server that uses the directory, if one does.

use std::time::Instant;

use anyhow::{anyhow, bail};
use serde_json::{Value, json};
use tidings_config::Settings;
use tidings_engine::{Position, Source, StartError};
use tidings_http::token::Grant;

use crate::cli::RebuildArgs;
use crate::client::Client;
use crate::output::say;
use crate::progress::Bar;

pub(crate) async fn run(settings: &Settings, args: RebuildArgs) -> anyhow::Result<()> {
    let bar = Bar::new()?;
    let shown = bar.clone();
    let begun = Instant::now();
    let source = if args.from_snapshot { Source::Snapshot } else { Source::FirstEvent };
    let here = tidings_engine::rebuild(&settings.data_dir, source, move |progress| shown.show(progress));
    let rebuilt = match here.await {
        Err(StartError::InUse { .. }) => ask_server(settings, &args, &bar).await,
        rebuilt => rebuilt.map_err(Into::into),
    };
    bar.clear();
    let seconds = begun.elapsed().as_secs_f64();
    say(format_args!("rebuilt the views from {} events in {seconds:.1} s", rebuilt?));
    Ok(())
}

/// It goes on serving meanwhile, and stops rebuilding when this is ended.
async fn ask_server(settings: &Settings, args: &RebuildArgs, bar: &Bar) -> anyhow::Result<Position> {
    let grant = Grant { scopes: vec!["operator".to_owned()], ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let path = if args.from_snapshot { "/v1/admin/rebuild?from=snapshot" } else { "/v1/admin/rebuild" };
    let mut response = client.send(client.post(path, &json!({}))).await?;
    let mut text = Vec::new();
    while let Some(bytes) = response.chunk().await? {
        text.extend_from_slice(&bytes);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line: Value = serde_json::from_slice(&line)?;
            if let Some(position) = line["rebuilt"].as_u64() {
                return Ok(Position(position));
            }
            if let Some(detail) = line["problem"]["detail"].as_str() {
                bail!("the server could not: {detail}; its log says more");
            }
            let number = |name: &str| line[name].as_u64().unwrap_or_default();
            let doing = line["doing"].as_str().unwrap_or("rebuilding");
            bar.show_as(doing, number("position"), number("head"));
        }
    }
    Err(anyhow!("the server stopped before it was done; the inbox view is the one it was"))
}
