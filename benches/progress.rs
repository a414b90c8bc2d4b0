//! What delivery status costs a server: its CPU time with progress recorded and not, in turn, as a ratio.
//!
//! `cargo run --release -p tidings-benches --bin progress [pairs] [devices] [seconds]` starts the real binary (built with
//! `cargo build --release`), connects devices that each acknowledge once a second, and broadcasts with eight publishes
//! outstanding at a steady rate, so that both of a pair do the same work.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use tidings_config::TokenSettings;
use tidings_http::token::{Grant, mint};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Message;

const SECRET: &str = "a secret for benchmarks, long enough for HS256";
/// Publishes that wait for their answer at a time.
const OUTSTANDING: usize = 8;
/// Such groups of broadcasts in a second.
const GROUPS_PER_SECOND: u32 = 10;
/// Before anything is measured, so that everybody is connected and introduced.
const WARM_UP: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<usize>());
    let mut next = |default| arguments.next().unwrap_or(Ok(default)).context("expected a whole number");
    let (pairs, devices, seconds) = (next(5)?, next(2_000)?, next(10)?);
    let mut ratios = Vec::new();
    for pair in 0..pairs {
        // In turn, and the other one first the next time.
        let first = pair % 2 == 0;
        let (one, other) =
            (measure(first, devices, seconds).await?, measure(!first, devices, seconds).await?);
        let (with, without) = if first { (one, other) } else { (other, one) };
        println!(
            "pair {}: {:.2} s of CPU with progress, {:.2} s without, ratio {:.3}",
            pair + 1,
            with,
            without,
            with / without
        );
        ratios.push(with / without);
    }
    ratios.sort_by(f64::total_cmp);
    println!("median ratio of {pairs} pairs: {:.3}", ratios[ratios.len() / 2]);
    Ok(())
}

fn binary() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.parent().unwrap_or(Path::new(".")).join("tidings");
    if !path.exists() {
        bail!("{} is not there: build it with the same profile first", path.display());
    }
    Ok(path)
}

/// Seconds of CPU that a server takes for broadcasts to devices that acknowledge.
async fn measure(progress: bool, devices: usize, seconds: usize) -> anyhow::Result<f64> {
    let directory = tempfile::tempdir()?;
    let configuration = directory.path().join("tidings.toml");
    let limits = "[limits]\nconnections-per-address = 10_000\n";
    std::fs::write(&configuration, format!("[delivery]\nprogress = {progress}\n{limits}"))?;
    let (mut server, address) = serve(directory.path(), &configuration).await?;
    let running = Arc::new(AtomicBool::new(true));
    let received = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..devices {
        let token = token(Some(&format!("user-{number}")))?;
        let url = format!("ws://{address}/v1/ws?device=phone&token={token}");
        tasks.spawn(device(url, number, running.clone(), received.clone()));
    }
    while received.load(Ordering::Relaxed) < devices as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await; // their hellos
    }
    let pid = server.id().context("the server runs")?;
    publish(&address, WARM_UP.as_secs() as u32).await?;
    let before = cpu_seconds(pid)?;
    publish(&address, seconds as u32).await?;
    tokio::time::sleep(Duration::from_millis(1_200)).await; // the last acknowledgements and their record
    let taken = cpu_seconds(pid)? - before;
    running.store(false, Ordering::Relaxed);
    let expected =
        (devices * OUTSTANDING * GROUPS_PER_SECOND as usize * (seconds + WARM_UP.as_secs() as usize)) as u64;
    let received = received.load(Ordering::Relaxed);
    if received < expected {
        bail!("the devices received {received} of {expected} notifications");
    }
    tasks.shutdown().await;
    server.kill().await?;
    Ok(taken)
}

async fn serve(directory: &Path, configuration: &Path) -> anyhow::Result<(Child, String)> {
    let mut server = Command::new(binary()?)
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(configuration)
        .arg("--data-dir")
        .arg(directory.join("data"))
        .env("TIDINGS_SECRET", SECRET)
        .env("LOG_LEVEL", "warn")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut lines = BufReader::new(server.stdout.take().context("it has an output")?).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, rest)) = line.split_once("http://") {
            let address = rest.split('/').next().unwrap_or_default().to_owned();
            return Ok((server, address));
        }
    }
    bail!("the server ended before it served")
}

fn token(user: Option<&str>) -> anyhow::Result<String> {
    let scopes = if user.is_none() { vec!["publish".to_owned()] } else { Vec::new() };
    let grant = Grant { user: user.map(str::to_owned), scopes, ..Grant::default() };
    Ok(mint(&TokenSettings::default(), SECRET.as_bytes(), &grant, Duration::from_secs(3600))?)
}

/// Receives, and acknowledges the last it received once a second, each device at a moment of its own.
async fn device(
    url: String,
    number: usize,
    running: Arc<AtomicBool>,
    received: Arc<AtomicU64>,
) -> anyhow::Result<()> {
    let (mut socket, _) = tokio_tungstenite::connect_async(url).await?;
    let begin = tokio::time::Instant::now() + Duration::from_millis(number as u64 % 1_000);
    let mut tick = tokio::time::interval_at(begin, Duration::from_secs(1));
    let mut last = None;
    while running.load(Ordering::Relaxed) {
        tokio::select! {
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) => {
                    let is_notification = text.starts_with(r#"{"type":"notification""#);
                    if is_notification || text.starts_with(r#"{"type":"hello""#) {
                        received.fetch_add(1, Ordering::Relaxed);
                    }
                    if is_notification {
                        last = position(&text).or(last);
                    }
                }
                Some(Ok(_)) => {}
                _ => bail!("a device lost its connection"),
            },
            _ = tick.tick() => if let Some(last) = last {
                socket.send(Message::text(format!(r#"{{"type":"ack","upTo":{last}}}"#))).await?;
            },
        }
    }
    Ok(())
}

/// The position of a message, which comes right after its type.
fn position(text: &str) -> Option<u64> {
    let (_, rest) = text.split_once(r#""position":"#)?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// Broadcasts in groups that wait together, at a steady rate.
async fn publish(address: &str, seconds: u32) -> anyhow::Result<()> {
    let (http, token) = (reqwest::Client::new(), token(None)?);
    let url = format!("http://{address}/v1/notifications");
    let mut tick = tokio::time::interval(Duration::from_secs(1) / GROUPS_PER_SECOND);
    for _ in 0..seconds * GROUPS_PER_SECOND {
        tick.tick().await;
        let mut group = JoinSet::new();
        for _ in 0..OUTSTANDING {
            let body = serde_json::json!({
                "type": "booking.created", "title": "New booking", "body": "x".repeat(100),
                "audience": { "channels": ["everyone"] },
            });
            group.spawn(http.post(&url).bearer_auth(&token).json(&body).send());
        }
        while let Some(sent) = group.join_next().await {
            sent??.error_for_status()?;
        }
    }
    Ok(())
}

/// What a process has taken so far, of `/proc/PID/stat`: user and system time, in ticks of a hundredth of a second.
fn cpu_seconds(pid: u32) -> anyhow::Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after_name = stat.rsplit_once(')').context("expected a name")?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks = |index: usize| {
        fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("expected a number")
    };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}
