//! HTTP for Tidings: publishing, inboxes, channels, presence, the log and health, as plain REST under `/v1`.
//!
//! Other transports that live on HTTP give their routes and are mounted here ([`Routes`]). This crate verifies tokens and
//! turns requests into the engine's commands and queries; it decides nothing about what somebody may do.

mod admin;
mod api;
pub mod api_key;
pub mod asyncapi;
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
mod metrics;
pub mod openapi;
mod opening;
pub mod origin;
mod params;
mod presence;
pub mod problem;
mod publish;
pub mod rate;
mod request;
mod seats;
mod server;
mod starting;
mod stats;
mod ticket;
pub mod tls;
pub mod token;
mod unread;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use limits::Limits;
use openapi::Document;
use origin::Origins;
use serde::Serialize;
use server::{Current, Server};
use tidings_engine::transport::{Transport, TransportError};
use tidings_engine::{Engine, Identity, Position};
use tls::Tls;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

pub use api::Api;
pub use metrics::Requests;
pub use opening::Wishes;
use problem::Problem;
pub use request::REQUEST_ID;
pub use seats::Seat;
pub use starting::Starting;
use tidings_config::Settings;
use token::{Tokens, Verified};
use unread::Discards;

/// The position an answer is true at, on every answer that has one.
pub const POSITION: HeaderName = HeaderName::from_static("tidings-position");
/// The position a request wants to see at least.
pub const MIN_POSITION: HeaderName = HeaderName::from_static("tidings-min-position");

/// What handlers work with. A clone is another handle to the same: every request has some, and every connection one.
#[derive(Clone)]
pub struct Context(Arc<Services>);

impl Deref for Context {
    type Target = Services;

    fn deref(&self) -> &Services {
        &self.0
    }
}

/// What a [`Context`] is a handle to.
pub struct Services {
    /// The engine.
    pub engine: Engine,
    /// Who may come in.
    pub tokens: Arc<Tokens>,
    /// How much they may do.
    pub limits: Arc<Limits>,
    /// Which web pages may use it.
    pub origins: Arc<Origins>,
    /// The settings as they are now: a reload changes some.
    pub settings: watch::Receiver<Arc<Settings>>,
    /// What is said of every route.
    pub document: Arc<Document>,
    /// What is said of connections that stay.
    pub asyncapi: Arc<asyncapi::Document>,
    /// What is counted of requests.
    pub requests: Requests,
    /// Cancelled when the server is about to stop: nobody new is to be sent here.
    pub leaving: CancellationToken,
    /// Cancelled when connections have to end.
    pub shutdown: CancellationToken,
    /// Connections that are waited for at the end: one that outlives its request is spawned or tracked here.
    pub connections: TaskTracker,
    /// What becomes of bodies that nobody has read.
    discards: Discards,
}

impl Context {
    /// Who a token says its holder is, if they have not sent too many requests. The request counts.
    ///
    /// # Errors
    /// [`Problem::unauthorized`], [`Problem::too_many`].
    pub async fn admit(&self, token: &str) -> Result<Verified, Problem> {
        let shown = self.tokens.verify_again(token)?;
        self.limits.request(&shown.identity).await?;
        Ok(shown)
    }

    /// Where the paths of actions lead, for those who follow a link: to the application, or else to this host.
    pub(crate) fn action_base(&self) -> Option<Arc<str>> {
        let settings = self.settings.borrow();
        settings.delivery.action_base.as_deref().map(|base| base.trim_end_matches('/').into())
    }

    /// In how many milliseconds somebody is to come back who is sent away because the server stops: each at another moment.
    #[must_use]
    pub fn return_after_ms(&self) -> u64 {
        some_moment(u64::from(self.settings.borrow().shutdown.return_within_seconds) * 1_000)
    }
}

/// A transport that lives on HTTP: it is mounted beside the REST API.
pub trait Routes: Send + 'static {
    /// Its routes, with what is said of each.
    fn api(&self) -> Api;

    /// What goes over its connections, if they stay.
    fn connection(&self, _schemas: &mut asyncapi::Schemas) -> Option<asyncapi::Connection> {
        None
    }
}

