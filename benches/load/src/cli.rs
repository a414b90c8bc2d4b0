//! What can be measured, and how: the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// As many positions as a server lets a device miss.
pub(crate) const MOST_MISSED: u32 = 10_000;

/// Measure a Tidings server: yours, or one that this starts by itself.
#[derive(Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "\
Examples, on a server that is started for the purpose (cargo build --release first):
  tidings-load broadcast --connections 2000 --outstanding 8
  tidings-load unicast --rate 5000 --duration 30s --report unicast.html
  tidings-load storm --connections 5000 --rate 50 --transport sse

On a server of yours; the secret is that of its configuration:
  TIDINGS_SECRET=… tidings-load mixed --server https://tidings.example.org --outstanding 8

Exit status: 0 measured, 1 not measured, 2 not understood, 3 measured, but what was received was wrong:
gaps, repeats, disorder. docs/load.md says what the figures mean."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Open connections and hold them: time until each is greeted, memory and CPU of those that are idle
    Connections(Connections),
    /// Publish to everybody: each notification is delivered on every connection
    Broadcast(Traffic),
    /// Publish to one user at a time, chosen at random
    Unicast(Traffic),
    /// Publish to one user at a time beside broadcasts; the latency of each kind apart
    Mixed(Mixed),
    /// Broadcast to readers beside others that read slowly or not at all, and without them before
    Slow(Slow),
    /// Drop all connections at once, while publishing goes on, and resume them with their cursors
    Storm(Storm),
}

impl Command {
    pub(crate) fn common(&self) -> &Common {
        match self {
            Self::Connections(one) => &one.common,
            Self::Broadcast(one) | Self::Unicast(one) => &one.common,
            Self::Mixed(one) => &one.traffic.common,
            Self::Slow(one) => &one.traffic.common,
            Self::Storm(one) => &one.traffic.common,
        }
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Connections(_) => "connections",
            Self::Broadcast(_) => "broadcast",
            Self::Unicast(_) => "unicast",
            Self::Mixed(_) => "mixed",
            Self::Slow(_) => "slow",
            Self::Storm(_) => "storm",
        }
    }
}

#[derive(Args)]
pub(crate) struct Connections {
    /// How long they are held once all are open
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub(crate) hold: Duration,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Traffic {
    #[command(flatten)]
    pub(crate) publishing: Publishing,
    #[command(flatten)]
    pub(crate) common: Common,
}

#[derive(Args)]
pub(crate) struct Mixed {
    /// Broadcasts per second, beside the unicasts that --rate or --outstanding publish
    #[arg(long, value_name = "N", default_value = "5", value_parser = rate)]
    pub(crate) broadcast_rate: f64,
    #[command(flatten)]
    pub(crate) traffic: Traffic,
}

#[derive(Args)]
pub(crate) struct Slow {
    /// Readers that are slow, beside --connections
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) slow: u32,
    /// How much each of them reads in a second; 0: nothing at all
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) slow_bytes: u64,
    #[command(flatten)]
    pub(crate) traffic: Traffic,
}

#[derive(Args)]
pub(crate) struct Storm {
    /// How often all connections are dropped; --duration is measured before the first and after each
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) storms: u32,
    /// How long they stay away before they come back
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    pub(crate) away: Duration,
    /// How many positions a device may have missed; one that missed more is told to reset
    #[arg(long, value_name = "N", default_value_t = MOST_MISSED, value_parser = clap::value_parser!(u32).range(..=10_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) traffic: Traffic,
}

#[derive(Args)]
#[command(next_help_heading = "Publishing")]
pub(crate) struct Publishing {
    #[command(flatten)]
    pub(crate) pace: Pace,
    /// What is outstanding in the closed loop
    #[arg(long, value_enum, default_value = "delivered", value_name = "WHEN")]
    pub(crate) until: Until,
    /// How long is measured
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time, conflicts_with = "publishes")]
    pub(crate) duration: Duration,
    /// Measure so many notifications instead
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) publishes: Option<u64>,
    /// How long is published before anything counts
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = time)]
    pub(crate) warm_up: Duration,
    /// Bytes of a notification's body
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) body_bytes: usize,
    /// Notifications in a publish; 1 is a single publish, which is no batch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) batch: u32,
    /// HTTP connections that publish in the open loop; in the closed one there are as many as are outstanding
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) publishers: u32,
    /// The channel of broadcasts; with --tokens there is no default, so that nobody else is disturbed [default: everyone]
    #[arg(long, value_name = "CHANNEL")]
    pub(crate) channel: Option<String>,
    /// How long nothing may come of what is still due before it is given up
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) patience: Duration,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Pace {
    /// The open loop: notifications per second, whatever the server does. Latency counts from when each was to be sent
    #[arg(long, value_name = "N", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// The closed loop: so many publishers, each of which waits for its answer; and what is outstanding is no more (--until)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) outstanding: Option<u32>,
}

