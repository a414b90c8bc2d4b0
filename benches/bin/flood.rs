//! What floods beyond each limit cost those who send none: the 99th percentile of broadcasts' latency at readers, in turn
//! without and with somebody who sends as fast as the answers come, or faster; and what of it is refused.
//!
//! `cargo build --release && cargo run --release -p tidings-benches --bin flood [FLOOD ...]`
//!
//! The server has the first core for itself. Readers and publisher have the second; so has the flood, in a process that gets
//! what they leave (`SCHED_IDLE`), so that what is measured is what it costs the server and not what it costs the readers'
//! process. Without a flood, somebody at that priority computes instead, and so it is beside the server all the time: neither
//! core sleeps in one case and not in the other. The command fails if a flood's ratio is beyond the bar.

mod latency;
mod server;

use std::io::Read;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use latency::{Latencies, p99};
use serde_json::json;
use server::{Server, token};
use tidings_benches::comparison::median;
use tidings_http::token::Grant;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::process::{Child, Command};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const READERS: usize = 200;
const PAIRS: usize = 5;
const MEASURED: Duration = Duration::from_secs(3);
/// Broadcasts to all readers: so often that more than one of them is beyond the 99th percentile.
const EVERY: Duration = Duration::from_millis(20);
/// What a limit lets in at once comes in within this time, and what a flood has begun ends.
const SETTLING: Duration = Duration::from_secs(1);
/// The median of the ratios, at most.
const BAR: f64 = 1.25;
/// The cores: one for the server, one for everybody else.
const SERVERS_CORE: &str = "0";
const OTHERS_CORE: &str = "1";
/// How many flood at once, each on a connection of its own.
const FLOODING: usize = 20;
/// Those of a service and of an address are lower than by default: it is about what is beyond them.
const LIMITS: &str = "publishes = { count = 500, seconds = 5 }\nconnections-per-address = 300\n";
/// Where the flood comes from; the readers have another address.
const FROM: &str = "127.0.0.2";

/// What was refused, and what was not.
#[derive(Default)]
struct Outcome {
    refused: AtomicU64,
    accepted: AtomicU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flood {
    Commands,
    Acknowledgements,
    Requests,
    Publishes,
    LargeBodies,
    LiveConnections,
    Connections,
}

impl Flood {
    const ALL: [Self; 7] = [
        Self::Commands,
        Self::Acknowledgements,
        Self::Requests,
        Self::Publishes,
        Self::LargeBodies,
        Self::LiveConnections,
        Self::Connections,
    ];

    fn named(name: &str) -> Result<Self> {
        let named = Self::ALL.into_iter().find(|flood| format!("{flood:?}").eq_ignore_ascii_case(name));
        named.with_context(|| format!("expected one of {:?}, got {name}", Self::ALL))
    }
}

struct Bench {
    server: Server,
    begun: Instant,
    /// Microseconds from the publish to each reader, in this phase.
    latencies: Arc<Latencies>,
}

/// What a phase came to.
struct Phase {
    /// The 99th percentile, in milliseconds.
    p99: f64,
    /// Of its core, what the server took.
    busy: f64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["compute"] => loop {
            std::hint::spin_loop();
        },
        ["send", flood, address] => {
            Runtime::new()?.block_on(flood_until_told(Flood::named(flood)?, address.to_owned()))
        }
        [] => measure(&Flood::ALL),
        ref names => measure(&names.iter().map(|name| Flood::named(name)).collect::<Result<Vec<_>>>()?),
    }
}

fn measure(floods: &[Flood]) -> Result<()> {
    ensure!(std::thread::available_parallelism()?.get() > 1, "this takes two cores");
    // Threads that begin later, and processes, are where this one is.
    let id = std::process::id().to_string();
    let pinned = std::process::Command::new("taskset").args(["-cp", OTHERS_CORE, &id]).output();
    ensure!(
        pinned.context("this takes taskset and chrt, of util-linux")?.status.success(),
        "cannot be pinned"
    );
    let directory = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let server = Server::with_limits_on_core(directory.path(), LIMITS, SERVERS_CORE).await?;
        let _beside_the_server = idle(&["compute"], SERVERS_CORE)?;
        let bench = Bench { server, begun: Instant::now(), latencies: Arc::default() };
        let mut readers = JoinSet::new();
        for number in 0..READERS {
            let socket =
                connect(&bench.server.address, "127.0.0.1", &user(&format!("reader-{number}"), "")?).await?;
            readers.spawn(read(socket, bench.begun, bench.latencies.clone()));
        }
        bench.phase().await?; // warm
        println!(
            "{READERS} readers, a broadcast every {} ms; p99 of the readers, ms; CPU of the server, % of its core",
            EVERY.as_millis()
        );
        println!(
            "{:<17} {:>8} {:>8} {:>6}        {:>5} {:>5}  a second",
            "flood", "without", "with", "ratio", "CPU", "with"
        );
        let mut beyond = Vec::new();
        for &flood in floods {
            if bench.compare(flood).await? > BAR {
                beyond.push(flood);
            }
        }
        ensure!(readers.try_join_next().is_none(), "a reader was let go");
        ensure!(beyond.is_empty(), "beyond the bar, a median of {BAR}: {beyond:?}");
        println!("none is beyond the bar, a median of {BAR}");
        Ok(())
    })
}

