//! The accept loop: our own, so that every connection has its limits of time, that there are never more of them than may
//! be, and that none is left behind at the end.

mod connection;
mod current;
mod doors;
mod held;
mod http2;

use std::sync::Arc;
use std::time::Duration;

use tidings_config::Settings;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connection::Conditions;
pub(crate) use current::Current;
use doors::Doors;

/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end after the shutdown began.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// What is served, and how.
pub(crate) struct Server {
    pub(crate) listener: TcpListener,
    pub(crate) routes: Current,
    pub(crate) connections: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    pub(crate) stall_patience: Duration,
    /// As they are now: a connection goes by those of its beginning.
    pub(crate) settings: watch::Receiver<Arc<Settings>>,
    pub(crate) tls: Option<TlsAcceptor>,
}

impl Server {
    /// Serves until the shutdown, and then until the last connection has ended.
    pub(crate) async fn serve(self) {
        let Self { listener, routes, connections, shutdown, stall_patience, settings, tls } = self;
        let doors = Doors::new();
        let conditions = Arc::new(Conditions {
            settings: settings.clone(),
            stall_patience,
            tls,
            connections: connections.clone(),
            shutdown: shutdown.clone(),
        });
        loop {
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let entered = doors.enter(address.ip(), &settings.borrow().limits);
            match entered {
                Ok(seat) => {
                    connections.spawn(conditions.clone().serve(stream, seat, routes.clone()));
                }
                Err(Some(refusal)) => {
                    connections.spawn(conditions.clone().refuse(stream, refusal));
                }
                // There are too many to say so to each.
                Err(None) => drop(stream),
            }
        }
        connections.close();
        if tokio::time::timeout(END_PATIENCE, connections.wait()).await.is_err() {
            tracing::warn!(connections = connections.len(), "some connections did not end in time");
        }
    }
}
