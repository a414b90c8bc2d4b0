//! A wire between clients and the server that keeps every byte that goes over it, so that what somebody receives is known
//! whatever they make of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// What went over each connection.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<Bytes>>>);

impl Kept {
    fn connection(&self) -> Bytes {
        let bytes = Bytes::default();
        self.0.lock().unwrap().push(bytes.clone());
        bytes
    }

    /// All of it, with zeros between connections, as far as it is text; the frames of chunked bodies are taken out, which might divide a word.
    fn all(&self) -> String {
        let connections: Vec<Bytes> = self.0.lock().unwrap().clone();
        let connections = connections.iter().map(|bytes| unframed(&bytes.lock().unwrap()));
        String::from_utf8_lossy(&connections.collect::<Vec<_>>().join(&0)).into_owned()
    }
}

/// Without what stands between two chunks of a body: `\r\n`, the length in hexadecimal, `\r\n`.
fn unframed(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, after)) = rest.split_first() {
        let digits =
            rest.strip_prefix(b"\r\n").map(|rest| rest.iter().take_while(|b| b.is_ascii_hexdigit()).count());
        match digits {
            Some(digits) if digits > 0 && rest[2 + digits..].starts_with(b"\r\n") => {
                rest = &rest[digits + 4..]
            }
            _ => {
                plain.push(first);
                rest = after;
            }
        }
    }
    plain
}

/// A wire to a server.
pub struct Wire {
    pub address: SocketAddr,
    said: Kept,
    heard: Kept,
}

impl Wire {
    pub async fn to(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let wire =
            Self { address: listener.local_addr().unwrap(), said: Kept::default(), heard: Kept::default() };
        let (server, said, heard) = (server.to_owned(), wire.said.clone(), wire.heard.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                tokio::spawn(copy(from_client, to_server, said.connection()));
                tokio::spawn(copy(from_server, to_client, heard.connection()));
            }
        });
        wire
    }

    /// Everything that the clients sent.
    pub fn said(&self) -> String {
        self.said.all()
    }

    /// Everything that they received.
    pub fn heard(&self) -> String {
        self.heard.all()
    }
}

async fn copy(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, kept: Bytes) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        kept.lock().unwrap().extend_from_slice(&buffer[..read]);
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
