//! The real server, as the commands that measure it see it: started, killed, weighed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tidings_config::TokenSettings;
use tidings_http::token::{Grant, mint};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const SECRET: &str = "a secret for benchmarks, long enough for HS256";

/// A server that runs; it ends when this is dropped.
pub struct Server {
    pub address: String,
    http: reqwest::Client,
    process: Child,
}

/// The binary, which lies beside the one that measures it.
fn binary() -> Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("tidings");
    ensure!(binary.exists(), "{} is missing: run `cargo build --release` first", binary.display());
    Ok(binary)
}

impl Server {
    /// Starts it on a data directory; it serves when this returns.
    pub async fn start(data: &Path) -> Result<Self> {
        let mut command = Command::new(binary()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        command.env("TIDINGS_SECRET", SECRET).env("LOG_LEVEL", "warn");
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("it has an output")?).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some((_, rest)) = line.split_once("http://") {
                let address = rest.split('/').next().unwrap_or_default().to_owned();
                return Ok(Self { address, http: reqwest::Client::new(), process });
            }
        }
        bail!("the server ended before it served")
    }

    /// Ends it as SIGKILL does.
    #[allow(dead_code)] // not by every command
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    /// Publishes notifications in one batch.
    pub async fn publish(&self, notifications: &[Value]) -> Result<()> {
        let token = token(Grant { scopes: vec!["publish".to_owned()], ..Grant::default() })?;
        let url = format!("http://{}/v1/notifications/batch", self.address);
        let answer = self.http.post(url).bearer_auth(token).json(notifications).send().await?;
        ensure!(answer.status().is_success(), "a publish was answered with {}", answer.status());
        Ok(())
    }

    /// Bytes of memory that it has.
    #[allow(dead_code)] // not by every command
    pub fn memory(&self) -> Result<u64> {
        let pid = self.process.id().context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("a size")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }
}

/// A token that says something.
pub fn token(grant: Grant) -> Result<String> {
    Ok(mint(&TokenSettings::default(), SECRET.as_bytes(), &grant, Duration::from_secs(3600))?)
}

/// The middle one.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
