//! Transports: how commands come in and deliveries go out. One of the engine's three extension points.

use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::Engine;

/// Why a transport ended before it was told to.
pub type TransportError = Box<dyn std::error::Error + Send + Sync>;

/// Something that connects the engine with the world: it turns bytes into commands and deliveries into bytes.
///
/// Laws: it serves until `shutdown`, then lets its connections know and returns within a few seconds; every
/// [`Subscriber`](crate::Subscriber) it opened is dropped by then; bad input never ends it.
pub trait Transport: Send + 'static {
    /// Its name, for logs and presence.
    fn name(&self) -> &'static str;

    /// Runs it.
    fn run(
        self: Box<Self>,
        engine: Engine,
        shutdown: CancellationToken,
    ) -> BoxFuture<'static, Result<(), TransportError>>;
}
