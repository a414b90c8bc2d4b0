//! From an HTTP request to a connection of somebody: by the token in the `Authorization` header, a ticket or a token in the
//! address, or the token in the first frame.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use hyper::upgrade::OnUpgrade;
use schemars::JsonSchema;
use serde::Deserialize;
use tidings_engine::delivery::Encoding;
use tidings_engine::{Channel, Cursor, DeviceName, input, limits};
use tidings_http::problem::Problem;
use tidings_http::token::Verified;
use tidings_http::{Context, Wishes};
use tokio::sync::Semaphore;
use tungstenite::handshake::server::create_response;

use crate::close::{self, Close};
use crate::codec::Incoming;
use crate::connection::{Connection, closing};
use crate::line::Line;
use crate::pace::Pace;
use crate::writer::Writers;

/// What all connections have together.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) writers: Arc<Writers>,
    pub(crate) encoding: Encoding,
    /// Turns to be opened: what that takes, nobody needs who waits.
    pub(crate) turns: Arc<Semaphore>,
}

pub(crate) async fn upgrade(
    State(context): State<Context>,
    wishes: Result<Wishes, Problem>,
    request: Request,
    shared: Shared,
) -> Response {
    begin(context, wishes, request, shared).await.unwrap_or_else(IntoResponse::into_response)
}

async fn begin(
    context: Context,
    wishes: Result<Wishes, Problem>,
    request: Request,
    shared: Shared,
) -> Result<Response, Problem> {
    let (request, response, on_upgrade) = accept(request)?;
    context.origins.check_upgrade(request.headers())?;
    let mut wishes = wishes?;
    let shown = wishes.shown(&context, request.headers()).await?;
    let connections = context.connections.clone();
    // In a box, made before: what it takes to begin is not kept as long as the connection lasts.
    let opened = Box::pin(opened(context, shared, shown, wishes, on_upgrade));
    connections.spawn(async move {
        if let Some(mut connection) = opened.await {
            connection.run().await;
        }
    });
    Ok(response)
}

/// What a handshake is answered, and what it becomes then.
pub(crate) fn accept(request: Request) -> Result<(Request<()>, Response, OnUpgrade), Problem> {
    let (mut parts, _) = request.into_parts();
    let on_upgrade = parts.extensions.remove::<OnUpgrade>();
    let request = Request::from_parts(parts, ());
    let not_expected = || Problem::field("upgrade", "expected a WebSocket handshake");
    let response = create_response(&request).map_err(|_| not_expected())?.map(|()| Body::empty());
    Ok((request, response, on_upgrade.ok_or_else(not_expected)?))
}

/// A connection that has begun; `None` when it was told why it cannot, or has gone.
async fn opened(
    context: Context,
    shared: Shared,
    shown: Option<Verified>,
    mut wishes: Wishes,
    on_upgrade: OnUpgrade,
) -> Option<Box<Connection>> {
    let upgraded =
        on_upgrade.await.inspect_err(|error| tracing::debug!(%error, "a connection was not upgraded"));
    let Shared { writers, encoding, turns } = shared;
    let line = Arc::new(Line::new(upgraded.ok()?, context.limits.message_bytes(), encoding));
    let shown = match shown {
        Some(shown) => Ok(shown),
        None => tokio::select! {
            () = context.shutdown.cancelled() => Err(Some(close::STOPPING)),
            shown = in_first_frame(&context, &mut wishes, &line) => shown,
        },
    };
    let connected = match shown {
        Ok(shown) => {
            let place = writers.place(&line);
            let _turn = turns.acquire().await; // never closed
            Box::pin(Connection::open(&context, shown, wishes, line.clone(), place)).await.map_err(Some)
        }
        Err(close) => Err(close),
    };
    match connected {
        Ok(connection) => return Some(Box::new(connection)),
        Err(Some(close)) => line.close(Some(&closing(&context, close, None)), close).await,
        Err(None) => line.answer_close().await,
    }
    None
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

/// Who shows a token in the first frame; or how the connection is to be closed, if it is not closed already.
async fn in_first_frame(
    context: &Context,
    wishes: &mut Wishes,
    line: &Line,
) -> Result<Verified, Option<Close>> {
    let first = async {
        let mut pace = Pace::new(context.limits.commands());
        loop {
            match line.read().await {
                Incoming::Alive | Incoming::Part => {}
                other => return other,
            }
            if let Some(wait) = pace.frame() {
                tokio::time::sleep(wait).await;
            }
        }
    };
    let text = match tokio::time::timeout(context.limits.handshake_patience(), first).await {
        Ok(Incoming::Text(text)) => text,
        Ok(Incoming::Binary(_)) => return Err(Some(close::NOT_TEXT)),
        Ok(Incoming::Broken(close)) => return Err(Some(close)),
        Ok(Incoming::Closed) => return Err(None),
        Ok(Incoming::Alive | Incoming::Part) | Err(_) => return Err(Some(close::TIMEOUT)),
    };
    let frame: TokenFrame = input::parse(text.as_bytes()).map_err(|_| Some(close::UNAUTHORIZED))?;
    if frame.kind != "token" || frame.watch.len() > limits::WATCHES_PER_SUBSCRIBER {
        return Err(Some(close::UNAUTHORIZED));
    }
    wishes.device = frame.device.or_else(|| wishes.device.take());
    wishes.cursor = frame.cursor.or_else(|| wishes.cursor.take());
    wishes.limit = frame.limit.or(wishes.limit);
    wishes.watches.extend(frame.watch);
    let shown = context.tokens.verify(&frame.token).map_err(|_| Some(close::UNAUTHORIZED))?;
    context.limits.request(&shown.identity).await.map_err(|_| Some(close::TOO_MANY_REQUESTS))?;
    Ok(shown)
}
