//! Unix sockets of datagrams, whose senders wait for a full receiver.

#[cfg(feature = "ancillary")]
use std::io::IoSlice;
use std::io::{self, ErrorKind};
use std::num::NonZeroUsize;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Weak;
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::{Domain, SockAddr, SockRef, Socket as System, Type};

#[cfg(feature = "ancillary")]
use super::ancillary;
use super::datagram::{explain, receive, send_to};
use super::unix_path::Made;
use super::{Direction, Readiness, address, connect, uninterrupted, writable};
#[cfg(feature = "ancillary")]
use crate::net::ReceivedFds;
use crate::net::{DatagramSocket, Received, Socket, SocketKind, UnixDatagramSocket, UnixOptions};
use crate::stream::{Address, UnixAddress};

/// The room that is made for one datagram at most, whatever was asked for. The system takes none
/// beyond the send buffer, which is less unless somebody asked for more.
const MOST: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();

/// A registered Unix socket of datagrams.
#[derive(Debug)]
pub(crate) struct UnixDatagram<S: Readiness> {
    // Apart, so that the choice over all backends stays small; and its path goes before the socket.
    apart: Box<Apart<S::Home>>,
    socket: S,
}

#[derive(Debug)]
struct Apart<H> {
    home: H,
    /// The path of a socket that leaves none.
    path: Made,
}

impl<S: Readiness> UnixDatagram<S> {
    pub(super) fn of(socket: S) -> UnixDatagram<S> {
        UnixDatagram::with_path(socket, Made::nothing())
    }

    fn with_path(socket: S, path: Made) -> UnixDatagram<S> {
        let home = S::home();
        UnixDatagram {
            apart: Box::new(Apart { home, path }),
            socket,
        }
    }

    /// Makes and registers one.
    pub(super) fn new(
        peer: Option<&UnixAddress>,
        options: &UnixOptions,
    ) -> io::Result<UnixDatagram<S>> {
        let peer = match peer {
            Some(peer) => Some(address::unix(peer)?),
            None => None,
        };
        let (socket, mut made) = connect::unix_socket(Type::DGRAM, options)?;
        if let Some(peer) = peer {
            socket.connect(&peer)?;
        }
        let socket = S::register(socket.into())?;
        if !options.unlink_at_close {
            made.keep();
        }
        Ok(UnixDatagram::with_path(socket, made))
    }

    /// Sends with `attempt` to `to`, and waits while there is no room.
    async fn send_when_room(
        &self,
        to: &SockAddr,
        attempt: impl Fn(&SockRef<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        loop {
            // Past the runtime: it would take a full receiver for a socket that cannot send, and
            // wait for an event that never comes.
            match uninterrupted(|| attempt(&SockRef::from(&self.socket))) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome,
            }
            self.socket.io(Direction::Write, until_writable).await?;
            self.until_room(to).await?;
        }
    }

    /// Waits until the receiver at `to` has room. The kernel tells that only to a socket connected
    /// to it, so one is made for as long as this waits. A receiver that is connected to the sender
    /// itself takes what it sends without a bound of its own and needs none of this.
    async fn until_room(&self, to: &SockAddr) -> io::Result<()> {
        let probe = System::new(Domain::UNIX, Type::DGRAM, None)?;
        probe.set_nonblocking(true)?;
        probe.connect(to)?;
        let probe = S::register_at(&self.apart.home, probe.into())?;
        probe.io(Direction::Write, until_writable).await
    }
}

fn until_writable(socket: &SockRef<'_>) -> io::Result<()> {
    if writable(socket)? {
        return Ok(());
    }
    Err(ErrorKind::WouldBlock.into())
}

impl<S: Readiness> DatagramSocket for UnixDatagram<S> {
    async fn send(&self, payload: &[u8]) -> io::Result<()> {
        self.socket.send(payload).await
    }

    async fn send_to(&self, payload: &[u8], to: &Address) -> io::Result<()> {
        let target = address::target(to)?;
        let attempt = |socket: &SockRef<'_>| send_to(socket, payload, &target);
        let sent = self.send_when_room(&target, attempt).await;
        sent.map_err(|error| explain(&self.socket, to, error))
    }

    async fn recv_from(&self, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Received> {
        let max = max.min(MOST);
        self.socket
            .io(Direction::Read, |socket| receive(socket, buffer, max))
            .await
    }

    fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<()>> {
        self.socket.poll_send(cx, payload)
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: &Address,
    ) -> Poll<io::Result<()>> {
        self.socket.poll_send_to(cx, payload, to)
    }

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        let max = max.min(MOST);
        self.socket
            .poll_io(cx, Direction::Read, |socket| receive(socket, buffer, max))
    }
}

impl<S: Readiness> UnixDatagramSocket for UnixDatagram<S> {
    #[cfg(feature = "ancillary")]
    async fn send_with_fds(
        &self,
        slices: &[IoSlice<'_>],
        fds: &[BorrowedFd<'_>],
        to: Option<&Address>,
    ) -> io::Result<()> {
        let Some(to) = to else {
            let send = |socket: &SockRef<'_>| ancillary::send(socket, slices, fds, None);
            return self.socket.io(Direction::Write, send).await.map(drop);
        };
        let (target, named) = (address::target(to)?, address::unix_target(to)?);
        let attempt =
            |socket: &SockRef<'_>| ancillary::send(socket, slices, fds, Some(&named)).map(drop);
        self.send_when_room(&target, attempt).await
    }

    #[cfg(feature = "ancillary")]
    async fn recv_with_fds(
        &self,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> io::Result<(Received, ReceivedFds)> {
        let max = max.min(MOST);
        let receive =
            |socket: &SockRef<'_>| ancillary::receive_datagram(socket, buffer, max, max_fds);
        self.socket.io(Direction::Read, receive).await
    }

    #[cfg(feature = "ancillary")]
    fn poll_send_with_fds(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        fds: &[BorrowedFd<'_>],
    ) -> Poll<io::Result<()>> {
        let slices = [IoSlice::new(payload)];
        let send = |socket: &SockRef<'_>| ancillary::send(socket, &slices, fds, None).map(drop);
        self.socket.poll_io(cx, Direction::Write, send)
    }

    #[cfg(feature = "ancillary")]
    fn poll_recv_with_fds(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
        max_fds: usize,
    ) -> Poll<io::Result<(Received, ReceivedFds)>> {
        let max = max.min(MOST);
        self.socket.poll_io(cx, Direction::Read, |socket| {
            ancillary::receive_datagram(socket, buffer, max, max_fds)
        })
    }
}

impl<S: Readiness> Socket for UnixDatagram<S> {
    fn local_addr(&self) -> io::Result<Address> {
        self.socket.local_addr()
    }

    fn peer_addr(&self) -> io::Result<Address> {
        self.socket.peer_addr()
    }

    fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket.take_error()
    }

    fn adopt(socket: OwnedFd, kind: SocketKind) -> io::Result<UnixDatagram<S>> {
        S::adopt(socket, kind).map(UnixDatagram::of)
    }

    fn into_owned(mut self) -> io::Result<OwnedFd> {
        self.apart.path.keep();
        self.socket.into_owned()
    }

    fn try_as_fd(&self) -> io::Result<BorrowedFd<'_>> {
        self.socket.try_as_fd()
    }

    fn downgrade(&self) -> io::Result<Weak<OwnedFd>> {
        self.socket.downgrade()
    }
}
