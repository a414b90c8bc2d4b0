//! What reads cost the server: its CPU time for a page of an inbox and for counts, as a ratio to an empty authenticated
//! answer's, in turn.
//!
//! `cargo build --release && cargo run --release -p tidings-benches --bin reads [ROUNDS [SECONDS]]`
//!
//! The server has the first core, who asks has the second. The empty answer is a page of the log after its end: it is the
//! cheapest that goes through everything that all requests with a token go through (routing, the token, the limits, an
//! answer in JSON with a position), and asks neither the fold nor the view. All requests show the same token.

mod server;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::StreamExt;
use serde_json::{Value, json};
use server::{Server, stay_on_core, token};
use tidings_benches::comparison::median;
use tidings_http::token::Grant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const USER: &str = "ada";
const INBOX: usize = 10_000;
const BATCH: usize = 100;
/// Requests are made one after the other on each of these.
const CONNECTIONS: usize = 8;
const SERVERS_CORE: &str = "0";
const OTHERS_CORE: &str = "1";
/// No request and no publish is refused.
const LIMITS: &str =
    "requests = { count = 1_000_000, seconds = 1 }\npublishes = { count = 1_000_000, seconds = 1 }\n";

/// What is asked for, and what it may cost at most, in empty answers.
struct Work {
    name: &'static str,
    path: String,
    /// Items on the page, where it is one.
    items: Option<usize>,
    bar: Option<(f64, f64)>,
}

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(Ok(default), |text| text.parse());
    let (rounds, seconds) = (number(9)?, number(1)?);
    ensure!(std::thread::available_parallelism()?.get() > 1, "this takes two cores");
    stay_on_core(OTHERS_CORE)?;
    let directory = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let server = Server::with_limits_on_core(directory.path(), LIMITS, SERVERS_CORE).await?;
        measure(&server, rounds, Duration::from_secs(seconds as u64)).await
    })
}

async fn measure(server: &Server, rounds: usize, lasting: Duration) -> Result<()> {
    let token = token(Grant {
        user: Some(USER.to_owned()),
        roles: vec!["COOK".to_owned()],
        scopes: vec!["admin".to_owned()],
        ..Grant::default()
    })?;
    let url = format!("ws://{}/v1/ws?token={token}", server.address);
    let (mut device, _) = tokio_tungstenite::connect_async(url).await?;
    device.next().await.context("a hello")??;
    let device = tokio::spawn(async move { while let Some(Ok(_)) = device.next().await {} });
    let middle = fill(server, &token).await?;
    let empty =
        Work { name: "an empty answer", path: format!("/v1/log?after={}", u64::MAX), items: None, bar: None };
    let page = |name, query: String, bar| Work {
        name,
        path: format!("/v1/inbox?limit=20{query}"),
        items: Some(20),
        bar,
    };
    let works = [
        Work { name: "counts", path: "/v1/counts".to_owned(), items: None, bar: Some((1.3, 1.1)) },
        page("the newest 20", String::new(), Some((12.0, 6.0))),
        page("20 from the middle", format!("&cursor={middle}"), Some((12.0, 6.0))),
        page("20 unread", "&unread=true".to_owned(), Some((12.0, 6.0))),
        page("20 of one type in ten", "&type=order.paid".to_owned(), None),
    ];
    for work in works.iter().chain([&empty]) {
        cost(server, &token, work, lasting / 4).await?; // warm
    }
    let mut costs: Vec<(Vec<f64>, Vec<f64>)> = vec![Default::default(); works.len()];
    let mut empties = Vec::new();
    for _ in 0..rounds {
        let one = cost(server, &token, &empty, lasting).await?;
        empties.push(one);
        for (work, (costs, ratios)) in works.iter().zip(&mut costs) {
            let taken = cost(server, &token, work, lasting).await?;
            costs.push(taken);
            ratios.push(taken / one);
        }
    }
    ensure!(!device.is_finished(), "the device was let go");
    println!("an inbox of {INBOX}, CPU of the server for a request; medians of {rounds} rounds in turn");
    println!("{:<24} {:>8} {:>8} {:>14} {:>6} {:>6}", "", "µs", "ratio", "from to", "bar", "goal");
    println!("{:<24} {:>8.1} {:>8.2}", empty.name, median(empties), 1.0);
    let mut beyond = Vec::new();
    for (work, (costs, ratios)) in works.iter().zip(costs) {
        let (least, most) = ratios.iter().fold((f64::MAX, 0.0_f64), |(l, m), r| (l.min(*r), m.max(*r)));
        let (ratio, range) = (median(ratios), format!("{least:.2} {most:.2}"));
        let bar = work.bar.map_or(String::new(), |(bar, goal)| format!("{bar:>6} {goal:>6}"));
        println!("{:<24} {:>8.1} {ratio:>8.2} {range:>14} {bar}", work.name, median(costs));
        beyond.extend(work.bar.filter(|(bar, _)| ratio > *bar).map(|_| work.name));
    }
    ensure!(beyond.is_empty(), "beyond the bar: {}", beyond.join(", "));
    Ok(())
}

