//! What the server says on standard error: for people, or an object a line for machines. Both can be changed while it runs.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tidings_config::{LogFormat, LogSettings};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{DynFilterFn, dynamic_filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer, reload};

/// The log, as it is.
#[derive(Clone)]
pub(crate) struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
    is_json: Arc<AtomicBool>,
}

/// Begins to log as the settings say.
pub(crate) fn begin(settings: &LogSettings) -> anyhow::Result<Logging> {
    let (filter, handle) = reload::Layer::new(filter(settings)?);
    let is_json = Arc::new(AtomicBool::new(settings.format == LogFormat::Json));
    let human = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let human = human.with_ansi(std::io::stderr().is_terminal());
    let json = fmt::layer().json().flatten_event(true).with_span_list(false).with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(human.with_filter(events_when(&is_json, false)))
        .with(json.with_filter(events_when(&is_json, true)))
        .init();
    Ok(Logging { filter: handle, is_json })
}

/// Every span, so that one that is open when the format changes can be written in either; but events in one format alone.
fn events_when<S: Subscriber>(
    is_json: &Arc<AtomicBool>,
    wanted: bool,
) -> DynFilterFn<S, impl Fn(&Metadata<'_>, &layer::Context<'_, S>) -> bool + use<S>> {
    let is_json = is_json.clone();
    dynamic_filter_fn(move |metadata, _| metadata.is_span() || is_json.load(Ordering::Relaxed) == wanted)
}

fn filter(settings: &LogSettings) -> anyhow::Result<EnvFilter> {
    EnvFilter::try_new(&settings.level)
        .with_context(|| format!("the setting log.level is not as expected: {}", settings.level))
}

impl Logging {
    /// Gets ready to log as the settings say, and does when the result is called.
    pub(crate) fn prepare(&self, settings: &LogSettings) -> anyhow::Result<impl FnOnce() + Send + use<>> {
        let (filter, is_json, logging) =
            (filter(settings)?, settings.format == LogFormat::Json, self.clone());
        Ok(move || {
            logging.is_json.store(is_json, Ordering::Relaxed);
            if let Err(error) = logging.filter.reload(filter) {
                tracing::error!(%error, "the level of the log did not change");
            }
        })
    }
}
