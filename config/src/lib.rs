//! Tidings' settings: a TOML file, then the environment, then flags; each overrides what came before.
//!
//! `config/tidings.toml` documents every setting with its default. Nothing here is read twice or used: this crate only
//! says what the settings are.

mod channels;
mod issuer;
mod token;

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use channels::{ChannelAction, ChannelRule};
pub use issuer::{IssuerSettings, KeyAlgorithm, KeySettings, KeySource};
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
    /// How long a connection may take no byte of what is sent before it is closed.
    pub stall_seconds: NonZeroU32,
    /// What is kept of what became of notifications.
    pub delivery: DeliverySettings,
    /// What is said on standard error.
    pub log: LogSettings,
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
            stall_seconds: const { NonZeroU32::new(30).unwrap() },
            delivery: DeliverySettings::default(),
            log: LogSettings::default(),
            token: TokenSettings::default(),
            channels: Vec::new(),
            plugins: toml::Table::new(),
        }
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
    fn check(&self) -> Result<(), ConfigError> {
        let Some(base) = &self.action_base else { return Ok(()) };
        let rest = base.strip_prefix("https://").or_else(|| base.strip_prefix("http://"));
        let is_sound = rest.is_some_and(|rest| {
            !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic() && c != '?' && c != '#')
        });
        let expected =
            format!("expected the beginning of a URL, such as https://app.example.org, got {base}");
        if is_sound { Ok(()) } else { Err(ConfigError::Value { key: "delivery.action-base", expected }) }
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
    fn check(&self) -> Result<(), ConfigError> {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        let is_level = |word: &str| LEVELS.contains(&word.to_ascii_lowercase().as_str());
        let sound = self.level.split(',').all(|part| match part.split_once('=') {
            Some((module, level)) => !module.trim().is_empty() && is_level(level.trim()),
            None => is_level(part.trim()),
        });
        let expected = format!(
            "expected a level, such as info, or levels by module, such as info,tidings_ws=debug, with {}; got {}",
            LEVELS.join(", "),
            self.level
        );
        if sound { Ok(()) } else { Err(ConfigError::Value { key: "log.level", expected }) }
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

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the configuration file {path} cannot be read: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The file is not as expected. The message says where, and what was expected there.
    #[error("the configuration file {path} is not as expected\n{error}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Where and what.
        error: toml::de::Error,
    },
    /// A variable of the environment is not as expected.
    #[error("the environment variable {name} is not as expected: {expected}")]
    Environment {
        /// Which.
        name: &'static str,
        /// What was expected.
        expected: String,
    },
    /// A setting has a value that cannot be used.
    #[error("the setting {key} is not as expected: {expected}")]
    Value {
        /// Which.
        key: &'static str,
        /// What was expected.
        expected: String,
    },
}