/// Half of the notifications are to the user by name, half to channels of theirs, and some are read. The position of one in the
/// middle.
async fn fill(server: &Server, token: &str) -> Result<u64> {
    for first in (0..INBOX).step_by(BATCH) {
        server.publish(&(first..first + BATCH).map(notification).collect::<Vec<_>>()).await?;
    }
    let client = server.client()?;
    let get = async |path: String| -> Result<Value> {
        let answer = client.get(server.url(&path)).bearer_auth(token).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    };
    let post = async |path: &str, body: Value| -> Result<()> {
        let answer = client.post(server.url(path)).bearer_auth(token).json(&body).send().await?;
        answer.error_for_status()?;
        Ok(())
    };
    let (mut seen, mut middle, mut before) = (0, None, String::new());
    while seen < INBOX {
        let page = get(format!("/v1/inbox?limit=100{before}")).await?;
        let items = page["items"].as_array().context("items")?;
        ensure!(!items.is_empty(), "expected {INBOX} notifications in the inbox, got {seen}");
        seen += items.len();
        // Every fifth is read, and all of the oldest quarter.
        let read: Vec<&Value> = items.iter().step_by(5).map(|item| &item["notification"]["id"]).collect();
        post("/v1/inbox/read", json!({ "notifications": read })).await?;
        let last = items.last().context("an item")?["position"].as_u64().context("a position")?;
        if seen >= INBOX / 2 && middle.is_none() {
            middle = Some(last);
        }
        if seen == INBOX * 3 / 4 {
            post("/v1/inbox/read-all", json!({ "upTo": last - 1 })).await?;
        }
        before = format!("&cursor={last}");
    }
    let unread = get("/v1/counts".to_owned()).await?["unread"].as_u64();
    ensure!(unread == Some(INBOX as u64 * 3 / 4 * 4 / 5), "expected 6000 unread, got {unread:?}");
    middle.context("a middle")
}

fn notification(number: usize) -> Value {
    let audience = match number % 4 {
        0 => json!({ "channels": ["everyone"] }),
        1 => json!({ "channels": ["role:COOK"] }),
        _ => json!({ "users": [USER] }),
    };
    let kind = if number.is_multiple_of(10) { "order.paid" } else { "booking.created" };
    json!({ "type": kind, "title": "New booking", "body": "x".repeat(100), "audience": audience })
}

/// Microseconds of CPU that a request costs the server.
async fn cost(server: &Server, token: &str, work: &Work, lasting: Duration) -> Result<f64> {
    let host = &server.address;
    let path = &work.path;
    let request: Arc<str> =
        format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n").into();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(host, request.clone(), work.items).await?);
    }
    let (before, begun) = (server.cpu()?, Instant::now());
    let mut asking = JoinSet::new();
    for connection in connections {
        asking.spawn(connection.ask(begun + lasting));
    }
    let mut requests = 0;
    while let Some(asked) = asking.join_next().await {
        requests += asked??;
    }
    Ok((server.cpu()? - before).as_secs_f64() * 1e6 / requests as f64)
}

/// Makes the same request again and again. Every answer has as many bytes as the first, which is looked at.
struct Connection {
    stream: TcpStream,
    request: Arc<str>,
    buffer: Vec<u8>,
    answer: usize,
}

impl Connection {
    async fn open(address: &str, request: Arc<str>, items: Option<usize>) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, request, buffer: vec![0; 64 << 10], answer: 0 };
        connection.answer = connection.first(items).await?;
        Ok(connection)
    }

    /// How long the answer is, when it is what was asked for.
    async fn first(&mut self, items: Option<usize>) -> Result<usize> {
        self.stream.write_all(self.request.as_bytes()).await?;
        let mut read = 0;
        loop {
            let more = self.stream.read(&mut self.buffer[read..]).await?;
            ensure!(more > 0, "the server closed the connection");
            read += more;
            let text = std::str::from_utf8(&self.buffer[..read])?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() < length.context("a length")?.parse()? {
                continue;
            }
            ensure!(head.starts_with("HTTP/1.1 200 OK"), "expected an answer, got {text}");
            let body: Value = serde_json::from_str(body)?;
            let found = body["items"].as_array().map(Vec::len);
            ensure!(found == items, "expected {items:?} items, got {found:?}");
            return Ok(read);
        }
    }

    /// How often it was answered until then.
    async fn ask(mut self, until: Instant) -> Result<u64> {
        let mut requests = 0;
        while Instant::now() < until {
            self.stream.write_all(self.request.as_bytes()).await?;
            self.stream.read_exact(&mut self.buffer[..self.answer]).await?;
            if !self.buffer.starts_with(b"HTTP/1.1 200 OK") {
                bail!("an answer was another one: {}", String::from_utf8_lossy(&self.buffer[..self.answer]));
            }
            requests += 1;
        }
        Ok(requests)
    }
}
