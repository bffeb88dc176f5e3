use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_io::{AsyncRead, AsyncWrite};

use super::options::{Keepalive, Nodelay, TcpOptions};
use super::tcp_halves::{TcpReadHalf, TcpWriteHalf};
use crate::Backend;
use crate::runtime::{AnyTcpStream, Choice, Off, Runtime, Variant};
use crate::stream::{Address, ByteReader, ByteSide, ByteStream, ByteWriter, ReuniteError};

/// A TCP connection of the backend that was current when it was made.
///
/// It stays with that backend, may be used and dropped on any thread, and never looks the current
/// backend up again. Dropping it closes both directions and its descriptor.
pub struct TcpStream(pub(super) AnyTcpStream);

impl TcpStream {
    /// Connects to `to` with default options.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](TcpStream::connect_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened* that is visible here: the descriptor is closed.
    pub async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_with(to, TcpOptions::new()).await
    }

    /// Connects to `to`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for `0.0.0.0`, `[::]`, port 0 and a local address of
    /// another family; else what the system reports, such as
    /// [`io::ErrorKind::ConnectionRefused`].
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    ///
    /// # Cancel safety
    ///
    /// *Nothing happened* that is visible here: the descriptor is closed.
    pub async fn connect_with(to: SocketAddr, options: TcpOptions) -> io::Result<TcpStream> {
        check_target(to, &options)?;
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let connecting = <R as Runtime>::connect_tcp(to, options);
            Ok(TcpStream(R::any_tcp_stream(connecting.await?)))
        })
    }

    /// Takes in a connected stream of the standard library; its options stay.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] where the descriptor is no TCP socket over IP,
    /// [`io::ErrorKind::NotConnected`] where it is not connected, and
    /// [`io::ErrorKind::Unsupported`] in the simulator.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn from_std(stream: std::net::TcpStream) -> io::Result<TcpStream> {
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let stream = <<R as crate::runtime::Types>::TcpStream as StreamSocket>::from_std(stream)?;
            Ok(TcpStream(R::any_tcp_stream(stream)))
        })
    }

    /// Gives the connection back to the standard library, in blocking mode.
    ///
    /// # Errors
    ///
    /// What the system reports; [`io::ErrorKind::Unsupported`] in the simulator.
    pub fn into_std(self) -> io::Result<std::net::TcpStream> {
        delegate!(self.0, stream => StreamSocket::into_std(stream))
    }

    /// Lends the descriptor.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::Unsupported`] in the simulator.
    #[cfg(unix)]
    pub fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        delegate!(&self.0, stream => StreamSocket::try_as_fd(stream))
    }

    /// The backend that it stays with.
    pub fn backend(&self) -> Backend {
        backend_of(&self.0)
    }

    /// Whether small writes leave at once.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()> {
        delegate!(&self.0, stream => StreamSocket::set_nodelay(stream, nodelay))
    }

    /// Probes the connection while it is idle, or stops that.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        delegate!(&self.0, stream => StreamSocket::set_keepalive(stream, keepalive))
    }

    /// How long the system goes on sending after a close; zero resets, `None` is its default.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        delegate!(&self.0, stream => StreamSocket::set_linger(stream, linger))
    }

    /// The error that the system holds for this socket (`SO_ERROR`), and clears it.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        delegate!(&self.0, stream => StreamSocket::take_error(stream))
    }
}

impl ByteSide for TcpStream {}

impl ByteReader for TcpStream {
    fn poll_read_into(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.0, stream => StreamSocket::poll_read_into(stream, cx, buffer, max))
    }
}

