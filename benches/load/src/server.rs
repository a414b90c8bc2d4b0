//! A server of our own, on an empty data directory, with limits that are not in the way. It ends with its owner.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::cli::{self, Cores};
use crate::machine;

const SECRET: &str = "a secret of the load harness, long enough for HS256";
/// Connections beside those of the devices: publishers, and those that a storm has left and the server not yet seen.
const SPARE: u32 = 1_000;

/// A server that runs.
pub(crate) struct OwnServer {
    pub(crate) url: String,
    pub(crate) secret: String,
    process: Child,
    _directory: TempDir,
}

impl OwnServer {
    /// Starts it, on cores of its own if there are several; it serves when this returns.
    pub(crate) fn start(options: &cli::Server, connections: u32) -> Result<Self> {
        let (server, client) = cores(options);
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("tidings.toml");
        std::fs::write(&configuration, limits(connections * 2 + SPARE))?;
        let mut command = Command::new(binary(options)?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(directory.path().join("data"));
        command.arg("--config").arg(configuration);
        for (key, value) in &options.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.env("TIDINGS_SECRET", SECRET).env("LOG_LEVEL", "warn").stdout(Stdio::piped());
        // A process begins on the cores of the one that starts it.
        server.map_or(Ok(()), |cores| machine::pin(&cores))?;
        let process = command.spawn()?;
        let mut own = Self { url: String::new(), secret: SECRET.to_owned(), process, _directory: directory };
        client.map_or(Ok(()), |cores| machine::pin(&cores))?;
        own.url = own.address()?;
        Ok(own)
    }

    fn address(&mut self) -> Result<String> {
        let output = self.process.stdout.take().context("it has an output")?;
        for line in BufReader::new(output).lines() {
            let line = line?;
            if let Some((_, rest)) = line.split_once("http://") {
                let address = rest.split(['/', ' ']).next().unwrap_or_default();
                return Ok(format!("http://{address}"));
            }
        }
        bail!("the server that was started ended before it served")
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.process.id()).unwrap_or_default()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let _ = self.process.kill(); // it may have ended
        let _ = self.process.wait();
    }
}

fn binary(options: &cli::Server) -> Result<PathBuf> {
    let beside = || Ok::<_, anyhow::Error>(std::env::current_exe()?.with_file_name("tidings"));
    let binary = options.binary.clone().map_or_else(beside, Ok)?;
    ensure!(
        Path::exists(&binary),
        "{} is missing: run `cargo build --release`, name it with --binary, or name a server with --server",
        binary.display()
    );
    Ok(binary)
}

/// The cores of the server and those of this process: apart, where there are two.
fn cores(options: &cli::Server) -> (Option<Cores>, Option<Cores>) {
    let mut others = machine::cores();
    let last = if others.len() > 1 { others.pop() } else { None };
    let server = options.server_core.clone().or_else(|| last.map(|_| Cores(others)));
    let client = options.client_core.clone().or_else(|| last.map(|core| Cores(vec![core])));
    (server, client)
}

/// Limits that a load of one's own does not meet.
fn limits(connections: u32) -> String {
    let mut toml = format!(
        "[limits]\nconnections = {connections}\nconnections-per-address = {connections}\nconnections-per-user = {connections}\n"
    );
    for rate in ["requests", "service-requests", "publishes"] {
        let _ = writeln!(toml, "{rate} = {{ count = 1_000_000, seconds = 1 }}"); // a String takes it
    }
    toml
}
