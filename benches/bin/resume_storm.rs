//! How long it takes until everybody has what they missed when all devices come back at once after a restart: each gets
//! exactly what it missed, in order, nothing twice.
//!
//! `cargo build --release && cargo run --release -p tidings-benches --bin resume_storm [DEVICES [OWN [BROADCASTS]]]`
//!
//! Each device is of another user. They connect once and go away; so many notifications to each by name, and so many to everyone,
//! are published; the server is killed and started, and all connect at once with their cursors. The server has the first
//! core, the devices have the second. Takes as many open files as there are devices, and some.

mod server;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use server::{Server, stay_on_core, token};
use tidings_http::token::Grant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

const BAR: Duration = Duration::from_secs(20);
const GOAL: Duration = Duration::from_secs(10);
const SERVERS_CORE: &str = "0";
const OTHERS_CORE: &str = "1";
/// They all come from one address.
const LIMITS: &str = "connections = 19_000\nconnections-per-address = 19_000\n\
                      publishes = { count = 1_000_000, seconds = 1 }\n";
/// Devices that connect at the same time, the first time.
const AT_ONCE: usize = 100;
/// Notifications of a batch.
const BATCH: usize = 500;
/// What comes this long after everybody has caught up came twice.
const LISTENING: Duration = Duration::from_secs(2);

/// How frames begin that are the last of their message (RFC 6455, 5.2).
const TEXT: u8 = 0x81;
const PING: u8 = 0x89;

/// How much each missed.
#[derive(Clone, Copy)]
struct Missed {
    own: usize,
    broadcasts: usize,
}

impl Missed {
    fn all(self) -> usize {
        self.own + self.broadcasts
    }

    fn rounds(self) -> usize {
        self.own.max(self.broadcasts)
    }

    /// What a device gets, in order: in each round one of its own and one to everyone, while there are any.
    fn titles(self, user: &str) -> Vec<String> {
        let round = |round| {
            let own = (round < self.own).then(|| title(round, user));
            own.into_iter().chain((round < self.broadcasts).then(|| title(round, "everyone")))
        };
        (0..self.rounds()).flat_map(round).collect()
    }
}

fn title(round: usize, to: &str) -> String {
    format!("{round} {to}")
}

fn user(number: usize) -> String {
    format!("user-{number}")
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (devices, missed) = (number(10_000)?, Missed { own: number(50)?, broadcasts: number(50)? });
    ensure!(missed.all() > 0, "expected something to be missed");
    stay_on_core(OTHERS_CORE)?;
    let directory = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let server = Server::with_limits_on_core(directory.path(), LIMITS, SERVERS_CORE).await?;
        let requests = first_visits(&server, devices).await?;
        println!("{devices} devices have connected and gone");
        let begun = Instant::now();
        publish(&server, devices, missed).await?;
        let (events, took) = (devices * missed.own + missed.broadcasts, begun.elapsed().as_secs_f64());
        println!("{events} notifications published in {took:.1} s");
        server.kill().await?;
        let begun = Instant::now();
        let server = Server::with_limits_on_core(directory.path(), LIMITS, SERVERS_CORE).await?;
        let (serves, computed) = (begun.elapsed(), server.cpu()?);
        println!("killed, and serves {:.2} s after it was started again", serves.as_secs_f64());
        let times = come_back(&server, requests, missed).await?;
        let cpu = (server.cpu()? - computed).as_secs_f64();
        let deliveries = devices * missed.all();
        let last = times.last().context("a device")?.as_secs_f64();
        let [half, most] = [50, 99].map(|percent| times[(times.len() - 1) * percent / 100].as_secs_f64());
        println!("all connect at once: half have caught up after {half:.2} s, 99 % after {most:.2} s, all after {last:.2} s");
        println!(
            "{deliveries} deliveries, each device its {}, in order, none lost, none twice: {cpu:.2} s of CPU, {:.1} µs for each, {:.1} µs for each device",
            missed.all(),
            cpu * 1e6 / deliveries as f64,
            cpu * 1e6 / devices as f64,
        );
        println!("the server has taken {:.0} MiB at most", server.peak_memory()? as f64 / f64::from(1 << 20));
        let total = serves.as_secs_f64() + last;
        println!("{total:.2} s from the start of the server (bar {} s, goal {} s)", BAR.as_secs(), GOAL.as_secs());
        ensure!(total <= BAR.as_secs_f64(), "beyond the bar");
        Ok(())
    })
}

/// Each device connects and goes away. With what each comes back: a request with its cursor.
async fn first_visits(server: &Server, devices: usize) -> Result<Vec<Request>> {
    let mut requests = Vec::with_capacity(devices);
    for first in (0..devices).step_by(AT_ONCE) {
        let mut visits = JoinSet::new();
        for number in first..devices.min(first + AT_ONCE) {
            let request = Request::of(server, user(number))?;
            visits.spawn(async move {
                let mut device = Device::connect(&request).await?;
                let hello = device.message().await?.to_owned();
                let hello: Value = serde_json::from_str(&hello)?;
                let cursor = hello["cursor"].as_str().context("a cursor")?.to_owned();
                anyhow::Ok(Request { cursor: Some(cursor), ..request })
            });
        }
        while let Some(visit) = visits.join_next().await {
            requests.push(visit??);
        }
    }
    Ok(requests)
}

