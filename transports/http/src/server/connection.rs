//! One connection: the conditions under which it is served, from its first byte to its last.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tidings_config::{LimitSettings, Settings};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_io_timeout::TimeoutWriter;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::current::Current;
use super::doors::{Place, Refusal};
use super::held::Held;
use crate::limits::{REFUSAL_PAUSE, seconds};
use crate::tls::HTTP2;

/// Bytes that wait in a socket before the system has sent them. By default they are up to 4 MiB, and only when a third of
/// that has gone does the system say that a byte was taken: a slow client would be given up for one that has stopped.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 16 << 10;
/// Headers that hyper takes by itself, and finds without asking for memory.
const HEADERS: usize = 100;
/// How long it may take to tell somebody that they cannot come in.
const REFUSAL_PATIENCE: Duration = Duration::from_secs(5);

/// A socket that fails once nothing can be written to it for so long: whoever reads slowly is served slowly, whoever
/// does not read at all is given up.
type Socket = Pin<Box<TimeoutWriter<TcpStream>>>;

/// The conditions under which connections are served.
pub(super) struct Conditions {
    pub(super) settings: watch::Receiver<Arc<Settings>>,
    pub(super) stall_patience: Duration,
    pub(super) tls: Option<TlsAcceptor>,
    /// Where what a connection spawns is waited for.
    pub(super) connections: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Conditions {
    /// Serves a connection until it ends. Its place is free when its socket is closed.
    pub(super) async fn serve(self: Arc<Self>, stream: TcpStream, place: Place, routes: Current) {
        let socket = Held::new(self.stalling(stream), place);
        self.serve_socket(socket, routes, true).await;
    }

    /// Tells somebody why they cannot come in: after a pause, so that trying again at once gains nothing.
    pub(super) async fn refuse(self: Arc<Self>, stream: TcpStream, refusal: Refusal) {
        let Refusal { problem, permit: _permit } = refusal;
        let answer = move || async move {
            tokio::time::sleep(REFUSAL_PAUSE).await;
            problem
        };
        let routes = Current::always(Router::new().fallback(answer));
        let told = self.serve_socket(self.stalling(stream), routes, false);
        let _ = tokio::time::timeout(REFUSAL_PATIENCE, told).await; // who does not listen need not know
    }

    /// The limits of a connection that begins now.
    pub(super) fn limits(&self) -> LimitSettings {
        self.settings.borrow().limits.clone()
    }

    async fn serve_socket<S>(&self, socket: S, routes: Current, keep_alive: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        match &self.tls {
            None => self.http1(socket, routes, keep_alive).await,
            // In a box: without TLS, a connection need not have room for it.
            Some(tls) => Box::pin(self.http_over_tls(tls, socket, routes, keep_alive)).await,
        }
    }

    async fn http_over_tls<S>(&self, tls: &TlsAcceptor, socket: S, routes: Current, keep_alive: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let handshake = tokio::time::timeout(seconds(self.limits().handshake_seconds), tls.accept(socket));
        match handshake.await {
            Ok(Ok(socket)) if socket.get_ref().1.alpn_protocol() == Some(HTTP2) => {
                self.http2(socket, routes).await;
            }
            Ok(Ok(socket)) => self.http1(socket, routes, keep_alive).await,
            Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
            Err(_) => tracing::debug!("a TLS handshake took too long"),
        }
    }

    /// HTTP/1.1, and what it is upgraded to. A connection without a request is one whose headers do not come.
    async fn http1<S>(&self, socket: S, routes: Current, keep_alive: bool)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let limits = self.limits();
        let header_bytes = limits.header_bytes.get() as usize;
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .keep_alive(keep_alive)
            .header_read_timeout(seconds(limits.header_seconds))
            .max_header_size(header_bytes)
            .max_buf_size(header_bytes); // nothing else bounds headers that have not come to their end
        let headers = limits.headers.get() as usize;
        if headers != HEADERS {
            http.max_headers(headers);
        }
        let connection = http.serve_connection(TokioIo::new(socket), TowerToHyperService::new(routes));
        let connection = connection.with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => served,
            () = self.shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "a connection ended with an error");
        }
    }

    fn stalling(&self, stream: TcpStream) -> Socket {
        // A socket that refuses either is slower, not wrong.
        let _ = stream.set_nodelay(true);
        #[cfg(target_os = "linux")]
        let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
        let mut stream = TimeoutWriter::new(stream);
        stream.set_timeout(Some(self.stall_patience));
        Box::pin(stream)
    }
}
