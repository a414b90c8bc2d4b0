//! What was measured, put together.

use crate::cli::{Command, Transport, Until};
use crate::outcome::{Connecting, Outcome, Phase, Publishing, SeriesTimes};
use crate::sample::Moment;

use super::{PhaseMark, Scenario, channel, publishing, until};

/// Beyond this share of a core, this program may be what is slow.
const BUSY: f64 = 0.9;
/// Publishes that go out later than this, in microseconds, are noted.
const LATE_MICROS: f64 = 5_000.0;
/// Cores that others keep busy, from which on it is noted.
const DISTURBED: f64 = 0.25;

impl Scenario<'_> {
    pub(super) fn summary(mut self) -> Outcome {
        let phases: Vec<Phase> = self.phases.iter().map(|mark| self.phase(mark)).collect();
        self.note(&phases);
        let checks = std::mem::take(&mut self.run.tally.checks);
        Outcome {
            version: env!("CARGO_PKG_VERSION"),
            command: self.command.name(),
            transport: match self.common.transport {
                Transport::Ws => "ws",
                Transport::Sse => "sse",
            },
            server: self.run.target.url.clone(),
            started_at: self.started_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            connections: self.common.connections,
            users: self.run.target.users.len() as u32,
            publishing: self.publishing(),
            connecting: self.connecting(),
            phases,
            storms: std::mem::take(&mut self.storms),
            slow_readers: self.slow_readers.take(),
            checks,
            disturbances: std::mem::take(&mut self.run.tally.disturbances),
            notes: std::mem::take(&mut self.notes),
            samples: std::mem::take(&mut self.run.sampler.samples),
        }
    }

    fn publishing(&self) -> Option<Publishing> {
        let options = publishing(self.command)?;
        let is_open = options.pace.rate.is_some();
        let until = match until(self.command) {
            Until::Answered => "answered",
            Until::Delivered => "delivered",
        };
        let broadcast_rate = match self.command {
            Command::Mixed(mixed) => Some(mixed.broadcast_rate),
            _ => None,
        };
        Some(Publishing {
            r#loop: if is_open { "open" } else { "closed" },
            rate_per_second: options.pace.rate,
            outstanding: options.pace.outstanding,
            until: (!is_open).then_some(until),
            broadcast_rate_per_second: broadcast_rate,
            body_bytes: options.body_bytes,
            batch: options.batch,
            channel: channel(self.command, options, self.run.target).unwrap_or_default(),
        })
    }

    fn connecting(&self) -> Connecting {
        let [before, open, idle] = &self.connecting;
        let (first, last) = (before.server, idle.server);
        let memory = first.zip(last).map(|(first, last)| (first.memory_bytes, last.memory_bytes));
        let each = memory
            .map(|(first, last)| last.saturating_sub(first) as f64 / f64::from(self.common.connections));
        Connecting {
            seconds: (open.at - before.at) as f64 / 1e9,
            greeted_micros: self.greeted.clone(),
            server_cpu_seconds: cpu_seconds(before, open),
            server_memory_before_bytes: memory.map(|(first, _)| first),
            server_memory_idle_bytes: memory.map(|(_, last)| last),
            server_bytes_per_connection: each,
        }
    }

    fn phase(&self, mark: &PhaseMark) -> Phase {
        let PhaseMark { name, from, to, series } = mark;
        let seconds = (to.at - from.at) as f64 / 1e9;
        let (publishes, deliveries) = (to.accepted - from.accepted, to.delivered - from.delivered);
        let server = cpu_seconds(from, to);
        let own = to.own_cpu.saturating_sub(from.own_cpu).as_secs_f64();
        let busy = to.busy.zip(from.busy).map(|(to, from)| to.saturating_sub(from).as_secs_f64());
        let others = busy.zip(server).map(|(busy, server)| (busy - server - own).max(0.0) / seconds);
        let each = |count: u64| server.filter(|_| count > 0).map(|cpu| cpu * 1e6 / count as f64);
        let times = |index: usize| {
            let series = &self.run.tally.series[index];
            SeriesTimes {
                name: series.name.to_owned(),
                delivery_micros: series.delivery.times(),
                answer_micros: series.answer.times(),
                complete_micros: series.complete.times().filter(|last| last.count < series.delivery.count()),
            }
        };
        Phase {
            name: name.clone(),
            from_seconds: from.at as f64 / 1e9,
            seconds,
            publishes,
            publishes_per_second: publishes as f64 / seconds,
            deliveries,
            deliveries_per_second: deliveries as f64 / seconds,
            server_cpu_seconds: server,
            server_cpu_micros_per_delivery: each(deliveries),
            server_cpu_micros_per_publish: each(publishes),
            server_memory_bytes: to.server.map(|server| server.memory_bytes),
            client_cpu_share: own / seconds,
            others_cpu_cores: others,
            series: series.clone().map(times).collect(),
        }
    }

    /// What to know before one believes the figures.
    fn note(&mut self, phases: &[Phase]) {
        for phase in phases {
            if phase.client_cpu_share > BUSY {
                self.notes.push(format!(
                    "This program was the bottleneck ({}): it used {:.0} % of a core. Latency and throughput are its own, not the server's; use fewer --connections, a lower --rate, or run it on several machines.",
                    phase.name,
                    phase.client_cpu_share * 100.0
                ));
            }
        }
        let others = phases.iter().filter_map(|phase| phase.others_cpu_cores).fold(0.0, f64::max);
        if others > DISTURBED {
            self.notes.push(format!(
                "Others kept up to {others:.1} cores of this machine busy meanwhile: repeat it when they do not."
            ));
        }
        let lateness = &self.run.tally.lateness;
        if !lateness.is_empty() && lateness.micros(0.99) > LATE_MICROS {
            self.notes.push(format!(
                "This program sent publishes up to {:.1} ms later than intended (p99), which latency includes: it had too much else to do.",
                lateness.micros(0.99) / 1e3
            ));
        }
        if !self.run.tally.disturbances.publishes_refused.is_empty() {
            self.notes.push(
                "The server refused publishes: what was measured is less than what was asked for.".to_owned(),
            );
        }
        if self.run.target.processes.is_empty() {
            self.notes.push("The server's CPU and memory are not known: name its process with --pid, if it is on this machine.".to_owned());
        }
    }
}

fn cpu_seconds(from: &Moment, to: &Moment) -> Option<f64> {
    let (from, to) = (from.server?, to.server?);
    Some(to.cpu.saturating_sub(from.cpu).as_secs_f64())
}
