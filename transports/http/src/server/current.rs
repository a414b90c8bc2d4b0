//! What answers requests now: first that the engine starts, then the engine's routes. It is looked up for each request, so that
//! nobody who is connected, or about to be, falls between the two.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Bytes, HttpBody};
use axum::http::Request;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use tokio::sync::watch;
use tower::{BoxError, Service};

/// The routes as they are now.
#[derive(Clone)]
pub(crate) struct Current(watch::Receiver<Router>);

impl Current {
    /// Routes that others can be put in place of.
    pub(crate) fn first(router: Router) -> (watch::Sender<Router>, Self) {
        let (place, current) = watch::channel(router);
        (place, Self(current))
    }

    /// Routes that stay.
    pub(crate) fn always(router: Router) -> Self {
        Self::first(router).1
    }
}

impl<B> Service<Request<B>> for Current
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = RouteFuture<Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut router = self.0.borrow().clone();
        router.call(request)
    }
}
