//! Metrics in the format of OpenMetrics, which Prometheus reads: what the engine and this crate count, and what the system says
//! of the process. Nothing is labelled with a user, a channel or a tenant, of which there is no bound.

mod process;

use std::fmt::{Error, Result};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tidings_engine::Engine;
use tidings_engine::access::Scope;
use tidings_engine::broker::Broker;
use tidings_engine::metrics::{Distribution, Mailboxes};

use crate::openapi::Section;
use crate::problem::Problem;
use crate::{Api, Caller, Context};

const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Seconds that requests take.
const REQUEST_SECONDS: [f64; 10] = [0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];

/// For those whose token allows it, beside everything else.
pub(crate) fn api() -> Api {
    Api::new().on(
        Section::Operating
            .get("/metrics", "getMetrics", "The server's metrics, as Prometheus reads them")
            .says("An address of its own, for everybody who reaches it, can be set with `metrics-listen`.")
            .needs("metrics")
            .answers_text(StatusCode::OK, CONTENT_TYPE, "The metrics."),
        for_caller,
    )
}

/// For everybody who reaches an address of its own.
pub(crate) fn open_router(context: Context) -> Router {
    Router::new().route("/metrics", get(for_anybody)).with_state(context)
}

async fn for_caller(
    State(context): State<Context>,
    Caller(identity): Caller,
) -> std::result::Result<Response, Problem> {
    identity.require(Scope::Metrics)?;
    Ok(for_anybody(State(context)).await)
}

async fn for_anybody(State(context): State<Context>) -> Response {
    let mailboxes = context.engine.mailboxes().await.unwrap_or_default();
    let mut registry = Registry::default();
    context.requests.register(&mut registry);
    registry.register_collector(Box::new(Scrape { engine: context.engine.clone(), mailboxes }));
    let mut text = String::new();
    match encode(&mut text, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(Error) => Problem::from(tidings_engine::Error::Internal).into_response(),
    }
}

