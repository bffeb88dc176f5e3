//! Connections that we make.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::options::{apply_tcp, set_buffers};
use super::unix_path::Made;
use super::{Direction, Readiness, address, unix_path};
use crate::Backend;
use crate::net::{TcpOptions, UnixOptions};
use crate::stream::UnixAddress;

/// The first pause of a connect at a full backlog; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(64);

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
/// Nothing tells when that ends, so the same socket tries again after a while: it has its name.
pub(super) async fn unix<S: Readiness>(to: &UnixAddress, options: UnixOptions) -> io::Result<S> {
    let (backend, home) = (Backend::required().running(), S::home());
    let to = address::unix(to)?;
    let (socket, mut made) = unix_socket(Type::STREAM, &options)?;
    let mut pause = FIRST_PAUSE;
    loop {
        match super::uninterrupted(|| socket.connect(&to)) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            // Elsewhere than on Linux a connect may be on its way.
            Err(error) if in_progress(&error) => break,
            outcome => break outcome?,
        }
        backend.sleep_until(backend.now() + pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
    let stream = S::register_at(&home, socket.into())?;
    poll_fn(|cx| stream.poll_io(cx, Direction::Write, established)).await?;
    made.keep();
    Ok(stream)
}

/// A new Unix socket in non-blocking mode, bound where `options` say so, and the path that made.
pub(super) fn unix_socket(r#type: Type, options: &UnixOptions) -> io::Result<(Socket, Made)> {
    let socket = Socket::new(Domain::UNIX, r#type, None)?;
    socket.set_nonblocking(true)?;
    set_buffers(
        &SockRef::from(&socket),
        options.send_buffer,
        options.recv_buffer,
    )?;
    let made = match &options.local {
        Some(local) => {
            // A path is made with no more than the mode of its socket, where the system has it so (Linux).
            let _ = unix_path::narrow(&socket, options.mode);
            let made = unix_path::bind(&socket, local, options.stale)?;
            made.set_mode(options.mode)?;
            made
        }
        None => Made::nothing(),
    };
    Ok((socket, made))
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
