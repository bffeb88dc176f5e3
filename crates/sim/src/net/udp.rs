//! UDP sockets as programs hold them.

use super::{Datagram, UdpOptions};
use crate::current;
use crate::errno::Errno;
use crate::state::State;
use crate::table::SocketRef;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll};

/// A UDP socket of a simulated host.
///
/// Any number of tasks may send and receive at once; a datagram goes to one of them. On links
/// without faults datagrams of one socket to one host arrive in order, and are lost only where the
/// receiver's buffer is full. A connected socket hears its peer alone, and may be told that nobody
/// is at the peer's port.
///
/// # Panics
/// Every method panics outside the world the socket was made in.
#[derive(Debug)]
pub struct UdpSocket {
    world: u64,
    socket: SocketRef,
    // Apart, so that a backend can keep simulated and real sockets in one small enum.
    addresses: Box<(SocketAddr, Option<SocketAddr>)>,
}

impl UdpSocket {
    /// Opens a socket at `at`; port 0 draws a free one.
    ///
    /// # Errors
    /// `AddrInUse` for an address another socket has or where no port is free, `AddrNotAvailable`
    /// for one that is not the host's, `EMFILE` beyond the host's descriptors.
    pub fn bind(at: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
        UdpSocket::open(|state| state.bind_udp(at, &options))
    }

    /// Opens a socket, at `options.local` if that is given, that sends to `to` and hears it alone.
    ///
    /// # Errors
    /// As [`bind`](Self::bind), and `InvalidInput` for port 0 or a local address of another family.
    pub fn connect(to: SocketAddr, options: UdpOptions) -> io::Result<UdpSocket> {
        UdpSocket::open(|state| state.connect_udp(to, &options))
    }

    fn open(open: impl FnOnce(&mut State) -> Result<SocketRef, Errno>) -> io::Result<UdpSocket> {
        current::with("bind", |state| {
            let socket = open(state)?;
            let found = state.udp.find(socket).ok_or(Errno::Invalid)?;
            Ok(UdpSocket {
                world: state.id,
                socket,
                addresses: Box::new((found.local, found.peer)),
            })
        })
        .map_err(Errno::error)
    }

    fn act<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        current::with_world(self.world, "a UDP socket", act)
    }

    /// Sends `payload` to the peer; waits while the send buffer is full.
    ///
    /// # Errors
    /// `EDESTADDRREQ` on a socket without a peer, `ConnectionRefused` once after the peer's host
    /// said that nobody is there, and as [`poll_send_to`](Self::poll_send_to).
    pub fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<()>> {
        self.act(|state| state.send_datagram(self.socket, None, payload, cx.waker()))
            .map_err(Errno::error)
    }

    /// Sends `payload` to `to`; waits while the send buffer is full.
    ///
    /// # Errors
    /// `EMSGSIZE` beyond 65 507 bytes (65 527 on IPv6), `EAFNOSUPPORT` and `ENETUNREACH` for an
    /// address of the wrong family, `InvalidInput` for port 0 and for leaving a loopback address,
    /// `PermissionDenied` for a broadcast that was not asked for, `ENOBUFS` beyond the host's
    /// bytes of datagrams.
    pub fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: SocketAddr,
    ) -> Poll<io::Result<()>> {
        self.act(|state| state.send_datagram(self.socket, Some(to), payload, cx.waker()))
            .map_err(Errno::error)
    }

    /// Receives a datagram, at most `max` bytes of it; the rest is discarded, and that is told.
    ///
    /// # Errors
    /// `ConnectionRefused` once after the peer's host said that nobody is there.
    pub fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        max: usize,
    ) -> Poll<io::Result<Datagram<SocketAddr>>> {
        self.act(|state| state.receive_datagram(self.socket, max, cx.waker()))
            .map_ok(|received| Datagram {
                payload: received.payload,
                from: received.from,
                truncated: received.truncated,
            })
            .map_err(Errno::error)
    }

    /// The address bound to, with the port that was drawn.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.addresses.0)
    }

    /// The peer.
    ///
    /// # Errors
    /// `NotConnected` on a socket without one.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.addresses.1.ok_or_else(|| Errno::NotConnected.error())
    }

    /// Takes the error that waits to be told, as `SO_ERROR` does.
    ///
    /// # Errors
    /// None; the result has the kernel's shape.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.act(|state| {
            let socket = state.udp.find(self.socket);
            Ok(socket
                .and_then(|socket| socket.error.take())
                .map(Errno::error))
        })
    }
}

impl Drop for UdpSocket {
    fn drop(&mut self) {
        let socket = self.socket;
        current::if_world(self.world, |state| state.close_udp(socket));
    }
}
