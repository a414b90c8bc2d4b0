//! What was measured, as it is told: the JSON object, of which the table and the report are made. Names carry their units.

use serde::Serialize;

use crate::check::{Checks, Disturbances};
use crate::sample::Sample;

/// A whole run.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcome {
    /// Of this program.
    pub(crate) version: &'static str,
    pub(crate) command: &'static str,
    pub(crate) transport: &'static str,
    pub(crate) server: String,
    pub(crate) started_at: String,
    pub(crate) connections: u32,
    pub(crate) users: u32,
    /// How it was published; nothing when it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) publishing: Option<Publishing>,
    pub(crate) connecting: Connecting,
    pub(crate) phases: Vec<Phase>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) storms: Vec<Storm>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) slow_readers: Option<SlowReaders>,
    pub(crate) checks: Checks,
    pub(crate) disturbances: Disturbances,
    /// What to know before one believes the figures.
    pub(crate) notes: Vec<String>,
    pub(crate) samples: Vec<Sample>,
}

/// How it was published.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Publishing {
    /// `open` or `closed`.
    pub(crate) r#loop: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outstanding: Option<u32>,
    /// What is outstanding: publishes that are not `answered`, or what is not `delivered`, too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broadcast_rate_per_second: Option<f64>,
    pub(crate) body_bytes: usize,
    pub(crate) batch: u32,
    pub(crate) channel: String,
}

/// How the connections were opened.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Connecting {
    pub(crate) seconds: f64,
    /// From when each was to be opened until it was greeted.
    pub(crate) greeted_micros: Option<Times>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_seconds: Option<f64>,
    /// Resident memory of the server before the first connection, and with all of them, idle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_memory_before_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_memory_idle_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_bytes_per_connection: Option<f64>,
}

/// A time in which something was measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Phase {
    pub(crate) name: String,
    /// When it began, since the first connection was opened; and how long it was.
    pub(crate) from_seconds: f64,
    pub(crate) seconds: f64,
    /// Notifications that were accepted in it, and deliveries that came in it.
    pub(crate) publishes: u64,
    pub(crate) publishes_per_second: f64,
    pub(crate) deliveries: u64,
    pub(crate) deliveries_per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_micros_per_delivery: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_micros_per_publish: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_memory_bytes: Option<u64>,
    /// Of one core.
    pub(crate) client_cpu_share: f64,
    /// What neither the server nor this program computed on this machine, in cores; where the server's is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) others_cpu_cores: Option<f64>,
    pub(crate) series: Vec<SeriesTimes>,
}

/// What was published in one way.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SeriesTimes {
    pub(crate) name: String,
    /// From when each was to be sent until each reader had it.
    pub(crate) delivery_micros: Option<Times>,
    /// Until it was answered.
    pub(crate) answer_micros: Option<Times>,
    /// Until the last reader had it, where there were several.
    pub(crate) complete_micros: Option<Times>,
}

/// All connections dropped at once.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Storm {
    /// When, since the first connection was opened.
    pub(crate) at_seconds: f64,
    pub(crate) connections: u32,
    /// From the moment they were dropped, or from the end of `--away`, until each had all that it had missed, and was live.
    pub(crate) caught_up_micros: Option<Times>,
    /// Until the last one had.
    pub(crate) seconds: f64,
    /// Notifications that were accepted until then.
    pub(crate) published_meanwhile: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_seconds: Option<f64>,
}

/// Those beside whom the others were measured.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SlowReaders {
    pub(crate) connections: u32,
    /// How much each of them read.
    pub(crate) bytes_per_second: u64,
    /// How many deliveries all of them were still to get when measuring ended. They got them afterwards.
    pub(crate) behind: u64,
}

/// Microseconds. A quantile is what so many waited at most.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Times {
    pub(crate) count: u64,
    pub(crate) min: f64,
    pub(crate) mean: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
    /// Quantiles from 0 on, each with its microseconds.
    pub(crate) curve: Vec<(f64, f64)>,
}
