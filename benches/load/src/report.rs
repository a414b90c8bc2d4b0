//! What was measured, as a page: one file that needs no other, to look at on any screen, by day or night, and to keep.

mod chart;
mod scale;
mod tables;

use std::fmt::Write;

use chart::{Axis, Band, Chart, Line};
use scale::Scale;

use crate::outcome::Outcome;
use crate::sample::Sample;
use crate::text::{conditions, count, ms, title};

const STYLE: &str = include_str!("report/style.css");

/// The page.
pub(crate) fn page(outcome: &Outcome) -> String {
    let name = escape(&title(outcome));
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{name}</title><style>{STYLE}</style></head><body>\n"
    );
    page += &header(outcome);
    page += &verdict(outcome);
    page += &figures(outcome);
    page += &latency(outcome);
    page += &tables::phases(outcome);
    page += &course(outcome);
    page += &tables::connecting(outcome);
    page += &tables::storms(outcome);
    page += &tables::samples(outcome);
    page += "<footer>Latency counts from the moment at which each publish was to be sent, so waiting for a slow server counts. \
             docs/load.md of Tidings says what each figure means.</footer>\n</body></html>\n";
    page
}

fn header(outcome: &Outcome) -> String {
    let (name, how) = (title(outcome), escape(&conditions(outcome)));
    let (server, at, version) = (escape(&outcome.server), escape(&outcome.started_at), outcome.version);
    format!("<header><h1>{name}</h1><p>{how}</p><p>{server}, {at}; tidings-load {version}</p></header>\n")
}

/// Whether what was received was right, and what to know before one believes the figures.
fn verdict(outcome: &Outcome) -> String {
    let checks = &outcome.checks;
    let deliveries = count(checks.deliveries as f64);
    let mut out = match (checks.is_sound(), checks.deliveries) {
        (true, 0) => "<div class=\"verdict\"><p><strong>✓ Nothing was published</strong>, so nothing was to be checked.</p>".to_owned(),
        (true, _) => format!(
            "<div class=\"verdict\"><p><strong>✓ All {deliveries} deliveries came as promised</strong>: each once, in order, nothing missing.</p>"
        ),
        (false, _) => format!(
            "<div class=\"verdict wrong\"><p><strong>✗ What was received was wrong</strong>: {} gaps, {} repeats, {} out of order, {} misplaced, \
             {} misdelivered, among {deliveries} deliveries; {} publishes never answered.</p>",
            checks.gaps, checks.repeats, checks.disorder, checks.misplaced, checks.misdelivered, checks.unanswered
        ),
    };
    let mut told: Vec<String> = checks.examples.clone();
    if checks.missed_by_reset > 0 {
        told.push(format!("{} missed by devices that were told to reset", checks.missed_by_reset));
    }
    if checks.of_others > 0 {
        told.push(format!("{} notifications of others", checks.of_others));
    }
    told.extend(outcome.disturbances.all().into_iter().map(|(what, count)| format!("{count} {what}")));
    told.extend(outcome.notes.iter().cloned());
    if !told.is_empty() {
        let items: String = told.iter().map(|item| format!("<li>{}</li>", escape(item))).collect();
        let _ = write!(out, "<ul>{items}</ul>"); // a String takes it
    }
    out + "</div>\n"
}