/// This program once more, at a priority that takes nothing from anybody; it ends when it is dropped.
fn idle(arguments: &[&str], core: &str) -> Result<Child> {
    let mut command = Command::new("taskset");
    command.args(["-c", core, "chrt", "--idle", "0"]).arg(std::env::current_exe()?).args(arguments);
    Ok(command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?)
}

impl Bench {
    /// The median of the ratios.
    async fn compare(&self, flood: Flood) -> Result<f64> {
        let (mut without, mut with, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
        let (mut busy_without, mut busy_with) = (Vec::new(), Vec::new());
        let (mut refused, mut accepted, mut flooded) = (0.0, 0.0, 0.0);
        for _ in 0..PAIRS {
            let computing = idle(&["compute"], OTHERS_CORE)?;
            let undisturbed = self.phase().await?;
            drop(computing);
            let mut flooding = idle(&["send", &format!("{flood:?}"), &self.server.address], OTHERS_CORE)?;
            let begun = Instant::now();
            tokio::time::sleep(SETTLING).await;
            let disturbed = self.phase().await?;
            flooded += begun.elapsed().as_secs_f64();
            drop(flooding.stdin.take());
            let said = String::from_utf8(flooding.wait_with_output().await?.stdout)?;
            let mut numbers = said.split_whitespace().map(str::parse::<f64>);
            let mut number = || numbers.next().context("the flood ended before it was told to");
            refused += number()??;
            accepted += number()??;
            tokio::time::sleep(SETTLING).await;
            ratios.push(disturbed.p99 / undisturbed.p99);
            without.push(undisturbed.p99);
            with.push(disturbed.p99);
            busy_without.push(undisturbed.busy);
            busy_with.push(disturbed.busy);
        }
        let ratio = median(ratios);
        println!(
            "{:<17} {:>8.2} {:>8.2} {:>6.2} {:<6} {:>5.0} {:>5.0}  {:.0} refused, {:.0} not",
            format!("{flood:?}"),
            median(without),
            median(with),
            ratio,
            if ratio > BAR { "BEYOND" } else { "ok" },
            median(busy_without) * 100.0,
            median(busy_with) * 100.0,
            refused / flooded,
            accepted / flooded,
        );
        // Acknowledgements are read more slowly instead.
        if refused == 0.0 && flood != Flood::Acknowledgements {
            bail!("nothing was refused");
        }
        Ok(ratio)
    }

    async fn phase(&self) -> Result<Phase> {
        let broadcast = async || {
            let title = self.begun.elapsed().as_micros().to_string();
            let note = json!({ "type": "load", "title": title, "audience": { "channels": ["everyone"] } });
            self.server.publish(&[note]).await
        };
        let (begun, cpu) = (Instant::now(), self.server.cpu()?);
        let p99 = p99(&self.latencies, READERS, EVERY, MEASURED, broadcast).await?;
        let busy = (self.server.cpu()? - cpu).as_secs_f64() / begun.elapsed().as_secs_f64();
        Ok(Phase { p99, busy })
    }
}

/// Floods until its standard input ends, and says how much was refused and how much not.
async fn flood_until_told(flood: Flood, address: String) -> Result<()> {
    let outcome = Arc::new(Outcome::default());
    let mut flooding = JoinSet::new();
    for _ in 0..FLOODING {
        let (address, outcome) = (address.clone(), outcome.clone());
        flooding.spawn(async move {
            // Whoever is let go comes back.
            loop {
                let _ = send(flood, &address, &outcome).await;
                tokio::task::yield_now().await;
            }
        });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read(&mut [0])).await??;
    println!("{} {}", outcome.refused.load(Relaxed), outcome.accepted.load(Relaxed));
    std::process::exit(0); // what floods need not be waited for
}

/// A token of somebody; those who flood are of another tenant, so that nobody else's broadcasts are theirs.
fn user(name: &str, tenant: &str) -> Result<String> {
    let tenant = (!tenant.is_empty()).then(|| tenant.to_owned());
    token(Grant { user: Some(name.to_owned()), tenant, ..Grant::default() })
}

async fn stream(address: &str, from: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse()?, 0))?;
    Ok(socket.connect(address.parse()?).await?)
}

