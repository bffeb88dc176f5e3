//! What the sockets of an adapter can do. Over the kernel it is written once, for whatever is
//! [`Readiness`](crate::socket::Readiness); the simulator has its own.

mod off;

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;

use super::datagram::Received;
use super::options::{Keepalive, Nodelay, TcpListenOptions, TcpOptions};
use super::udp_options::UdpOptions;
use super::unix_options::{Credentials, UnixListenOptions, UnixOptions};
use crate::stream::{Address, UnixAddress};

/// A descriptor of the operating system that closes when it is dropped.
#[cfg(unix)]
pub(crate) type OwnedSocket = std::os::fd::OwnedFd;
#[cfg(windows)]
pub(crate) type OwnedSocket = std::os::windows::io::OwnedSocket;

/// What a descriptor that comes from outside has to be.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum SocketKind {
    TcpStream,
    TcpListener,
    Udp,
    UnixStream,
    UnixListener,
    UnixDatagram,
}

/// The socket types of an adapter.
pub(crate) trait SocketTypes: 'static {
    type TcpStream: TcpSocket;
    type TcpListener: ListenSocket<Stream = Self::TcpStream>;
    type UdpSocket: DatagramSocket;
    type UnixStream: UnixSocket;
    type UnixListener: ListenSocket<Stream = Self::UnixStream>;
    type UnixDatagram: UnixDatagramSocket;
}

/// How the sockets of an adapter are made. Arguments were checked above; addresses of a connect
/// name a peer, and families fit.
pub(crate) trait Sockets: SocketTypes {
    fn connect_tcp(
        to: SocketAddr,
        options: TcpOptions,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static;
    fn bind_tcp(at: SocketAddr, options: TcpListenOptions) -> io::Result<Self::TcpListener>;
    /// Ignores `options.local`.
    fn bind_udp(at: SocketAddr, options: UdpOptions) -> io::Result<Self::UdpSocket>;
    fn connect_udp(to: SocketAddr, options: UdpOptions) -> io::Result<Self::UdpSocket>;
    /// Waits while the backlog is full. Where it fails or is dropped, no path of a local address is
    /// left.
    fn connect_unix(
        to: UnixAddress,
        options: UnixOptions,
    ) -> impl Future<Output = io::Result<Self::UnixStream>> + Send + 'static;
    fn bind_unix(at: UnixAddress, options: UnixListenOptions) -> io::Result<Self::UnixListener>;
    fn unix_pair() -> io::Result<(Self::UnixStream, Self::UnixStream)>;
    /// Bound where `options.local` is given, connected where `peer` is.
    fn unix_datagram(
        peer: Option<UnixAddress>,
        options: UnixOptions,
    ) -> io::Result<Self::UnixDatagram>;
    fn unix_datagram_pair() -> io::Result<(Self::UnixDatagram, Self::UnixDatagram)>;
}

/// What every socket can do.
pub(crate) trait Socket: Send + Sync + Sized + 'static {
    fn local_addr(&self) -> io::Result<Address>;
    /// [`io::ErrorKind::NotConnected`] where there is no peer.
    fn peer_addr(&self) -> io::Result<Address>;
    fn take_error(&self) -> io::Result<Option<io::Error>>;
    /// Takes in a descriptor after checking that it is of `kind`.
    fn adopt(socket: OwnedSocket, kind: SocketKind) -> io::Result<Self>;
    /// Gives the descriptor back, in blocking mode.
    fn into_owned(self) -> io::Result<OwnedSocket>;
    #[cfg(unix)]
    fn try_as_fd(&self) -> io::Result<std::os::fd::BorrowedFd<'_>>;
    /// What finds the descriptor for as long as this is open.
    fn downgrade(&self) -> io::Result<Weak<OwnedSocket>>;
}

/// What a read that gave less than it had room for says of what is still there.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub(crate) enum ShortRead {
    /// That it is nothing.
    TookAll,
    /// Not a thing: a Unix socket ends a read where descriptors came with the bytes.
    MayHaveLeft,
}

