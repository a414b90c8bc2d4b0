//! From an HTTP request to a connection of somebody: the token in the `Authorization` header, in `?token=`, or in the
//! first frame.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use tidings_engine::{Channel, Cursor, DeviceName, Identity, input, limits};
use tidings_http::problem::Problem;
use tidings_http::{Context, Wishes, bearer};

use crate::FRAME_BYTES;
use crate::close::{self, Close};
use crate::connection::{Connection, closing};
use crate::socket::{Incoming, Socket};

/// How long a connection may take to show a token in its first frame.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes read at a time. The default keeps 128 KiB for each connection.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes gathered before they are written. 0 would write each message by itself.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// Bytes that may wait in the buffer: more than the largest page of an inbox. The default is no bound.
const WRITE_BUFFER_BYTES_MOST: usize = 16 << 20;

pub(crate) async fn upgrade(
    State(context): State<Context>,
    wishes: Result<Wishes, Problem>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return Problem::field("upgrade", "expected a WebSocket handshake").into_response();
    };
    let mut wishes = match wishes {
        Ok(wishes) => wishes,
        Err(problem) => return problem.into_response(),
    };
    let token = bearer(&headers).map(str::to_owned).or_else(|| wishes.token.take());
    let identity = match token.map(|token| context.tokens.verify(&token)).transpose() {
        Ok(identity) => identity,
        Err(problem) => return problem.into_response(),
    };
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MOST)
        .max_message_size(FRAME_BYTES)
        .max_frame_size(FRAME_BYTES)
        .on_upgrade(move |socket| {
            let connections = context.connections.clone();
            connections.track_future(serve(context, identity, wishes, socket))
        })
}

async fn serve(context: Context, identity: Option<Identity>, mut wishes: Wishes, socket: WebSocket) {
    let mut socket = Socket::new(socket);
    let identity = match identity {
        Some(identity) => Ok(identity),
        None => tokio::select! {
            () = context.shutdown.cancelled() => Err(close::STOPPING),
            identity = in_first_frame(&context, &mut wishes, &mut socket) => identity,
        },
    };
    let connected = match identity {
        Ok(identity) => Connection::open(&context, identity, wishes).await,
        Err(close) => Err(close),
    };
    match connected {
        Ok(connection) => connection.run(socket).await,
        Err(close) => socket.close(closing(&context, close, None), close).await,
    }
}

/// The first frame of a connection that came without a token.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFrame {
    #[serde(rename = "type")]
    kind: String,
    token: String,
    device: Option<DeviceName>,
    cursor: Option<Cursor>,
    limit: Option<usize>,
    #[serde(default)]
    watch: Vec<Channel>,
}

async fn in_first_frame(
    context: &Context,
    wishes: &mut Wishes,
    socket: &mut Socket,
) -> Result<Identity, Close> {
    let first = async {
        loop {
            match socket.read().await {
                Incoming::Alive => {}
                other => return other,
            }
        }
    };
    let text = match tokio::time::timeout(TOKEN_PATIENCE, first).await {
        Ok(Incoming::Text(text)) => text,
        Ok(Incoming::Broken(close)) => return Err(close),
        Ok(Incoming::Closed | Incoming::Alive) | Err(_) => return Err(close::TIMEOUT),
    };
    let frame: TokenFrame = input::parse(text.as_bytes()).map_err(|_| close::UNAUTHORIZED)?;
    if frame.kind != "token" || frame.watch.len() > limits::WATCHES_PER_SUBSCRIBER {
        return Err(close::UNAUTHORIZED);
    }
    wishes.device = frame.device.or_else(|| wishes.device.take());
    wishes.cursor = frame.cursor.or_else(|| wishes.cursor.take());
    wishes.limit = frame.limit.or(wishes.limit);
    wishes.watches.extend(frame.watch);
    context.tokens.verify(&frame.token).map_err(|_| close::UNAUTHORIZED)
}
