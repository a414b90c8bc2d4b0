//! A socket that never waits, over TLS or not, with what is to be sent on it.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// A connection.
pub(crate) struct Wire {
    socket: TcpStream,
    session: Option<Box<ClientConnection>>,
    /// What waits for the socket.
    out: Vec<u8>,
}

impl Wire {
    pub(crate) fn plain(socket: TcpStream) -> Self {
        Self { socket, session: None, out: Vec::new() }
    }

    pub(crate) fn tls(
        socket: TcpStream,
        configuration: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<Self> {
        let session = ClientConnection::new(configuration, name).map_err(io::Error::other)?;
        Ok(Self { socket, session: Some(Box::new(session)), out: Vec::new() })
    }

    pub(crate) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE | Interest::WRITABLE)
    }

    /// Sends as much as goes, and the rest when [`flush`](Self::flush) is called.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.extend_from_slice(bytes);
        self.flush()
    }

    /// Sends what waits, once the socket takes something again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while !self.out.is_empty() {
            let written = match &mut self.session {
                None => self.socket.write(&self.out),
                Some(session) => rustls::Stream::new(&mut **session, &mut self.socket).write(&self.out),
            };
            match written {
                Ok(bytes) => drop(self.out.drain(..bytes)),
                Err(error) => return later(error),
            }
        }
        if let Some(session) = &mut self.session {
            while session.wants_write() {
                if let Err(error) = session.write_tls(&mut self.socket) {
                    return later(error);
                }
            }
        }
        Ok(())
    }

    /// Reads what there is; `WouldBlock` when that is nothing.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.session {
            None => self.socket.read(buffer),
            Some(session) => rustls::Stream::new(&mut **session, &mut self.socket).read(buffer),
        }
    }

    /// Whether a read of less than there was room for means that there is no more.
    pub(crate) fn is_drained_by_a_short_read(&self) -> bool {
        self.session.is_none()
    }
}

/// A socket that is not connected yet takes nothing, either.
fn later(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::NotConnected | ErrorKind::Interrupted => Ok(()),
        _ => Err(error),
    }
}
