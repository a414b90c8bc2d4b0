//! The client's side of WebSocket frames, over input that is not copied. tungstenite reads and writes their headers.

use std::io::Cursor;

use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

/// A frame that is longer is none of the server's: it takes none that is.
const LONGEST: u64 = 64 << 20;

/// What a frame is for.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece<'a> {
    Text(&'a [u8]),
    Ping(&'a [u8]),
    Close,
    /// A pong.
    Nothing,
}

/// The first frame of the input and its length; `None` when it is not all there.
pub(crate) fn frame(input: &[u8]) -> Result<Option<(Piece<'_>, usize)>, String> {
    let mut cursor = Cursor::new(input);
    let parsed = FrameHeader::parse(&mut cursor).map_err(|error| format!("not a frame: {error}"))?;
    let Some((header, length)) = parsed else { return Ok(None) };
    if length > LONGEST || header.mask.is_some() || !header.is_final {
        return Err("the server sent a frame that is too long, masked or in parts".to_owned());
    }
    let (start, length) = (cursor.position() as usize, length as usize);
    let Some(content) = input.get(start..start + length) else { return Ok(None) };
    let piece = match header.opcode {
        OpCode::Data(Data::Text) => Piece::Text(content),
        OpCode::Control(Control::Ping) => Piece::Ping(content),
        OpCode::Control(Control::Close) => Piece::Close,
        OpCode::Control(Control::Pong) => Piece::Nothing,
        other => return Err(format!("the server sent a frame of the kind {other}")),
    };
    Ok(Some((piece, start + length)))
}

/// The answer to a ping.
pub(crate) fn pong(content: &[u8]) -> Vec<u8> {
    masked(Frame::pong(content.to_vec()))
}

/// A text of ours.
pub(crate) fn text(content: &str) -> Vec<u8> {
    masked(Frame::message(content.as_bytes().to_vec(), OpCode::Data(Data::Text), true))
}

/// Clients mask. It is against caches between, so any mask will do here.
fn masked(mut frame: Frame) -> Vec<u8> {
    frame.header_mut().mask = Some([0x5A, 0x3C, 0x69, 0x0F]);
    let mut bytes = Vec::new();
    let _ = frame.format(&mut bytes); // a Vec takes it
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_when_it_is_all_there() {
        let mut bytes = Vec::new();
        let message = Frame::message(vec![b'x'; 300], OpCode::Data(Data::Text), true);
        message.format(&mut bytes).unwrap();
        for cut in 0..bytes.len() {
            assert_eq!(frame(&bytes[..cut]), Ok(None), "{cut}");
        }
        bytes.push(0x89); // of the next one
        assert_eq!(frame(&bytes), Ok(Some((Piece::Text(&[b'x'; 300]), bytes.len() - 1))));
        assert!(frame(&text("masked")).is_err(), "servers do not mask");
        assert!(frame(&[0x81, 0x7F, 1, 0, 0, 0, 0, 0, 0, 0]).is_err(), "too long");
    }
}
