//! What those who stop reading cost those who do not: their latency with and without them, in turn, the memory of each,
//! and whether each gets everything afterwards.
//!
//! `cargo build --release && cargo run --release -p tidings-benches --bin slow`

mod latency;
mod server;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use latency::{Latencies, p99};
use serde_json::{Value, json};
use server::{Server, token};
use tidings_benches::comparison::median;
use tidings_http::token::Grant;
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

const READERS: usize = 500;
const STALLED: usize = 500;
const PAIRS: usize = 5;
/// How long latency is measured each time.
const MEASURED: Duration = Duration::from_secs(4);
/// Broadcasts to all readers.
const EVERY: Duration = Duration::from_millis(50);
/// What fills the buffers of a connection that is not read: more than the sockets and the mailbox hold.
const FILLING: usize = 200;
const FILLING_BYTES: usize = 8_000;
/// The receive buffer of a connection that is not read, as small as the system has it.
const RECEIVE_BYTES: u32 = 4_096;

type Socket = WebSocketStream<TcpStream>;

/// What all have in common.
struct Bench {
    server: Server,
    begun: Instant,
    /// The number of the last notification, which is its title, followed by when it was sent.
    last: AtomicU64,
    /// Microseconds from the publish to each reader, in this phase.
    latencies: Arc<Latencies>,
}

fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let server = Server::start(directory.path()).await?;
        let latencies = Arc::default();
        let bench = Bench { server, begun: Instant::now(), last: AtomicU64::new(0), latencies };
        let mut readers = JoinSet::new();
        for number in 0..READERS {
            let socket = bench.connect(&format!("reader-{number}"), &[], None).await?;
            readers.spawn(read(socket, bench.begun, bench.latencies.clone()));
        }
        bench.measure().await?; // warm
        println!("{READERS} readers, a broadcast every {} ms; p99 of the readers, ms", EVERY.as_millis());
        println!("{:>8} {:>10} {:>10} {:>8}  (bar: 1.25)", "stalled", "without", "with", "ratio");
        for stalled in [1, STALLED] {
            bench.compare(stalled).await?;
        }
        ensure!(readers.try_join_next().is_none(), "a reader was let go");
        Ok(())
    })
}

impl Bench {
    async fn compare(&self, stalled: usize) -> Result<()> {
        let (mut ratios, mut most) = (Vec::new(), 0.0_f64);
        for pair in 0..PAIRS {
            self.fill().await?; // the same work in both
            let before = self.server.memory()?;
            let without = self.measure().await?;
            let first = self.last.load(Ordering::Relaxed) + 1;
            let mut sockets = Vec::new();
            for number in 0..stalled {
                let user = format!("stalled-{stalled}-{pair}-{number}");
                sockets.push(self.connect(&user, &["STALLED"], Some(RECEIVE_BYTES)).await?);
            }
            self.fill().await?;
            let with = self.measure().await?;
            let size = self.server.memory()?.saturating_sub(before) as f64 / stalled as f64 / 1024.0;
            println!("{stalled:>8} {without:>10.2} {with:>10.2} {:>8.2}", with / without);
            ratios.push(with / without);
            most = most.max(size); // later ones find memory that the first have left
            let last = self.last.load(Ordering::Relaxed);
            let mut reading = JoinSet::new();
            sockets.into_iter().for_each(|socket| drop(reading.spawn(read_all(socket, first, last))));
            while let Some(read) = reading.join_next().await {
                read??;
            }
        }
        let ratio = median(ratios);
        println!("{stalled:>8} {:>10} {:>10} {ratio:>8.2}  median; each got everything afterwards", "", "");
        if stalled > 1 {
            println!("{stalled:>8} cost the server {most:.0} KiB each at most (bar: 256)");
        }
        Ok(())
    }

    /// Publishes to a channel: the titles are numbers that go on, and when each was sent.
    async fn publish(&self, channel: &str, count: usize, bytes: usize) -> Result<()> {
        let notification = |_| -> Value {
            let number = self.last.fetch_add(1, Ordering::Relaxed) + 1;
            let title = format!("{number} {}", self.begun.elapsed().as_micros());
            json!({ "type": "load", "title": title, "body": "x".repeat(bytes), "audience": { "channels": [channel] } })
        };
        self.server.publish(&(0..count).map(notification).collect::<Vec<_>>()).await
    }

    /// More than a connection that is not read has room for. Nobody else is sent it.
    async fn fill(&self) -> Result<()> {
        for _ in 0..4 {
            self.publish("role:STALLED", FILLING / 4, FILLING_BYTES).await?;
        }
        Ok(())
    }

    /// The 99th percentile of the latency of broadcasts, in milliseconds.
    async fn measure(&self) -> Result<f64> {
        p99(&self.latencies, READERS, EVERY, MEASURED, async || self.publish("everyone", 1, 100).await).await
    }

    async fn connect(&self, user: &str, roles: &[&str], receive: Option<u32>) -> Result<Socket> {
        let roles = roles.iter().map(|role| (*role).to_owned()).collect();
        let token = token(Grant { user: Some(user.to_owned()), roles, ..Grant::default() })?;
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.server.address.parse()?).await?;
        let url = format!("ws://{}/v1/ws?token={token}", self.server.address);
        let (mut socket, _) = tokio_tungstenite::client_async(url, stream).await?;
        socket.next().await.context("a hello")??;
        Ok(socket)
    }
}

/// The number of a notification and when it was sent; `None` when it is another message.
fn title(message: &Message) -> Option<(u64, u64)> {
    let Message::Text(text) = message else { return None };
    let (_, rest) = text.as_str().split_once(r#""title":""#)?;
    let (number, sent) = rest.split_once('"')?.0.split_once(' ')?;
    Some((number.parse().ok()?, sent.parse().ok()?))
}

async fn read(mut socket: Socket, begun: Instant, latencies: Arc<Latencies>) {
    while let Some(Ok(message)) = socket.next().await {
        if let Some((_, sent)) = title(&message) {
            let latency = begun.elapsed().as_micros() as u64 - sent;
            latencies.lock().expect("nobody panicked").push(latency as u32);
        }
    }
}

/// Reads everything from a number to a number, each once, in order.
async fn read_all(mut socket: Socket, first: u64, last: u64) -> Result<()> {
    let mut expected = first;
    while expected <= last {
        let next = tokio::time::timeout(Duration::from_secs(60), socket.next()).await;
        let message = next.context("it is sent what it missed")?.context("it is not let go")??;
        if let Some((number, _)) = title(&message) {
            ensure!(number == expected, "expected notification {expected}, got {number}");
            expected += 1;
        }
    }
    Ok(())
}
