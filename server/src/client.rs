//! The client half of the command line: a server's HTTP API, with a token of its own making where it runs beside.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Certificate, Method, RequestBuilder, Response};
use serde_json::Value;
use tidings_config::Settings;
use tidings_http::token::{Grant, mint};

use crate::cli::Server;
use crate::secret;

/// How long a token lasts that is made for one command.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);
/// How long to wait for a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

/// A server's HTTP API.
pub(crate) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Client {
    /// A client of the server that the flags name, or of the one on this machine. `grant` is what it needs to be.
    pub(crate) fn new(settings: &Settings, server: &Server, mut grant: Grant) -> anyhow::Result<Self> {
        let scheme = if settings.tls.files().is_some() { "https" } else { "http" };
        let url = server.url.clone().unwrap_or_else(|| format!("{scheme}://{}", settings.listen));
        let token = match &server.token {
            Some(token) => token.clone(),
            None => {
                grant.tenant.clone_from(&server.tenant);
                mint(&settings.token, &secret::load(settings)?, &grant, TOKEN_LIFETIME)?
            }
        };
        let http = reqwest::Client::builder().connect_timeout(CONNECT_PATIENCE);
        let http = match settings.tls.files() {
            // Without TLS, nobody has to be trusted, and the system may have no list of whom to trust.
            _ if !url.starts_with("https:") => http.tls_certs_only([]),
            // What this machine's own server shows is trusted, whoever has signed it.
            Some((certificate, _)) => http.tls_certs_merge(certificates(certificate)?),
            None => http,
        };
        let http = http.build()?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token })
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.request(Method::POST, path).json(body)
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.request(Method::DELETE, path)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.url)).bearer_auth(&self.token)
    }

    /// Sends a request. A problem that the server answers with is an error.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await;
        let response = response
            .with_context(|| format!("no server answers at {}; `tidings serve` runs one", self.url))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let problem: Value = response.json().await.unwrap_or_default();
        match (problem["title"].as_str(), problem["detail"].as_str()) {
            (Some(title), Some(detail)) => bail!("{title}: {detail}"),
            _ => Err(anyhow!("the server answered {status}")),
        }
    }
}

fn certificates(path: &Path) -> anyhow::Result<Vec<Certificate>> {
    let pem = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(Certificate::from_pem_bundle(&pem)?)
}