async fn connect(address: &str, from: &str, token: &str) -> Result<WebSocketStream<TcpStream>> {
    let url = format!("ws://{address}/v1/ws?token={token}");
    let (mut socket, _) = tokio_tungstenite::client_async(url, stream(address, from).await?).await?;
    socket.next().await.context("a hello")??;
    Ok(socket)
}

async fn read(mut socket: WebSocketStream<TcpStream>, begun: Instant, latencies: Arc<Latencies>) {
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = &message else { continue };
        let Some((_, rest)) = text.as_str().split_once(r#""title":""#) else { continue };
        let sent = rest.split_once('"').and_then(|(sent, _)| sent.parse::<u64>().ok());
        if let Some(sent) = sent {
            let latency = begun.elapsed().as_micros() as u64 - sent;
            latencies.lock().expect("nobody panicked").push(latency as u32);
        }
    }
}

/// Floods until it is let go.
async fn send(flood: Flood, address: &str, outcome: &Outcome) -> Result<()> {
    let eve = user("eve", "flood")?;
    let get = |path: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {eve}\r\n\r\n").into_bytes()
    };
    let post = |token: &str, body: &str| {
        let head =
            format!("POST /v1/notifications/batch HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n");
        let head = format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body.as_bytes()].concat()
    };
    let service =
        Grant { tenant: Some("flood".to_owned()), scopes: vec!["publish".to_owned()], ..Grant::default() };
    let service = token(service)?;
    match flood {
        Flood::Commands => frames(address, &eve, r#"{"type":"counts","id":1}"#, outcome).await,
        Flood::Acknowledgements => frames(address, &eve, r#"{"type":"ack","upTo":0}"#, outcome).await,
        Flood::Requests => requests(address, &get("/v1/counts"), outcome).await,
        Flood::Publishes => {
            let note = r#"{"type":"load","audience":{"users":["eve"]}}"#;
            requests(address, &post(&service, &format!("[{}]", vec![note; 50].join(","))), outcome).await
        }
        Flood::LargeBodies => {
            let large = post(&service, &"x".repeat(9 << 20));
            requests(address, &large, outcome).await
        }
        Flood::LiveConnections => connections(address, &get("/v1/events"), outcome).await,
        Flood::Connections => connections(address, &get("/health/live"), outcome).await,
    }
}

/// A connection after the other; those that are let in stay.
async fn connections(address: &str, request: &[u8], outcome: &Outcome) -> Result<()> {
    let mut held = Vec::new();
    loop {
        let mut stream = stream(address, FROM).await?;
        stream.write_all(request).await?;
        let status = status(&mut stream).await?;
        count(status, outcome);
        if status < 400 {
            held.push(stream);
        }
    }
}

/// Frames as fast as the socket takes them; what comes back is read beside.
async fn frames(address: &str, token: &str, frame: &str, outcome: &Outcome) -> Result<()> {
    let (mut writing, mut reading) = connect(address, FROM, token).await?.split();
    let read = async {
        while let Some(Ok(message)) = reading.next().await {
            let text = message.to_text().unwrap_or_default();
            if text.contains(r#""type":"error""#) {
                outcome.refused.fetch_add(1, Relaxed);
            } else if text.contains(r#""type":"answer""#) {
                outcome.accepted.fetch_add(1, Relaxed);
            }
        }
    };
    let write = async { while writing.send(Message::text(frame)).await.is_ok() {} };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
    Ok(())
}

/// A request after the other on one connection, each as soon as the one before it is sent and answered, which may be before
/// it is sent.
async fn requests(address: &str, request: &[u8], outcome: &Outcome) -> Result<()> {
    let mut stream = stream(address, FROM).await?;
    loop {
        let (mut reading, mut writing) = stream.split();
        let answered = async {
            count(status(&mut reading).await?, outcome);
            anyhow::Ok(())
        };
        tokio::try_join!(answered, async { Ok(writing.write_all(request).await?) })?;
    }
}

/// The status of an answer, which is small enough to come at once.
async fn status(stream: &mut (impl AsyncRead + Unpin)) -> Result<u16> {
    let mut buffer = [0; 4_096];
    let count = stream.read(&mut buffer).await?;
    let answer = std::str::from_utf8(&buffer[..count])?;
    Ok(answer.split(' ').nth(1).context("a status")?.parse()?)
}

fn count(status: u16, outcome: &Outcome) {
    let counter = if status < 400 { &outcome.accepted } else { &outcome.refused };
    counter.fetch_add(1, Relaxed);
}
