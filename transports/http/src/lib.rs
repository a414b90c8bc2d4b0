//! HTTP for Tidings: publishing, inboxes, channels, presence, the log and health, as plain REST under `/v1`.
//!
//! Other transports that live on HTTP give a router and are mounted here ([`Routes`]). This crate verifies tokens and
//! turns requests into the engine's commands and queries; it decides nothing about what somebody may do.

mod admin;
pub mod api_key;
mod body;
mod change;
mod channels;
mod click;
mod counts;
mod deliveries;
mod health;
mod inbox;
pub mod limits;
mod log;
mod opening;
pub mod origin;
mod params;
mod presence;
pub mod problem;
mod publish;
pub mod rate;
mod seats;
mod server;
mod stats;
mod ticket;
pub mod tls;
pub mod token;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use limits::Limits;
use origin::Origins;
use serde::Serialize;
use tidings_config::{CorsSettings, LimitSettings};
use tidings_engine::transport::{Transport, TransportError};
use tidings_engine::{Engine, Identity, Position};
use tls::Tls;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use opening::Wishes;
use problem::Problem;
pub use seats::Seat;
use token::{Tokens, Verified};

/// The position an answer is true at, on every answer that has one.
pub const POSITION: HeaderName = HeaderName::from_static("tidings-position");
/// The position a request wants to see at least.
pub const MIN_POSITION: HeaderName = HeaderName::from_static("tidings-min-position");

/// What handlers work with.
#[derive(Clone)]
pub struct Context {
    /// The engine.
    pub engine: Engine,
    /// Who may come in.
    pub tokens: Arc<Tokens>,
    /// How much they may do.
    pub limits: Arc<Limits>,
    /// Which web pages may use it.
    pub origins: Arc<Origins>,
    /// Where the paths of actions lead, for those who follow a link: of the application.
    pub action_base: Option<Arc<str>>,
    /// Cancelled when connections have to end.
    pub shutdown: CancellationToken,
    /// Connections that are waited for at the end: one that outlives its request is spawned or tracked here.
    pub connections: TaskTracker,
}

impl Context {
    /// Who a token says its holder is, if they have not sent too many requests. The request counts.
    ///
    /// # Errors
    /// [`Problem::unauthorized`], [`Problem::too_many`].
    pub async fn admit(&self, token: &str) -> Result<Verified, Problem> {
        let shown = self.tokens.verify(token)?;
        self.limits.request(&shown.identity).await?;
        Ok(shown)
    }
}

/// A transport that lives on HTTP: it is mounted beside the REST API.
pub trait Routes: Send + 'static {
    /// Its routes.
    fn router(&self, context: Context) -> Router;
}

/// The HTTP transport, on a socket that listens already.
pub struct Http {
    listener: TcpListener,
    tokens: Arc<Tokens>,
    action_base: Option<Arc<str>>,
    mounted: Vec<Box<dyn Routes>>,
    stall_patience: Duration,
    limits: LimitSettings,
    cors: CorsSettings,
    tls: Option<Tls>,
}

/// How long a client may not take a single byte of what is sent, when nothing else is said.
const STALL_PATIENCE: Duration = Duration::from_secs(30);

impl Http {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn bind(address: SocketAddr, tokens: impl Into<Arc<Tokens>>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let (tokens, mounted) = (tokens.into(), Vec::new());
        Ok(Self {
            listener,
            tokens,
            action_base: None,
            mounted,
            stall_patience: STALL_PATIENCE,
            limits: LimitSettings::default(),
            cors: CorsSettings::default(),
            tls: None,
        })
    }

    /// Does TLS on every connection.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Lets web pages of these origins use it, beside those of its own host.
    #[must_use]
    pub fn with_origins(mut self, cors: &CorsSettings) -> Self {
        self.cors = cors.clone();
        self
    }

    /// Lets so much come in, and for so long.
    #[must_use]
    pub fn with_limits(mut self, limits: &LimitSettings) -> Self {
        self.limits = limits.clone();
        self
    }

    /// Gives up a connection of whatever kind that takes no byte of what is sent for so long.
    #[must_use]
    pub fn giving_up_after(mut self, patience: Duration) -> Self {
        self.stall_patience = patience;
        self
    }

    /// Actions that are a path lead to the application here, for those who follow a link; without it, to this host.
    #[must_use]
    pub fn with_action_base(mut self, base: Option<&str>) -> Self {
        self.action_base = base.map(|base| base.trim_end_matches('/').into());
        self
    }

    /// Mounts another transport.
    #[must_use]
    pub fn with(mut self, routes: impl Routes) -> Self {
        self.mounted.push(Box::new(routes));
        self
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Transport for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn run(
        self: Box<Self>,
        engine: Engine,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, Result<(), TransportError>> {
        let Self { listener, tokens, action_base, mounted, stall_patience, limits, cors, tls } = *self;
        let connections = TaskTracker::new();
        let origins = Arc::new(Origins::new(&cors, tls.is_some()));
        let context = Context {
            engine,
            tokens,
            limits: Limits::new(&limits),
            origins: origins.clone(),
            action_base,
            shutdown: shutdown.clone(),
            connections: connections.clone(),
        };
        let mounted = mounted.iter().map(|routes| routes.router(context.clone()));
        let mut router = mounted.fold(router(context.clone()), Router::merge);
        if let Some(layer) = origins.layer() {
            router = router.layer(layer);
        }
        let following = context.tokens.clone().follow_keys(shutdown.clone());
        async move {
            let server =
                server::Server { listener, router, connections, shutdown, stall_patience, limits, tls };
            tokio::join!(server.serve(), following);
            Ok(())
        }
        .boxed()
    }
}

fn router(context: Context) -> Router {
    Router::new()
        .merge(admin::router())
        .merge(publish::router())
        .merge(change::router())
        .merge(inbox::router())
        .merge(counts::router())
        .merge(deliveries::router())
        .merge(channels::router())
        .merge(click::router())
        .merge(presence::router())
        .merge(stats::router())
        .merge(log::router())
        .merge(ticket::router())
        .merge(health::router())
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(context)
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::no_such_path(uri.path())
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(&method, uri.path())
}

/// Who sent a request, from its `Authorization: Bearer` header.
pub struct Caller(pub Identity);

impl FromRequestParts<Context> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        Shown::from_request_parts(parts, context).await.map(|Shown(verified)| Self(verified.identity))
    }
}

/// The same, for an answer that goes on for as long as it holds what they have shown.
pub struct Shown(pub Verified);

impl FromRequestParts<Context> for Shown {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, context: &Context) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(Problem::unauthorized)?;
        context.admit(token).await.map(Self)
    }
}

/// The token of an `Authorization: Bearer` header.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The position that a request wants to see at least: a header, or a parameter for those who cannot set headers.
struct AtLeast(Position);

impl FromRequestParts<Context> for AtLeast {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Context) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(&MIN_POSITION) else { return Ok(Self(Position(0))) };
        let position = value.to_str().ok().and_then(|text| text.parse().ok());
        let expected = || Problem::field(MIN_POSITION.as_str(), "expected a position: a whole number");
        position.map(|position| Self(Position(position))).ok_or_else(expected)
    }
}

/// A moment within so many milliseconds, another one for everybody who is told to come back, so that they do not come
/// all at once. The clock's nanoseconds are random enough for that.
#[must_use]
pub fn some_moment(within_ms: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) / 1_000 % within_ms.max(1)
}

/// An answer that names its position.
fn answer(status: axum::http::StatusCode, position: Position, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(POSITION, HeaderValue::from(position.0));
    response
}
