//! The command line: what can be asked for, and the settings that flags override.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use jiff::Timestamp;
use tidings_config::{ConfigError, Flag, Loaded, PluginSettings, Sources};

use crate::duration::{parse_duration, parse_moment as moment};

/// A notification engine: an append-only log, exact inboxes, live delivery.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Start here:
  tidings demo                                   see it work, then try it yourself
  tidings serve                                  run a server; no set-up needed
  tidings publish --user ada --title 'Hello'     publish to a server on this machine"
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

/// Variables of the command line itself, which are no settings.
const OTHER_VARIABLES: &[&str] = &["TIDINGS_CONFIG", "TIDINGS_URL", "TIDINGS_TOKEN"];

#[derive(Args)]
pub(crate) struct Flags {
    /// The configuration file; config/tidings.toml documents every setting
    #[arg(long, global = true, value_name = "FILE", env = "TIDINGS_CONFIG")]
    config: Option<PathBuf>,
    /// Where the log, the views and the secret are [default: tidings-data]
    #[arg(long, global = true, value_name = "DIRECTORY")]
    data_dir: Option<String>,
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7400]
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Any setting, such as log.format=json; may be repeated
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected a setting and its value: log.format=json")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the server
    Serve(ServeArgs),
    /// Run the server, show two devices of a person receive what is published, then a page to try it on
    Demo,
    /// Publish a notification
    Publish(Box<PublishArgs>),
    /// Take a notification back, or cancel one that has not gone out yet
    Retract(RetractArgs),
    /// Show the notifications that have not gone out yet
    Scheduled(ScheduledArgs),
    /// Show the log as it grows
    Tail(TailArgs),
    /// Show somebody's inbox
    Inbox(InboxArgs),
    /// Say why somebody did or did not get a notification
    Explain(ExplainArgs),
    /// Show what was published, sent, delivered, read and clicked, and how long it took
    Stats(StatsArgs),
    /// Check the configuration, show what is set, or what a setting is for
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print the OpenAPI document of the HTTP API, to make clients of; needs no server
    Openapi,
    /// Print the AsyncAPI document of WebSockets and event streams; needs no server
    Asyncapi,
    /// Make a token for development
    Token(TokenArgs),
    /// Make, list and revoke keys for services, while a server runs or not
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// Rebuild the views from the log, while a server runs or not
    Rebuild(RebuildArgs),
    /// Take a snapshot, from which the next view is built, while a server runs or not
    Snapshot(SnapshotArgs),
    /// Check the log and the views, while a server runs or not; fails when something is wrong
    Check,
    /// Copy the log to a file, while a server runs or not
    Backup(BackupArgs),
    /// Put a backup of the log into the data directory, while no server runs
    Restore(RestoreArgs),
}

#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say everything that is wrong with the configuration, and fail if anything is
    Check {
        /// This file instead of the one that --config names
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Show every setting as it is, and where that comes from; no secrets
    Print,
    /// Say what a setting is for, what it takes, what it is, and how to set it
    Explain {
        /// The setting, such as log.level; without it, all of them in a line each
        #[arg(value_name = "KEY")]
        key: Option<String>,
    },
}

#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key, and show it this once
    Make(MakeKeyArgs),
    /// List the keys, those that are revoked included
    List {
        /// As JSON, for machines
        #[arg(long)]
        json: bool,
    },
    /// Revoke a key, also for connections that are open
    Revoke {
        /// Its id: what is between the underscores
        id: String,
    },
}

