//! Routes, each with what is said of it: there is no other way to mount one, so the document names every route there is.

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodFilter, MethodRouter, on};

use crate::Context;
use crate::openapi::Operation;

type Handle = Box<dyn FnOnce(&Context) -> MethodRouter<Context> + Send>;

/// What a transport serves.
#[derive(Default)]
pub struct Api {
    operations: Vec<Operation>,
    /// Paths and what answers there, made when it is mounted.
    routes: Vec<(&'static str, Handle)>,
}

impl Api {
    /// One that serves nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Does an operation with a handler.
    #[must_use]
    pub fn on<H: Handler<T, Context>, T: 'static>(self, operation: Operation, handler: H) -> Self {
        // A method that axum does not know is one that no operation of ours can have.
        let filter = MethodFilter::try_from(operation.method.clone()).unwrap_or(MethodFilter::TRACE);
        self.made(operation, move |_| on(filter, handler))
    }

    /// Does an operation with what is made for it when it is mounted: a handler of the operation's method.
    #[must_use]
    pub fn made(
        mut self,
        operation: Operation,
        make: impl FnOnce(&Context) -> MethodRouter<Context> + Send + 'static,
    ) -> Self {
        self.routes.push((operation.path, Box::new(make)));
        self.operations.push(operation);
        self
    }

    /// A file that belongs to a page or a module: it is loaded by what is documented, and by nobody else.
    #[must_use]
    pub fn part(mut self, path: &'static str, file: MethodRouter<Context>) -> Self {
        self.routes.push((path, Box::new(|_| file)));
        self
    }

    /// All of another one, too.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.operations.extend(other.operations);
        self.routes.extend(other.routes);
        self
    }

    /// What is said of it.
    #[must_use]
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Its routes.
    pub(crate) fn router(self, context: &Context) -> Router<Context> {
        let routes = self.routes.into_iter();
        routes.fold(Router::new(), |router, (path, make)| router.route(path, make(context)))
    }
}