/// The figures that are looked for first, of the last phase.
fn figures(outcome: &Outcome) -> String {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut add = |name: &str, value: Option<String>| all.extend(value.map(|value| (name.to_owned(), value)));
    if let Some(phase) = outcome.phases.last().filter(|phase| phase.publishes > 0) {
        add("deliveries", Some(format!("{} <small>/s</small>", count(phase.deliveries_per_second))));
        add("publishes", Some(format!("{} <small>/s</small>", count(phase.publishes_per_second))));
        for series in &phase.series {
            let of = |name: &str| {
                if phase.series.len() > 1 { format!("{name}, {}", series.name) } else { name.to_owned() }
            };
            let Some(times) = &series.delivery_micros else { continue };
            add(&of("latency, p50"), Some(ms(times.p50)));
            add(&of("latency, p99"), Some(ms(times.p99)));
        }
        let each = phase.server_cpu_micros_per_delivery;
        add("server CPU each delivery", each.map(|micros| format!("{micros:.2} <small>µs</small>")));
    }
    if let Some(storm) = outcome.storms.last() {
        add("all back after", Some(ms(storm.seconds * 1e6)));
    }
    if outcome.phases.iter().all(|phase| phase.publishes == 0) {
        let greeted = outcome.connecting.greeted_micros.as_ref();
        add("connected in", Some(ms(outcome.connecting.seconds * 1e6)));
        add("until greeted, p99", greeted.map(|times| ms(times.p99)));
    }
    let memory = outcome.connecting.server_bytes_per_connection;
    add(
        "memory each idle connection",
        memory.map(|bytes| format!("{:.1} <small>KiB</small>", bytes / 1024.0)),
    );
    let shown: String =
        all.iter().map(|(name, value)| format!("<div><dt>{name}</dt><dd>{value}</dd></div>")).collect();
    format!("<dl class=\"figures\">{shown}</dl>\n")
}

/// How long what share of all waited: chart and table.
fn latency(outcome: &Outcome) -> String {
    let (lines, left_out) = curves(outcome);
    if lines.is_empty() {
        return String::new();
    }
    let nines =
        lines.iter().filter_map(|line| line.points.last()).map(|(quantile, _)| -(1.0 - quantile).log10());
    let nines = nines.fold(1.0, f64::max).min(6.0);
    let waited = lines.iter().flat_map(|line| line.points.iter().map(|(_, waited)| *waited));
    let y = Axis { scale: Scale::log(waited), name: "at most so long", format: milliseconds };
    let chart = Chart {
        description: "How long what share of all waited at most; the table beside it has the figures"
            .to_owned(),
        x: Axis { scale: Scale::Nines { nines }, name: "so many waited", format: percent },
        y,
        lines,
        bands: Vec::new(),
    };
    let name = if outcome.publishing.is_some() { "Latency of deliveries" } else { "Until greeted" };
    let left_out =
        if left_out == 0 { String::new() } else { format!("; {left_out} phases are in the table alone") };
    let layout = if outcome.phases.len() > 1 { "above" } else { "beside" };
    format!(
        "<section class=\"{layout}\"><figure><figcaption>{name} <small>by percentile, each nine as wide as the next{left_out}</small></figcaption>{}</figure>{}</section>\n",
        chart.svg(),
        tables::latencies(outcome)
    )
}

/// The lines of that chart: as many as can be told apart, the first and the last ones; and how many are left out.
fn curves(outcome: &Outcome) -> (Vec<Line>, usize) {
    const MOST: usize = 4;
    let several = outcome.phases.len() > 1;
    let mut lines = Vec::new();
    for phase in &outcome.phases {
        for series in &phase.series {
            let name = if several { &phase.name } else { &series.name };
            lines.extend(series.delivery_micros.iter().map(|times| line(name, &times.curve)));
        }
    }
    if outcome.publishing.is_none() {
        lines.extend(outcome.connecting.greeted_micros.iter().map(|times| line("greeted", &times.curve)));
    }
    let left_out = lines.len().saturating_sub(MOST);
    if left_out > 0 {
        lines.drain(1..=left_out);
    }
    (lines, left_out)
}

fn line(name: &str, curve: &[(f64, f64)]) -> Line {
    let points = curve.iter().map(|(quantile, micros)| (*quantile, micros / 1e3)).collect();
    Line { name: name.to_owned(), points }
}

