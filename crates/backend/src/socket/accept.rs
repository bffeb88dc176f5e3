//! Listening sockets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Weak;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, SockRef, Socket as System, Type};

use super::options::{apply_tcp, set_buffers};
use super::unix_path::{self, Made};
use super::{Direction, Readiness, address};
use crate::accept_error::AcceptErrorKind;
use crate::net::{
    ListenSocket, Socket, SocketKind, TcpListenOptions, TcpOptions, UnixListenOptions,
};
use crate::stream::{Address, UnixAddress};

/// A registered listener.
#[derive(Debug)]
pub(crate) struct Listener<S: Readiness> {
    // Goes before the socket does: who finds no path knows that nobody listens.
    accepted: Box<Accepted<S::Home>>,
    socket: S,
}

/// What streams get that are accepted.
#[derive(Debug)]
struct Accepted<H> {
    home: H,
    /// Those of TCP.
    options: Option<TcpOptions>,
    /// The path of a Unix listener that leaves none.
    path: Made,
}

/// Makes and registers a listener of TCP.
pub(super) fn listen_tcp<S: Readiness>(
    at: SocketAddr,
    options: TcpListenOptions,
) -> io::Result<Listener<S>> {
    let socket = System::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if at.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    socket.set_reuse_address(options.reuse_address)?;
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    let accept = options.accept;
    set_buffers(
        &SockRef::from(&socket),
        accept.send_buffer,
        accept.recv_buffer,
    )?;
    socket.bind(&at.into())?;
    socket.listen(backlog(options.backlog))?;
    let socket = S::register(socket.into())?;
    Ok(Listener::new(socket, Some(accept), Made::nothing()))
}

/// Makes and registers a Unix listener. Whatever fails after the path was made removes it.
pub(super) fn listen_unix<S: Readiness>(
    at: &UnixAddress,
    options: &UnixListenOptions,
) -> io::Result<Listener<S>> {
    let socket = System::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let mut made = unix_path::bind(&socket, at, options.stale)?;
    // Before it listens, so that nobody connects until the mode holds.
    made.set_mode(options.mode)?;
    socket.listen(backlog(options.backlog))?;
    let socket = S::register(socket.into())?;
    if !options.unlink_at_close {
        made.keep();
    }
    Ok(Listener::new(socket, None, made))
}

fn backlog(connections: u32) -> i32 {
    i32::try_from(connections).unwrap_or(i32::MAX)
}

impl<S: Readiness> Listener<S> {
    fn new(socket: S, options: Option<TcpOptions>, path: Made) -> Listener<S> {
        let home = S::home();
        Listener {
            accepted: Box::new(Accepted {
                home,
                options,
                path,
            }),
            socket,
        }
    }

    /// One connection, ready to be used. `WouldBlock` where there is none.
    fn try_accept(&self, listener: &SockRef<'_>) -> io::Result<(OwnedFd, Address)> {
        loop {
            let (stream, peer) = accept_one(listener)?;
            let Some(options) = &self.accepted.options else {
                return Ok((stream, peer));
            };
            match apply_tcp(&SockRef::from(&stream), options) {
                Ok(()) => return Ok((stream, peer)),
                // The peer is gone already: the next one. Other errors are of the options.
                Err(error) if AcceptErrorKind::of(&error) == AcceptErrorKind::Skip => {}
                // Apple's way to say so.
                #[cfg(target_vendor = "apple")]
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn register(&self, (stream, peer): (OwnedFd, Address)) -> io::Result<(S, Address)> {
        Ok((S::register_at(&self.accepted.home, stream)?, peer))
    }
}

/// Accepts without blocking; the stream does not block and closes on exec.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn accept_one(listener: &SockRef<'_>) -> io::Result<(OwnedFd, Address)> {
    use rustix::net::{SocketFlags, acceptfrom_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (stream, peer) = acceptfrom_with(&**listener, flags)?;
    // The address comes with the connection: a peer that is gone has none any more.
    Ok((stream, address::peer(peer)))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn accept_one(listener: &SockRef<'_>) -> io::Result<(OwnedFd, Address)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    Ok((stream.into(), address::name(&peer)?))
}

impl<S: Readiness> ListenSocket for Listener<S> {
    type Stream = S;

    async fn accept(&self) -> io::Result<(S, Address)> {
        let accepted = self.socket.io(Direction::Read, |s| self.try_accept(s));
        self.register(accepted.await?)
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(S, Address)>> {
        let accepted = self
            .socket
            .poll_io(cx, Direction::Read, |s| self.try_accept(s));
        accepted.map(|accepted| self.register(accepted?))
    }
}

impl<S: Readiness> Socket for Listener<S> {
    fn local_addr(&self) -> io::Result<Address> {
        self.socket.local_addr()
    }

    fn peer_addr(&self) -> io::Result<Address> {
        self.socket.peer_addr()
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    fn adopt(socket: OwnedFd, kind: SocketKind) -> io::Result<Listener<S>> {
        let options = match kind {
            SocketKind::TcpListener => Some(TcpOptions::new()),
            _ => None,
        };
        Ok(Listener::new(
            S::adopt(socket, kind)?,
            options,
            Made::nothing(),
        ))
    }

    fn into_owned(mut self) -> io::Result<OwnedFd> {
        self.accepted.path.keep();
        self.socket.into_owned()
    }

    fn try_as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.socket.try_as_fd()
    }

    fn downgrade(&self) -> io::Result<Weak<OwnedFd>> {
        self.socket.downgrade()
    }
}
