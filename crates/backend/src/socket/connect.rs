//! Connections that we make.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::options::{apply_tcp, set_buffers};
use super::{Direction, Readiness, address};
use crate::net::{TcpOptions, UnixOptions};
use crate::stream::UnixAddress;

/// Connects a new socket and registers it.
pub(super) async fn tcp<S: Readiness>(to: SocketAddr, options: TcpOptions) -> io::Result<S> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    apply_tcp(&SockRef::from(&socket), &options)?;
    if let Some(local) = options.local {
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    match socket.connect(&to.into()) {
        Err(error) if in_progress(&error) => {}
        outcome => outcome?,
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

/// Connects to a listener of this system, which is done at once or, at a full backlog, not at all.
pub(super) async fn unix<S: Readiness>(to: &UnixAddress, options: UnixOptions) -> io::Result<S> {
    let socket = unix_socket(Type::STREAM, &options)?;
    let to = address::unix(to)?;
    match super::uninterrupted(|| socket.connect(&to)) {
        // Elsewhere than on Linux a connect may be on its way.
        Err(error) if error.kind() != ErrorKind::WouldBlock && in_progress(&error) => {}
        outcome => outcome?,
    }
    let stream = S::register(socket.into())?;
    poll_fn(|cx| stream.poll_io(cx, Direction::Write, established)).await?;
    Ok(stream)
}

/// A new Unix socket in non-blocking mode, bound where `options` say so.
pub(super) fn unix_socket(r#type: Type, options: &UnixOptions) -> io::Result<Socket> {
    let local = match &options.local {
        Some(local) => Some(bindable(local)?),
        None => None,
    };
    let socket = Socket::new(Domain::UNIX, r#type, None)?;
    socket.set_nonblocking(true)?;
    set_buffers(
        &SockRef::from(&socket),
        options.send_buffer,
        options.recv_buffer,
    )?;
    if let Some(local) = local {
        socket.bind(&local)?;
    }
    Ok(socket)
}

/// The kernel's form of an address to bind to.
pub(super) fn bindable(at: &UnixAddress) -> io::Result<SockAddr> {
    if at.is_unnamed() && !cfg!(any(target_os = "linux", target_os = "android")) {
        let why = "an address without a name, which this system gives none";
        return Err(io::Error::new(ErrorKind::InvalidInput, why));
    }
    address::unix(at)
}

/// Two connected Unix sockets.
pub(super) fn pair<S: Readiness>(r#type: Type) -> io::Result<(S, S)> {
    let (one, other) = Socket::pair(Domain::UNIX, r#type, None)?;
    one.set_nonblocking(true)?;
    other.set_nonblocking(true)?;
    Ok((S::register(one.into())?, S::register(other.into())?))
}
