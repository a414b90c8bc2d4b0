//! The accept loop: our own, so that every connection has its time limits and none is left behind at the end.

use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take for its headers, and how long a kept-alive connection may be idle.
const HEADER_PATIENCE: Duration = Duration::from_secs(15);
/// Bytes that wait in a socket before the system has sent them. By default they are up to 4 MiB, and only when a third of
/// that has gone does the system say that a byte was taken: a slow client would be given up for one that has stopped.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 16 << 10;
/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end after the shutdown began.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Serves until the shutdown, and then until the last connection has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    connections: TaskTracker,
    shutdown: CancellationToken,
    stall_patience: Duration,
) {
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let stream = stalling(stream, stall_patience);
                connections.spawn(serve_connection(stream, router.clone(), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(END_PATIENCE, connections.wait()).await.is_err() {
        tracing::warn!(connections = connections.len(), "some connections did not end in time");
    }
}

/// A connection that fails once nothing can be written to it for so long: whoever reads slowly is served slowly, whoever
/// does not read at all is given up.
fn stalling(stream: TcpStream, patience: Duration) -> TimeoutStream<TcpStream> {
    // A socket that refuses either is slower, not wrong.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(patience));
    stream
}

async fn serve_connection(stream: TimeoutStream<TcpStream>, router: Router, shutdown: CancellationToken) {
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_PATIENCE)
        .serve_connection(TokioIo::new(Box::pin(stream)), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended with an error");
    }
}