#[derive(Args)]
pub(crate) struct SnapshotArgs {
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct MakeKeyArgs {
    /// What it is for, such as billing
    pub(crate) name: String,
    /// What it may do: publish, admin, metrics, operator; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", value_parser = ["publish", "admin", "metrics", "operator"])]
    pub(crate) scopes: Vec<String>,
    /// Publish only to channels like this, such as 'topic:*' or 'user:*'; may be repeated
    #[arg(long = "channel", value_name = "PATTERN")]
    pub(crate) channels: Vec<String>,
    /// The application
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// How long it lasts: 90s, 15m, 8h, 7d; without it, until it is revoked
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expires_in: Option<Duration>,
}

#[derive(Args)]
pub(crate) struct ServeArgs {
    /// Give the page at / tokens of the tenant `demo`; on a loopback address only
    #[arg(long)]
    pub(crate) demo: bool,
}

#[derive(Args)]
pub(crate) struct RebuildArgs {
    /// Begin with the newest snapshot instead of the first event; not where something may have been wrong when it was taken
    #[arg(long)]
    pub(crate) from_snapshot: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct BackupArgs {
    /// The file to make; it must not be there
    #[arg(value_name = "FILE")]
    pub(crate) path: PathBuf,
}

#[derive(Args)]
pub(crate) struct RestoreArgs {
    /// What `tidings backup` made
    #[arg(value_name = "FILE")]
    pub(crate) backup: PathBuf,
    /// Replace the log that is there, which is kept as log.replaced.db
    #[arg(long)]
    pub(crate) replace: bool,
}

/// How to reach a server.
#[derive(Args)]
pub(crate) struct Server {
    /// The server's URL [default: http:// and where --listen says]
    #[arg(long, env = "TIDINGS_URL")]
    pub(crate) url: Option<String>,
    /// A token; without it, one is made with the secret in --data-dir
    #[arg(long, env = "TIDINGS_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// The application
    #[arg(long)]
    pub(crate) tenant: Option<String>,
}

#[derive(Args)]
pub(crate) struct PublishArgs {
    /// To this user; may be repeated
    #[arg(long = "user", value_name = "USER")]
    pub(crate) users: Vec<String>,
    /// To the members of this channel, such as everyone or role:ADMIN; may be repeated
    #[arg(long = "channel", value_name = "CHANNEL")]
    pub(crate) channels: Vec<String>,
    /// But not to this user; may be repeated
    #[arg(long = "except", value_name = "USER")]
    pub(crate) except: Vec<String>,
    /// What kind of fact it reports
    #[arg(long = "type", value_name = "TYPE", default_value = "message")]
    pub(crate) kind: String,
    /// One line
    #[arg(long, default_value = "")]
    pub(crate) title: String,
    /// A few lines
    #[arg(long, default_value = "")]
    pub(crate) body: String,
    /// A JSON object with whatever the application needs
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// low, normal, high or urgent
    #[arg(long)]
    pub(crate) priority: Option<String>,
    /// A word to find it by; may be repeated
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Where it leads: a URL or a path
    #[arg(long, value_name = "URL")]
    pub(crate) action: Option<String>,
    /// Only show it live: in no inbox, in no count
    #[arg(long)]
    pub(crate) live: bool,
    /// When it goes out, such as 2026-12-24T18:00:00Z, or after a time, such as 90m
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) deliver_at: Option<Timestamp>,
    /// When its time is over and it is taken back
    #[arg(long, value_name = "WHEN", value_parser = moment)]
    pub(crate) expires_at: Option<Timestamp>,
    /// Take the place of the one before it with the same key
    #[arg(long, value_name = "KEY")]
    pub(crate) collapse_key: Option<String>,
    /// Publish it once under this key, however often this is run
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct RetractArgs {
    /// The notification's id
    #[arg(required_unless_present = "key")]
    pub(crate) id: Option<String>,
    /// Cancel the one that was published with this key and has not gone out yet
    #[arg(long, value_name = "KEY", conflicts_with = "id")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct ScheduledArgs {
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) limit: u64,
    /// The page as JSON, for machines
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct TailArgs {
    /// Begin after this position instead of now; 0 is the beginning
    #[arg(long, value_name = "POSITION")]
    pub(crate) after: Option<u64>,
    /// A JSON object a line, for machines
    #[arg(long)]
    pub(crate) json: bool,
    /// From the NATS broker of the configuration instead of the server, as it goes out there (nats.out = ["log"])
    #[arg(long, conflicts_with = "after")]
    pub(crate) nats: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct InboxArgs {
    /// Whose
    pub(crate) user: String,
    /// Only unread ones
    #[arg(long)]
    pub(crate) unread: bool,
    /// Those in the archive
    #[arg(long)]
    pub(crate) archived: bool,
    /// How many at most
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub(crate) limit: u64,
    /// The page as JSON, for machines
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// The notification
    pub(crate) id: String,
    /// About whom
    pub(crate) user: String,
    /// All that is known as JSON, for machines
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct StatsArgs {
    /// How far back: 90s, 15m, 8h, 7d; at most 31 days
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    pub(crate) last: Duration,
    /// How the time is divided
    #[arg(long, default_value = "all", value_parser = ["minute", "hour", "day", "all"])]
    pub(crate) every: String,
    /// What is told apart, with commas between
    #[arg(long, default_value = "type", value_delimiter = ',', value_parser = ["type", "channel", "transport"])]
    pub(crate) by: Vec<String>,
    /// As JSON, for machines
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

#[derive(Args)]
pub(crate) struct TokenArgs {
    /// The user; without it the token is a service's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// A role of theirs; may be repeated
    #[arg(long = "role", value_name = "ROLE")]
    pub(crate) roles: Vec<String>,
    /// A pattern of channels they may join and watch, such as 'topic:*'; may be repeated
    #[arg(long = "permit", value_name = "PATTERN")]
    pub(crate) channels: Vec<String>,
    /// What else they may do: publish, admin, metrics, operator; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", value_parser = ["publish", "admin", "metrics", "operator"])]
    pub(crate) scopes: Vec<String>,
    /// Their login session
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// The application
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// How long it lasts: 90s, 15m, 8h, 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub(crate) expires_in: Duration,
}

impl Flags {
    /// The settings: the file, the environment, the flags.
    pub(crate) fn load(&self, plugins: &[PluginSettings]) -> Result<Loaded, ConfigError> {
        self.load_file(self.config.as_deref(), plugins)
    }

    /// The same with another file.
    pub(crate) fn load_file(
        &self,
        file: Option<&Path>,
        plugins: &[PluginSettings],
    ) -> Result<Loaded, ConfigError> {
        let flag =
            |name: &str, key: &str, value: String| Flag { name: name.to_owned(), key: key.to_owned(), value };
        let data_dir = self.data_dir.iter().map(|value| flag("--data-dir", "data-dir", value.clone()));
        let listen = self.listen.iter().map(|value| flag("--listen", "listen", value.to_string()));
        let set = self.set.iter().map(|(key, value)| flag(&format!("--set {key}"), key, value.clone()));
        let text = |variable: (std::ffi::OsString, std::ffi::OsString)| {
            Some((variable.0.into_string().ok()?, variable.1.to_string_lossy().into_owned()))
        };
        tidings_config::load(&Sources {
            file,
            environment: std::env::vars_os().filter_map(text).collect(),
            flags: set.chain(data_dir).chain(listen).collect(),
            plugins,
            other_variables: OTHER_VARIABLES,
        })
    }

    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
