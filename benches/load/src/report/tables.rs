//! The figures of the report, as tables.

use super::escape;
use crate::outcome::{Outcome, Phase, Times};
use crate::text::{count, ms};

/// A table; its cells are HTML.
fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head.iter().map(|cell| format!("<th scope=\"col\">{cell}</th>")).collect();
    let row = |cells: &Vec<String>| {
        if cells.len() == 1 {
            return format!("<tr class=\"group\"><td colspan=\"9\">{}</td></tr>", cells[0]);
        }
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = rows.iter().map(row).collect();
    format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

fn quantiles(name: &str, times: &Times) -> Vec<String> {
    let mut row = vec![escape(name)];
    row.extend([times.p50, times.p90, times.p99, times.p999, times.max].map(ms));
    row
}

/// Percentiles of everything that was waited for.
pub(super) fn latencies(outcome: &Outcome) -> String {
    let mut rows = Vec::new();
    let several = outcome.phases.len() > 1;
    for phase in &outcome.phases {
        for series in &phase.series {
            let all = [
                ("delivered", &series.delivery_micros),
                ("to the last reader", &series.complete_micros),
                ("answered", &series.answer_micros),
            ];
            let known: Vec<Vec<String>> =
                all.iter().filter_map(|(name, times)| Some(quantiles(name, times.as_ref()?))).collect();
            if !known.is_empty() {
                rows.push(vec![escape(if several { &phase.name } else { &series.name })]);
                rows.extend(known);
            }
        }
    }
    if let Some(times) = outcome.connecting.greeted_micros.as_ref().filter(|_| rows.is_empty()) {
        rows.push(quantiles("greeted", times));
    }
    table(&["waited at most", "p50", "p90", "p99", "p99.9", "max"], &rows)
}

/// What was done in each phase, and what it cost.
pub(super) fn phases(outcome: &Outcome) -> String {
    let unknown = || "–".to_owned();
    let cores = |share: f64| format!("{:.0} %", share * 100.0);
    let row = |phase: &Phase| {
        let each = |micros: Option<f64>| micros.map_or_else(unknown, |micros| format!("{micros:.2} µs"));
        vec![
            escape(&phase.name),
            format!("{:.1} s", phase.seconds),
            count(phase.publishes_per_second),
            count(phase.deliveries_per_second),
            phase.server_cpu_seconds.map_or_else(unknown, |cpu| cores(cpu / phase.seconds)),
            each(phase.server_cpu_micros_per_delivery),
            each(phase.server_cpu_micros_per_publish),
            phase.server_memory_bytes.map_or_else(unknown, mebibytes),
            cores(phase.client_cpu_share),
        ]
    };
    let head = [
        "phase",
        "lasted",
        "publishes/s",
        "deliveries/s",
        "server CPU",
        "each delivery",
        "each publish",
        "server memory",
        "client CPU",
    ];
    let rows: Vec<Vec<String>> = outcome.phases.iter().map(row).collect();
    format!(
        "<section><h2>Work and what it cost</h2>{}<p class=\"key\">CPU is of one core.</p></section>\n",
        table(&head, &rows)
    )
}

/// How connections were opened.
pub(super) fn connecting(outcome: &Outcome) -> String {
    let connecting = &outcome.connecting;
    let mut rows = vec![vec!["all greeted after".to_owned(), ms(connecting.seconds * 1e6)]];
    let mut add =
        |name: &str, value: Option<String>| rows.extend(value.map(|value| vec![name.to_owned(), value]));
    let greeted = connecting.greeted_micros.as_ref();
    add("each greeted after, p50", greeted.map(|times| ms(times.p50)));
    add("p99", greeted.map(|times| ms(times.p99)));
    add("server CPU", connecting.server_cpu_seconds.map(|cpu| ms(cpu * 1e6)));
    add("server memory before", connecting.server_memory_before_bytes.map(mebibytes));
    add("with all of them, idle", connecting.server_memory_idle_bytes.map(mebibytes));
    let each = connecting.server_bytes_per_connection;
    add("each connection", each.map(|bytes| format!("{:.1} KiB", bytes / 1024.0)));
    format!("<section><h2>Connecting</h2>{}</section>\n", table(&["", "value"], &rows))
}

/// How devices came back.
pub(super) fn storms(outcome: &Outcome) -> String {
    if outcome.storms.is_empty() {
        return String::new();
    }
    let row = |(number, storm): (usize, &crate::outcome::Storm)| {
        let times = storm.caught_up_micros.as_ref();
        let quantile = |of: fn(&Times) -> f64| times.map_or_else(|| "–".to_owned(), |times| ms(of(times)));
        vec![
            format!("storm {}", number + 1),
            count(f64::from(storm.connections)),
            ms(storm.seconds * 1e6),
            quantile(|times| times.p50),
            quantile(|times| times.p99),
            storm.published_meanwhile.to_string(),
            storm.server_cpu_seconds.map_or_else(|| "–".to_owned(), |cpu| ms(cpu * 1e6)),
        ]
    };
    let head =
        ["", "connections", "all caught up after", "each, p50", "p99", "published meanwhile", "server CPU"];
    let rows: Vec<Vec<String>> = outcome.storms.iter().enumerate().map(row).collect();
    format!("<section><h2>Storms</h2>{}</section>\n", table(&head, &rows))
}

/// What the charts are drawn of.
pub(super) fn samples(outcome: &Outcome) -> String {
    let time = |micros: Option<f64>| micros.map_or_else(|| "–".to_owned(), ms);
    let rows = outcome.samples.iter().map(|sample| {
        vec![
            format!("{:.2} s", sample.at_seconds),
            sample.live_connections.to_string(),
            count(sample.publishes_per_second),
            count(sample.deliveries_per_second),
            time(sample.delivery_p50_micros),
            time(sample.delivery_p99_micros),
            sample.server_cpu_cores.map_or_else(|| "–".to_owned(), |cores| format!("{cores:.2}")),
            format!("{:.2}", sample.client_cpu_cores),
            sample.server_memory_bytes.map_or_else(|| "–".to_owned(), mebibytes),
        ]
    });
    let head = [
        "until",
        "live",
        "publishes/s",
        "deliveries/s",
        "p50",
        "p99",
        "server cores",
        "client cores",
        "server memory",
    ];
    let rows: Vec<Vec<String>> = rows.collect();
    format!(
        "<section><details><summary>The {} samples of which the charts are drawn</summary>{}</details></section>\n",
        rows.len(),
        table(&head, &rows)
    )
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
