//! The socket: how frames are written and read. The one place that touches the WebSocket itself, so that how it is
//! written can change without anybody else noticing.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use futures_util::SinkExt;
use tidings_engine::delivery::{Encoding, Parcel};
use tungstenite::Error as WebSocketError;
use tungstenite::error::ProtocolError;

use crate::close::{self, Close};

/// Bytes read at a time. The default keeps 128 KiB for each connection.
const READ_BUFFER_BYTES: usize = 4 * 1024;
/// Bytes gathered before they are written. 0 would write each message by itself.
const WRITE_BUFFER_BYTES: usize = 8 * 1024;
/// Bytes that may wait in the buffer: more than the largest page of an inbox. The default is no bound.
const WRITE_BUFFER_BYTES_MOST: usize = 16 << 20;
/// How long the goodbye may take.
const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// The connection is gone, or as good as gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// What came in.
pub(crate) enum Incoming {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message. Nothing of ours takes one, but that is not for the socket to say.
    Binary(Bytes),
    /// What this transport does not take, and how the connection is to be closed for it.
    Broken(Close),
    /// A sign of life: a ping or a pong. What has to be answered is answered.
    Alive,
    /// The client closes, or the connection broke.
    Closed,
}

/// The handshake with the limits of ours, on messages of so many bytes.
pub(crate) fn limited(upgrade: WebSocketUpgrade, message_bytes: usize) -> WebSocketUpgrade {
    upgrade
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MOST)
        .max_message_size(message_bytes)
        .max_frame_size(message_bytes)
}

/// A WebSocket.
pub(crate) struct Socket(WebSocket);

impl Socket {
    pub(crate) fn new(socket: WebSocket) -> Self {
        Self(socket)
    }

    /// Waits for the next frame. May be dropped and called again.
    pub(crate) async fn read(&mut self) -> Incoming {
        match self.0.recv().await {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Binary(bytes))) => Incoming::Binary(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Alive,
            Some(Err(error)) => broken(error),
            Some(Ok(Message::Close(_))) => {
                // The answer to it waits to be written; a client without one takes its close for a broken connection.
                let _ = self.0.flush().await;
                Incoming::Closed
            }
            None => Incoming::Closed,
        }
    }

    /// Writes one message, however long that takes: the transport below gives up a connection that takes no byte.
    pub(crate) async fn write(&mut self, text: String) -> Result<(), Gone> {
        self.0.send(Message::Text(text.into())).await.map_err(|_| Gone)
    }

    /// Writes one binary message.
    pub(crate) async fn write_binary(&mut self, bytes: Bytes) -> Result<(), Gone> {
        self.0.send(Message::Binary(bytes)).await.map_err(|_| Gone)
    }

    /// Writes everything in a parcel with one flush. The bytes are shared with everybody else who gets them.
    pub(crate) async fn write_parcel(&mut self, parcel: &Parcel, encoding: &Encoding) -> Result<(), Gone> {
        for delivery in parcel.deliveries() {
            let bytes = delivery.encoded(encoding).clone();
            let Ok(text) = Utf8Bytes::try_from(bytes) else { continue }; // JSON is UTF-8
            self.0.feed(Message::Text(text)).await.map_err(|_| Gone)?;
        }
        self.0.flush().await.map_err(|_| Gone)
    }

    /// Writes a heartbeat, and asks for a sign of life.
    pub(crate) async fn write_heartbeat(&mut self, text: String) -> Result<(), Gone> {
        self.0.feed(Message::Text(text.into())).await.map_err(|_| Gone)?;
        self.0.send(Message::Ping(Vec::new().into())).await.map_err(|_| Gone)
    }

    /// Says goodbye: a last message, if there is one, then the close frame.
    pub(crate) async fn close(mut self, last: Option<String>, close: Close) {
        let goodbye = async {
            if let Some(last) = last {
                self.0.feed(Message::Text(last.into())).await?;
            }
            let frame = CloseFrame { code: close.code, reason: close.reason.into() };
            self.0.send(Message::Close(Some(frame))).await?;
            // The client's own close frame, so that it gets to read ours before the connection is cut.
            while let Some(Ok(_)) = self.0.recv().await {}
            Ok::<_, axum::Error>(())
        };
        let _ = tokio::time::timeout(CLOSE_PATIENCE, goodbye).await; // whoever has gone needs no goodbye
    }
}

fn broken(error: axum::Error) -> Incoming {
    match error.into_inner().downcast_ref() {
        Some(WebSocketError::Capacity(_)) => Incoming::Broken(close::TOO_LARGE),
        Some(WebSocketError::Utf8(_)) => Incoming::Broken(close::NOT_UTF8),
        Some(WebSocketError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Incoming::Closed,
        Some(WebSocketError::Protocol(_)) => Incoming::Broken(close::NOT_WEBSOCKET),
        _ => Incoming::Closed,
    }
}
