//! What was measured, as a table for people.

use std::fmt::Write;

use crate::outcome::{Outcome, Phase, Times};

pub(crate) fn table(outcome: &Outcome) -> String {
    let mut out = String::new();
    write_table(outcome, &mut out).unwrap_or_else(|error| unreachable!("a String takes it: {error}"));
    out
}

fn write_table(outcome: &Outcome, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n{}: {}", title(outcome), conditions(outcome))?;
    let connecting = &outcome.connecting;
    writeln!(out, "\n{:28} {}", "connected in", seconds(connecting.seconds))?;
    if let Some(times) = &connecting.greeted_micros {
        writeln!(
            out,
            "{:28} p50 {}  p99 {}  max {}",
            "until greeted",
            ms(times.p50),
            ms(times.p99),
            ms(times.max)
        )?;
    }
    if let Some(cpu) = connecting.server_cpu_seconds {
        writeln!(out, "{:28} {}", "server CPU", seconds(cpu))?;
    }
    if let Some(bytes) = connecting.server_bytes_per_connection {
        writeln!(out, "{:28} {:.1} KiB", "server memory, each idle", bytes / 1024.0)?;
    }
    outcome.phases.iter().try_for_each(|phase| write_phase(phase, out))?;
    if let Some(slow) = &outcome.slow_readers {
        let behind = format!("{} deliveries, which came afterwards", count(slow.behind as f64));
        writeln!(out, "\n{:28} {behind}", format!("{} slow readers, behind by", slow.connections))?;
    }
    for (number, storm) in outcome.storms.iter().enumerate() {
        writeln!(out, "\nstorm {}", number + 1)?;
        writeln!(
            out,
            "{:28} {} of {} connections",
            "all caught up after",
            seconds(storm.seconds),
            storm.connections
        )?;
        if let Some(times) = &storm.caught_up_micros {
            writeln!(out, "{:28} p50 {}  p99 {}", "each", ms(times.p50), ms(times.p99))?;
        }
        writeln!(out, "{:28} {}", "published meanwhile", storm.published_meanwhile)?;
    }
    write_checks(outcome, out)
}

fn write_phase(phase: &Phase, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n{} ({})", phase.name, seconds(phase.seconds))?;
    if phase.publishes > 0 {
        writeln!(
            out,
            "{:28} {}/s, {} in all",
            "publishes",
            count(phase.publishes_per_second),
            phase.publishes
        )?;
        writeln!(
            out,
            "{:28} {}/s, {} in all",
            "deliveries",
            count(phase.deliveries_per_second),
            phase.deliveries
        )?;
    }
    if let Some(cpu) = phase.server_cpu_seconds {
        write!(out, "{:28} {:.0} % of a core", "server CPU", cpu / phase.seconds * 100.0)?;
        if let Some(each) = phase.server_cpu_micros_per_delivery {
            write!(out, ", {each:.2} µs a delivery")?;
        }
        if let Some(each) = phase.server_cpu_micros_per_publish {
            write!(out, ", {each:.1} µs a publish")?;
        }
        writeln!(out)?;
    }
    if let Some(bytes) = phase.server_memory_bytes {
        writeln!(out, "{:28} {:.1} MiB", "server memory", bytes as f64 / (1 << 20) as f64)?;
    }
    writeln!(out, "{:28} {:.0} % of a core", "client CPU", phase.client_cpu_share * 100.0)?;
    if phase.series.iter().any(|series| series.delivery_micros.is_some()) {
        let head = ["p50", "p90", "p99", "p99.9", "max"];
        let head: String = head.iter().map(|name| format!("{name:>11}")).collect();
        writeln!(out, "{:28}{head}", "latency")?;
    }
    for series in &phase.series {
        if series.delivery_micros.is_none() && series.answer_micros.is_none() {
            continue;
        }
        writeln!(out, " {}", series.name)?;
        let rows = [
            ("delivered", &series.delivery_micros),
            ("to the last reader", &series.complete_micros),
            ("answered", &series.answer_micros),
        ];
        for (name, times) in rows {
            if let Some(times) = times {
                writeln!(out, "{:28}{}", format!("  {name}"), quantiles(times))?;
            }
        }
    }
    Ok(())
}

fn quantiles(times: &Times) -> String {
    let all = [times.p50, times.p90, times.p99, times.p999, times.max];
    all.iter().map(|micros| format!("{:>11}", ms(*micros))).collect()
}

fn write_checks(outcome: &Outcome, out: &mut String) -> std::fmt::Result {
    let checks = &outcome.checks;
    writeln!(out, "\nchecked")?;
    let verdict = if checks.deliveries == 0 && checks.is_sound() {
        "nothing was published".to_owned()
    } else if checks.is_sound() {
        "each once, in order, nothing missing".to_owned()
    } else {
        format!(
            "WRONG: {} gaps, {} repeats, {} out of order, {} misplaced, {} misdelivered, {} never answered",
            checks.gaps,
            checks.repeats,
            checks.disorder,
            checks.misplaced,
            checks.misdelivered,
            checks.unanswered
        )
    };
    writeln!(out, "{:28} {verdict}", format!("{} deliveries", checks.deliveries))?;
    checks.examples.iter().try_for_each(|example| writeln!(out, "  {example}"))?;
    if checks.missed_by_reset > 0 {
        writeln!(out, "{:28} {}", "missed by a reset", checks.missed_by_reset)?;
    }
    if checks.of_others > 0 {
        writeln!(out, "{:28} {}", "notifications of others", checks.of_others)?;
    }
    for (what, count) in outcome.disturbances.all() {
        writeln!(out, "{count} {what}")?;
    }
    outcome.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))
}

/// What was done, in a line.
pub(crate) fn title(outcome: &Outcome) -> String {
    let transport = if outcome.transport == "ws" { "WebSocket" } else { "server-sent events" };
    let mut letters = outcome.command.chars();
    let first: String = letters.next().iter().flat_map(|letter| letter.to_uppercase()).collect();
    format!("{first}{} over {transport}", letters.as_str())
}

/// How, in a line.
pub(crate) fn conditions(outcome: &Outcome) -> String {
    let mut all = vec![format!("{} connections", count(f64::from(outcome.connections)))];
    if outcome.users < outcome.connections {
        all.push(format!("of {} users", count(f64::from(outcome.users))));
    }
    if let Some(publishing) = &outcome.publishing {
        all.extend(publishing.rate_per_second.map(|rate| format!("open loop of {rate} a second")));
        all.extend(publishing.outstanding.map(|outstanding| format!("closed loop of {outstanding}")));
        all.extend(publishing.broadcast_rate_per_second.map(|rate| format!("{rate} broadcasts a second")));
        if publishing.batch > 1 {
            all.push(format!("batches of {}", publishing.batch));
        }
        all.push(format!("bodies of {} bytes", publishing.body_bytes));
    }
    all.join(", ")
}

/// Microseconds, in a unit that can be read.
pub(crate) fn ms(micros: f64) -> String {
    match micros {
        0.0..10_000.0 => format!("{:.2} ms", micros / 1e3),
        10_000.0..1_000_000.0 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

pub(crate) fn seconds(seconds: f64) -> String {
    ms(seconds * 1e6)
}

/// A number with its thousands apart.
pub(crate) fn count(number: f64) -> String {
    if number < 100.0 && number.fract() > 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