impl Routes for Box<dyn Routes> {
    fn api(&self) -> Api {
        (**self).api()
    }

    fn connection(&self, schemas: &mut asyncapi::Schemas) -> Option<asyncapi::Connection> {
        (**self).connection(schemas)
    }
}

/// The HTTP transport, on a socket that listens already.
pub struct Http {
    /// Until something is served on it.
    listener: Option<TcpListener>,
    address: SocketAddr,
    /// An address where metrics are for everybody.
    metrics_listener: Option<TcpListener>,
    tokens: Arc<Tokens>,
    settings: watch::Receiver<Arc<Settings>>,
    leaving: CancellationToken,
    mounted: Vec<Box<dyn Routes>>,
    stall_patience: Duration,
    tls: Option<Tls>,
    serving: Option<Serving>,
}

/// A server that runs, whatever it answers.
struct Serving {
    routes: watch::Sender<Router>,
    connections: TaskTracker,
    until: DropGuard,
    ended: JoinHandle<()>,
}

/// How long a client may not take a single byte of what is sent, when nothing else is said.
const STALL_PATIENCE: Duration = Duration::from_secs(30);

impl Http {
    /// Listens on an address; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn bind(address: SocketAddr, tokens: impl Into<Arc<Tokens>>) -> std::io::Result<Self> {
        let listener = server::listen(address)?;
        let address = listener.local_addr()?;
        let (tokens, mounted) = (tokens.into(), Vec::new());
        let (settings, leaving) = (watch::channel(Arc::default()).1, CancellationToken::new());
        Ok(Self {
            listener: Some(listener),
            address,
            tokens,
            metrics_listener: None,
            settings,
            leaving,
            mounted,
            stall_patience: STALL_PATIENCE,
            tls: None,
            serving: None,
        })
    }

    /// Does TLS on every connection.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<Tls>) -> Self {
        self.tls = tls;
        self
    }

    /// Gives up a connection of whatever kind that takes no byte of what is sent for so long.
    #[must_use]
    pub fn giving_up_after(mut self, patience: Duration) -> Self {
        self.stall_patience = patience;
        self
    }

    /// Goes by these settings, as they change: how much may come in and for how long, and which web pages may use it.
    #[must_use]
    pub fn following(mut self, settings: watch::Receiver<Arc<Settings>>) -> Self {
        self.settings = settings;
        self
    }

    /// Answers from now on, and until it runs with an engine, that the engine starts and how far that has come. To be called when all
    /// else is said.
    #[must_use]
    pub fn answering_while_it_starts(mut self, starting: Starting) -> Self {
        self.serving = self.serve(starting);
        self
    }

    /// Serves from now on; `None` if that is done already.
    fn serve(&mut self, starting: Starting) -> Option<Serving> {
        let (until, connections) = (CancellationToken::new(), TaskTracker::new());
        let discards = Discards::new(connections.clone(), until.clone());
        let patience = limits::seconds(self.settings.borrow().limits.body_seconds);
        let (routes, current) = Current::first(starting::router(starting, discards, patience));
        let server = Server {
            listener: self.listener.take()?,
            routes: current,
            connections: connections.clone(),
            shutdown: until.clone(),
            stall_patience: self.stall_patience,
            settings: self.settings.clone(),
            tls: self.tls.as_ref().map(Tls::acceptor),
        };
        let ended = tokio::spawn(server.serve());
        Some(Serving { routes, connections, until: until.drop_guard(), ended })
    }

    /// Says that it is not ready from when this is cancelled on, though it serves until the shutdown.
    #[must_use]
    pub fn leaving(mut self, leaving: CancellationToken) -> Self {
        self.leaving = leaving;
        self
    }

    /// Shows metrics to everybody who reaches another address, too.
    ///
    /// # Errors
    /// When the address cannot be used.
    pub async fn with_metrics_on(mut self, address: SocketAddr) -> std::io::Result<Self> {
        self.metrics_listener = Some(TcpListener::bind(address).await?);
        Ok(self)
    }

    /// Where metrics are for everybody.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_listener.as_ref()?.local_addr().ok()
    }

    /// Mounts another transport.
    #[must_use]
    pub fn with(mut self, routes: impl Routes) -> Self {
        self.mounted.push(Box::new(routes));
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Transport for Http {
    fn name(&self) -> &'static str {
        "http"
    }

    fn run(
        mut self: Box<Self>,
        engine: Engine,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, Result<(), TransportError>> {
        let serving = match self.serving.take() {
            Some(serving) => Some(serving),
            None => self.serve(watch::channel(None).1),
        };
        let Some(Serving { routes, connections, until, mut ended }) = serving else {
            return std::future::ready(Ok(())).boxed(); // there is a listener as long as nothing is served on it
        };
        let Self { metrics_listener, tokens, settings, leaving, mounted, stall_patience, tls, .. } = *self;
        let origins = Arc::new(Origins::new(settings.clone(), tls.is_some()));
        let api = all(&mounted);
        let context = Context(Arc::new(Services {
            engine,
            document: Arc::new(Document::of_api(&api)),
            asyncapi: Arc::new(asyncapi::Document::of(&mounted)),
            tokens,
            limits: Limits::new(settings.clone()),
            origins,
            settings: settings.clone(),
            requests: Requests::default(),
            leaving,
            shutdown: shutdown.clone(),
            connections: connections.clone(),
            discards: Discards::new(connections.clone(), shutdown.clone()),
        }));
        let observed = middleware::from_fn_with_state(context.clone(), request::observed);
        drop(routes.send_replace(router(api, &context).layer(observed)));
        let following = context.tokens.clone().follow_keys(shutdown.clone());
        async move {
            if let Some(listener) = metrics_listener {
                let server = Server {
                    listener,
                    routes: Current::always(metrics::open_router(context)),
                    connections: TaskTracker::new(),
                    shutdown: shutdown.clone(),
                    stall_patience,
                    settings,
                    tls: None,
                };
                connections.spawn(server.serve());
            }
            if let Some(tls) = tls {
                connections.spawn(tls.follow(shutdown.clone()));
            }
            connections.spawn(following);
            // Before it is told to, it ends only by a panic.
            tokio::select! {
                ended = &mut ended => return ended.map_err(TransportError::from),
                () = shutdown.cancelled() => {}
            }
            drop(until);
            ended.await.map_err(TransportError::from)
        }
        .boxed()
    }
}

/// The routes of this crate and of those that are mounted on it.
fn all(mounted: &[Box<dyn Routes>]) -> Api {
    let own = [
        publish::api(),
        change::api(),
        inbox::api(),
        counts::api(),
        click::api(),
        channels::api(),
        presence::api(),
        ticket::api(),
        deliveries::api(),
        stats::api(),
        log::api(),
        admin::api(),
        metrics::api(),
        health::api(),
        openapi::api(),
        asyncapi::api(),
    ];
    let mounted = mounted.iter().map(|routes| routes.api());
    own.into_iter().chain(mounted).fold(Api::new(), Api::and)
}

fn router(api: Api, context: &Context) -> Router {
    api.router(context)
        .fallback(no_such_path)
        .method_not_allowed_fallback(no_such_method)
        .with_state(context.clone())
}

async fn no_such_path(uri: Uri) -> Problem {
    Problem::no_such_path(uri.path())
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    Problem::method_not_allowed(&method, uri.path())
}

/// Who sent a request, from its `Authorization: Bearer` header.
pub struct Caller(pub Arc<Identity>);

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
/// all at once.
#[must_use]
pub fn some_moment(within_ms: u64) -> u64 {
    RandomState::new().hash_one(()) % within_ms.max(1)
}

/// An answer that names its position.
fn answer(status: axum::http::StatusCode, position: Position, body: &impl Serialize) -> Response {
    let mut response = (status, axum::Json(body)).into_response();
    response.headers_mut().insert(POSITION, HeaderValue::from(position.0));
    response
}