type AllLabels = [(&'static str, String); 3];
type RouteLabel = [(&'static str, String); 1];
type Seconds = Family<RouteLabel, Histogram, fn() -> Histogram>;

/// What is counted of HTTP requests.
#[derive(Clone)]
pub struct Requests {
    served: Family<AllLabels, Counter>,
    seconds: Seconds,
}

impl Default for Requests {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(REQUEST_SECONDS);
        Self { served: Family::default(), seconds: Family::new_with_constructor(histogram) }
    }
}

impl Requests {
    /// A method's name; others than the known ones have one name, as anybody may send any.
    pub(crate) fn known_method(&self, method: &Method) -> &'static str {
        match *method {
            Method::GET => "GET",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::PATCH => "PATCH",
            Method::DELETE => "DELETE",
            Method::HEAD => "HEAD",
            Method::OPTIONS => "OPTIONS",
            _ => "other",
        }
    }

    pub(crate) fn served(&self, method: &str, route: &str, status: StatusCode, took: Duration) {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        self.served.get_or_create(&labels).inc();
        self.seconds.get_or_create(&[("route", route.to_owned())]).observe(took.as_secs_f64());
    }

    fn register(&self, registry: &mut Registry) {
        registry.register("tidings_http_requests", "HTTP requests answered", self.served.clone());
        let help = "Time until the answer to an HTTP request began";
        registry.register("tidings_http_request_seconds", help, self.seconds.clone());
    }
}

/// What is read when somebody asks.
struct Scrape {
    engine: Engine,
    mailboxes: Mailboxes,
}

impl std::fmt::Debug for Scrape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> Result {
        f.write_str("Scrape")
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder) -> Result {
        let mut page = Page(encoder);
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        page.info("tidings_build", "The version that runs", version)?;
        self.log(&mut page)?;
        self.transports(&mut page)?;
        self.hub(&mut page)?;
        self.brokers(&mut page)?;
        process::encode(&mut page)
    }
}

impl Scrape {
    fn log(&self, page: &mut Page<'_>) -> Result {
        let metrics = self.engine.metrics();
        let events = metrics.events();
        let events = events.iter().map(|(name, count)| (Some(("type", name.as_str())), *count));
        page.counters("tidings_events", "Events appended to the log", events)?;
        let (commands, seconds) = (&metrics.commands_per_commit, &metrics.commit_seconds);
        let help = "Commands that shared a commit";
        page.histograms("tidings_commit_commands", help, [(None, commands.distribution())])?;
        let help = "Time to write and sync a commit";
        page.histograms("tidings_commit_seconds", help, [(None, seconds.distribution())])?;
        let help = "Time to make a commit durable: to write it, with its fsync";
        let synced = self.engine.log().sync_seconds().map(|seconds| (None, seconds));
        page.histograms("tidings_sync_seconds", help, synced)?;
        let refused = [("busy", metrics.refused_busy.get()), ("disk_full", metrics.refused_full.get())];
        let refused = refused.map(|(reason, count)| (Some(("reason", reason)), count));
        page.counters("tidings_commands_refused", "Commands refused because of the disk", refused)?;
        let failed = metrics.failed_commits.get();
        page.counters("tidings_commits_failed", "Commits whose outcome is not known", [(None, failed)])?;
        let progressed = self.engine.progressed();
        let help = "The last durable position of the log";
        page.gauges("tidings_log_head", help, [(None, progressed.head as f64)])?;
        let lag = |reached: u64| progressed.head.saturating_sub(reached) as f64;
        let (inbox, deliveries) = (lag(progressed.written), lag(progressed.delivered));
        let lags = [("hub", lag(progressed.folded)), ("inbox", inbox), ("deliveries", deliveries)];
        let lags = lags.map(|(view, lag)| (Some(("view", view)), lag));
        page.gauges("tidings_view_lag_events", "Events of the log that a view does not have yet", lags)?;
        let accepting = [(None, f64::from(u8::from(self.engine.is_accepting())))];
        page.gauges(
            "tidings_accepting",
            "1 while publishes are accepted, 0 while the disk is nearly full",
            accepting,
        )
    }

    fn transports(&self, page: &mut Page<'_>) -> Result {
        let transports = self.engine.metrics().transports();
        let of = |name: &'static str| Some(("transport", name));
        let open = transports.iter().map(|(name, counted)| {
            (of(name), counted.opened.get().saturating_sub(counted.closed.get()) as f64)
        });
        page.gauges("tidings_connections", "Connections that are open", open)?;
        let opened = transports.iter().map(|(name, counted)| (of(name), counted.opened.get()));
        page.counters("tidings_connections_opened", "Connections that were opened", opened)?;
        let lasted =
            transports.iter().map(|(name, counted)| (of(name), counted.connection_seconds.distribution()));
        page.histograms("tidings_connection_seconds", "How long connections lasted that have ended", lasted)?;
        let sent = transports.iter().map(|(name, counted)| (of(name), counted.sent.get()));
        page.counters("tidings_notifications_sent", "Notifications written to devices", sent)?;
        let late =
            transports.iter().map(|(name, counted)| (of(name), counted.delivery_seconds.distribution()));
        let help = "From a live notification's event to its being written to a device";
        page.histograms("tidings_delivery_seconds", help, late)
    }

    fn brokers(&self, page: &mut Page<'_>) -> Result {
        let brokers = self.engine.metrics().brokers();
        let of = |name: &'static str| Some(("broker", name));
        let gauge = |value: OfBroker| {
            brokers.iter().map(move |(name, broker)| (of(name), value(broker) as f64)).collect::<Vec<_>>()
        };
        let help = "1 while there is a connection to the broker";
        page.gauges("tidings_broker_connected", help, gauge(|broker| broker.is_connected().into()))?;
        let help = "Messages that wait at the broker to be published";
        page.gauges("tidings_broker_lag_messages", help, gauge(|broker| broker.waiting.get()))?;
        let help = "Messages that the broker has handed out and that are not acknowledged";
        let unacknowledged = gauge(|broker| broker.unacknowledged.get());
        page.gauges("tidings_broker_unacknowledged_messages", help, unacknowledged)?;
        let counters: [(&str, &str, OfBroker); 9] = [
            ("tidings_broker_connects", "Connections made to the broker", |broker| broker.connects.get()),
            ("tidings_broker_received", "Messages that came to be published", |broker| broker.received.get()),
            ("tidings_broker_redelivered", "Messages that came once more", |broker| broker.redelivered.get()),
            ("tidings_broker_accepted", "Messages published and acknowledged", |broker| {
                broker.accepted.get()
            }),
            ("tidings_broker_postponed", "Messages given back for later", |broker| broker.postponed.get()),
            ("tidings_broker_dead_letters", "Messages put aside as dead letters", |broker| broker.dead.get()),
            ("tidings_broker_requests", "Requests over the broker that were answered", |broker| {
                broker.requests.get()
            }),
            ("tidings_broker_sent", "Messages sent for downstream services", |broker| broker.sent.get()),
            ("tidings_broker_renewals", "Times that consuming was begun anew", |broker| broker.renewed.get()),
        ];
        for (name, help, value) in counters {
            page.counters(name, help, brokers.iter().map(|(name, broker)| (of(name), value(broker))))?;
        }
        Ok(())
    }

    fn hub(&self, page: &mut Page<'_>) -> Result {
        let metrics = self.engine.metrics();
        let resumes = &metrics.resumes;
        let resumed = [
            ("continued", &resumes.continued),
            ("reset_too_old", &resumes.too_old),
            ("reset_history_changed", &resumes.history_changed),
            ("reset_cursor_ahead", &resumes.cursor_ahead),
            ("reset_too_many", &resumes.too_many),
        ];
        let resumed = resumed.map(|(result, count)| (Some(("result", result)), count.get()));
        page.counters("tidings_resumes", "Devices that came back, and what became of it", resumed)?;
        let parcels = metrics.parcels.get();
        page.counters("tidings_mailbox_parcels", "Parcels put into mailboxes", [(None, parcels)])?;
        let full = metrics.mailboxes_full.get();
        let help = "Mailboxes that were full, and whose devices read on from the log";
        page.counters("tidings_mailboxes_full", help, [(None, full)])?;
        let Mailboxes { live, behind, parcels, fullest } = self.mailboxes;
        let devices = [("live", live), ("behind", behind)];
        let devices = devices.map(|(state, count)| (Some(("state", state)), count as f64));
        page.gauges("tidings_subscribers", "Connections that are live, or read what they missed", devices)?;
        page.gauges(
            "tidings_mailbox_waiting_parcels",
            "Parcels that wait in mailboxes",
            [(None, parcels as f64)],
        )?;
        let help = "Parcels that wait in the mailbox with most";
        page.gauges("tidings_mailbox_waiting_parcels_most", help, [(None, fullest as f64)])
    }
}

/// A number of what is told of a broker.
type OfBroker = fn(&Broker) -> u64;
/// A label and its value.
type Label<'l> = Option<(&'static str, &'l str)>;

/// Writes metrics one after another.
struct Page<'p>(DescriptorEncoder<'p>);

