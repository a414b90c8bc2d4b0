//! The doors: who begins something and does not go on ends by itself and keeps nobody waiting; who comes when there are
//! too many is told so.

use std::net::SocketAddr;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::world::{World, in_time, person, service};

/// Every patience a second long.
pub const IMPATIENT: &str =
    "[limits]\nheader-seconds = 1\nhandshake-seconds = 1\nbody-seconds = 1\nheartbeat-seconds = 1\n";
/// Connections of each kind.
const STALLED: usize = 20;
/// How often a dribbling client sends a byte.
const DRIBBLE: Duration = Duration::from_millis(100);

/// A connection from an address of this machine.
async fn connect_from(from: &str, to: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(from.parse().expect("an address"), 0))?;
    socket.connect(to.parse().expect("an address")).await
}

/// What a client sends at once, what it goes on to send byte by byte, and how the answer begins.
struct Stalling {
    name: &'static str,
    first: Vec<u8>,
    dribble: Vec<u8>,
    answer: &'static str,
}

fn kinds(address: &str) -> Vec<Stalling> {
    let token = service();
    let head =
        format!("POST /v1/notifications HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n");
    let body = format!("{head}Content-Type: application/json\r\nContent-Length: 5000\r\n\r\n{{");
    let get = format!("GET /health/live HTTP/1.1\r\nHost: {address}\r\n");
    let upgrade = |query: &str| {
        format!(
            "GET /v1/ws{query} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
    };
    let of_ada = upgrade(&format!("?token={}", person("ada")));
    // The beginning of a masked text frame of 5,000 bytes.
    let frame = |of: &str| [of.as_bytes(), b"\x81\xfe\x13\x88\0\0\0\0"].concat();
    let of = |name, first: &[u8], dribble: &[u8], answer| Stalling {
        name,
        first: first.to_vec(),
        dribble: dribble.to_vec(),
        answer,
    };
    let (none, long) = (b"", "x".repeat(5_000));
    let unwanted = format!("{get}Content-Length: 5000\r\n\r\n");
    vec![
        of("nothing", none, none, ""),
        of("half a header", head.as_bytes(), none, ""),
        of("a header byte by byte", b"GET /", long.as_bytes(), ""),
        of("half a body", body.as_bytes(), none, "HTTP/1.1 408"),
        of("a body byte by byte", body.as_bytes(), long.as_bytes(), "HTTP/1.1 408"),
        of("a body that nobody asked for", unwanted.as_bytes(), none, "HTTP/1.1 200"),
        of("a connection that is not used again", format!("{get}\r\n").as_bytes(), none, "HTTP/1.1 200"),
        of("no token on a WebSocket", upgrade("").as_bytes(), none, "HTTP/1.1 101"),
        of("a token byte by byte", &frame(&upgrade("")), long.as_bytes(), "HTTP/1.1 101"),
        of("a silent WebSocket", of_ada.as_bytes(), none, "HTTP/1.1 101"),
        of("half a frame", &frame(&of_ada), none, "HTTP/1.1 101"),
        of("a frame byte by byte", &frame(&of_ada), long.as_bytes(), "HTTP/1.1 101"),
    ]
}

/// What the server says until it closes.
pub async fn stall(
    stream: impl AsyncRead + AsyncWrite + Send + 'static,
    first: Vec<u8>,
    dribble: Vec<u8>,
) -> Vec<u8> {
    let (mut reading, mut writing) = tokio::io::split(stream);
    let dribbling = tokio::spawn(async move {
        writing.write_all(&first).await?;
        for byte in dribble {
            tokio::time::sleep(DRIBBLE).await;
            writing.write_all(&[byte]).await?;
        }
        std::future::pending::<std::io::Result<()>>().await // and keeps it open
    });
    let mut said = Vec::new();
    let mut buffer = [0; 4_096];
    // One that was sent more than it read is reset: that is an end, too.
    while let Ok(count) = reading.read(&mut buffer).await
        && count > 0
    {
        said.extend_from_slice(&buffer[..count]);
    }
    dribbling.abort();
    said
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_go_on_ends_by_itself_and_keeps_nobody_waiting() {
    let world = World::with_configuration(IMPATIENT).await;
    let mut stalled = tokio::task::JoinSet::new();
    for Stalling { name, first, dribble, answer } in kinds(world.address()) {
        for _ in 0..STALLED {
            let stream = TcpStream::connect(world.address()).await.expect("it listens");
            let stalling = stall(stream, first.clone(), dribble.clone());
            stalled.spawn(async move { (name, in_time(name, stalling).await, answer) });
        }
    }
    in_time("a normal request", world.get("/v1/counts", &person("bo"))).await;
    while let Some(ended) = stalled.join_next().await {
        let (name, said, answer) = ended.expect("it ended in time");
        let begins = String::from_utf8_lossy(&said[..said.len().min(12)]).into_owned();
        assert_eq!(begins, answer, "{name}");
    }
}

/// Connections that only take up room, from an address.
async fn occupy(world: &World, from: &str, count: usize) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    for _ in 0..count {
        streams.push(connect_from(from, world.address()).await.expect("it listens"));
    }
    streams
}

/// A request on a connection of its own from an address; the answer, whole.
async fn get_from(world: &World, from: &str) -> (StatusCode, Option<u64>, Value) {
    let client =
        reqwest::Client::builder().tls_certs_only([]).local_address(Some(from.parse().expect("an address")));
    let client = client.pool_max_idle_per_host(0).build().expect("a client");
    let request = client.get(world.url("/v1/counts")).bearer_auth(person("ada"));
    let answer = in_time("an answer", request.send()).await.expect("it is answered");
    let retry_after =
        answer.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    (answer.status(), retry_after, answer.json().await.expect("JSON"))
}

async fn get_in_from(world: &World, from: &str) {
    while get_from(world, from).await.0 != StatusCode::OK {}
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_others_do_not_notice() {
    let world = World::with_configuration("[limits]\nconnections-per-address = 3").await;
    let mut taken = occupy(&world, "127.0.0.2", 3).await;
    let (status, retry_after, problem) = get_from(&world, "127.0.0.2").await;
    assert_eq!((status, retry_after), (StatusCode::TOO_MANY_REQUESTS, Some(10)), "{problem}");
    assert_eq!(problem["type"], "urn:tidings:problem:too-many-connections");
    assert_eq!(problem["limit"], "limits.connections-per-address");
    assert_eq!(get_from(&world, "127.0.0.3").await.0, StatusCode::OK);
    taken.pop();
    in_time("a place that was given up", get_in_from(&world, "127.0.0.2")).await;
}

#[tokio::test]
async fn there_are_so_many_connections_in_all_and_one_that_was_upgraded_is_one_of_them() {
    let world = World::with_configuration("[limits]\nconnections = 4").await;
    let device = world.connect(&person("ada")).await;
    let taken = occupy(&world, "127.0.0.2", 3).await;
    let (status, retry_after, problem) = get_from(&world, "127.0.0.3").await;
    assert_eq!((status, retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(10)), "{problem}");
    assert_eq!(problem["limit"], "limits.connections");
    device.close().await;
    in_time("a place that was given up", get_in_from(&world, "127.0.0.3")).await;
    drop(taken);
    in_time("a place for everybody", get_in_from(&world, "127.0.0.1")).await;
}