/// How it went, from moment to moment.
fn course(outcome: &Outcome) -> String {
    let samples = &outcome.samples;
    if samples.len() < 2 {
        return String::new();
    }
    let of = |name: &str, value: fn(&Sample) -> Option<f64>| {
        let point = |sample: &Sample| value(sample).map(|value| (sample.at_seconds, value));
        Line { name: name.to_owned(), points: samples.iter().filter_map(point).collect() }
    };
    let charts = [
        (
            "Deliveries",
            "per second",
            count as fn(f64) -> String,
            vec![of("deliveries", |sample| Some(sample.deliveries_per_second))],
        ),
        ("Publishes", "per second", count, vec![of("publishes", |sample| Some(sample.publishes_per_second))]),
        (
            "Latency",
            "of what came at the time, on a logarithmic scale",
            milliseconds,
            vec![
                of("p99", |sample| sample.delivery_p99_micros.map(|micros| micros / 1e3)),
                of("p50", |sample| sample.delivery_p50_micros.map(|micros| micros / 1e3)),
            ],
        ),
        (
            "CPU",
            "in cores",
            two_digits,
            vec![
                of("server", |sample| sample.server_cpu_cores),
                of("client", |sample| Some(sample.client_cpu_cores)),
            ],
        ),
        (
            "Memory of the server",
            "in MiB",
            count,
            vec![of("resident", |sample| {
                sample.server_memory_bytes.map(|bytes| bytes as f64 / f64::from(1 << 20))
            })],
        ),
        (
            "Connections",
            "that are live",
            count,
            vec![of("live", |sample| Some(f64::from(sample.live_connections)))],
        ),
    ];
    let drawn = charts.into_iter().filter_map(|(name, unit, format, lines)| {
        let lines: Vec<Line> =
            lines.into_iter().filter(|line| line.points.iter().any(|(_, value)| *value > 0.0)).collect();
        let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
        let scale = if name == "Latency" { Scale::log(values) } else { Scale::from_zero(values) };
        (!lines.is_empty()).then(|| figure(outcome, (name, unit, format), scale, lines))
    });
    let drawn: String = drawn.collect();
    format!(
        "<section><h2>From moment to moment</h2><div class=\"charts\">{drawn}</div>{}</section>\n",
        key(outcome)
    )
}

fn figure(
    outcome: &Outcome,
    (name, unit, format): (&str, &'static str, fn(f64) -> String),
    scale: Scale,
    lines: Vec<Line>,
) -> String {
    let to = outcome.samples.last().map_or(1.0, |sample| sample.at_seconds);
    let band = |phase: &crate::outcome::Phase| {
        let from = phase.from_seconds;
        Band { name: phase.name.clone(), from, to: from + phase.seconds }
    };
    let chart = Chart {
        description: format!("{name} {unit} over time; the samples at the end of this page have the figures"),
        x: Axis { scale: Scale::Linear { from: 0.0, to }, name: "seconds", format: whole },
        y: Axis { scale, name: unit, format },
        lines,
        bands: outcome.phases.iter().map(band).collect(),
    };
    format!("<figure><figcaption>{name} <small>{unit}</small></figcaption>{}</figure>", chart.svg())
}

/// What the shaded stretches of time are.
fn key(outcome: &Outcome) -> String {
    let named = outcome
        .phases
        .iter()
        .enumerate()
        .map(|(number, phase)| format!("{}: {}", number + 1, escape(&phase.name)));
    let named: Vec<String> = named.collect();
    format!("<p class=\"key\">Shaded: what was measured. {}.</p>", named.join("; "))
}

fn percent(quantile: f64) -> String {
    let text = format!("{:.4}", quantile * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}

fn milliseconds(value: f64) -> String {
    if value >= 1000.0 { format!("{} s", value / 1000.0) } else { format!("{} ms", rounded(value)) }
}

fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

fn two_digits(value: f64) -> String {
    format!("{}", (value * 100.0).round() / 100.0)
}

fn whole(value: f64) -> String {
    two_digits(value)
}

/// Text as HTML has it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            other => out.push(other),
        }
    }
    out
}