async fn publish(server: &Server, devices: usize, missed: Missed) -> Result<()> {
    let notification = |title: String, audience: Value| json!({ "type": "booking.created", "title": title, "body": "x".repeat(100), "audience": audience });
    for round in 0..missed.rounds() {
        let numbers: Vec<usize> = if round < missed.own { (0..devices).collect() } else { Vec::new() };
        for numbers in numbers.chunks(BATCH) {
            let own = |number: &usize| {
                notification(title(round, &user(*number)), json!({ "users": [user(*number)] }))
            };
            server.publish(&numbers.iter().map(own).collect::<Vec<_>>()).await?;
        }
        if round < missed.broadcasts {
            let all = notification(title(round, "everyone"), json!({ "channels": ["everyone"] }));
            server.publish(&[all]).await?;
        }
    }
    Ok(())
}

/// After how long each device had caught up, the first to do so first.
async fn come_back(server: &Server, requests: Vec<Request>, missed: Missed) -> Result<Vec<Duration>> {
    let devices = requests.len();
    let (caught_up, mut caught) = mpsc::unbounded_channel();
    let (end, ended) = watch::channel(());
    let mut coming = JoinSet::new();
    let begun = Instant::now();
    for request in requests {
        let request = Request { address: server.address.clone(), ..request };
        coming.spawn(catch_up(request, missed, caught_up.clone(), ended.clone()));
    }
    let mut times = Vec::with_capacity(devices);
    while times.len() < devices {
        tokio::select! {
            Some(at) = caught.recv() => times.push(Instant::duration_since(&at, begun)),
            Some(failed) = coming.join_next() => failed??,
        }
    }
    tokio::time::sleep(LISTENING).await;
    drop(end);
    while let Some(listened) = coming.join_next().await {
        listened??;
    }
    Ok(times)
}

/// Receives what was missed, and then listens whether there is more.
async fn catch_up(
    request: Request,
    missed: Missed,
    caught_up: mpsc::UnboundedSender<Instant>,
    mut ended: watch::Receiver<()>,
) -> Result<()> {
    let user = &request.user;
    let mut expected = missed.titles(user).into_iter();
    let mut device = Device::connect(&request).await?;
    let hello = device.message().await?;
    ensure!(hello.contains(r#""resume":{"result":"continued"}"#), "{user}: expected to go on, got {hello}");
    loop {
        let message = tokio::select! {
            message = device.message() => message?,
            _ = ended.changed() => return Ok(()),
        };
        if let Some(got) = title_of(message) {
            let expected = expected.next();
            ensure!(expected.as_deref() == Some(got), "{user}: expected {expected:?}, got {got}");
        } else if message.starts_with(r#"{"type":"caughtUp""#) {
            let next = expected.next();
            ensure!(next.is_none(), "{user}: has caught up without {next:?}");
            let _ = caught_up.send(Instant::now()); // who waits for it may have failed
        }
    }
}

/// The title of a notification; `None` when it is another message.
fn title_of(message: &str) -> Option<&str> {
    let notification = message.strip_prefix(r#"{"type":"notification""#)?;
    Some(notification.split_once(r#""title":""#)?.1.split_once('"')?.0)
}

/// How a device connects.
struct Request {
    address: String,
    user: String,
    token: String,
    cursor: Option<String>,
}

impl Request {
    fn of(server: &Server, user: String) -> Result<Self> {
        let token = token(Grant { user: Some(user.clone()), ..Grant::default() })?;
        Ok(Self { address: server.address.clone(), user, token, cursor: None })
    }

    fn text(&self) -> String {
        let cursor = self.cursor.as_ref().map_or(String::new(), |cursor| format!("&cursor={cursor}"));
        format!(
            "GET /v1/ws?device=phone{cursor} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.address, self.token
        )
    }
}

/// A device that reads whole text frames, and costs little beside the server.
struct Device {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// The bytes of the message that was given last, which are done with.
    given: usize,
}

impl Device {
    async fn connect(request: &Request) -> Result<Self> {
        let mut stream = TcpStream::connect(&request.address).await.context("cannot connect")?;
        stream.write_all(request.text().as_bytes()).await?;
        let mut device = Self { stream, buffer: Vec::new(), given: 0 };
        loop {
            device.read().await?;
            if let Some(end) = device.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let answer = String::from_utf8_lossy(&device.buffer[..end]);
                ensure!(answer.starts_with("HTTP/1.1 101"), "expected an upgrade, got {answer}");
                device.given = end + 4;
                return Ok(device);
            }
        }
    }

    async fn read(&mut self) -> Result<()> {
        self.buffer.reserve(8 << 10);
        let read = self.stream.read_buf(&mut self.buffer).await?;
        ensure!(read > 0, "the server closed a connection");
        Ok(())
    }

    /// The next text; pings are passed over, as it is over before one has to be answered. May be dropped and called again.
    async fn message(&mut self) -> Result<&str> {
        loop {
            let frame = &self.buffer[self.given..];
            if let Some((header, length)) = frame_size(frame)?
                && frame.len() >= header + length
            {
                let (is_text, begin) = (frame[0] == TEXT, self.given + header);
                self.given = begin + length;
                if !is_text {
                    continue;
                }
                return Ok(std::str::from_utf8(&self.buffer[begin..begin + length])?);
            }
            self.buffer.drain(..self.given);
            self.given = 0;
            self.read().await?;
        }
    }
}

/// The bytes of a frame's header and of what follows it, once they are known (RFC 6455, 5.2).
fn frame_size(frame: &[u8]) -> Result<Option<(usize, usize)>> {
    let [first, second, rest @ ..] = frame else { return Ok(None) };
    ensure!(
        [TEXT, PING].contains(first),
        "expected a whole text or a ping, got a frame that begins with {first:#x}"
    );
    match (second, rest) {
        (126, [one, two, ..]) => Ok(Some((4, usize::from(u16::from_be_bytes([*one, *two]))))),
        (126, _) => Ok(None),
        (127.., _) => bail!("expected a frame of a server below 64 KiB"),
        (length, _) => Ok(Some((2, usize::from(*length)))),
    }
}