impl ByteWriter for TcpStream {
    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl ByteStream for TcpStream {
    type ReadHalf = TcpReadHalf;
    type WriteHalf = TcpWriteHalf;

    fn into_split(self) -> (TcpReadHalf, TcpWriteHalf) {
        let shared = Arc::new(self);
        (TcpReadHalf::new(shared.clone()), TcpWriteHalf::new(shared))
    }

    fn reunite(
        read: TcpReadHalf,
        write: TcpWriteHalf,
    ) -> Result<TcpStream, ReuniteError<TcpReadHalf, TcpWriteHalf>> {
        super::tcp_halves::reunite(read, write)
    }

    fn local_addr(&self) -> io::Result<Address> {
        delegate!(&self.0, stream => StreamSocket::local_addr(stream)).map(Address::Inet)
    }

    fn peer_addr(&self) -> io::Result<Address> {
        delegate!(&self.0, stream => StreamSocket::peer_addr(stream)).map(Address::Inet)
    }

    fn abort(self) {
        delegate!(self.0, stream => StreamSocket::abort(stream));
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.0, stream => StreamSocket::poll_read(stream, cx, buffer))
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.0, stream => StreamSocket::poll_write(stream, cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(&self.0, stream => StreamSocket::poll_write_vectored(stream, cx, slices))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&self.0, stream => StreamSocket::poll_shutdown(stream, cx))
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TcpStream")
            .field("backend", &self.backend())
            .field("local", &self.local_addr().ok())
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}

/// The connected TCP socket of an adapter. Each direction keeps one waker, that of its last poll.
pub(crate) trait StreamSocket: Send + Sync + Sized + 'static {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>>;
    fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>>;
    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;
    fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>>;
    fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Ends the sending side from a destructor, on whatever thread that runs.
    fn end_sending(&self);
    fn local_addr(&self) -> io::Result<SocketAddr>;
    fn peer_addr(&self) -> io::Result<SocketAddr>;
    fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()>;
    fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()>;
    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    fn abort(self);
    fn from_std(stream: std::net::TcpStream) -> io::Result<Self>;
    fn into_std(self) -> io::Result<std::net::TcpStream>;
    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>>;
}

fn check_target(to: SocketAddr, options: &TcpOptions) -> io::Result<()> {
    let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if to.ip().is_unspecified() {
        return refuse(format!("{to} names no host to connect to"));
    }
    if to.port() == 0 {
        return refuse(format!("{to} has port 0, to which nothing connects"));
    }
    match options.local {
        Some(local) if local.is_ipv4() != to.is_ipv4() => refuse(format!(
            "local address {local} and peer {to} are of different families"
        )),
        _ => Ok(()),
    }
}

/// The backend of a choice, by its variant.
pub(super) fn backend_of<T, S, A, W>(choice: &Choice<T, S, A, W>) -> Backend {
    match choice {
        #[cfg(feature = "tokio")]
        Choice::Tokio { .. } => Backend::Tokio,
        #[cfg(feature = "smol")]
        Choice::Smol { .. } => Backend::Smol,
        #[cfg(feature = "async-std")]
        Choice::AsyncStd { .. } => Backend::AsyncStd,
        #[cfg(feature = "sim")]
        Choice::Sim { .. } => Backend::Sim,
        #[allow(unreachable_patterns, reason = "variants of backends that are off")]
        _ => unreachable!("a backend that is off made nothing"),
    }
}

impl StreamSocket for Off {
    fn poll_read(&self, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_read_into(
        &self,
        _: &mut Context<'_>,
        _: &mut BytesMut,
        _: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write(&self, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_write_vectored(
        &self,
        _: &mut Context<'_>,
        _: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match *self {}
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match *self {}
    }

    fn end_sending(&self) {
        match *self {}
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        match *self {}
    }

    fn set_nodelay(&self, _: Nodelay) -> io::Result<()> {
        match *self {}
    }

    fn set_keepalive(&self, _: Option<Keepalive>) -> io::Result<()> {
        match *self {}
    }

    fn set_linger(&self, _: Option<Duration>) -> io::Result<()> {
        match *self {}
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        match *self {}
    }

    fn abort(self) {
        match self {}
    }

    fn from_std(_: std::net::TcpStream) -> io::Result<Off> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn into_std(self) -> io::Result<std::net::TcpStream> {
        match self {}
    }

    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>> {
        match *self {}
    }
}
