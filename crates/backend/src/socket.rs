//! Real sockets, written once over readiness: the adapters over the kernel add that alone.

mod accept;
mod address;
#[cfg(feature = "ancillary")]
mod ancillary;
mod connect;
mod credentials;
mod datagram;
mod options;
pub(crate) mod raw;
mod stream;
mod unix_datagram;
mod unix_path;

use std::fmt::Debug;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Type};

use crate::net::{
    ShortRead, Socket, SocketKind, SocketTypes, Sockets, TcpListenOptions, TcpOptions, UdpOptions,
    UnixListenOptions, UnixOptions,
};
use crate::socket::accept::Listener;
use crate::socket::unix_datagram::UnixDatagram;
use crate::stream::{Address, UnixAddress};

/// A descriptor registered with a runtime. What sockets can do follows.
pub(crate) trait Readiness: AsFd + Debug + Send + Sync + Sized + 'static {
    /// Runs `act` when the socket may be ready for it, until it no longer says `WouldBlock`. Keeps
    /// the waker of the last poll of each direction.
    fn poll_io<T>(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut(&SockRef<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>>;
    /// As `poll_io`, for bytes of a stream. `act` says of how many it moved how many: fewer than
    /// there were means that no more can be moved now. A runtime that is told of changes waits for
    /// the next one then, where another attempt would be a system call for nothing.
    fn poll_transfer(
        &self,
        cx: &mut Context<'_>,
        direction: Direction,
        act: impl FnMut(&SockRef<'_>) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        let moved = self.poll_io(cx, direction, act);
        moved.map_ok(|moved| moved.bytes)
    }
    /// As `poll_transfer`, for a read after which there may be more although it was short.
    fn poll_read_io(
        &self,
        cx: &mut Context<'_>,
        short: ShortRead,
        act: impl FnMut(&SockRef<'_>) -> io::Result<Moved>,
    ) -> Poll<io::Result<usize>> {
        match short {
            ShortRead::TookAll => self.poll_transfer(cx, Direction::Read, act),
            ShortRead::MayHaveLeft => {
                let moved = self.poll_io(cx, Direction::Read, act);
                moved.map_ok(|moved| moved.bytes)
            }
        }
    }
    /// As `poll_io`, for any number of tasks at once: all of them are woken.
    fn io<T: Send>(
        &self,
        direction: Direction,
        act: impl FnMut(&SockRef<'_>) -> io::Result<T> + Send,
    ) -> impl Future<Output = io::Result<T>> + Send;
    /// What descriptors are registered with: kept by sockets that make others, for they may be
    /// polled where their runtime does not run.
    type Home: Clone + Debug + Send + Sync + 'static;
    /// That of the runtime which runs here.
    fn home() -> Self::Home;
    /// Registers a descriptor that is in non-blocking mode with the runtime which runs here.
    fn register(socket: OwnedFd) -> io::Result<Self>;
    /// As `register`, wherever this is called.
    fn register_at(home: &Self::Home, socket: OwnedFd) -> io::Result<Self>;
    fn unregister(self) -> io::Result<OwnedFd>;
    /// What is registered. It has one owner, but for the calls of a [`RawSocket`](crate::net::RawSocket).
    fn registered(&self) -> &Arc<OwnedFd>;
}

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// How many bytes one call moved of how many.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) bytes: usize,
    #[cfg_attr(
        not(feature = "tokio"),
        expect(dead_code, reason = "tokio alone is told of changes")
    )]
    pub(crate) of: usize,
}

/// An adapter over the kernel's sockets.
pub(crate) trait Kernel: 'static {
    type Socket: Readiness;
}

impl<K: Kernel> SocketTypes for K {
    type TcpStream = K::Socket;
    type TcpListener = Listener<K::Socket>;
    type UdpSocket = K::Socket;
    type UnixStream = K::Socket;
    type UnixListener = Listener<K::Socket>;
    type UnixDatagram = UnixDatagram<K::Socket>;
}

impl<K: Kernel> Sockets for K {
    async fn connect_tcp(to: SocketAddr, options: TcpOptions) -> io::Result<K::Socket> {
        connect::tcp(to, options).await
    }

    fn bind_tcp(at: SocketAddr, options: TcpListenOptions) -> io::Result<Listener<K::Socket>> {
        accept::listen_tcp(at, options)
    }

    fn bind_udp(at: SocketAddr, options: UdpOptions) -> io::Result<K::Socket> {
        datagram::udp(at, Some(at), None, &options)
    }

