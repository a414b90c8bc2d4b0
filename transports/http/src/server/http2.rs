//! HTTP/2: many requests on one connection, within its own bounds. A connection without any ends after the time that
//! HTTP/1.1 has for the next request's headers.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio_util::task::TaskTracker;

use super::connection::Conditions;
use super::current::Current;
use crate::limits::seconds;

/// Bytes of a body that may be on their way before they are read: of one request, and of a connection's together. What
/// is not read is kept in memory.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of an answer that wait for their turn.
const SEND_BYTES: usize = 64 << 10;
/// How long a connection may take to end once it was told to.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Spawns what a connection spawns where it is waited for at the end.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, future: F) {
        self.0.spawn(future);
    }
}

/// The number of requests that are open; a request is until the last byte of its answer was handed over.
#[derive(Clone)]
struct Open(watch::Sender<usize>);

/// A request that is open, until it is dropped.
struct InFlight(Open);

impl Open {
    fn begin(&self) -> InFlight {
        self.0.send_modify(|open| *open += 1);
        InFlight(self.clone())
    }

    /// Returns when none was open for so long.
    async fn none_for(&self, patience: Duration) {
        let mut open = self.0.subscribe();
        loop {
            let is_none = *open.borrow_and_update() == 0;
            let changed = open.changed();
            let waited =
                if is_none { tokio::time::timeout(patience, changed).await } else { Ok(changed.await) };
            if waited.is_err() {
                return;
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.send_modify(|open| *open -= 1);
    }
}

impl Conditions {
    pub(super) async fn http2<S>(&self, socket: S, routes: Current)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let open = Open(watch::Sender::new(0));
        let limits = self.limits();
        let (opened, headers_most) = (open.clone(), limits.headers.get() as usize);
        let service = TowerToHyperService::new(routes);
        let service = service_fn(move |request: Request<Incoming>| {
            let request_open = opened.begin();
            let has_too_many_headers = request.headers().len() > headers_most;
            let answer = (!has_too_many_headers).then(|| service.call(request));
            async move {
                let response = match answer {
                    Some(answer) => answer.await?,
                    None => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE.into_response(),
                };
                Ok::<Response, Infallible>(response.map(|body| held(body, request_open)))
            }
        });
        let heartbeat = seconds(limits.heartbeat_seconds);
        let connection = http2::Builder::new(Tracked(self.connections.clone()))
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.streams.get())
            .max_header_list_size(limits.header_bytes.get())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BYTES)
            .keep_alive_interval(heartbeat)
            .keep_alive_timeout(2 * heartbeat)
            .serve_connection(TokioIo::new(socket), service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            served = &mut connection => Ok(served),
            () = async {
                tokio::select! {
                    () = self.shutdown.cancelled() => {}
                    () = open.none_for(seconds(limits.header_seconds)) => {}
                }
            } => {
                connection.as_mut().graceful_shutdown();
                tokio::time::timeout(END_PATIENCE, connection).await
            }
        };
        match served {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "a connection ended with an error"),
            Err(_) => tracing::debug!("a connection did not end when it was told to"),
        }
    }
}

/// A body that holds something until it is gone.
fn held(body: Body, request: InFlight) -> Body {
    Body::new(body.map_frame(move |frame| {
        let _held = &request;
        frame
    }))
}
