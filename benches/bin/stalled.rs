//! What those who do not go on cost those who do: how long a normal client waits, in turn without and with a thousand
//! connections that stall or dribble, of each kind, and how long these last.
//!
//! `cargo build --release && cargo run --release -p tidings-benches --bin stalled`

mod server;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use server::{Server, token};
use tidings_benches::comparison::median;
use tidings_http::token::Grant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const STALLED: usize = 1_000;
/// Whom a normal client does not share an address with.
const FROM: &str = "127.0.0.2";
/// Requests of a normal client, each on a connection of its own.
const REQUESTS: usize = 50;
/// How often a dribbling client sends a byte.
const DRIBBLE: Duration = Duration::from_millis(500);
/// Shorter than by default, so that this ends; the WebSockets may be of one user.
const LIMITS: &str = "connections-per-user = 2_000\nrequests = { count = 100_000, seconds = 1 }\nheader-seconds = 10\n\
                      handshake-seconds = 10\nbody-seconds = 10\nheartbeat-seconds = 5\n";

fn main() -> Result<()> {
    let directory = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let server = Server::with_limits(directory.path(), LIMITS).await?;
        let (plain, secure) = (kinds(&server.address)?, directory.path().join("tls"));
        println!(
            "{STALLED} connections that do not go on; {REQUESTS} requests, each on a new connection, ms"
        );
        println!("{:<28} {:>9} {:>9} {:>9} {:>9}", "", "without", "with", "worst", "end after");
        for (name, first, dribbles) in plain {
            compare(&server, name, first, dribbles).await?;
        }
        drop(server);
        let server = Server::with_tls(&secure, LIMITS).await?;
        let hello = hello()?;
        compare(&server, "half a TLS hello", hello[..hello.len() / 2].to_vec(), false).await?;
        compare(&server, "a TLS hello and no more", hello, false).await?;
        println!("(bar: a worst of 100)");
        Ok(())
    })
}

async fn compare(server: &Server, name: &str, first: Vec<u8>, dribbles: bool) -> Result<()> {
    let without = waits(server).await?;
    let mut stalled = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..STALLED {
        let stream = connect(server, FROM).await?;
        stalled.spawn(stall(stream, first.clone(), dribbles));
    }
    let with = waits(server).await?;
    let left = stalled.len();
    ensure!(left == STALLED, "{name}: {} had ended before they were measured", STALLED - left);
    let ended = async { while stalled.join_next().await.is_some() {} };
    tokio::time::timeout(Duration::from_secs(60), ended)
        .await
        .with_context(|| format!("{name} did not end"))?;
    let worst = with.iter().copied().fold(0.0, f64::max);
    let lasted = begun.elapsed().as_secs_f64();
    let (without, with) = (median(without), median(with));
    println!("{name:<28} {without:>9.2} {with:>9.2} {worst:>9.2} {lasted:>8.0}s");
    ensure!(worst < 100.0, "a normal client waited for {worst:.0} ms");
    Ok(())
}

/// How long a normal client waits for each answer, from the connection on, in milliseconds.
async fn waits(server: &Server) -> Result<Vec<f64>> {
    let token = token(Grant { user: Some("bo".to_owned()), ..Grant::default() })?;
    let mut waits = Vec::with_capacity(REQUESTS);
    for _ in 0..REQUESTS {
        let client = server.client()?;
        let begun = Instant::now();
        let answer = client.get(server.url("/v1/counts")).bearer_auth(&token).send().await?;
        ensure!(answer.status().is_success(), "a normal client was answered with {}", answer.status());
        answer.bytes().await?;
        waits.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    Ok(waits)
}

async fn connect(server: &Server, from: &str) -> Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse()?, 0))?;
    Ok(socket.connect(server.address.parse()?).await?)
}

/// Sends what it sends, perhaps a byte now and then, and returns when the server closes.
async fn stall(stream: TcpStream, first: Vec<u8>, dribbles: bool) {
    let (mut reading, mut writing) = stream.into_split();
    let dribbling = tokio::spawn(async move {
        let mut sent = writing.write_all(&first).await;
        while sent.is_ok() {
            tokio::time::sleep(DRIBBLE).await;
            sent = if dribbles { writing.write_all(b"x").await } else { Ok(()) };
        }
    });
    let mut buffer = [0; 1_024];
    while reading.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
    dribbling.abort();
}

/// How a client begins TLS.
fn hello() -> Result<Vec<u8>> {
    let roots = Arc::new(rustls::RootCertStore::empty());
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut hello = Vec::new();
    rustls::ClientConnection::new(Arc::new(config), "localhost".try_into()?)?.write_tls(&mut hello)?;
    Ok(hello)
}

type Kind = (&'static str, Vec<u8>, bool);

fn kinds(address: &str) -> Result<Vec<Kind>> {
    let service = token(Grant { scopes: vec!["publish".to_owned()], ..Grant::default() })?;
    let ada = token(Grant { user: Some("ada".to_owned()), ..Grant::default() })?;
    let head =
        format!("POST /v1/notifications HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {service}\r\n");
    let body = format!("{head}Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{").into_bytes();
    let upgrade = format!(
        "GET /v1/ws?token={ada} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let half_a_frame = [upgrade.as_bytes(), b"\x81\xfe\x13\x88\0\0\0\0"].concat();
    Ok(vec![
        ("nothing", Vec::new(), false),
        ("half a header", head.clone().into_bytes(), false),
        ("a header byte by byte", head.into_bytes(), true),
        ("half a body", body.clone(), false),
        ("a body byte by byte", body, true),
        ("half a frame", half_a_frame.clone(), false),
        ("a frame byte by byte", half_a_frame, true),
    ])
}
