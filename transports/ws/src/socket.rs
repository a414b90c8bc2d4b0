//! The socket: bytes in and out. The one place that touches it, and that knows when it is broken.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes read at a time, into a buffer that all connections of a thread share.
const READ_BYTES: usize = 16 << 10;

thread_local! {
    static READ_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// The connection is gone, or as good as gone.
#[derive(Debug)]
pub(crate) struct Gone;

/// An upgraded connection, over TLS or not.
pub(crate) struct Socket {
    stream: TokioIo<Upgraded>,
    is_broken: bool,
}

impl Socket {
    pub(crate) fn new(stream: Upgraded) -> Self {
        let mut stream = TokioIo::new(stream);
        // hyper gives its read buffer along, 8 KiB, until something is read: many may wait before anybody does.
        let context = &mut Context::from_waker(Waker::noop());
        let _ = Pin::new(&mut stream).poll_read(context, &mut ReadBuf::new(&mut [])); // what came already stays
        Self { stream, is_broken: false }
    }

    /// Whether writing to it has failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Reads what there is; nothing when nothing more comes.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        READ_BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(buffer);
            let read = ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer));
            let came = read.is_ok() && !buffer.filled().is_empty();
            Poll::Ready(came.then(|| Bytes::copy_from_slice(buffer.filled())))
        })
    }

    /// Writes as much as it takes, at least a byte.
    pub(crate) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Gone>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes));
        Poll::Ready(self.noted(written.and_then(none_is_an_end)))
    }

    /// Sends what it has taken.
    pub(crate) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(context));
        Poll::Ready(self.noted(flushed))
    }

    /// Says that nothing more comes.
    pub(crate) fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.stream).poll_shutdown(context).map(|_| ())
    }

    fn noted<T>(&mut self, done: io::Result<T>) -> Result<T, Gone> {
        self.is_broken |= done.is_err();
        done.map_err(|_| Gone)
    }
}

fn none_is_an_end(written: usize) -> io::Result<usize> {
    if written == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(written) }
}
