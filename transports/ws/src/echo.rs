//! An echo, so that a suite of WebSocket cases that knows nothing of ours can be run against the code that ours run on: the
//! same accept loop, handshake, limits, frames and closing. It is for tests: the server never mounts it, and nothing in a
//! configuration does. It needs no token and touches nothing of the engine.

use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use axum::routing::get;
use tidings_http::{Api, Context, Routes};

use crate::socket::{self, Gone, Incoming, Socket};

/// What the header of a frame takes at most, beside the message.
const FRAME_HEADER_BYTES: usize = 14;

/// Sends back every message that comes to a path.
pub struct Echo(pub &'static str);

impl Routes for Echo {
    fn api(&self) -> Api {
        Api::new().part(self.0, get(upgrade))
    }
}

async fn upgrade(State(context): State<Context>, upgrade: WebSocketUpgrade) -> Response {
    let message_bytes = context.limits.message_bytes();
    socket::limited(upgrade, message_bytes)
        // What may come in has to go out again; ours write pages, and never what they have read.
        .max_write_buffer_size(2 * (message_bytes + FRAME_HEADER_BYTES))
        .on_upgrade(move |socket| {
            let connections = context.connections.clone();
            connections.track_future(serve(Socket::new(socket)))
        })
}

async fn serve(mut socket: Socket) {
    loop {
        let written = match socket.read().await {
            Incoming::Text(text) => socket.write(text.as_str().to_owned()).await,
            Incoming::Binary(bytes) => socket.write_binary(bytes).await,
            Incoming::Alive => Ok(()),
            Incoming::Broken(close) => return socket.close(None, close).await,
            Incoming::Closed => return,
        };
        if let Err(Gone) = written {
            return;
        }
    }
}
