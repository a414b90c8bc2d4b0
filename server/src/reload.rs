//! SIGHUP: the configuration is read again, and what can change does, all of it or nothing.
//!
//! What only has to know a setting follows the watched settings. What has to build something from them, and may fail, is a
//! part: all parts get ready before any of them, or any setting, changes.

use std::sync::Arc;

use tidings_config::{Change, Loaded, Reloaded, Settings};
use tokio::sync::watch;

use crate::cli::Flags;
use crate::plugins;

/// Makes a change that was got ready.
pub(crate) type Commit = Box<dyn FnOnce() + Send>;
/// Gets ready for settings, reading what files they name. Called on every reload: files may change where settings do not.
pub(crate) type Prepare = Box<dyn Fn(&Settings) -> anyhow::Result<Commit> + Send + Sync>;

/// What reads the configuration again.
pub(crate) struct Reloader {
    flags: Flags,
    loaded: Loaded,
    parts: Vec<Prepare>,
}

impl Reloader {
    pub(crate) fn new(flags: Flags, loaded: Loaded) -> Self {
        Self { flags, loaded, parts: Vec::new() }
    }

    /// Adds a part that gets ready for new settings.
    pub(crate) fn with(
        mut self,
        prepare: impl Fn(&Settings) -> anyhow::Result<Commit> + Send + Sync + 'static,
    ) -> Self {
        self.parts.push(Box::new(prepare));
        self
    }

    /// Reads the configuration again. The log says what changed, and what did not and why.
    pub(crate) fn reload(&mut self, settings: &watch::Sender<Arc<Settings>>) {
        let reloaded = self.prepare();
        let (Reloaded { loaded, changed, kept }, commits) = match reloaded {
            Ok(reloaded) => reloaded,
            Err(error) => {
                tracing::error!("the configuration was not reloaded, nothing changes: {error:#}");
                return;
            }
        };
        commits.into_iter().for_each(|commit| commit());
        settings.send_replace(Arc::new(loaded.settings.clone()));
        self.loaded = loaded;
        for Change { key, from, to } in &changed {
            tracing::info!(key, from, to, "a setting changed");
        }
        for Change { key, from, to } in &kept {
            tracing::warn!(key, from, to, "a setting does not change before a restart");
        }
        tracing::info!(changed = changed.len(), kept = kept.len(), "reloaded the configuration");
    }

    fn prepare(&self) -> anyhow::Result<(Reloaded, Vec<Commit>)> {
        let newer = self.flags.load(plugins::SETTINGS)?;
        newer.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let reloaded = self.loaded.reloaded(&newer)?;
        let commits = self.parts.iter().map(|prepare| prepare(&reloaded.loaded.settings));
        let commits = commits.collect::<anyhow::Result<Vec<Commit>>>()?;
        Ok((reloaded, commits))
    }
}
