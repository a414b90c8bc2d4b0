//! The real server, as the commands that measure it see it: started, killed, weighed.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use reqwest::Certificate;
use serde_json::Value;
use tidings_config::TokenSettings;
use tidings_http::token::{Grant, mint};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const SECRET: &str = "a secret for benchmarks, long enough for HS256";

/// A server that runs; it ends when this is dropped.
pub struct Server {
    pub address: String,
    scheme: String,
    /// What it shows, if it does TLS.
    certificate: Option<Certificate>,
    #[allow(dead_code)] // not by every command
    http: reqwest::Client,
    process: Child,
}

/// The binary, which lies beside the one that measures it.
fn binary() -> Result<PathBuf> {
    let binary = std::env::current_exe()?.with_file_name("tidings");
    ensure!(binary.exists(), "{} is missing: run `cargo build --release` first", binary.display());
    Ok(binary)
}

#[allow(dead_code)] // not all of it is needed by every command
impl Server {
    /// Starts it on a data directory; it serves when this returns.
    pub async fn start(data: &Path) -> Result<Self> {
        Self::with_configuration(data, "", None, None).await
    }

    /// The same with limits of one's own.
    pub async fn with_limits(data: &Path, limits: &str) -> Result<Self> {
        Self::with_configuration(data, &format!("[limits]\n{limits}"), None, None).await
    }

    /// The same on one core, as `taskset` names it.
    pub async fn with_limits_on_core(data: &Path, limits: &str, core: &str) -> Result<Self> {
        Self::with_configuration(data, &format!("[limits]\n{limits}"), None, Some(core)).await
    }

    /// The same with other settings than limits.
    pub async fn with_settings_on_core(data: &Path, toml: &str, core: &str) -> Result<Self> {
        Self::with_configuration(data, toml, None, Some(core)).await
    }

    /// The same over TLS, with a certificate of its own.
    pub async fn with_tls(data: &Path, limits: &str) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()])?;
        let (certificate, key) = (data.join("certificate.pem"), data.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem())?;
        std::fs::write(&key, made.signing_key.serialize_pem())?;
        let tls = format!("[tls]\ncertificate = '{}'\nkey = '{}'\n", certificate.display(), key.display());
        let shown = Certificate::from_der(made.cert.der())?;
        Self::with_configuration(data, &format!("{tls}[limits]\n{limits}"), Some(shown), None).await
    }

    async fn with_configuration(
        data: &Path,
        toml: &str,
        certificate: Option<Certificate>,
        core: Option<&str>,
    ) -> Result<Self> {
        std::fs::create_dir_all(data)?;
        let configuration = data.join("tidings.toml");
        std::fs::write(&configuration, toml)?;
        let mut command = match core {
            Some(core) => {
                let mut pinned = Command::new("taskset");
                pinned.args(["-c", core]).arg(binary()?);
                pinned
            }
            None => Command::new(binary()?),
        };
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
        command.arg("--config").arg(configuration);
        command.env("TIDINGS_SECRET", SECRET).env("LOG_LEVEL", "warn");
        let mut process = command.stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let mut lines = BufReader::new(process.stdout.take().context("it has an output")?).lines();
        while let Some(line) = lines.next_line().await? {
            if let Some((before, rest)) = line.split_once("://") {
                let scheme = before.split_whitespace().last().unwrap_or_default().to_owned();
                let address = rest.split('/').next().unwrap_or_default().to_owned();
                let http = client(certificate.as_ref())?;
                return Ok(Self { address, scheme, certificate, http, process });
            }
        }
        bail!("the server ended before it served")
    }

    /// Ends it as SIGKILL does.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// A client with connections of its own.
    pub fn client(&self) -> Result<reqwest::Client> {
        client(self.certificate.as_ref())
    }

    /// Publishes notifications in one batch.
    pub async fn publish(&self, notifications: &[Value]) -> Result<()> {
        let token = token(Grant { scopes: vec!["publish".to_owned()], ..Grant::default() })?;
        let answer = self
            .http
            .post(self.url("/v1/notifications/batch"))
            .bearer_auth(token)
            .json(notifications)
            .send()
            .await?;
        ensure!(answer.status().is_success(), "a publish was answered with {}", answer.status());
        Ok(())
    }

    /// What it has computed.
    pub fn cpu(&self) -> Result<Duration> {
        /// A hundredth of a second, whatever the kernel's own clock does (`USER_HZ`).
        const TICK: Duration = Duration::from_millis(10);
        let pid = self.process.id().context("it runs")?;
        let line = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (_, fields) = line.rsplit_once(')').context("a name")?; // the third field and on
        let ticks = |number: usize| fields.split_whitespace().nth(number - 3).map(str::parse::<u32>);
        Ok(TICK * (ticks(14).context("utime")?? + ticks(15).context("stime")??))
    }

    /// Bytes of memory that it has.
    pub fn memory(&self) -> Result<u64> {
        self.size("VmRSS:")
    }

    /// Bytes of memory that it has had at most.
    pub fn peak_memory(&self) -> Result<u64> {
        self.size("VmHWM:")
    }

    fn size(&self, name: &str) -> Result<u64> {
        let pid = self.process.id().context("it runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("a size")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? << 10)
    }
}

/// A client that trusts one certificate at most.
fn client(trusted: Option<&Certificate>) -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().tls_certs_only(trusted.cloned()).build()?)
}

/// A token that says something.
pub fn token(grant: Grant) -> Result<String> {
    Ok(mint(&TokenSettings::default(), SECRET.as_bytes(), &grant, Duration::from_secs(3600))?)
}

/// Keeps this process on one core, as `taskset` names it; threads that begin later are where this one is.
#[allow(dead_code)] // not by every command
pub fn stay_on_core(core: &str) -> Result<()> {
    let id = std::process::id().to_string();
    let pinned = std::process::Command::new("taskset").args(["-cp", core, &id]).output();
    ensure!(pinned.context("this takes taskset, of util-linux")?.status.success(), "cannot be pinned");
    Ok(())
}
