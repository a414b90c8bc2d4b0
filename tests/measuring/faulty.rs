//! A proxy that does one thing wrong with what a server sends to some of its devices, or to those who publish.

use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Which notification of a device meets it: the first from this one on that comes alone.
const WHICH: usize = 4;
/// When answers to publishes begin to be held back, after the first of them, and when they go on.
const STALL: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(2)];
const NOTIFICATION: &[u8] = br#""type":"notification""#;

/// What is done wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    Drop,
    Repeat,
    /// It comes after the next one.
    Swap,
    /// It says another position, far beyond.
    Move,
    /// Publishes are not answered for a while.
    Stall,
    /// After a while, publishes are not answered any more.
    Mute,
}

/// A proxy; it ends when it is dropped.
pub struct Faulty {
    address: String,
    _accepting: JoinSet<()>,
}

impl Faulty {
    /// A proxy before a server, which does something wrong once with each of so many devices.
    pub async fn before(server: String, fault: Fault, devices: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (left, begun) = (Arc::new(AtomicUsize::new(devices)), Arc::new(OnceLock::new()));
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.expect("the server accepts");
                let (from_client, to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                connections.spawn(async move {
                    let mut from_client = from_client;
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await; // until either ends
                });
                connections.spawn(pass(from_server, to_client, fault, (left.clone(), begun.clone())));
            }
        });
        Self { address, _accepting: accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Passes on what a server says, frame by frame or chunk by chunk.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    fault: Fault,
    (left, begun): (Arc<AtomicUsize>, Arc<OnceLock<Instant>>),
) {
    let (mut input, mut notifications, mut is_done) = (Vec::new(), 0, false);
    let (mut length, mut held): (Option<Length>, Option<Vec<u8>>) = (None, None);
    while from.read_buf(&mut input).await.is_ok_and(|bytes| bytes > 0) {
        if length.is_none() {
            let Some(head) = find(&input, b"\r\n\r\n") else { continue };
            length = length_of(&input[..head]);
            if length.is_none() {
                return pass_answers(input, (from, to), fault, *begun.get_or_init(Instant::now)).await;
            }
            let head: Vec<u8> = input.drain(..head + 4).collect();
            if to.write_all(&head).await.is_err() {
                return;
            }
        }
        while let Some(bytes) = length.and_then(|length| length(&input)) {
            let unit: Vec<u8> = input.drain(..bytes).collect();
            let is_one =
                unit.windows(NOTIFICATION.len()).filter(|window| *window == NOTIFICATION).count() == 1;
            notifications += usize::from(is_one);
            let mut is_it = is_one && notifications >= WHICH && !is_done && fault != Fault::None;
            if is_it {
                is_done = true;
                is_it = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok();
            }
            let sent = match (fault, is_it) {
                (Fault::Drop, true) => Vec::new(),
                (Fault::Repeat, true) => unit.repeat(2),
                (Fault::Swap, true) => {
                    held = Some(unit);
                    Vec::new()
                }
                (Fault::Move, true) => moved(unit),
                _ if is_one => [unit, held.take().unwrap_or_default()].concat(),
                _ => unit,
            };
            if to.write_all(&sent).await.is_err() {
                return;
            }
        }
    }
}

/// Passes on what publishes are answered.
async fn pass_answers(
    mut input: Vec<u8>,
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    fault: Fault,
    begun: Instant,
) {
    while !input.is_empty() {
        let is_late = (STALL[0]..STALL[1]).contains(&begun.elapsed());
        match fault {
            Fault::Stall if is_late => tokio::time::sleep_until(begun + STALL[1]).await,
            Fault::Mute if begun.elapsed() > STALL[0] => std::future::pending().await,
            _ => {}
        }
        if to.write_all(&input).await.is_err() {
            return;
        }
        input.clear();
        let _ = from.read_buf(&mut input).await; // nothing at the end
    }
}

/// How many bytes the first unit has, if it is all there.
type Length = fn(&[u8]) -> Option<usize>;

/// The units of a stream; an answer has none.
fn length_of(head: &[u8]) -> Option<Length> {
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    if head.starts_with("http/1.1 101") {
        Some(frame)
    } else if head.contains("text/event-stream") {
        Some(chunk)
    } else {
        None
    }
}

fn frame(input: &[u8]) -> Option<usize> {
    let (head, bytes) = match input.get(1)? & 127 {
        126 => (4, usize::from(u16::from_be_bytes(input.get(2..4)?.try_into().ok()?))),
        127 => panic!("no message here is so long"),
        short => (2, usize::from(short)),
    };
    (input.len() >= head + bytes).then_some(head + bytes)
}

fn chunk(input: &[u8]) -> Option<usize> {
    let line = find(input, b"\r\n")?;
    let size = std::str::from_utf8(&input[..line]).expect("a size");
    let bytes = line + 2 + usize::from_str_radix(size.trim(), 16).expect("a size") + 2;
    (input.len() >= bytes).then_some(bytes)
}

/// The first digit of its position is another one.
fn moved(mut unit: Vec<u8>) -> Vec<u8> {
    let digit = find(&unit, br#""position":"#).expect("a position") + br#""position":"#.len();
    unit[digit] = if unit[digit] == b'9' { b'8' } else { b'9' };
    unit
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}
