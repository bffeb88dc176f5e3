//! Unix connections as programs hold them.

use super::{Credentials, UnixAddress, UnixOptions};
use crate::current;
use crate::errno::Errno;
use crate::state::State;
use crate::table::SocketRef;
use crate::unix::UnixSocket;
use futures_io::{AsyncRead, AsyncWrite};
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

/// A Unix stream connection within a simulated host.
///
/// What is written is in the peer's queue when the call returns; the writer waits while that is
/// full. The poll methods take `&self`; each direction remembers one waker, that of the last
/// caller. Dropping it closes both directions; with unread bytes the peer is reset once it has read
/// what it was sent.
///
/// # Panics
/// Every method panics outside the world the stream was made in.
#[derive(Debug)]
pub struct UnixStream {
    world: u64,
    socket: SocketRef,
    // Apart, so that a backend can keep simulated and real sockets in one small enum.
    addresses: Box<(UnixAddress, UnixAddress)>,
}

impl UnixStream {
    /// Connects to whoever listens at `to`. The future does nothing before its first poll; it waits
    /// while the listener's backlog is full.
    ///
    /// # Errors
    /// `NotFound` for a path nobody bound, `ConnectionRefused` where nobody listens any more or the
    /// path is no socket, `EPROTOTYPE` for a datagram socket, `PermissionDenied` by the mode of the
    /// path, `AddrInUse` for a taken local name, `EMFILE` beyond the host's descriptors.
    ///
    /// # Cancel safety
    /// *Nothing happened*: dropping the future closes the socket.
    pub fn connect(to: UnixAddress, options: UnixOptions) -> UnixConnect {
        UnixConnect {
            to,
            options,
            stream: None,
        }
    }

    /// Two ends of a connection, without names.
    ///
    /// # Errors
    /// `EMFILE` beyond the host's descriptors.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        current::with("pair", |state| {
            let (one, other) = state.pair_unix()?;
            Ok((UnixStream::of(one, state), UnixStream::of(other, state)))
        })
        .map_err(Errno::error)
    }

    pub(super) fn of(socket: SocketRef, state: &mut State) -> UnixStream {
        let local = state.unix.peek(socket).map(|found| found.local.clone());
        let stream = state.unix.find(socket).and_then(UnixSocket::stream);
        let peer = stream.map(|stream| stream.peer_address.clone());
        UnixStream {
            world: state.id,
            socket,
            addresses: Box::new((
                local.unwrap_or(UnixAddress::Unnamed),
                peer.unwrap_or(UnixAddress::Unnamed),
            )),
        }
    }

    fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        current::with_world(self.world, "a Unix stream", act)
    }

    /// Reads into `buffer`; `Ok(0)` is the end, and stays so.
    ///
    /// # Errors
    /// `ConnectionReset` once, after what was sent before, if the peer closed with unread bytes.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.act(|state| state.read_unix(self.socket, buffer, cx.waker()))
            .map_err(Errno::error)
    }

    /// Writes what the peer's queue takes of `bytes`.
    ///
    /// # Errors
    /// `BrokenPipe` after [`poll_shutdown`](Self::poll_shutdown) or when the peer is gone.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Writes what the peer's queue takes of `slices`, as one write; it may be cut anywhere.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.act(|state| state.write_unix(self.socket, slices, cx.waker()))
            .map_err(Errno::error)
    }

    /// Ends our direction after everything written; the other one goes on. Never waits.
    ///
    /// # Errors
    /// None; the result has the shape of its siblings.
    pub fn poll_shutdown(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.act(|state| state.shutdown_unix(self.socket));
        Poll::Ready(Ok(()))
    }

    /// Ends our direction from a destructor: as [`poll_shutdown`](UnixStream::poll_shutdown), and
    /// nothing outside the world the stream was made in.
    pub fn end_sending(&self) {
        current::if_world(self.world, |state| state.shutdown_unix(self.socket));
    }

    /// Our name.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn local_addr(&self) -> io::Result<UnixAddress> {
        Ok(self.addresses.0.clone())
    }

    /// The peer's name, also after it closed.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn peer_addr(&self) -> io::Result<UnixAddress> {
        Ok(self.addresses.1.clone())
    }

    /// Whose process is at the other end: the host's own.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn peer_credentials(&self) -> io::Result<Credentials> {
        self.act(|state| {
            let host = state.unix.peek(self.socket).map_or(0, |found| found.host);
            let incarnation = state.machines[host as usize].incarnation;
            Ok(Credentials::of_incarnation(incarnation))
        })
    }

    /// Takes the error the connection died of, as `SO_ERROR` does.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.act(|state| {
            let stream = state.unix.find(self.socket).and_then(UnixSocket::stream);
            Ok(stream
                .and_then(|stream| stream.error.take())
                .map(Errno::error))
        })
    }
}

impl Drop for UnixStream {
    fn drop(&mut self) {
        let socket = self.socket;
        current::if_world(self.world, |state| state.close_unix(socket));
    }
}

impl AsyncRead for UnixStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        UnixStream::poll_read(&self, cx, buffer)
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        UnixStream::poll_write(&self, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        UnixStream::poll_write_vectored(&self, cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown(cx)
    }
}

/// A connection under way; made by [`UnixStream::connect`].
#[derive(Debug)]
#[must_use = "a connection is made only while its future is polled"]
pub struct UnixConnect {
    to: UnixAddress,
    options: UnixOptions,
    /// Open, and closed if it is dropped before it is connected.
    stream: Option<UnixStream>,
}

impl Future for UnixConnect {
    type Output = io::Result<UnixStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let stream = match this.stream.take() {
            Some(stream) => stream,
            None => {
                let opened = current::with("connect", |state| {
                    let socket = state.open_unix_stream(&this.options)?;
                    Ok(UnixStream::of(socket, state))
                });
                opened.map_err(Errno::error)?
            }
        };
        let connected = stream.act(|state| {
            let connected = state.connect_unix(stream.socket, &this.to, cx.waker());
            let peer = state.unix.find(stream.socket).and_then(UnixSocket::stream);
            let peer = peer.map(|stream| stream.peer_address.clone());
            connected.map_ok(|()| peer.unwrap_or(UnixAddress::Unnamed))
        });
        match connected {
            Poll::Pending => {
                this.stream = Some(stream);
                Poll::Pending
            }
            Poll::Ready(Ok(peer)) => {
                let mut stream = stream;
                stream.addresses.1 = peer;
                Poll::Ready(Ok(stream))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.error())),
        }
    }
}
