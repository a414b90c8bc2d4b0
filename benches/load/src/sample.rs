//! Times and counts while they are taken: histograms of latency, and how everything goes from moment to moment.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde::Serialize;

use crate::check::{Checks, Disturbances};
use crate::machine::{self, Usage};
use crate::outcome::Times;

/// Latencies in nanoseconds are told apart by a thousandth, up to a quarter of an hour; what is longer counts as that.
const LONGEST: u64 = 900_000_000_000;

/// Latencies, in nanoseconds.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        // The bounds are ours, and sound.
        let histogram = Histogram::new_with_bounds(1_000, LONGEST, 3);
        Self(histogram.unwrap_or_else(|error| unreachable!("{error}")))
    }

    pub(crate) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn micros(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Its figures; `None` when there is nothing in it.
    pub(crate) fn times(&self) -> Option<Times> {
        let micros = |quantile| self.micros(quantile);
        (!self.is_empty()).then(|| Times {
            count: self.0.len(),
            min: self.0.min() as f64 / 1e3,
            mean: self.0.mean() / 1e3,
            p50: micros(0.5),
            p90: micros(0.9),
            p99: micros(0.99),
            p999: micros(0.999),
            max: self.0.max() as f64 / 1e3,
            curve: self.curve(),
        })
    }

    /// Quantiles with what is waited for them at most: eight for each halving of what is left.
    fn curve(&self) -> Vec<(f64, f64)> {
        let count = self.0.len() as f64;
        let mut points = Vec::new();
        let mut left = 1.0_f64;
        while left * count >= 1.0 {
            points.push((1.0 - left, self.micros(1.0 - left)));
            left *= 0.5_f64.powf(0.125);
        }
        points.push((1.0 - 1.0 / count.max(2.0), self.0.max() as f64 / 1e3));
        points
    }
}

/// What is published in one way: its times, and those of its deliveries.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    /// From when it was to be sent until a reader has it.
    pub(crate) delivery: Latencies,
    /// Until it is answered.
    pub(crate) answer: Latencies,
    /// Until the last of several readers has it.
    pub(crate) complete: Latencies,
}

impl Series {
    pub(crate) fn new(name: &'static str) -> Self {
        let (delivery, answer, complete) = (Latencies::new(), Latencies::new(), Latencies::new());
        Self { name, delivery, answer, complete }
    }
}

/// All that is counted.
pub(crate) struct Tally {
    pub(crate) series: Vec<Series>,
    pub(crate) checks: Checks,
    pub(crate) disturbances: Disturbances,
    /// Notifications that were accepted, and deliveries that came, warm-up included.
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    /// Until connections were greeted, and until they had all that they had missed.
    pub(crate) greeted: Latencies,
    pub(crate) caught_up: Latencies,
    /// How much later than intended publishes were sent although a connection was free for them: our own delay.
    pub(crate) lateness: Latencies,
    /// The deliveries since the last sample.
    recent: Latencies,
    pub(crate) live: u32,
}

impl Tally {
    pub(crate) fn new() -> Self {
        let [greeted, caught_up, lateness, recent] = [(); 4].map(|()| Latencies::new());
        let (checks, disturbances) = (Checks::default(), Disturbances::default());
        let (series, accepted, delivered, live) = (Vec::new(), 0, 0, 0);
        Self { series, checks, disturbances, accepted, delivered, greeted, caught_up, lateness, recent, live }
    }

    /// A delivery came so long after its publish was to be sent.
    pub(crate) fn delivery(&mut self, series: u8, nanoseconds: u64, is_complete: bool) {
        if let Some(series) = self.series.get_mut(usize::from(series)) {
            series.delivery.record(nanoseconds);
            self.recent.record(nanoseconds);
            if is_complete {
                series.complete.record(nanoseconds);
            }
        }
    }

    pub(crate) fn answer(&mut self, series: u8, nanoseconds: u64) {
        if let Some(series) = self.series.get_mut(usize::from(series)) {
            series.answer.record(nanoseconds);
        }
    }
}

/// How everything stood at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) at: u64,
    pub(crate) accepted: u64,
    pub(crate) delivered: u64,
    pub(crate) server: Option<Usage>,
    pub(crate) own_cpu: Duration,
    pub(crate) busy: Option<Duration>,
}

impl Moment {
    pub(crate) fn now(at: u64, tally: &Tally, processes: &[i32]) -> Result<Self> {
        let (accepted, delivered) = (tally.accepted, tally.delivered);
        let (own_cpu, busy) = (machine::own_cpu(), machine::busy());
        Ok(Self { at, accepted, delivered, server: machine::usage(processes)?, own_cpu, busy })
    }
}

/// How everything went between two moments.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sample {
    /// Since the first connection was opened, at the end of it.
    pub(crate) at_seconds: f64,
    pub(crate) live_connections: u32,
    pub(crate) publishes_per_second: f64,
    pub(crate) deliveries_per_second: f64,
    /// Of deliveries that came in this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_p50_micros: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) delivery_p99_micros: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_cpu_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_memory_bytes: Option<u64>,
    pub(crate) client_cpu_cores: f64,
}

/// Takes samples.
pub(crate) struct Sampler {
    every: u64,
    last: Moment,
    pub(crate) samples: Vec<Sample>,
}

impl Sampler {
    pub(crate) fn new(every: Duration, first: Moment) -> Self {
        Self { every: every.as_nanos() as u64, last: first, samples: Vec::new() }
    }

    pub(crate) fn next(&self) -> u64 {
        self.last.at + self.every
    }

    pub(crate) fn take(&mut self, moment: Moment, tally: &mut Tally) {
        let last = std::mem::replace(&mut self.last, moment);
        let seconds = (moment.at - last.at) as f64 / 1e9;
        let cpu = |from: Duration, to: Duration| to.saturating_sub(from).as_secs_f64() / seconds;
        let recent = &mut tally.recent;
        let quantile = |quantile| (!recent.is_empty()).then(|| recent.micros(quantile));
        self.samples.push(Sample {
            at_seconds: moment.at as f64 / 1e9,
            live_connections: tally.live,
            publishes_per_second: (moment.accepted - last.accepted) as f64 / seconds,
            deliveries_per_second: (moment.delivered - last.delivered) as f64 / seconds,
            delivery_p50_micros: quantile(0.5),
            delivery_p99_micros: quantile(0.99),
            server_cpu_cores: moment.server.zip(last.server).map(|(now, before)| cpu(before.cpu, now.cpu)),
            server_memory_bytes: moment.server.map(|server| server.memory_bytes),
            client_cpu_cores: cpu(last.own_cpu, moment.own_cpu),
        });
        recent.clear();
    }
}
