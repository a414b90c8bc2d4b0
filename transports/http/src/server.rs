//! The accept loop: our own, so that every connection has its limits of time, that there are never more of them than may
//! be, and that none is left behind at the end.

mod connection;
mod current;
mod doors;
mod held;
mod http2;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings_config::Settings;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connection::Conditions;
pub(crate) use current::Current;
use doors::Doors;

/// Connections that may wait to be accepted, as far as the system lets them (`net.core.somaxconn`): whoever finds no room among
/// them tries again after a second, then three, then seven, and is the last in a storm.
const WAITING_MOST: u32 = 65_535;
/// How long to wait when the system has no more sockets to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may take to end after the shutdown began.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Listens on an address; port 0 takes a free one.
pub(crate) fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(unix)]
    socket.set_reuseaddr(true)?; // a server that starts again need not wait for what was left of the last one
    socket.bind(address)?;
    socket.listen(WAITING_MOST)
}

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
