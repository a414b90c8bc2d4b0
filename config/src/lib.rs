//! Tidings' settings: a TOML file, then the environment, then flags; each overrides what came before.
//!
//! `config/tidings.toml` documents every setting with its default, and what is said here of a setting is read from there.
//! Everything that is wrong is found at once, with its place. Nothing is used here: this crate only says what the settings
//! are.

mod channels;
mod cors;
pub mod documentation;
mod faults;
mod issuer;
mod limits;
mod load;
mod nats;
mod nearest;
mod problem;
mod reload;
mod shutdown;
mod tls;
mod token;
mod tree;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::Deserialize;

pub use channels::{ChannelAction, ChannelRule};
pub use cors::{ANY_ORIGIN, CorsSettings};
pub use issuer::{IssuerSettings, KeyAlgorithm, KeySettings, KeySource};
pub use limits::{LimitSettings, Rate};
pub use load::{Flag, Loaded, PluginSettings, Sources, load};
pub use nats::{InboxAction, InboxRule, NatsOut, NatsSettings, SubjectRule};
pub use problem::{ConfigError, Findings, Problem, Source};
pub use reload::{Change, Reloaded, without_secrets};
pub use shutdown::ShutdownSettings;
pub use tls::TlsSettings;
pub use token::{ClaimNames, LEEWAY_SECONDS_MOST, SECRET_BYTES_LEAST, TokenSettings};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where the log, the views and the generated secret are.
    pub data_dir: PathBuf,
    /// Bytes of the disk that are kept free: when there are fewer, nothing more is accepted.
    pub reserve_bytes: u64,
    /// Events after which a snapshot is taken; 0 for never.
    pub snapshot_events: u64,
    /// How long a connection may take no byte of what is sent before it is closed.
    pub stall_seconds: NonZeroU32,
    /// Which web pages may use it from a browser.
    pub cors: CorsSettings,
    /// Where metrics are shown to everybody who reaches it.
    pub metrics_listen: Option<SocketAddr>,
    /// How the server stops.
    pub shutdown: ShutdownSettings,
    /// What is kept of what became of notifications.
    pub delivery: DeliverySettings,
    /// How much may come in, and how long it may take.
    pub limits: LimitSettings,
    /// What is said on standard error.
    pub log: LogSettings,
    /// Where the NATS broker is, and what is done there.
    pub nats: NatsSettings,
    /// With which certificate the server does TLS.
    pub tls: TlsSettings,
    /// Who may come in.
    pub token: TokenSettings,
    /// Who may do what with which channels, beside what tokens say.
    pub channels: Vec<ChannelRule>,
    /// The settings of each plugin, by its name. A plugin that is not named is not used.
    pub plugins: toml::Table,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7400)),
            data_dir: PathBuf::from("tidings-data"),
            reserve_bytes: 64 << 20,
            snapshot_events: 1_000_000,
            stall_seconds: const { NonZeroU32::new(30).unwrap() },
            cors: CorsSettings::default(),
            metrics_listen: None,
            shutdown: ShutdownSettings::default(),
            delivery: DeliverySettings::default(),
            limits: LimitSettings::default(),
            log: LogSettings::default(),
            nats: NatsSettings::default(),
            tls: TlsSettings::default(),
            token: TokenSettings::default(),
            channels: Vec::new(),
            plugins: toml::Table::new(),
        }
    }
}

impl Settings {
    /// What no type can say.
    fn check(&self, findings: &mut Findings) {
        self.log.check(findings);
        self.token.check(findings);
        self.delivery.check(findings);
        self.cors.check(findings);
        self.limits.check(findings);
        self.nats.check(findings);
        self.tls.check(findings);
        channels::check(&self.channels, findings);
        self.shutdown.check(findings);
    }
}

/// What is kept of what became of notifications.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DeliverySettings {
    /// Whether it is recorded what was sent to each device and what it acknowledged.
    pub progress: bool,
    /// Where the paths of actions lead, for those who follow a link: `https://app.example.org`.
    pub action_base: Option<String>,
}

impl Default for DeliverySettings {
    fn default() -> Self {
        Self { progress: true, action_base: None }
    }
}

impl DeliverySettings {
    fn check(&self, findings: &mut Findings) {
        let Some(base) = &self.action_base else { return };
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let is_sound = rest.is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && c != '?' && c != '#')
        });
        if !is_sound {
            let expected =
                format!("expected the beginning of a URL, such as https://app.example.org, got {base:?}");
            findings.wrong("delivery.action-base", expected);
        }
    }
}

/// What is said on standard error.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug` or `trace`, also by module: `info,tidings_ws=debug`.
    pub level: String,
    /// For people or for machines.
    pub format: LogFormat,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Human }
    }
}

impl LogSettings {
    /// A word that is no level would be taken for a module's name, and nothing be said at all.
    fn check(&self, findings: &mut Findings) {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
        let sound = self.level.split(',').all(|part| match part.split_once('=') {
            Some((module, level)) => !module.trim().is_empty() && is_level(level.trim()),
            None => is_level(part.trim()),
        });
        if !sound {
            let expected = format!(
                "expected a level, such as info, or levels by module, such as info,tidings_ws=debug, with {}; got {:?}",
                LEVELS.join(", "),
                self.level
            );
            findings.wrong("log.level", expected);
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Human,
    /// A JSON object a line.
    Json,
}
