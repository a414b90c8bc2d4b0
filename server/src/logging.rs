//! What the server says on standard error: for people, or an object a line for machines.

use std::io::IsTerminal;

use anyhow::Context;
use tidings_config::{LogFormat, LogSettings};
use tracing_subscriber::EnvFilter;

/// Begins to log as the settings say.
pub(crate) fn begin(settings: &LogSettings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.level)
        .with_context(|| format!("the setting log.level is not as expected: {}", settings.level))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    match settings.format {
        LogFormat::Human => builder.with_target(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