    fn connect_udp(to: SocketAddr, options: UdpOptions) -> io::Result<K::Socket> {
        datagram::udp(to, options.local, Some(to), &options)
    }

    async fn connect_unix(to: UnixAddress, options: UnixOptions) -> io::Result<K::Socket> {
        connect::unix(&to, options).await
    }

    fn bind_unix(at: UnixAddress, options: UnixListenOptions) -> io::Result<Listener<K::Socket>> {
        accept::listen_unix(&at, &options)
    }

    fn unix_pair() -> io::Result<(K::Socket, K::Socket)> {
        connect::pair(Type::STREAM)
    }

    fn unix_datagram(
        peer: Option<UnixAddress>,
        options: UnixOptions,
    ) -> io::Result<UnixDatagram<K::Socket>> {
        UnixDatagram::new(peer.as_ref(), &options)
    }

    fn unix_datagram_pair() -> io::Result<(UnixDatagram<K::Socket>, UnixDatagram<K::Socket>)> {
        let (one, other) = connect::pair(Type::DGRAM)?;
        Ok((UnixDatagram::of(one), UnixDatagram::of(other)))
    }
}

impl<S: Readiness> Socket for S {
    fn local_addr(&self) -> io::Result<Address> {
        address::name(&SockRef::from(self).local_addr()?)
    }

    fn peer_addr(&self) -> io::Result<Address> {
        address::name(&SockRef::from(self).peer_addr()?)
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        SockRef::from(self).take_error()
    }

    fn adopt(socket: OwnedFd, kind: SocketKind) -> io::Result<S> {
        check(&SockRef::from(&socket), kind)?;
        fit(&SockRef::from(&socket))?;
        S::register(socket)
    }

    fn into_owned(self) -> io::Result<OwnedFd> {
        let socket = self.unregister()?;
        SockRef::from(&socket).set_nonblocking(false)?;
        Ok(socket)
    }

    fn try_as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        Ok(self.as_fd())
    }

    fn downgrade(&self) -> io::Result<Weak<OwnedFd>> {
        Ok(Arc::downgrade(self.registered()))
    }
}

/// The descriptor by itself. While a [`RawSocket`](crate::net::RawSocket) is asked something on
/// another thread it is one more of the same socket, and the shared one closes when that is done.
pub(crate) fn sole(socket: Arc<OwnedFd>) -> io::Result<OwnedFd> {
    Arc::try_unwrap(socket).or_else(|shared| shared.try_clone())
}

/// Checks that a descriptor from outside is a socket of `kind`.
fn check(socket: &SockRef<'_>, kind: SocketKind) -> io::Result<()> {
    use SocketKind::{TcpListener, TcpStream, Udp, UnixListener, UnixStream};
    let (unix, wanted) = match kind {
        TcpStream | TcpListener => (false, Type::STREAM),
        Udp => (false, Type::DGRAM),
        UnixStream | UnixListener => (true, Type::STREAM),
        SocketKind::UnixDatagram => (true, Type::DGRAM),
    };
    let invalid = |why: &str| Err(io::Error::new(ErrorKind::InvalidInput, why.to_owned()));
    let local = socket.local_addr()?;
    if unix && local.domain() != Domain::UNIX {
        return invalid("the descriptor is no Unix socket");
    }
    if !unix && local.as_socket().is_none() {
        return invalid("the descriptor is no socket of IPv4 or IPv6");
    }
    if socket.r#type()? != wanted {
        return invalid(match wanted {
            Type::STREAM => "the descriptor is no stream socket",
            _ => "the descriptor is no datagram socket",
        });
    }
    match kind {
        TcpListener | UnixListener if !socket.is_listener()? => {
            invalid("the descriptor does not listen")
        }
        TcpStream | UnixStream if socket.is_listener()? => {
            invalid("the descriptor listens and is no connection")
        }
        TcpStream | UnixStream => socket.peer_addr().map(drop),
        _ => Ok(()),
    }
}

/// Makes a descriptor from outside fit for a runtime.
fn fit(socket: &SockRef<'_>) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    socket.set_cloexec(true)
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

/// What the kernel says of the socket now, whatever the runtime remembers.
fn writable(socket: &SockRef<'_>) -> io::Result<bool> {
    let mut asked = [PollFd::new(&**socket, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec::default()))?;
    Ok(!asked[0].revents().is_empty())
}
