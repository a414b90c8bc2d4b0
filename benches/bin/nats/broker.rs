//! A nats-server for the measuring, on a free port, with a store of its own; and what is published to it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Messages that are on their way to the broker at once.
const AT_ONCE: usize = 500;

pub struct Broker {
    pub port: u16,
    _directory: TempDir,
    _server: Child,
}

impl Broker {
    pub async fn start() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        // A port that was free a moment ago.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(directory.path())
            .env("PATH", path);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn();
        let server = server.context("nats-server, a package of Debian, is needed")?;
        for _ in 0..100 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(Self { port, _directory: directory, _server: server });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        anyhow::bail!("nats-server does not answer")
    }

    pub fn settings(&self) -> String {
        format!(
            "[nats]\nurl = 'nats://127.0.0.1:{}'\nstream-bytes = {}\nout = ['log']\n",
            self.port,
            8_u64 << 30
        )
    }

    pub async fn jetstream(&self) -> Result<Context> {
        Ok(jetstream::new(async_nats::connect(format!("nats://127.0.0.1:{}", self.port)).await?))
    }
}

/// A notification of about 180 bytes to one of a thousand people.
pub fn notification(number: usize) -> Bytes {
    let audience = json!({ "users": [format!("user-{}", number % 1_000)] });
    let text = json!({
        "type": "booking.created", "title": format!("Booking {number} was created"), "data": { "booking": number },
        "audience": audience,
    });
    text.to_string().into()
}

/// Fills a stream with messages, which the broker has when this returns.
pub async fn fill(jetstream: &Context, subject: &str, messages: impl Iterator<Item = Bytes>) -> Result<()> {
    let mut under_way = std::collections::VecDeque::with_capacity(AT_ONCE);
    for message in messages {
        under_way.push_back(jetstream.publish(subject.to_owned(), message).await?.into_future());
        if under_way.len() >= AT_ONCE {
            under_way.pop_front().context("one")?.await?;
        }
    }
    for stored in under_way {
        stored.await?;
    }
    Ok(())
}

/// Waits until a stream holds nothing more.
pub async fn until_empty(jetstream: &Context, stream: &str) -> Result<()> {
    for _ in 0..6_000 {
        if jetstream.get_stream(stream).await?.cached_info().state.messages == 0 {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(false, "the stream was not emptied in time");
    Ok(())
}
