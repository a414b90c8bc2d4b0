//! The plugins that there are: the one place where a new one is named.

use std::sync::Arc;

use anyhow::{Context, bail};
use tidings_config::{PluginSettings, Settings};
use tidings_engine::plugin::Plugin;
use tidings_type_routes::TypeRoutes;

/// What each plugin's section may hold, so that what is wrong with it is found with everything else.
pub(crate) const SETTINGS: &[PluginSettings] =
    &[PluginSettings::of::<tidings_type_routes::Settings>(tidings_type_routes::NAME)];

/// The plugins that the settings name, each with its settings.
pub(crate) fn of(settings: &Settings) -> anyhow::Result<Vec<Arc<dyn Plugin>>> {
    let mut plugins: Vec<Arc<dyn Plugin>> = Vec::new();
    for (name, value) in &settings.plugins {
        match name.as_str() {
            tidings_type_routes::NAME => {
                let settings = value.clone().try_into();
                let settings =
                    settings.with_context(|| format!("the settings of [plugins.{name}] are not as expected"));
                plugins.push(Arc::new(TypeRoutes::new(settings?)));
            }
            _ => bail!("there is no plugin {name}"),
        }
    }
    Ok(plugins)
}
