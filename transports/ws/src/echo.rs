//! An echo, so that a suite of WebSocket cases that knows nothing of ours can be run against the code that ours run on: the
//! same accept loop, handshake, limits, frames, line and closing. It is for tests: the server never mounts it, and nothing
//! in a configuration does. It needs no token and touches nothing of the engine.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use hyper::upgrade::OnUpgrade;
use tidings_http::problem::Problem;
use tidings_http::{Api, Context, Routes};
use tungstenite::protocol::Message;

use crate::codec::Incoming;
use crate::handshake::accept;
use crate::line::Line;

/// Sends back every message that comes to a path.
pub struct Echo(pub &'static str);

impl Routes for Echo {
    fn api(&self) -> Api {
        Api::new().part(self.0, get(upgrade))
    }
}

async fn upgrade(State(context): State<Context>, request: Request) -> Result<Response, Problem> {
    let (_, response, on_upgrade) = accept(request)?;
    let connections = context.connections.clone();
    connections.spawn(serve(context, on_upgrade));
    Ok(response)
}

async fn serve(context: Context, on_upgrade: OnUpgrade) {
    let Ok(upgraded) = on_upgrade.await else { return };
    // Nothing is delivered here, so how is all the same.
    let line = Line::new(upgraded, context.limits.message_bytes(), context.engine.json().clone());
    loop {
        // What was put on the line is written before more is read.
        match line.read().await {
            Incoming::Text(text) => line.put_message(Message::Text(text)),
            Incoming::Binary(bytes) => line.put_message(Message::Binary(bytes)),
            Incoming::Alive | Incoming::Part => {}
            Incoming::Broken(close) => return line.close(None, close).await,
            Incoming::Closed => return line.answer_close().await,
        }
    }
}
