//! `tidings stats`: what was published, sent, delivered, read and clicked, and how long it took, as a table.

use std::time::{Duration, SystemTime};

use serde_json::Value;
use tidings_config::Settings;
use tidings_http::token::Grant;

use crate::cli::StatsArgs;
use crate::client::Client;
use crate::output::say;

/// The columns that are counted, by their names in the answer.
const COUNTED: [&str; 6] = ["published", "sent", "delivered", "read", "clicked", "dropped"];

pub(crate) async fn run(settings: &Settings, args: StatsArgs) -> anyhow::Result<()> {
    let grant = Grant { scopes: vec!["admin".to_owned()], ..Grant::default() };
    let client = Client::new(settings, &args.server, grant)?;
    let by = args.by.join(",");
    let from = seconds_ago(args.last);
    let path = format!("/v1/stats?from={from}&every={}&by={by}", args.every);
    let stats: Value = client.send(client.get(&path)).await?.json().await?;
    if args.json {
        say(&stats);
        return Ok(());
    }
    let told_apart = (args.every != "all").then_some("at");
    let told_apart: Vec<&str> = told_apart.into_iter().chain(args.by.iter().map(String::as_str)).collect();
    table(&stats, &told_apart).iter().for_each(say);
    Ok(())
}

fn seconds_ago(time: Duration) -> String {
    let since = SystemTime::now().checked_sub(time).unwrap_or(SystemTime::UNIX_EPOCH);
    let since = since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    jiff::Timestamp::from_second(since.as_secs().try_into().unwrap_or(0)).unwrap_or_default().to_string()
}

/// A line for each row, under a line that names the columns.
fn table(stats: &Value, told_apart: &[&str]) -> Vec<String> {
    let rows = stats["rows"].as_array().map_or(&[][..], Vec::as_slice);
    let heads = told_apart.iter().chain(&COUNTED).chain(&["half within", "99 % within"]);
    let mut lines: Vec<Vec<String>> = vec![heads.map(ToString::to_string).collect()];
    for row in rows {
        let name = |column: &&str| row[*column].as_str().unwrap_or("–").to_owned();
        let mut line: Vec<String> = told_apart.iter().map(name).collect();
        line.extend(COUNTED.iter().map(|column| row[*column].to_string()));
        line.extend([0.5, 0.99].map(|share| within(&row["latencies"], &stats["latenciesMs"], share)));
        lines.push(line);
    }
    let columns = lines[0].len();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let aligned = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < told_apart.len() { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut said: Vec<String> = lines.iter().map(aligned).collect();
    if rows.is_empty() {
        said.push("nothing happened in this time".to_owned());
    }
    said
}

/// Within which time a share of those sent were sent: the bound of its bucket.
fn within(latencies: &Value, bounds: &Value, share: f64) -> String {
    let counts: Vec<u64> =
        latencies.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(Value::as_u64).collect();
    let sum: u64 = counts.iter().sum();
    if sum == 0 {
        return "–".to_owned();
    }
    let wanted = (sum as f64 * share).ceil() as u64;
    let mut so_far = 0;
    let bucket = counts.iter().position(|count| {
        so_far += count;
        so_far >= wanted
    });
    match bucket.and_then(|bucket| bounds[bucket].as_u64()) {
        Some(bound) => format!("{bound} ms"),
        None => "longer".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_table_names_its_columns_and_lines_them_up() {
        let stats = json!({ "latenciesMs": [1, 2, 5], "rows": [
            { "type": "note", "published": 12, "sent": 100, "delivered": 9, "read": 0, "clicked": 0, "dropped": 0,
              "latencies": [10, 88, 1, 1] },
            { "type": "booking.accepted", "published": 1, "sent": 0, "delivered": 0, "read": 0, "clicked": 0,
              "dropped": 0, "latencies": [0, 0, 0, 0] },
        ] });
        assert_eq!(
            table(&stats, &["type"]),
            [
                "type              published  sent  delivered  read  clicked  dropped  half within  99 % within",
                "note                     12   100          9     0        0        0         2 ms         5 ms",
                "booking.accepted          1     0          0     0        0        0            –            –",
            ]
        );
        assert_eq!(within(&json!([0, 0, 0, 3]), &json!([1, 2, 5]), 0.5), "longer");
    }
}
