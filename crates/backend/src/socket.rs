//! Real sockets: made from options in one place, read and written in one place. The four adapters
//! over the kernel add readiness alone.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice, Read};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::BytesMut;
use rustix::net::SendFlags;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};

use crate::accept_error::AcceptErrorKind;
use crate::net::{Keepalive, Nodelay, StreamSocket, TcpListenOptions, TcpOptions};
use crate::stream::recv_into_spare;

/// Slices of one vectored write, the kernel's `IOV_MAX`.
const IOV_MAX: usize = 1024;

/// A registered TCP socket. The rest of [`StreamSocket`] follows.
pub(crate) trait Readiness: AsFd + Send + Sync + Sized + 'static {
    /// Runs `act` when the socket may be ready for it, until it no longer says `WouldBlock`. Keeps
    /// the waker of the last poll of each direction.
    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>>;
    /// Registers a stream that is in non-blocking mode.
    fn register(stream: std::net::TcpStream) -> io::Result<Self>;
    fn unregister(self) -> io::Result<std::net::TcpStream>;
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// Calls `act` again while a signal interrupted it.
pub(crate) fn uninterrupted<T>(mut act: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match act() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

/// Connects a new socket and registers it.
pub(crate) async fn connect_tcp<S: Readiness>(
    to: SocketAddr,
    options: TcpOptions,
) -> io::Result<S> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    apply(&SockRef::from(&socket), &options)?;
    if let Some(local) = options.local {
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    match socket.connect(&to.into()) {
        Ok(()) => {}
        Err(error) if in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    let stream = S::register(socket.into())?;
    poll_fn(|cx| stream.poll_io(cx, Direction::Write, established)).await?;
    Ok(stream)
}

fn in_progress(error: &io::Error) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || error.kind() == ErrorKind::Interrupted
        || error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

/// A connect is done when the socket holds no error and has a peer; readiness alone may be
/// spurious.
fn established(socket: &SockRef<'_>) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotConnected => Err(ErrorKind::WouldBlock.into()),
        Err(error) => Err(error),
    }
}

/// Makes a listening socket in non-blocking mode.
pub(crate) fn listen_tcp(
    at: SocketAddr,
    options: &TcpListenOptions,
) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    socket.set_reuse_address(options.reuse_address)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    set_buffers(&SockRef::from(&socket), &options.accept)?;
    socket.bind(&at.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

/// Sets what `options` say about an accepted stream. False where the peer is gone already: then the
/// next one is accepted. Other errors are of the options and go to the caller.
pub(crate) fn fit_accepted(stream: &impl AsFd, options: &TcpOptions) -> io::Result<bool> {
    match apply(&SockRef::from(stream), options) {
        Ok(()) => Ok(true),
        Err(error) if AcceptErrorKind::of(&error) == AcceptErrorKind::Skip => Ok(false),
        Err(error) => Err(error),
    }
}

fn apply(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    socket.set_tcp_nodelay(options.nodelay == Nodelay::On)?;
    if let Some(keepalive) = options.keepalive {
        set_keepalive(socket, Some(keepalive))?;
    }
    if let Some(linger) = options.linger {
        socket.set_linger(Some(linger))?;
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(timeout) = options.user_timeout {
        socket.set_tcp_user_timeout(Some(timeout))?;
    }
    set_buffers(socket, options)
}

fn set_buffers(socket: &SockRef<'_>, options: &TcpOptions) -> io::Result<()> {
    if let Some(bytes) = options.send_buffer {
        socket.set_send_buffer_size(bytes)?;
    }
    if let Some(bytes) = options.recv_buffer {
        socket.set_recv_buffer_size(bytes)?;
    }
    Ok(())
}

fn set_keepalive(socket: &SockRef<'_>, keepalive: Option<Keepalive>) -> io::Result<()> {
    let Some(keepalive) = keepalive else {
        return socket.set_keepalive(false);
    };
    let parameters = TcpKeepalive::new()
        .with_time(whole_seconds(keepalive.idle))
        .with_interval(whole_seconds(keepalive.interval))
        .with_retries(keepalive.count);
    socket.set_tcp_keepalive(&parameters)
}

/// Rounded up to seconds, at least one: the system knows no shorter ones and refuses zero.
fn whole_seconds(span: Duration) -> Duration {
    let up = u64::from(span.subsec_nanos() > 0);
    Duration::from_secs(span.as_secs().saturating_add(up).max(1))
}

/// Checks that a descriptor from outside is a TCP socket over IP and makes it fit for us.
pub(crate) fn adopt(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let invalid = |why: &str| Err(io::Error::new(ErrorKind::InvalidInput, why.to_owned()));
    if socket.local_addr()?.as_socket().is_none() {
        return invalid("the descriptor is no socket of IPv4 or IPv6");
    }
    if socket.r#type()? != Type::STREAM {
        return invalid("the descriptor is no stream socket");
    }
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)
}

impl<S: Readiness> StreamSocket for S {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Direction::Read, |socket| (&mut &**socket).read(buffer))
    }

    fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Direction::Read, |socket| {
            recv_into_spare(socket, buffer, max)
        })
    }

    fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_io(cx, Direction::Write, |socket| {
            socket.send_with_flags(bytes, SendFlags::NOSIGNAL.bits() as i32)
        })
    }

    fn poll_write_vectored(
        &self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let slices = &slices[..slices.len().min(IOV_MAX)];
        self.poll_io(cx, Direction::Write, |socket| {
            socket.send_vectored_with_flags(slices, SendFlags::NOSIGNAL.bits() as i32)
        })
    }

    fn end_sending(&self) {
        // Where it fails the connection is dead, and its peer knows.
        let _ = SockRef::from(self).shutdown(std::net::Shutdown::Write);
    }

    fn poll_shutdown(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match SockRef::from(self).shutdown(std::net::Shutdown::Write) {
            Err(error) if error.kind() != ErrorKind::NotConnected => Poll::Ready(Err(error)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        inet(SockRef::from(self).local_addr()?)
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        inet(SockRef::from(self).peer_addr()?)
    }

    fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()> {
        SockRef::from(self).set_tcp_nodelay(nodelay == Nodelay::On)
    }

    fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()> {
        set_keepalive(&SockRef::from(self), keepalive)
    }

    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        SockRef::from(self).set_linger(linger)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    fn abort(self) {
        // Where it fails the peer sees an end instead of a reset; the stream closes either way.
        let _ = SockRef::from(&self).set_linger(Some(Duration::ZERO));
    }

    fn from_std(stream: std::net::TcpStream) -> io::Result<S> {
        adopt(&stream)?;
        stream.peer_addr()?;
        S::register(stream)
    }

    fn into_std(self) -> io::Result<std::net::TcpStream> {
        let stream = self.unregister()?;
        stream.set_nonblocking(false)?;
        Ok(stream)
    }

    fn try_as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.as_fd())
    }
}

fn inet(address: socket2::SockAddr) -> io::Result<SocketAddr> {
    let other = || io::Error::new(ErrorKind::InvalidInput, "an address that is not of IP");
    address.as_socket().ok_or_else(other)
}

/// Loops over `ready` and `attempt`, the shape that every `poll_io` has.
pub(crate) fn poll_ready<T>(
    mut ready: impl FnMut() -> Poll<io::Result<()>>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Poll<io::Result<T>> {
    loop {
        ready!(ready())?;
        match uninterrupted(&mut attempt) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}