/// Settings from a file, if there is one, and the environment. Flags come after.
///
/// | variable | setting |
/// |---|---|
/// | `TIDINGS_LISTEN` | `listen` |
/// | `TIDINGS_DATA_DIR` | `data-dir` |
/// | `TIDINGS_SECRET` | `token.secret` |
/// | `LOG_LEVEL` | `log.level` |
///
/// # Errors
/// [`ConfigError`], which says where and what.
pub fn load(
    file: Option<&Path>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Settings, ConfigError> {
    let mut settings = file.map_or_else(|| Ok(Settings::default()), from_file)?;
    if let Some(text) = environment("TIDINGS_LISTEN") {
        let expected = format!("expected an address and a port such as 127.0.0.1:7400, got {text}");
        let error = ConfigError::Environment { name: "TIDINGS_LISTEN", expected };
        settings.listen = text.parse().map_err(|_| error)?;
    }
    if let Some(text) = environment("TIDINGS_DATA_DIR") {
        settings.data_dir = text.into();
    }
    if let Some(text) = environment("TIDINGS_SECRET") {
        settings.token.secret = Some(text);
        settings.token.secret_file = None;
    }
    if let Some(text) = environment("LOG_LEVEL") {
        settings.log.level = text;
    }
    settings.log.check()?;
    settings.token.check()?;
    settings.delivery.check()?;
    channels::check(&settings.channels)
        .map_err(|expected| ConfigError::Value { key: "channels", expected })?;
    Ok(settings)
}

fn from_file(path: &Path) -> Result<Settings, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
    toml::from_str(&text).map_err(|error| ConfigError::File { path: path.to_owned(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_text(text: &str) -> Result<Settings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidings.toml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), |_| None).map_err(|error| error.to_string())
    }

    #[test]
    fn the_documented_file_holds_the_defaults() {
        let documented = include_str!("../tidings.toml");
        // A line such as `#name = value` is a setting with its default.
        let uncommented: String = documented
            .lines()
            .map(|line| {
                let setting = line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line);
                format!("{setting}\n")
            })
            .collect();
        assert_eq!(load_text(&uncommented).unwrap(), Settings::default());
        assert_eq!(load_text(documented).unwrap(), Settings::default());
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidings.toml");
        std::fs::write(&path, "listen = '127.0.0.1:1'\ndata-dir = '/file'").unwrap();
        let settings =
            load(Some(&path), |name| (name == "TIDINGS_LISTEN").then(|| "[::1]:2".to_owned())).unwrap();
        assert_eq!(settings.listen.to_string(), "[::1]:2");
        assert_eq!(settings.data_dir, PathBuf::from("/file"));
        let refused = load(None, |name| (name == "TIDINGS_LISTEN").then(|| "7400".to_owned())).unwrap_err();
        assert!(refused.to_string().contains("TIDINGS_LISTEN"), "{refused}");
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, expected) in [
            ("lisen = '127.0.0.1:1'", vec!["line 1", "unknown field `lisen`", "expected one of `listen`"]),
            ("\nlisten = 'here'", vec!["line 2", "invalid socket address"]),
            ("[token]\nleeway-seconds = 31", vec!["token.leeway-seconds", "at most 30", "31"]),
            ("[token]\nsecret = 'short'", vec!["token.secret", "at least 32 bytes", "5"]),
            (
                "[token]\nsecret = '01234567890123456789012345678901'\nsecret-file = 'x'",
                vec!["token.secret-file"],
            ),
            (
                "[[token.issuers]]\nname = 'a b'\nkeys = [{ pem-file = 'x' }]",
                vec!["token.issuers", "`a b`", "a-z"],
            ),
            ("[[token.issuers]]\nname = 'shop'", vec!["token.issuers", "`shop`", "at least one of keys"]),
            (
                "[[token.issuers]]\nname = 'shop'\nkeys = [{ kid = '1' }]",
                vec!["`shop`", "keys[0]", "exactly one of secret"],
            ),
            (
                "[[token.issuers]]\nname = 'shop'\nkeys = [{ pem-file = 'x', algorithm = 'HS256' }]",
                vec!["keys[0]", "algorithm", "HS256"],
            ),
            (
                "[[token.issuers]]\nname = 'shop'\nkeys = [{ secret = 'too short' }]",
                vec!["keys[0]", "at least 32 bytes", "9", "allow-weak-secret"],
            ),
            (
                "[[token.issuers]]\nname = 'shop'\nkeys = [{ jwks-file = 'x', kid = '1' }]",
                vec!["keys[0]", "no kid beside jwks-file"],
            ),
            (
                "[[token.issuers]]\nname = 'shop'\nkeys = [{ pem-file = 'x', algorithm = 'none' }]",
                vec!["line 3", "unknown variant `none`", "EdDSA"],
            ),
            (
                "[[channels]]\npattern = 'topic:*'\nallow = ['join']",
                vec!["channels", "[0]", "for is missing"],
            ),
            (
                "[[channels]]\npattern = 'topic:*'\nallow = ['see']\nfor = ['users']",
                vec!["line 3", "unknown variant `see`", "watch"],
            ),
            ("[log]\nlevel = 'loud'", vec!["log.level", "loud", "expected a level"]),
            ("[log]\nformat = 'xml'", vec!["line 2", "unknown variant `xml`", "human"]),
            (
                "[delivery]\naction-base = 'app.example'",
                vec!["delivery.action-base", "app.example", "https://"],
            ),
            ("x = ", vec!["line 1"]),
        ] {
            let error = load_text(text).unwrap_err();
            for part in expected {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
        let missing = load(Some(Path::new("/nowhere/tidings.toml")), |_| None).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/tidings.toml"), "{missing}");
    }
}