impl Page<'_> {
    fn info(&mut self, name: &str, help: &str, labels: [(&str, &str); 1]) -> Result {
        self.0.encode_descriptor(name, help, None, MetricType::Info)?.encode_info(&labels)
    }

    fn counters<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, u64)>,
    ) -> Result {
        self.each(name, help, MetricType::Counter, values, |mut encoder, value| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    fn gauges<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, f64)>,
    ) -> Result {
        self.each(name, help, MetricType::Gauge, values, |mut encoder, value| encoder.encode_gauge(&value))
    }

    fn histograms<'l>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Label<'l>, Distribution)>,
    ) -> Result {
        self.each(
            name,
            help,
            MetricType::Histogram,
            values,
            |mut encoder, Distribution { sum, count, buckets }| {
                encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
            },
        )
    }

    fn seconds(&mut self, name: &str, help: &str, value: f64) -> Result {
        let mut encoder = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn each<'l, T>(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        values: impl IntoIterator<Item = (Label<'l>, T)>,
        encode: impl Fn(MetricEncoder<'_>, T) -> Result,
    ) -> Result {
        let mut values = values.into_iter().peekable();
        if values.peek().is_none() {
            return Ok(()); // a histogram without buckets is none
        }
        let mut encoder = self.0.encode_descriptor(name, help, None, kind)?;
        for (label, value) in values {
            // An empty set of labels would be written, and in buckets wrongly.
            match label {
                Some(label) => encode(encoder.encode_family(&[label])?, value)?,
                None => return encode(encoder, value),
            }
        }
        Ok(())
    }
}
