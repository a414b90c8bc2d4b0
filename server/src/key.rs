//! `tidings key`: keys for services, made, listed and revoked in the data directory, while a server runs or not.

use std::time::SystemTime;

use anyhow::{Context, bail};
use jiff::Timestamp;
use serde_json::json;
use tidings_config::Settings;
use tidings_http::api_key::{KeyFile, KeyGrant, KeyRecord, last_used};

use crate::cli::{KeyCommand, MakeKeyArgs};
use crate::output::say;

pub(crate) fn run(settings: &Settings, command: KeyCommand) -> anyhow::Result<()> {
    let file = KeyFile::of(&settings.data_dir);
    match command {
        KeyCommand::Make(args) => make(&file, args),
        KeyCommand::List { json } => list(settings, &file, json),
        KeyCommand::Revoke { id } => {
            let revoked = file.revoke(&id)?;
            say(format_args!(
                "revoked {id} ({}); a server that runs knows it within two seconds",
                revoked.name
            ));
            Ok(())
        }
    }
}

/// Only the key goes to the output, so that a script can take it from there.
fn make(file: &KeyFile, args: MakeKeyArgs) -> anyhow::Result<()> {
    let has = |scope: &str| args.scopes.iter().any(|own| own == scope);
    if !args.channels.is_empty() && !has("publish") {
        bail!("expected --scope publish beside --channel, which says to where");
    }
    let channels = args.channels.iter().map(|text| {
        let pattern = text.parse();
        pattern.with_context(|| format!("--channel {text}"))
    });
    let ends = |lifetime| Timestamp::try_from(SystemTime::now() + lifetime);
    let grant = KeyGrant {
        name: args.name,
        tenant: args.tenant.map(|tenant| tenant.parse()).transpose()?.unwrap_or_default(),
        publish: has("publish"),
        metrics: has("metrics"),
        operator: has("operator"),
        admin: has("admin"),
        channels: channels.collect::<anyhow::Result<_>>()?,
        expires_at: args.expires_in.map(ends).transpose().context("--expires-in")?,
    };
    let (record, key) = file.make(grant)?;
    say(&key);
    eprintln!("keep it now: it is shown this once. `tidings key revoke {}` takes it back", record.id);
    Ok(())
}

fn list(settings: &Settings, file: &KeyFile, as_json: bool) -> anyhow::Result<()> {
    let (keys, used) = (file.list()?, last_used(&settings.data_dir));
    if as_json {
        let line = |key: &KeyRecord| {
            json!({ "id": key.id, "name": key.name, "tenant": key.tenant, "scopes": scopes(key), "channels": key.channels,
                    "createdAt": key.created_at, "expiresAt": key.expires_at, "revokedAt": key.revoked_at,
                    "lastUsedAt": used.get(&key.id) })
        };
        say(json!(keys.iter().map(line).collect::<Vec<_>>()));
        return Ok(());
    }
    if keys.is_empty() {
        say("there is no key; `tidings key make NAME --scope publish` makes one");
    }
    for key in &keys {
        let channels: Vec<String> = key.channels.iter().map(ToString::to_string).collect();
        let to = if channels.is_empty() { String::new() } else { format!(" to {}", channels.join(", ")) };
        let used = used.get(&key.id).map_or("not used".to_owned(), |at| format!("last used {at}"));
        let (id, name, tenant, scopes) = (&key.id, &key.name, &key.tenant, scopes(key).join(", "));
        say(format_args!(
            "{id}  {name}  tenant {tenant}  {scopes}{to}  made {}  {used}{}",
            key.created_at,
            end(key)
        ));
    }
    Ok(())
}

fn scopes(key: &KeyRecord) -> Vec<&'static str> {
    [("publish", key.publish), ("admin", key.admin), ("metrics", key.metrics), ("operator", key.operator)]
        .into_iter()
        .filter(|(_, has)| *has)
        .map(|(name, _)| name)
        .collect()
}

fn end(key: &KeyRecord) -> String {
    match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("  REVOKED {at}"),
        (None, Some(at)) if !key.is_valid(Timestamp::now()) => format!("  ENDED {at}"),
        (None, Some(at)) => format!("  ends {at}"),
        (None, None) => String::new(),
    }
}