/// A connected stream. Each direction keeps one waker, that of its last poll.
pub(crate) trait StreamSocket: Socket {
    fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
        short: ShortRead,
    ) -> Poll<io::Result<usize>>;
    fn poll_read_into(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        short: ShortRead,
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
    fn abort(self);
}

/// A stream of TCP.
pub(crate) trait TcpSocket: StreamSocket {
    fn set_nodelay(&self, nodelay: Nodelay) -> io::Result<()>;
    fn set_keepalive(&self, keepalive: Option<Keepalive>) -> io::Result<()>;
    fn set_linger(&self, linger: Option<Duration>) -> io::Result<()>;
}

/// A stream between processes of one system.
pub(crate) trait UnixSocket: StreamSocket {
    fn peer_credentials(&self) -> io::Result<Credentials>;

    #[cfg(all(unix, feature = "ancillary"))]
    fn poll_send_with_fds(
        &self,
        _: &mut Context<'_>,
        _: &[IoSlice<'_>],
        _: &[std::os::fd::BorrowedFd<'_>],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            NO_DESCRIPTORS,
        )))
    }

    #[cfg(all(unix, feature = "ancillary"))]
    fn poll_recv_with_fds(
        &self,
        _: &mut Context<'_>,
        _: &mut BytesMut,
        _: NonZeroUsize,
        _: usize,
    ) -> Poll<io::Result<super::ancillary::ReceivedFds>> {
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            NO_DESCRIPTORS,
        )))
    }
}

#[cfg(all(unix, feature = "ancillary"))]
const NO_DESCRIPTORS: &str = "descriptors are passed by the kernel alone";

/// A socket of datagrams between processes of one system.
pub(crate) trait UnixDatagramSocket: DatagramSocket {
    /// To `to`, or to the peer that it is connected to. For any number of tasks at once.
    #[cfg(all(unix, feature = "ancillary"))]
    fn send_with_fds(
        &self,
        _: &[IoSlice<'_>],
        _: &[std::os::fd::BorrowedFd<'_>],
        _: Option<&Address>,
    ) -> impl Future<Output = io::Result<()>> + Send {
        std::future::ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            NO_DESCRIPTORS,
        )))
    }

    /// To the peer that it is connected to.
    #[cfg(all(unix, feature = "ancillary"))]
    fn poll_send_with_fds(
        &self,
        _: &mut Context<'_>,
        _: &[u8],
        _: &[std::os::fd::BorrowedFd<'_>],
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            NO_DESCRIPTORS,
        )))
    }

    #[cfg(all(unix, feature = "ancillary"))]
    fn poll_recv_with_fds(
        &self,
        _: &mut Context<'_>,
        _: &mut BytesMut,
        _: NonZeroUsize,
        _: usize,
    ) -> Poll<io::Result<(Received, super::ancillary::ReceivedFds)>> {
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            NO_DESCRIPTORS,
        )))
    }

    /// For any number of tasks at once.
    #[cfg(all(unix, feature = "ancillary"))]
    fn recv_with_fds(
        &self,
        _: &mut BytesMut,
        _: NonZeroUsize,
        _: usize,
    ) -> impl Future<Output = io::Result<(Received, super::ancillary::ReceivedFds)>> + Send {
        std::future::ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            NO_DESCRIPTORS,
        )))
    }
}

/// A socket that accepts streams.
pub(crate) trait ListenSocket: Socket {
    type Stream;

    /// For any number of tasks at once.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Address)>> + Send;
    /// Keeps one waker, that of the last poll.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(Self::Stream, Address)>>;
}

/// A socket of datagrams. The futures are for any number of tasks at once; the polls keep one waker
/// per direction, that of the last.
pub(crate) trait DatagramSocket: Socket {
    fn send(&self, payload: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Waits where the receiver of a Unix socket is full.
    fn send_to(&self, payload: &[u8], to: &Address) -> impl Future<Output = io::Result<()>> + Send;
    fn recv_from(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> impl Future<Output = io::Result<Received>> + Send;
    fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<()>>;
    /// Of UDP alone: an unconnected Unix socket is not told when its receiver has room.
    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: &Address,
    ) -> Poll<io::Result<()>>;
    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>>;
}
