//! From an HTTP request to a connection of somebody: by the token in the `Authorization` header, a ticket or a token in the
//! address, or the token in the first frame.

use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Deserialize;
use tidings_engine::{Channel, Cursor, DeviceName, input, limits};
use tidings_http::problem::Problem;
use tidings_http::token::Verified;
use tidings_http::{Context, Wishes};

use crate::close::{self, Close};
use crate::connection::{Connection, closing};
use crate::socket::{self, Incoming, Socket};

pub(crate) async fn upgrade(
    State(context): State<Context>,
    wishes: Result<Wishes, Problem>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        return Problem::field("upgrade", "expected a WebSocket handshake").into_response();
    };
    if let Err(problem) = context.origins.check_upgrade(&headers) {
        return problem.into_response();
    }
    let mut wishes = match wishes {
        Ok(wishes) => wishes,
        Err(problem) => return problem.into_response(),
    };
    let shown = match wishes.shown(&context, &headers).await {
        Ok(shown) => shown,
        Err(problem) => return problem.into_response(),
    };
    socket::limited(upgrade, context.limits.message_bytes()).on_upgrade(move |socket| {
        let connections = context.connections.clone();
        connections.track_future(serve(context, shown, wishes, socket))
    })
}

async fn serve(context: Context, shown: Option<Verified>, mut wishes: Wishes, socket: WebSocket) {
    let mut socket = Socket::new(socket);
    let shown = match shown {
        Some(shown) => Ok(shown),
        None => tokio::select! {
            () = context.shutdown.cancelled() => Err(close::STOPPING),
            shown = in_first_frame(&context, &mut wishes, &mut socket) => shown,
        },
    };
    let connected = match shown {
        Ok(shown) => Connection::open(&context, shown, wishes).await,
        Err(close) => Err(close),
    };
    match connected {
        Ok(connection) => connection.run(socket).await,
        Err(close) => socket.close(Some(closing(&context, close, None)), close).await,
    }
}

/// The first frame of a connection that came without a token.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenFrame {
    #[serde(rename = "type")]
    #[schemars(extend("const" = "token"))]
    kind: String,
    token: String,
    device: Option<DeviceName>,
    cursor: Option<Cursor>,
    limit: Option<usize>,
    #[serde(default)]
    #[schemars(length(max = limits::WATCHES_PER_SUBSCRIBER))]
    watch: Vec<Channel>,
}

async fn in_first_frame(
    context: &Context,
    wishes: &mut Wishes,
    socket: &mut Socket,
) -> Result<Verified, Close> {
    let first = async {
        loop {
            match socket.read().await {
                Incoming::Alive => {}
                other => return other,
            }
        }
    };
    let text = match tokio::time::timeout(context.limits.handshake_patience(), first).await {
        Ok(Incoming::Text(text)) => text,
        Ok(Incoming::Binary(_)) => return Err(close::NOT_TEXT),
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
    let shown = context.tokens.verify(&frame.token).map_err(|_| close::UNAUTHORIZED)?;
    context.limits.request(&shown.identity).await.map_err(|_| close::TOO_MANY_REQUESTS)?;
    Ok(shown)
}
