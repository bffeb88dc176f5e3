//! One end of a connection as programs hold it.

use super::{Keepalive, TcpOptions};
use crate::current;
use crate::errno::Errno;
use crate::state::State;
use crate::table::SocketRef;
use crate::task::Waits;
use crate::tcp::{Phase, Stream};
use futures_io::{AsyncRead, AsyncWrite};
use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A TCP connection of a simulated host.
///
/// The poll methods take `&self`, so that halves can be built over an `Arc` of it; each direction
/// remembers one waker, that of the last caller. One poll is at most one act a system call could
/// do, and reads and writes may be short.
///
/// Dropping it closes both directions as the kernel does: queued bytes are still delivered, then
/// the peer reads the end; with unread bytes, or linger zero, the peer is reset.
///
/// # Panics
/// Every method panics outside the world the stream was made in.
#[derive(Debug)]
pub struct TcpStream {
    world: u64,
    socket: SocketRef,
    // Apart, so that a backend can keep simulated and real sockets in one small enum.
    addresses: Box<Addresses>,
}

#[derive(Debug)]
struct Addresses {
    local: SocketAddr,
    peer: SocketAddr,
}

impl TcpStream {
    /// Connects to `addr`. The future does nothing before its first poll.
    ///
    /// # Errors
    /// `ConnectionRefused` where nobody listens, `TimedOut` after 127 s without an answer,
    /// `InvalidInput` for port 0, an unspecified address or a local address of another family,
    /// `AddrNotAvailable` and `AddrInUse` for the local address, `EMFILE` beyond the host's
    /// descriptors.
    ///
    /// # Cancel safety
    /// *Nothing happened*: dropping the future closes the socket.
    pub fn connect(addr: SocketAddr, options: TcpOptions) -> Connect {
        Connect {
            addr,
            options,
            stream: None,
        }
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.addresses.peer
    }

    pub(super) fn of(world: u64, socket: SocketRef, state: &mut State) -> TcpStream {
        let local = state.net.find(socket).map(|found| found.local);
        let peer = state.net.stream(socket).map(|stream| stream.peer);
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        TcpStream {
            world,
            socket,
            addresses: Box::new(Addresses {
                local: local.unwrap_or(nowhere),
                peer: peer.unwrap_or(nowhere),
            }),
        }
    }

    fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        current::with_world(self.world, "a TCP stream", act)
    }

    fn stream<R>(&self, act: impl FnOnce(&mut Stream) -> R) -> io::Result<R> {
        self.act(|state| state.net.stream(self.socket).map(act))
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))
    }

    /// Reads into `buffer`; `Ok(0)` is the end, and stays so.
    ///
    /// # Errors
    /// `ConnectionReset` once after the peer reset the connection.
    pub fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.act(|state| state.read(self.socket, buffer, cx.waker()))
    }

    /// Writes what the send buffer takes of `bytes`.
    ///
    /// # Errors
    /// `BrokenPipe` after [`poll_shutdown`](Self::poll_shutdown) or on a dead connection,
    /// `ConnectionReset` once after the peer reset it.
    pub fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    /// Writes what the send buffer takes of `slices`, as one write; it may be cut anywhere.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.act(|state| state.write(self.socket, slices, cx.waker()))
    }

    /// Ends our direction after everything written; the other one goes on. Never waits, may be
    /// called again, and is fine on a connection that is dead already.
    ///
    /// # Errors
    /// None; the result has the shape of its siblings.
    pub fn poll_shutdown(&self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.act(|state| state.shutdown(self.socket));
        Poll::Ready(Ok(()))
    }

    /// Ends our direction from a destructor: as [`poll_shutdown`](TcpStream::poll_shutdown), and
    /// nothing outside the world the stream was made in.
    pub fn end_sending(&self) {
        current::if_world(self.world, |state| state.shutdown(self.socket));
    }

    /// Our address.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addresses.local)
    }

    /// The peer's address, also after it closed.
    ///
    /// # Errors
    /// `NotConnected` once both directions have ended or the connection was reset: as a kernel,
    /// the world forgets the peer then.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let mut forgotten = false;
        current::if_world(self.world, |state| {
            let stream = state.net.stream(self.socket);
            forgotten = stream.is_none_or(|stream| stream.has_ended());
        });
        match forgotten {
            true => Err(Errno::NotConnected.error()),
            false => Ok(self.addresses.peer),
        }
    }

    /// Sets whether small writes go out at once.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.stream(|stream| stream.options.nodelay = nodelay)?;
        if nodelay {
            self.act(|state| state.pump(self.socket));
        }
        Ok(())
    }

    /// Whether small writes go out at once.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.stream(|stream| stream.options.nodelay)
    }

    /// Sets what closing does to unsent bytes; zero resets the connection.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.stream(|stream| stream.options.linger = linger)
    }

    /// What closing does to unsent bytes.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        self.stream(|stream| stream.options.linger)
    }

    /// Sets the probes of an idle connection.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        self.stream(|_| ())?;
        self.act(|state| state.set_keepalive(self.socket, keepalive));
        Ok(())
    }

    /// The probes of an idle connection.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn keepalive(&self) -> io::Result<Option<Keepalive>> {
        self.stream(|stream| stream.options.keepalive)
    }

    /// Sets how long sent bytes may stay unacknowledged, and a closed window closed.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.stream(|stream| stream.options.user_timeout = timeout)
    }

    /// How long sent bytes may stay unacknowledged, and a closed window closed.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        self.stream(|stream| stream.options.user_timeout)
    }

    /// Size of the send buffer in bytes.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn send_buffer(&self) -> io::Result<usize> {
        self.stream(|stream| stream.send_capacity)
    }

    /// Size of the receive window in bytes.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn recv_buffer(&self) -> io::Result<usize> {
        self.stream(|stream| stream.receive_capacity)
    }

    /// Takes the error the connection died of, as `SO_ERROR` does.
    ///
    /// # Errors
    /// None while the stream is open.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.stream(|stream| stream.error.take().map(|error| error.error()))
    }

    /// Gives up: the peer is reset, what was queued is thrown away.
    pub fn abort(self) {
        // An owned stream is open, unless its host was killed: then its peer has been told.
        let _ = self.set_linger(Some(Duration::ZERO));
    }
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        let socket = self.socket;
        current::if_world(self.world, |state| state.close(socket));
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        TcpStream::poll_read(&self, cx, buffer)
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        TcpStream::poll_write(&self, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        TcpStream::poll_write_vectored(&self, cx, slices)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_shutdown(cx)
    }
}

/// A connection under way; made by [`TcpStream::connect`].
#[derive(Debug)]
#[must_use = "a connection is made only while its future is polled"]
pub struct Connect {
    addr: SocketAddr,
    options: TcpOptions,
    stream: Option<TcpStream>,
}

impl Future for Connect {
    type Output = io::Result<TcpStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if this.stream.is_none() {
            let opened = current::with("connect", |state| {
                let socket = state.connect(this.addr, &this.options)?;
                Ok(TcpStream::of(state.id, socket, state))
            });
            match opened {
                Ok(stream) => this.stream = Some(stream),
                Err(error) => return Poll::Ready(Err(Errno::error(error))),
            }
        }
        let Some(stream) = &this.stream else {
            return Poll::Pending;
        };
        let (socket, addr) = (stream.socket, this.addr);
        let result = stream.act(|state| {
            let end = state.net.stream(socket)?;
            match end.phase {
                Phase::Established => Some(Ok(())),
                Phase::Dead => Some(Err(end.error.take().unwrap_or(Errno::Refused).error())),
                Phase::Connecting | Phase::HalfOpen(_) => {
                    State::keep_waker(&mut state.dropped, &mut end.write_waker, cx.waker());
                    state.waits(Waits::Connect(addr));
                    None
                }
            }
        });
        match result {
            None => Poll::Pending,
            Some(Ok(())) => match this.stream.take() {
                Some(stream) => Poll::Ready(Ok(stream)),
                None => Poll::Pending,
            },
            Some(Err(error)) => {
                this.stream = None;
                Poll::Ready(Err(error))
            }
        }
    }
}