/// When a publish of the closed loop is not outstanding any more.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Until {
    /// Publishes that are not answered
    Answered,
    /// These, or as many as make what readers are still to get
    Delivered,
}

#[derive(Args)]
#[command(next_help_heading = "Connections and output")]
pub(crate) struct Common {
    /// How many connections are opened
    #[arg(long, short, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=200_000))]
    pub(crate) connections: u32,
    /// How many users these are of; as many as connections without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) users: Option<u32>,
    /// How they are connected
    #[arg(long, value_enum, default_value = "ws")]
    pub(crate) transport: Transport,
    /// Connections opened per second at first; 0: as fast as 200 at once go, as all do in a storm
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) connect_rate: u32,
    /// Acknowledge what was received, once a second (WebSocket only)
    #[arg(long)]
    pub(crate) acknowledge: bool,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Write a report with charts, too: one HTML file
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Say nothing while it works
    #[arg(long, short)]
    pub(crate) quiet: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// How people are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Transport {
    /// WebSocket
    Ws,
    /// Server-sent events
    Sse,
}

/// How the result is printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people
    Text,
    /// One object for programs
    Json,
}

#[derive(Args)]
#[command(next_help_heading = "The server")]
pub(crate) struct Server {
    /// Its address, http://HOST:PORT or https://HOST; without it, one is started on an empty data directory
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Its secret, with which tokens are made for users and a publisher of a tenant of their own
    #[arg(long, value_name = "SECRET", env = "TIDINGS_SECRET", hide_env_values = true)]
    pub(crate) secret: Option<String>,
    /// The tenant of these tokens
    #[arg(long, value_name = "NAME", default_value = "load")]
    pub(crate) tenant: String,
    /// What these tokens say beside that, such as iss=ISSUER or aud=AUDIENCE; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = name_and_value)]
    pub(crate) claims: Vec<(String, String)>,
    /// Tokens of users, whatever the secret: a line each with the user's id, a space, the token
    #[arg(long, value_name = "FILE", requires = "publish_token")]
    pub(crate) tokens: Option<PathBuf>,
    /// The token or key to publish with
    #[arg(long, value_name = "TOKEN", env = "TIDINGS_PUBLISH_TOKEN", hide_env_values = true)]
    pub(crate) publish_token: Option<String>,
    /// A certificate to trust beside those that the system trusts, in a PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// The server's process, if it is on this machine: its CPU and memory are measured; may be repeated
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<i32>,
    /// The binary to start [default: tidings, beside this one]
    #[arg(long, value_name = "FILE", conflicts_with = "server")]
    pub(crate) binary: Option<PathBuf>,
    /// A setting of the server that is started, such as delivery.progress=false; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "server", value_parser = name_and_value)]
    pub(crate) settings: Vec<(String, String)>,
    /// Cores of the server that is started, such as 0 or 0-2,4 [default: all but the last]
    #[arg(long, value_name = "CORES", conflicts_with = "server", value_parser = cores)]
    pub(crate) server_core: Option<Cores>,
    /// Cores of this program [default: the last one, if it starts the server]
    #[arg(long, value_name = "CORES", value_parser = cores)]
    pub(crate) client_core: Option<Cores>,
}

/// Some of the machine's cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cores(pub(crate) Vec<usize>);

fn cores(text: &str) -> Result<Cores, String> {
    let expected = || format!("expected cores such as 0 or 0-2,4, not {text:?}");
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) =
            (first.parse().map_err(|_| expected())?, last.parse().map_err(|_| expected())?);
        if first > last || last >= 1024 {
            return Err(expected());
        }
        all.extend(first..=last);
    }
    Ok(Cores(all))
}

fn name_and_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.trim_end_matches("/s").parse::<f64>().ok();
    rate.filter(|rate| (0.001..=10_000_000.0).contains(rate))
        .ok_or_else(|| "expected a number per second, such as 500 or 0.5".to_owned())
}

fn time(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a time such as 500ms, 10s or 2m, not {text:?}");
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(expected()),
    };
    let number: f64 = digits.parse().map_err(|_| expected())?;
    Duration::try_from_secs_f64(number * seconds)
        .ok()
        .filter(|time| *time <= Duration::from_secs(86_400))
        .ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_cores_are_written_as_people_write_them() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("1.5m"), Ok(Duration::from_secs(90)));
        assert!(time("5 parsecs").is_err() && time("-1s").is_err() && time("25h").is_err());
        assert_eq!(cores("0-2,4"), Ok(Cores(vec![0, 1, 2, 4])));
        assert!(cores("2-1").is_err() && cores("x").is_err());
    }

    #[test]
    fn a_loop_is_open_or_closed_and_not_both() {
        let parse = |flags: &[&str]| Cli::try_parse_from([&["tidings-load", "broadcast"], flags].concat());
        assert!(parse(&["--rate", "10"]).is_ok() && parse(&["--outstanding", "1"]).is_ok());
        assert!(parse(&[]).is_err() && parse(&["--rate", "10", "--outstanding", "1"]).is_err());
    }
}
