//! What is measured: where the server is, how it is reached, who may use it.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use rustls_platform_verifier::Verifier;

use crate::cli::{self, Common, Transport};
use crate::loopback;
use crate::server::OwnServer;
use crate::tokens::{self, Mint, User};
use crate::wire::Wire;

/// A server, and who uses it.
pub(crate) struct Target {
    pub(crate) url: String,
    host: String,
    addresses: Vec<SocketAddr>,
    tls: Option<Tls>,
    pub(crate) transport: Transport,
    pub(crate) users: Vec<User>,
    pub(crate) publish_token: String,
    /// The processes that are measured.
    pub(crate) processes: Vec<i32>,
    /// Whether others than those of the run may be in its channels.
    pub(crate) is_shared: bool,
    /// Ends with this.
    _own: Option<OwnServer>,
}

struct Tls {
    configuration: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Target {
    /// Finds or starts the server, and makes the tokens of its users. `connections` are all that will be open.
    pub(crate) fn new(common: &Common, connections: u32) -> Result<Self> {
        let options = &common.server;
        let own = match &options.server {
            None => Some(OwnServer::start(options, connections)?),
            Some(_) => None,
        };
        let url =
            own.as_ref().map_or_else(|| options.server.clone().unwrap_or_default(), |own| own.url.clone());
        let url = url.trim_end_matches('/').to_owned();
        let (host, tls, addresses) = reach(&url, options)?;
        let count = common.users.unwrap_or(connections).min(connections);
        let secret = own.as_ref().map(|own| own.secret.as_str()).or(options.secret.as_deref());
        let (users, publish_token) = users(options, secret, count)?;
        let mut processes = options.pid.clone();
        processes.extend(own.as_ref().map(OwnServer::pid));
        let (transport, is_shared) = (common.transport, options.tokens.is_some());
        Ok(Self {
            url,
            host,
            addresses,
            tls,
            transport,
            users,
            publish_token,
            processes,
            is_shared,
            _own: own,
        })
    }

    /// What requests name.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// A connection that is being made, the first, second … of the run. `narrow`: with a receive buffer as small as the system has it.
    pub(crate) fn connect(&self, number: usize, narrow: bool) -> std::io::Result<Wire> {
        let address = self.addresses[0];
        let socket = loopback::connect(address, number, narrow)?;
        match &self.tls {
            None => Ok(Wire::plain(socket)),
            Some(Tls { configuration, name }) => Wire::tls(socket, configuration.clone(), name.clone()),
        }
    }
}

fn users(options: &cli::Server, secret: Option<&str>, count: u32) -> Result<(Vec<User>, String)> {
    if let (Some(file), Some(token)) = (&options.tokens, &options.publish_token) {
        return Ok((tokens::read(file, count)?, token.clone()));
    }
    let Some(secret) = secret else {
        bail!(
            "give the server's secret (--secret or TIDINGS_SECRET), or tokens (--tokens and --publish-token)"
        )
    };
    let mint = Mint { secret, tenant: &options.tenant, claims: &options.claims };
    let publisher = options.publish_token.clone().map_or_else(|| mint.publisher(), Ok)?;
    Ok((mint.users(count)?, publisher))
}

/// What is in an address: the host as requests name it, TLS, and where that is.
fn reach(url: &str, options: &cli::Server) -> Result<(String, Option<Tls>, Vec<SocketAddr>)> {
    let expected = || format!("expected an address such as http://127.0.0.1:7400, not {url:?}");
    let uri: Uri = url.parse().ok().with_context(expected)?;
    let authority = uri.authority().with_context(expected)?;
    let is_tls = match uri.scheme_str() {
        Some("http" | "ws") => false,
        Some("https" | "wss") => true,
        _ => bail!(expected()),
    };
    ensure!(uri.path() == "/" && uri.query().is_none(), "{}, without a path", expected());
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let name = authority.host().trim_matches(['[', ']']);
    let addresses: Vec<SocketAddr> = (name, port)
        .to_socket_addrs()
        .with_context(|| format!("{name} is not known to be anywhere"))?
        .collect();
    ensure!(!addresses.is_empty(), "{name} is nowhere");
    let tls = is_tls.then(|| tls(name, options)).transpose()?;
    Ok((authority.as_str().to_owned(), tls, addresses))
}

fn tls(name: &str, options: &cli::Server) -> Result<Tls> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut trusted = Vec::new();
    if let Some(file) = &options.ca {
        let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
        trusted = read().with_context(|| format!("{} has no certificates", file.display()))?;
    }
    let verifier = Verifier::new_with_extra_roots(trusted, provider.clone())?;
    let configuration = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous() // what rustls calls any verifier of one's own; this is the system's
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Tls { configuration: Arc::new(configuration), name: ServerName::try_from(name.to_owned())? })
}
