//! What a reload changes: the settings that are marked so in `config/tidings.toml`, and no others.

use crate::documentation::{is_secret, settings};
use crate::load::{Loaded, Override, merged};
use crate::problem::{ConfigError, Findings, Problem, Source};
use crate::tree;

/// A setting that has another value now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: String,
    /// What it was, as TOML; `…` for a secret.
    pub from: String,
    /// What it is in its source now, likewise.
    pub to: String,
}

/// What a reload came to.
#[derive(Debug)]
pub struct Reloaded {
    /// The settings as they are now.
    pub loaded: Loaded,
    /// What changed.
    pub changed: Vec<Change>,
    /// What would have, and takes a restart.
    pub kept: Vec<Change>,
}

impl Loaded {
    /// The settings as they are when what can change becomes what it is in `newer`.
    ///
    /// # Errors
    /// When that does not go with what cannot change.
    pub fn reloaded(&self, newer: &Self) -> Result<Reloaded, ConfigError> {
        let (mut changed, mut kept) = (Vec::new(), Vec::new());
        let mut overrides = self.overrides.clone();
        for setting in settings().iter().filter(|setting| !setting.within) {
            let (before, _) = self.value(&setting.key);
            let (after, source) = newer.value(&setting.key);
            if before == after {
                continue;
            }
            let shown = |value: &Option<toml::Value>| shown(&setting.key, value.as_ref());
            let change = Change { key: setting.key.clone(), from: shown(&before), to: shown(&after) };
            if !setting.reloads {
                kept.push(change);
                continue;
            }
            changed.push(change);
            let value = (source != Source::Default).then(|| after.map(|value| value.to_string())).flatten();
            overrides.retain(|one| one.key != setting.key);
            overrides.push(Override { key: setting.key.clone(), value, source });
        }
        let settings = tree::read(merged(self.file.as_ref(), &overrides));
        let settings = settings.map_err(|error| together("", error.message()))?;
        let mut findings = Findings::default();
        crate::Settings::check(&settings, &mut findings);
        if let Some((key, what)) = findings.wrong.first() {
            return Err(together(key, what));
        }
        let loaded = Self { settings, overrides, ..self.clone() };
        Ok(Reloaded { loaded, changed, kept })
    }
}

fn together(key: &str, what: &str) -> ConfigError {
    let what = format!("{what}, beside settings that take a restart");
    ConfigError::Wrong(vec![Problem { source: Source::Default, key: key.to_owned(), what, nearest: None }])
}

/// A value as it may be shown: no secret, also not one within it.
pub(crate) fn shown(key: &str, value: Option<&toml::Value>) -> String {
    match value {
        None => "not set".to_owned(),
        Some(value) => without_secrets(key, value.clone()).to_string(),
    }
}

/// A value with `…` for each secret in it.
#[must_use]
pub fn without_secrets(key: &str, value: toml::Value) -> toml::Value {
    match value {
        _ if is_secret(key) => toml::Value::String("…".to_owned()),
        toml::Value::Table(table) => {
            let hidden = table.into_iter().map(|(name, value)| {
                let value = without_secrets(&name, value);
                (name, value)
            });
            toml::Value::Table(hidden.collect())
        }
        toml::Value::Array(items) => {
            toml::Value::Array(items.into_iter().map(|item| without_secrets(key, item)).collect())
        }
        value => value,
    }
}
