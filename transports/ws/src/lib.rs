//! WebSocket for Tidings, at `/v1/ws`: JSON text frames, one object each, its `type` first.
//!
//! A connection gets everything that concerns its user, and takes commands. This crate turns frames into the engine's
//! commands and deliveries into frames; it decides nothing about what somebody may do.

pub mod close;
mod command;
mod connection;
mod handshake;
mod message;
mod pace;
mod socket;

use axum::Router;
use axum::routing::get;
use tidings_http::{Context, Routes};

/// The WebSocket transport, to be mounted on HTTP.
pub struct WebSockets;

impl Routes for WebSockets {
    fn router(&self, context: Context) -> Router {
        Router::new().route("/v1/ws", get(handshake::upgrade)).with_state(context)
    }
}
