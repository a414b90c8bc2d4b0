//! A real nats-server, on a free port with a store of its own, that can be killed, paused and started again where it was.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::world::in_time;

pub struct Broker {
    pub directory: TempDir,
    pub port: u16,
    server: Option<Child>,
}

impl Broker {
    pub async fn start() -> Self {
        Self::with_configuration("").await
    }

    /// With lines of its configuration file.
    pub async fn with_configuration(lines: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("nats.conf"), lines).expect("a file");
        let mut broker = Self { directory, port: 0, server: None };
        broker.resume().await;
        broker
    }

    /// Starts it again, on what it left and where it was.
    pub async fn resume(&mut self) {
        let (directory, ports) = (self.directory.path(), self.directory.path().join("ports"));
        let _ = std::fs::remove_dir_all(&ports);
        std::fs::create_dir(&ports).expect("a directory");
        let port = if self.port == 0 { -1 } else { i32::from(self.port) };
        // Debian's is where a user's path may not lead.
        let path = format!("{}:/usr/sbin:/usr/local/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-js", "-sd"])
            .arg(directory.join("store"))
            .arg("--ports_file_dir")
            .arg(&ports)
            .arg("-c")
            .arg(directory.join("nats.conf"))
            .env("PATH", path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let spawned = command.spawn();
        self.server = Some(spawned.expect("nats-server, a package of Debian, starts: ./test.sh installs it"));
        self.port = in_time("the broker's start", port_in(&ports)).await;
        in_time("the broker", async {
            while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    pub async fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().await.expect("it is killed");
        }
    }

    /// Ends it as it wants to be ended.
    pub async fn stop(&mut self) {
        self.signal("TERM");
        if let Some(mut server) = self.server.take() {
            in_time("the broker's end", server.wait()).await.expect("it ends");
        }
    }

    /// Sends it a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let pid = self.server.as_ref().and_then(Child::id).expect("it runs").to_string();
        std::process::Command::new("kill").args([&format!("-{name}"), &pid]).status().expect("kill runs");
    }

    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A configuration of Tidings that uses it.
    pub fn settings(&self, more: &str) -> String {
        format!("[nats]\nurl = '{}'\n{more}", self.url())
    }

    pub async fn client(&self) -> Client {
        self.client_with(ConnectOptions::new()).await
    }

    pub async fn client_with(&self, options: ConnectOptions) -> Client {
        in_time("a connection", options.connect(self.url())).await.expect("the broker answers")
    }

    pub async fn jetstream(&self) -> Context {
        jetstream::new(self.client().await)
    }
}

async fn port_in(ports: &Path) -> u16 {
    loop {
        for file in std::fs::read_dir(ports).expect("a directory").flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            let said: Value = serde_json::from_str(&text).unwrap_or_default();
            let port = said["nats"][0].as_str().and_then(|url| url.rsplit_once(':')?.1.parse().ok());
            if let Some(port) = port {
                return port;
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
