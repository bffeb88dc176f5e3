use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use bytes::BytesMut;

use super::datagram::Received;
use super::socket::{DatagramSocket, Socket, Sockets};
use super::tcp::check_target;
use super::udp_options::UdpOptions;
use crate::Backend;
use crate::runtime::{AnyUdpSocket, Variant};
use crate::stream::Address;

/// A UDP socket of the backend that was current when it was made.
///
/// Any number of tasks may send and receive at once; a datagram goes to exactly one receiver,
/// whole or cut and said to be cut. UDP itself may lose, double and reorder datagrams. A datagram
/// holds at most 65 507 bytes over IPv4.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "smol")]
/// # fn main() -> std::io::Result<()> {
/// use bowline_backend::Backend;
/// use bowline_backend::net::UdpSocket;
/// use bytes::BytesMut;
/// use std::num::NonZeroUsize;
///
/// Backend::Smol.block_on(async {
///     let server = UdpSocket::bind("127.0.0.1:0".parse().unwrap())?;
///     let client = UdpSocket::connect(server.local_addr()?)?;
///     client.send(b"ping").await?;
///     let mut buffer = BytesMut::new();
///     let received = server.recv_from(&mut buffer, NonZeroUsize::new(1500).unwrap()).await?;
///     assert_eq!((&buffer[..], received.truncated), (&b"ping"[..], false));
///     server.send_to(b"pong", &received.from.unwrap()).await
/// })
/// # }
/// # #[cfg(not(feature = "smol"))]
/// # fn main() {}
/// ```
pub struct UdpSocket(AnyUdpSocket);

impl UdpSocket {
    /// A socket at `at` with default options; port 0 lets the system choose one.
    ///
    /// # Errors
    ///
    /// As [`bind_with`](UdpSocket::bind_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind(at: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::bind_with(at, UdpOptions::new())
    }

    /// A socket at `at`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`], [`io::ErrorKind::AddrNotAvailable`],
    /// [`io::ErrorKind::PermissionDenied`]; [`io::ErrorKind::InvalidInput`] for a group that is no
    /// multicast address or of another family; [`io::ErrorKind::Unsupported`] for any group in the
    /// simulator, which has no multicast; and what else the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn bind_with(at: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
        options.check_groups(at)?;
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let socket = <R as Sockets>::bind_udp(at, options)?;
            Ok(UdpSocket(R::any_udp_socket(socket)))
        })
    }

    /// A socket that sends to `to` and hears only `to`, with default options.
    ///
    /// # Errors
    ///
    /// As [`connect_with`](UdpSocket::connect_with).
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn connect(to: SocketAddr) -> io::Result<UdpSocket> {
        UdpSocket::connect_with(to, UdpOptions::new())
    }

    /// A socket that sends to `to` and hears only `to`. Nothing is sent by this, so nothing says
    /// whether anybody is there: where nobody is, a later call may fail with
    /// [`io::ErrorKind::ConnectionRefused`], once.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for `0.0.0.0`, `[::]`, port 0 and a local address or group
    /// of another family; [`io::ErrorKind::Unsupported`] for any group in the simulator, which has
    /// no multicast; else what the system reports.
    ///
    /// # Panics
    ///
    /// Where the current backend does not run on this thread.
    pub fn connect_with(to: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
        check_target(to, options.local)?;
        options.check_groups(to)?;
        let backend = Backend::required().running();
        dispatch!(backend, R => {
            let socket = <R as Sockets>::connect_udp(to, options)?;
            Ok(UdpSocket(R::any_udp_socket(socket)))
        })
    }

    /// Our address, with the port that the system chose.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let local = delegate!(&self.0, socket => Socket::local_addr(socket))?;
        local
            .as_inet()
            .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    }

    /// The address that it is connected to.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotConnected`] where it is bound alone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        let peer = delegate!(&self.0, socket => Socket::peer_addr(socket))?;
        peer.as_inet()
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

datagrams!(UdpSocket);
socket!(
    UdpSocket,
    UdpSocket,
    Udp,
    any_udp_socket,
    std::net::UdpSocket
);

impl UdpSocket {
    /// As [`send_to`](UdpSocket::send_to). One task is woken, that of the last poll for sending;
    /// several use the async form.
    ///
    /// # Errors
    ///
    /// As [`send_to`](UdpSocket::send_to).
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: &Address,
    ) -> Poll<io::Result<()>> {
        delegate!(&self.0, socket => DatagramSocket::poll_send_to(socket, cx, payload, to))
    }
}
