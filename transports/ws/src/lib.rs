//! WebSocket for Tidings, at `/v1/ws`: JSON text frames, one object each, its `type` first.
//!
//! A connection gets everything that concerns its user, and takes commands. This crate turns frames into the engine's
//! commands and deliveries into frames; it decides nothing about what somebody may do.

mod asyncapi;
pub mod close;
mod codec;
mod command;
mod commands;
mod connection;
pub mod echo;
mod handshake;
mod line;
mod message;
mod pace;
mod socket;
mod writer;

use std::sync::Arc;

use axum::http::StatusCode;
use axum::routing::get;
use handshake::Shared;
use tidings_engine::Error;
use tidings_http::asyncapi::{Connection, Schemas};
use tidings_http::openapi::Section;
use tidings_http::problem::Problem;
use tidings_http::{Api, Routes};
use tokio::sync::Semaphore;
use writer::Writers;

/// Connections that are opened at once, once it is known whose they are: a storm of them needs no more memory for it than so
/// many.
const OPENED_AT_ONCE: usize = 256;

/// The WebSocket transport, to be mounted on HTTP.
pub struct WebSockets;

impl Routes for WebSockets {
    fn api(&self) -> Api {
        let operation = Section::Live
            .get("/v1/ws", "openWebSocket", "A WebSocket: what concerns a user, and commands")
            .says("The token may also come in the first frame. A web page has to be of this host, or of an origin that is allowed.")
            .needs_in_address("user")
            .opens_a_connection()
            .answers_nothing(StatusCode::SWITCHING_PROTOCOLS, "JSON text frames from here on.");
        Api::new().made(operation, |context| {
            let Some(encoding) = codec::encoding(&context.engine) else {
                tracing::error!("there is no encoding left for WebSocket: /v1/ws cannot be used");
                return get(|| async { Problem::from(Error::Internal) });
            };
            let writers = Arc::new(Writers::new());
            writers.start(context);
            let turns = Arc::new(Semaphore::new(OPENED_AT_ONCE));
            let shared = Shared { writers, encoding, turns };
            get(move |context, wishes, request| handshake::upgrade(context, wishes, request, shared.clone()))
        })
    }

    fn connection(&self, schemas: &mut Schemas) -> Option<Connection> {
        Some(asyncapi::connection(schemas))
    }
}
