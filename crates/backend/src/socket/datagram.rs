//! Sockets of datagrams: what is written once for those of UDP and of Unix.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::task::{Context, Poll};

use bytes::BytesMut;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket as System, Type};

use super::options::set_buffers;
use super::stream::NO_SIGNAL;
use super::{Direction, Readiness, address, uninterrupted};
use crate::net::{DatagramSocket, Group, Received, UdpOptions};
use crate::stream::{Address, recv_datagram_into_spare};

/// Makes and registers a UDP socket of the family of `like`.
pub(super) fn udp<S: Readiness>(
    like: SocketAddr,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    options: &UdpOptions,
) -> io::Result<S> {
    let socket = System::new(Domain::for_address(like), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if like.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    if options.broadcast {
        socket.set_broadcast(true)?;
    }
    set_buffers(
        &SockRef::from(&socket),
        options.send_buffer,
        options.recv_buffer,
    )?;
    if let Some(local) = local {
        socket.bind(&local.into())?;
    }
    for group in &options.groups {
        match group {
            Group::V4(group, interface) => socket.join_multicast_v4(group, interface)?,
            Group::V6(group, interface) => socket.join_multicast_v6(group, *interface)?,
        }
    }
    if let Some(peer) = peer {
        socket.connect(&peer.into())?;
    }
    S::register(socket.into())
}

/// More than any datagram of UDP, so that no more room is made whatever was asked for.
const MOST: NonZeroUsize = NonZeroUsize::new(64 * 1024).unwrap();

impl<S: Readiness> DatagramSocket for S {
    async fn send(&self, payload: &[u8]) -> io::Result<()> {
        self.io(Direction::Write, |socket| send(socket, payload))
            .await
    }

    async fn send_to(&self, payload: &[u8], to: &Address) -> io::Result<()> {
        let target = address::target(to)?;
        let sent = self.io(Direction::Write, |socket| send_to(socket, payload, &target));
        sent.await.map_err(|error| explain(self, to, error))
    }

    async fn recv_from(&self, buffer: &mut BytesMut, max: NonZeroUsize) -> io::Result<Received> {
        self.io(Direction::Read, |socket| {
            receive(socket, buffer, max.min(MOST))
        })
        .await
    }

    fn poll_send(&self, cx: &mut Context<'_>, payload: &[u8]) -> Poll<io::Result<()>> {
        match send_at_once(self, |socket| send(socket, payload)) {
            Some(sent) => Poll::Ready(sent),
            None => self.poll_io(cx, Direction::Write, |socket| send(socket, payload)),
        }
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        payload: &[u8],
        to: &Address,
    ) -> Poll<io::Result<()>> {
        let target = address::target(to)?;
        let sent = match send_at_once(self, |socket| send_to(socket, payload, &target)) {
            Some(sent) => Poll::Ready(sent),
            None => self.poll_io(cx, Direction::Write, |socket| {
                send_to(socket, payload, &target)
            }),
        };
        sent.map_err(|error| explain(self, to, error))
    }

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut BytesMut,
        max: NonZeroUsize,
    ) -> Poll<io::Result<Received>> {
        self.poll_io(cx, Direction::Read, |socket| {
            receive(socket, buffer, max.min(MOST))
        })
    }
}

/// Sends without a look at what the runtime knows, `None` where there is no room: a socket has room
/// from the start, which some runtimes learn only when they next look for events.
fn send_at_once<S: Readiness>(
    socket: &S,
    mut send: impl FnMut(&SockRef<'_>) -> io::Result<()>,
) -> Option<io::Result<()>> {
    match uninterrupted(|| send(&SockRef::from(socket))) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        sent => Some(sent),
    }
}

fn send(socket: &SockRef<'_>, payload: &[u8]) -> io::Result<()> {
    socket.send_with_flags(payload, NO_SIGNAL).map(drop)
}

pub(super) fn send_to(socket: &SockRef<'_>, payload: &[u8], to: &SockAddr) -> io::Result<()> {
    socket.send_to_with_flags(payload, to, NO_SIGNAL).map(drop)
}

pub(super) fn receive(
    socket: &SockRef<'_>,
    buffer: &mut BytesMut,
    max: NonZeroUsize,
) -> io::Result<Received> {
    let (len, truncated, from) = recv_datagram_into_spare(socket, buffer, max)?;
    Ok(Received {
        len,
        from: address::sender(&from),
        truncated,
    })
}

/// Kernels differ in how they refuse an address of another family; here all say it one way.
pub(super) fn explain<S: Readiness>(socket: &S, to: &Address, error: io::Error) -> io::Error {
    let local = SockRef::from(socket).local_addr();
    let fits = local.is_ok_and(|local| match to {
        Address::Inet(to) => {
            local.is_ipv4() && to.is_ipv4() || local.is_ipv6() && (to.is_ipv6() || dual(socket))
        }
        _ => local.is_unix(),
    });
    if fits {
        return error;
    }
    let why = format!("{to} is of another family than the socket: {error}");
    io::Error::new(ErrorKind::InvalidInput, why)
}

fn dual<S: Readiness>(socket: &S) -> bool {
    SockRef::from(socket).only_v6().is_ok_and(|only| !only)
}
