use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use super::tcp::{StreamSocket, TcpStream};
use crate::Backend;
use crate::stream::{Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError};

/// The reading side of a [`TcpStream`]. Dropping it is not visible to the peer; the descriptor
/// closes with the second half.
#[derive(Debug)]
pub struct TcpReadHalf(Arc<TcpStream>);

/// The writing side of a [`TcpStream`]. Dropping it ends the sending side; the descriptor closes
/// with the second half.
#[derive(Debug)]
pub struct TcpWriteHalf {
    // None once it was reunited: then its drop must not end the sending side.
    stream: Option<Arc<TcpStream>>,
}

pub(super) fn reunite(
    read: TcpReadHalf,
    mut write: TcpWriteHalf,
) -> Result<TcpStream, ReuniteError<TcpReadHalf, TcpWriteHalf>> {
    if !Arc::ptr_eq(&read.0, write.shared()) {
        return Err(ReuniteError(read, write));
    }
    let shared = write.stream.take();
    drop(read);
    let stream = shared.and_then(Arc::into_inner);
    Ok(stream.expect("a stream has two halves and no more"))
}

impl TcpReadHalf {
    pub(super) fn new(stream: Arc<TcpStream>) -> TcpReadHalf {
        TcpReadHalf(stream)
    }

    /// The backend that it stays with.
    pub fn backend(&self) -> Backend {
        self.0.backend()
    }

    /// Our address.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.0.local_addr()
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.0.peer_addr()
    }
}

impl TcpWriteHalf {
    pub(super) fn new(stream: Arc<TcpStream>) -> TcpWriteHalf {
        TcpWriteHalf {
            stream: Some(stream),
        }
    }

    fn shared(&self) -> &Arc<TcpStream> {
        self.stream.as_ref().expect("a reunited half is gone")
    }

    /// The backend that it stays with.
    pub fn backend(&self) -> Backend {
        self.shared().backend()
    }

    /// Our address.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<Address> {
        self.shared().local_addr()
    }

    /// The address of the peer.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn peer_addr(&self) -> io::Result<Address> {
        self.shared().peer_addr()
    }
}

impl ByteSide for TcpReadHalf {}

impl ByteReader for TcpReadHalf {
    fn poll_read_into(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.0.0, stream => StreamSocket::poll_read_into(stream, cx, buffer, max))
    }
}

impl ByteSide for TcpWriteHalf {}

impl ByteWriter for TcpWriteHalf {
    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl AsyncRead for TcpReadHalf {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.0.0, stream => StreamSocket::poll_read(stream, cx, buffer))
    }
}

impl AsyncWrite for TcpWriteHalf {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.shared().0, stream => StreamSocket::poll_write(stream, cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.shared().0, stream => StreamSocket::poll_write_vectored(stream, cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&self.shared().0, stream => StreamSocket::poll_shutdown(stream, cx))
    }
}

impl Drop for TcpWriteHalf {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            delegate!(&stream.0, stream => StreamSocket::end_sending(stream));
        }
    }
}
