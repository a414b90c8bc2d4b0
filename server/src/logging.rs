//! What the server says on standard error: for people, or an object a line for machines. Both can be changed while it runs.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use tidings_config::{LogFormat, LogSettings};
use tidings_engine::request;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{DynFilterFn, dynamic_filter_fn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, JsonFields, Writer};
use tracing_subscriber::fmt::{self, FmtContext};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, layer, reload};

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
    let is_terminal = std::io::stderr().is_terminal();
    let human = OfRequest { format: fmt::format().with_target(false).with_ansi(is_terminal), end: "" };
    let human = fmt::layer().event_format(human).with_ansi(is_terminal).with_writer(std::io::stderr);
    let json = OfRequest { format: fmt::format().json().flatten_event(true), end: "}" };
    let json = fmt::layer().event_format(json).fmt_fields(JsonFields::new()).with_writer(std::io::stderr);
    tracing_subscriber::registry()
        .with(filter)
        .with(human.with_filter(events_when(&is_json, false)))
        .with(json.with_filter(events_when(&is_json, true)))
        .init();
    Ok(Logging { filter: handle, is_json })
}

/// Says the id of the request on whose behalf something is said. A span would do the same, at the cost of one for each request,
/// though nothing is said of most.
struct OfRequest<F> {
    format: F,
    /// What a line ends with, after which nothing can be said.
    end: &'static str,
}

impl<S, N, F> FormatEvent<S, N> for OfRequest<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> std::fmt::Result {
        let said_already = event.fields().any(|field| field.name() == "request");
        let Some(request) = request::current().filter(|_| !said_already) else {
            return self.format.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.format.format_event(context, Writer::new(&mut line), event)?;
        let line = line.trim_end();
        let line = line.strip_suffix(self.end).unwrap_or(line);
        // An id needs no quoting: see `RequestId::parse`.
        match self.end {
            "" => writeln!(writer, "{line} request={request}"),
            end => writeln!(writer, "{line},\"request\":\"{request}\"{end}"),
        }
    }
}

/// Every span of a library, so that one that is open when the format changes can be written in either; but events in one format
/// alone.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tidings_engine::request::RequestId;

    use super::*;

    /// What is logged by `say`, by a format, on behalf of a request.
    fn said<N>(format: impl FormatEvent<Registry, N> + Send + Sync + 'static, fields: N, say: fn()) -> String
    where
        N: for<'a> FormatFields<'a> + Send + Sync + 'static,
    {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let writer = {
            let lines = lines.clone();
            move || Lines(lines.clone())
        };
        let layer = fmt::layer().fmt_fields(fields).event_format(format).with_writer(writer);
        let id = RequestId::parse("order-17").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            runtime.block_on(request::within(id, async { say() }));
            say();
        });
        let lines = lines.lock().unwrap();
        String::from_utf8(lines.clone()).unwrap()
    }

    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_said_on_behalf_of_a_request_names_it_once_and_nothing_else_does() {
        let human = || OfRequest { format: fmt::format().without_time().with_ansi(false), end: "" };
        let json = || OfRequest { format: fmt::format().json().flatten_event(true), end: "}" };
        let plain = said(human(), fmt::format::DefaultFields::new(), || tracing::warn!(of = 1, "late"));
        assert!(plain.contains("late of=1 request=order-17\n"), "{plain}");
        assert_eq!(plain.matches("request").count(), 1, "{plain}");
        let named = said(json(), JsonFields::new(), || tracing::warn!(request = "r-1", "late"));
        for line in named.lines() {
            assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap()["request"], "r-1");
        }
        let lines = said(json(), JsonFields::new(), || tracing::warn!("late"));
        let requests = lines.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            line["request"].as_str().map(str::to_owned)
        });
        assert_eq!(requests.collect::<Vec<_>>(), [Some("order-17".to_owned()), None]);
    }
}
