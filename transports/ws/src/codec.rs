//! WebSocket frames: from bytes that came in, and into bytes to be written. Touches no socket.

use std::io::{self, Read, Write};

use bytes::{Buf, Bytes, BytesMut};
use tidings_engine::Engine;
use tidings_engine::delivery::Encoding;
use tungstenite::error::ProtocolError;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Error, Utf8Bytes};

use crate::close::{self, Close};

/// Bytes kept of each connection to read into: what comes is read into a shared buffer first, and the rest of a large frame
/// gets its room when it is known how large it is.
const READ_BUFFER_BYTES: usize = 64;

/// What came in.
pub(crate) enum Incoming {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message. Nothing of ours takes one, but that is not for the codec to say.
    Binary(Bytes),
    /// Some of a message that has not come to its end.
    Part,
    /// What this transport does not take, and how the connection is to be closed for it.
    Broken(Close),
    /// A sign of life: a ping or a pong. What has to be answered is answered.
    Alive,
    /// The client closes, or the connection broke.
    Closed,
}

/// The state of a WebSocket.
pub(crate) struct Codec {
    protocol: WebSocketContext,
    /// What the protocol itself has to say: answers to pings and to a close, and control frames of ours.
    own: BytesMut,
    /// What came in was no WebSocket: nothing more of it is looked at.
    is_broken: bool,
}

impl Codec {
    pub(crate) fn new(message_bytes: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(message_bytes))
            .max_frame_size(Some(message_bytes));
        Self {
            protocol: WebSocketContext::new(Role::Server, Some(config)),
            own: BytesMut::new(),
            is_broken: false,
        }
    }

    /// The next frame in what was read; `None` when it is not there yet.
    pub(crate) fn read(&mut self, unread: &mut Bytes) -> Option<Incoming> {
        if self.is_broken {
            unread.clear();
            return None;
        }
        let mut wire = Wire { unread, own: &mut self.own };
        let incoming = match self.protocol.read(&mut wire) {
            Ok(Message::Text(text)) => Incoming::Text(text),
            Ok(Message::Binary(bytes)) => Incoming::Binary(bytes),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => Incoming::Alive,
            Ok(Message::Close(_)) => Incoming::Closed,
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) => broken(&error),
        };
        // What has to be answered is, now and not with the next frame.
        let _ = self.protocol.flush(&mut wire);
        self.is_broken = matches!(incoming, Incoming::Broken(_));
        Some(incoming)
    }

    /// Whether what comes in cannot be understood any more.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Writes what is not for several.
    pub(crate) fn write(&mut self, message: Message) {
        let mut wire = Wire { unread: &mut Bytes::new(), own: &mut self.own };
        let _ = self.protocol.write(&mut wire, message); // refused only after a close, when nobody listens any more
        let _ = self.protocol.flush(&mut wire);
    }

    /// What the protocol has to say, to be written to the socket.
    pub(crate) fn take_own(&mut self) -> Bytes {
        std::mem::take(&mut self.own).freeze()
    }
}

fn broken(error: &Error) -> Incoming {
    match error {
        Error::Capacity(_) => Incoming::Broken(close::TOO_LARGE),
        Error::Utf8(_) => Incoming::Broken(close::NOT_UTF8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Incoming::Closed,
        Error::Protocol(_) => Incoming::Broken(close::NOT_WEBSOCKET),
        _ => Incoming::Closed,
    }
}

/// What the protocol takes for a stream: it reads what was read, and what it writes is put aside. So there is one queue
/// to the socket, whoever writes.
struct Wire<'a> {
    unread: &'a mut Bytes,
    own: &'a mut BytesMut,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.unread.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let count = buffer.len().min(self.unread.len());
        self.unread.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.own.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A text frame of the server's. It is not masked, so everybody can get the same bytes.
pub(crate) fn text_frame(text: &[u8]) -> Bytes {
    let frame = Frame::message(Bytes::copy_from_slice(text), OpCode::Data(Data::Text), true);
    let mut bytes = Vec::with_capacity(frame.len());
    match frame.format(&mut bytes) {
        Ok(()) => bytes.into(),
        Err(error) => unreachable!("a frame is written to memory: {error}"),
    }
}

/// The encoding of messages as text frames of JSON.
pub(crate) fn encoding(engine: &Engine) -> Option<Encoding> {
    let json = engine.json().clone();
    engine.encoding(move |message| text_frame(&json.encode(message)))
}
